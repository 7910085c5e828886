#include "runtime/plan/vectors.h"

namespace heddle::plan {

bool is_made(const WeightSource& source) { return !source.values.empty() || source.dtype || source.plus != 0; }

std::vector<float> floats_of(const WeightSource& source, DType weight, const std::byte* file) {
  if (!source.values.empty()) return source.values;
  const DTypeInfo& stored = info(source.dtype.value_or(weight));
  const std::int64_t elements = source.rows * source.columns;
  std::vector<float> out(static_cast<std::size_t>(elements));
  stored.dequantize(file + source.offset, out.data(), elements / stored.elements);
  for (float& x : out) x += source.plus;
  return out;
}

}  // namespace heddle::plan
