#include "runtime/device/device.h"

#include <algorithm>

#include "ir/base/dtype.h"
#include "ir/base/shape.h"
#include "runtime/plan/layout.h"

namespace heddle::runtime {
namespace {

/// Slots and context are what the user asks for and may be absurd: figures stop here instead of wrapping round, also in their total.
constexpr std::uint64_t most = UINT64_MAX / 4;
std::uint64_t capped_product(std::uint64_t a, std::uint64_t b) {
  std::uint64_t out;
  return __builtin_mul_overflow(a, b, &out) ? most : std::min(out, most);
}
std::uint64_t capped_sum(std::uint64_t a, std::uint64_t b) { return std::min(a + b, most); }  // both at most `most`

std::uint64_t bytes_of_weight(const plan::Weight& weight) {
  const std::int64_t columns = weight.shape.back();
  const auto bytes = plan::stored_bytes(weight.layout, weight.dtype, elements_of(weight.shape) / columns, columns);
  HEDDLE_CHECK(bytes.ok(), "{}", bytes.error().message());
  return std::uint64_t(*bytes);
}

/// Both planes at one position of one slot.
std::uint64_t bytes_of_state(const plan::State& state) {
  return std::uint64_t(bytes_of(state.dtype, elements_of(state.shape)));
}

}  // namespace

MemoryUse memory_use(const plan::Plan& plan, const Capacity& capacity) {
  MemoryUse use;
  for (const auto& weight : plan.weights) use.weights = capped_sum(use.weights, bytes_of_weight(weight));
  const std::uint64_t positions = capped_product(std::uint64_t(capacity.slots), std::uint64_t(capacity.context));
  for (const auto& state : plan.states) use.cache = capped_sum(use.cache, capped_product(bytes_of_state(state), positions));
  for (const auto& entry : plan.entries) use.arena = std::max(use.arena, entry.arena_bytes);
  return use;
}

std::int32_t last_row(std::span<const StepRow> rows) {
  while (rows.size() > 1 && rows.back().slot < 0) rows = rows.first(rows.size() - 1);
  return rows.empty() || rows.back().slot < 0 ? 0 : std::int32_t(rows.size()) - 1;
}

Result<void> Device::begin_generation(std::size_t, std::span<const GenerationRow>, std::span<const std::int32_t>) {
  return error("{} cannot draw tokens", description());
}

Result<std::span<const Draw>> Device::next_draws() { return error("{} cannot draw tokens", description()); }

}  // namespace heddle::runtime
