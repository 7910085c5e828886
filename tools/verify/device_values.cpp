#include "tools/verify/device_values.h"

#include <algorithm>
#include <cstring>

namespace heddle::tools {
namespace {

using ir::interp::Cache;
using ir::interp::Tensor;

std::vector<float> floats_of(DType type, const Bytes& bytes) {
  const DTypeInfo& format = info(type);
  const std::int64_t blocks = std::int64_t(bytes.size()) / format.bytes;
  std::vector<float> out(std::size_t(blocks * format.elements));
  format.dequantize(bytes.data(), out.data(), blocks);
  return out;
}

Bytes packed(DType type, const std::vector<float>& floats) {
  const DTypeInfo& format = info(type);
  HEDDLE_CHECK(format.quantize, "{} is never written", format.name);
  const std::int64_t blocks = std::int64_t(floats.size()) / format.elements;
  Bytes out(std::size_t(blocks * format.bytes));
  format.quantize(floats.data(), out.data(), blocks);
  return out;
}

/// Calls `copy(cache index, device index)` for the first element of every head: a device keeps keys, then values, as [slots, kv_heads,
/// positions, head_dim], the interpreter all as [slots, positions, 2, kv_heads, head_dim].
template <class Copy>
void for_each_head(const Cache& cache, Copy copy) {
  const std::int64_t heads = cache.type.shape[1], dim = cache.type.shape[2];
  for (std::int64_t plane = 0; plane < 2; ++plane)
    for (std::int64_t slot = 0; slot < cache.slots; ++slot)
      for (std::int64_t head = 0; head < heads; ++head)
        for (std::int64_t position = 0; position < cache.capacity; ++position)
          copy((((slot * cache.capacity + position) * 2 + plane) * heads + head) * dim,
               (((plane * cache.slots + slot) * heads + head) * cache.capacity + position) * dim);
}

}  // namespace

Result<plan::Ref> place_of(const ir::Value& value, const ir::Function& function, const plan::Plan& plan) {
  plan::Ref ref;
  switch (value.placement.kind) {
    case ir::Placement::none:
      return error("{}: %{} has no place in memory", function.name, value.name);
    case ir::Placement::arena:
      ref.where = plan::Where::arena;
      ref.offset = std::uint64_t(value.placement.offset), ref.bytes = std::uint64_t(value.placement.bytes);
      break;
    case ir::Placement::input:
      ref.where = plan::Where::input, ref.index = unsigned(value.placement.offset);
      break;
    case ir::Placement::output:
      ref.where = plan::Where::output, ref.index = unsigned(value.placement.offset);
      break;
    case ir::Placement::state: {
      const std::string& name = function.arguments()[std::size_t(value.placement.offset)]->name;
      const auto found = std::ranges::find_if(plan.states, [&](const auto& state) { return state.name == name; });
      if (found == plan.states.end()) return error("{}: the plan has no state {}", function.name, name);
      ref.where = plan::Where::state, ref.index = unsigned(found - plan.states.begin());
      break;
    }
  }
  return ref;
}

Result<Tensor> tensor_of(const ir::Value& value, const Bytes& bytes) {
  if (std::int64_t(bytes.size()) != heddle::bytes_of(value.type.dtype, value.type.elements()))
    return error("%{}: {} bytes for {}", value.name, bytes.size(), value.type.str());
  Tensor out{value.type, {}, {}};
  if (value.type.dtype != DType::i32) {
    out.f = floats_of(value.type.dtype, bytes);
    return out;
  }
  out.i.resize(std::size_t(value.type.elements()));
  std::memcpy(out.i.data(), bytes.data(), bytes.size());
  return out;
}

Result<Cache> cache_of(const ir::Value& state, std::int64_t slots, std::int64_t positions, const Bytes& bytes) {
  Cache cache(state.type, slots, positions);
  const std::vector<float> planes = floats_of(state.type.dtype, bytes);
  if (planes.size() != cache.data.size())
    return error("%{}: {} bytes for {} slots and {} positions of {}", state.name, bytes.size(), slots, positions, state.type.str());
  for_each_head(cache, [&](std::int64_t here, std::int64_t there) {
    std::copy_n(planes.begin() + there, cache.type.shape[2], cache.data.begin() + here);
  });
  return cache;
}

Bytes bytes_of(const Tensor& tensor) {
  if (tensor.type.dtype != DType::i32) return packed(tensor.type.dtype, tensor.f);
  Bytes out(tensor.i.size() * sizeof(std::int32_t));
  std::memcpy(out.data(), tensor.i.data(), out.size());
  return out;
}

Bytes bytes_of(const Cache& cache) {
  std::vector<float> planes(cache.data.size());
  for_each_head(cache, [&](std::int64_t here, std::int64_t there) {
    std::copy_n(cache.data.begin() + here, cache.type.shape[2], planes.begin() + there);
  });
  return packed(cache.type.dtype, planes);
}

}  // namespace heddle::tools
