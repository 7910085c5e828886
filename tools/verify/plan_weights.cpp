#include "tools/verify/plan_weights.h"

#include <algorithm>

namespace heddle::tools {

Result<std::shared_ptr<const PlanWeights>> PlanWeights::open(const plan::Plan& plan) {
  auto weights = std::make_shared<PlanWeights>();
  for (const auto& file : plan.files) {
    HEDDLE_ASSIGN(auto mapped, MappedFile::open(file.path));
    if (mapped.bytes().size() != file.bytes)
      return error("{}: {} bytes, the plan was made for {}", file.path, mapped.bytes().size(), file.bytes);
    weights->files_.push_back(std::move(mapped));
  }
  for (const auto& weight : plan.weights)
    for (const auto& source : weight.sources) {
      if (!source.values.empty()) continue;
      const std::int64_t row_bytes = bytes_of(source.dtype.value_or(weight.dtype), source.columns);
      weights->tensors_[source.tensor] = {source.file, source.offset - std::uint64_t(source.row_begin * row_bytes)};
    }
  return std::shared_ptr<const PlanWeights>(std::move(weights));
}

Result<std::vector<float>> PlanWeights::read(const ir::Value& weight) const {
  const std::int64_t columns = weight.type.shape.back();
  std::vector<float> out(std::size_t(weight.type.elements()));
  std::int64_t at = 0;
  for (const ir::WeightSource& source : weight.sources) {
    if (source.tensor.empty()) {
      if (at + std::int64_t(source.values.size()) > std::int64_t(out.size()))
        return error("weight {}: {} values for {}", weight.name, source.values.size(), weight.type.str());
      std::ranges::copy(source.values, out.begin() + at);
      at += std::int64_t(source.values.size());
      continue;
    }
    const DType stored = source.dtype.value_or(weight.type.dtype);
    const DTypeInfo& format = info(stored);
    const auto place = tensors_.find(source.tensor);
    if (place == tensors_.end()) return error("weight {}: the plan has no tensor '{}'", weight.name, source.tensor);
    const std::uint64_t begin = place->second.offset + std::uint64_t(bytes_of(stored, source.row_begin * columns));
    const std::int64_t elements = source.rows * columns, bytes = bytes_of(stored, elements);
    const auto file = files_[place->second.file].bytes();
    if (begin > file.size() || std::uint64_t(bytes) > file.size() - begin || at + elements > std::int64_t(out.size()))
      return error("weight {}: rows {} to {} of '{}' are outside the file", weight.name, source.row_begin, source.row_begin + source.rows,
                   source.tensor);
    format.dequantize(file.data() + begin, out.data() + at, elements / format.elements);
    for (std::int64_t i = at; i < at + elements; ++i) out[std::size_t(i)] += float(source.plus);
    at += elements;
  }
  return out;
}

}  // namespace heddle::tools
