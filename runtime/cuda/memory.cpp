#include "runtime/cuda/memory.h"

#include <algorithm>

#include "ir/base/shape.h"
#include "runtime/cuda/sample_control.h"
#include "runtime/plan/layout.h"

namespace heddle::runtime::cuda {
namespace {

/// Slots and context may be absurd: figures stop here instead of wrapping round, and no device has as much.
constexpr std::uint64_t most = std::uint64_t(1) << 62;
std::uint64_t product(std::uint64_t a, std::uint64_t b) {
  std::uint64_t out;
  return __builtin_mul_overflow(a, b, &out) ? most : std::min(out, most);
}

/// Hands out the bytes of a pool, each piece at a multiple of 256.
class Cursor {
 public:
  std::uint64_t take(std::uint64_t bytes) {
    const std::uint64_t begin = (end_ + 255) / 256 * 256;
    end_ = std::min(begin + std::min(bytes, most), most);
    return begin;
  }
  std::uint64_t end() const { return end_; }

 private:
  std::uint64_t end_ = 0;
};

}  // namespace

std::uint64_t input_numbers(const plan::EntryPoint& entry) { return 3 * std::uint64_t(entry.rows) + (entry.kind == EntryKind::prompt ? 1 : 0); }

namespace {

EntryMemory lay_out_entry(const plan::EntryPoint& entry, const plan::Plan& plan, const Capacity& capacity, Cursor& scratch) {
  EntryMemory memory;
  memory.inputs = scratch.take(input_numbers(entry) * sizeof(std::int32_t));
  for (const auto& output : entry.outputs) memory.outputs.push_back(scratch.take(bytes_of_shape(output.dtype, output.shape)));
  for (const auto* list : {&entry.nodes, &entry.sampling})
    for (const auto& node : *list) memory.node_scratch.push_back(scratch.take(plan.kernels[node.kernel].cuda->scratch_bytes));
  if (entry.sampling.empty()) return memory;
  memory.control = scratch.take(sizeof(SampleControl));
  memory.sample_rows = scratch.take(entry.rows * sizeof(SampleRow));
  memory.history = scratch.take(product(product(entry.rows, std::uint64_t(capacity.context) + 1), sizeof(std::int32_t)));
  memory.end_tokens = scratch.take(most_end_tokens * sizeof(std::int32_t));
  return memory;
}

}  // namespace

std::uint64_t stored_bytes_of(const plan::Weight& weight) {
  const std::int64_t columns = weight.shape.back(), rows = elements_of(weight.shape) / columns;
  const auto bytes = plan::stored_bytes(weight.layout, weight.dtype, rows, columns);
  HEDDLE_CHECK(bytes.ok(), "weight '{}'", weight.name);  // the plan's check refuses other layouts
  return std::uint64_t(*bytes);
}

std::uint64_t bytes_of_shape(DType dtype, const std::vector<std::int64_t>& shape) {
  return std::uint64_t(bytes_of(dtype, elements_of(shape)));
}

MemoryLayout lay_out(const plan::Plan& plan, const Capacity& capacity) {
  MemoryLayout layout;
  Cursor weights, cache, scratch;
  for (const auto& weight : plan.weights) layout.weights.push_back(weights.take(stored_bytes_of(weight)));
  const std::uint64_t positions = product(std::uint64_t(capacity.slots), std::uint64_t(capacity.context));
  for (const auto& state : plan.states) {
    const std::uint64_t plane = bytes_of_shape(state.dtype, state.shape) / 2;
    layout.keys.push_back(cache.take(product(plane, positions)));
    layout.values.push_back(cache.take(product(plane, positions)));
  }
  for (const auto& entry : plan.entries) {
    layout.entries.push_back(lay_out_entry(entry, plan, capacity, scratch));
    layout.arena_bytes = std::max(layout.arena_bytes, entry.arena_bytes);
  }
  layout.weight_bytes = weights.end(), layout.cache_bytes = cache.end(), layout.scratch_bytes = scratch.end();
  return layout;
}

std::uint64_t device_bytes(const MemoryLayout& layout) {
  constexpr std::uint64_t piece = 2 << 20;
  std::uint64_t total = 0;
  for (const std::uint64_t bytes : {layout.weight_bytes, layout.cache_bytes, layout.arena_bytes, layout.scratch_bytes})
    total = std::min(total + (bytes + piece - 1) / piece * piece, most);
  return total;
}

Result<void> check_fits(const plan::Plan& plan, const Capacity& capacity, std::uint64_t free, std::string_view gpu) {
  const auto needs = [&](std::int64_t context) { return device_bytes(lay_out(plan, {capacity.slots, context})); };
  if (needs(capacity.context) <= free) return {};
  std::int64_t fits = 0, too_much = capacity.context;  // what a context needs grows with it
  while (too_much - fits > 1) {
    const std::int64_t middle = fits + (too_much - fits) / 2;
    (needs(middle) <= free ? fits : too_much) = middle;
  }
  if (fits > 64) fits = fits / 64 * 64;
  const MemoryLayout layout = lay_out(plan, capacity);
  return error("out of memory: needs {} (weights {}, cache {}, arena {}, scratch {}), {} of {} are free; {}",
               bytes_text(device_bytes(layout)), bytes_text(layout.weight_bytes), bytes_text(layout.cache_bytes),
               bytes_text(layout.arena_bytes), bytes_text(layout.scratch_bytes), bytes_text(free), gpu,
               fits > 0 ? fmt::format("--ctx {} fits", fits) : std::string("no --ctx fits"));
}

}  // namespace heddle::runtime::cuda
