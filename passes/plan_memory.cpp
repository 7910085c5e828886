// passes/plan_memory.cpp: give every value that kernels exchange its place: one arena, reused as values die; all versions of a state the
// state's own memory; arguments and returned values the caller's.
//   before  %kv.1 = group { kv_store %kv, ... }              %h = group { ... } : f32[1, 64]                %y = group { ... }
//   after   %kv.1 = group { kv_store %kv, ... } at state+3   %h = group { ... } : f32[1, 64] at arena+256:256   %y = group after(%k) { ... } at output+0
// First fit, the largest first, at multiples of 256 bytes. A kernel that writes where another value was waits, by data or by an `after` edge
// added here, for all that read that value: only edges order kernels on a device. A state that would need a copy is an error.
#include <llvm/ADT/STLExtras.h>

#include "passes/builtin.h"
#include "passes/match.h"
#include "passes/ordering.h"

namespace heddle::passes {
namespace {

using ir::Node;
using ir::Placement;
using ir::Value;

constexpr std::int64_t alignment = 256;
std::int64_t aligned(std::int64_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

void place_arguments(ir::Function& function) {
  for (Value* argument : function.arguments())
    argument->placement = {argument->type.state ? Placement::state : Placement::input, std::int64_t(argument->index()), 0};
}

/// Every version takes the place of the version that its writer replaces.
Result<void> place_states(ir::Function& function) {
  const ir::Block& block = function.body();
  for (Node* node : block.nodes()) {
    for (Value* result : node->results()) {
      if (!result->type.state) continue;
      const Node* writer = computed_by(*result);
      HEDDLE_CHECK(writer && writer->has(ir::state_write), "%{} is a state that nothing writes", result->name);
      const Value* old = writer->operand(0);
      while (old->producer() && old->producer()->enclosing_group() == node) old = old->producer()->operand(0);
      result->placement = old->placement;
    }
    for (const Value* old : states_written_by(*node)) {
      const std::size_t here = block.position_of(*node);
      for (const Node* reader : old->readers_in(block)) {
        if (block.position_of(*reader) <= here) continue;
        const std::string by = reader->has(ir::terminator) ? "returned" : "read by " + place_of(*reader);
        return error("state %{} is {} after {} overwrote it: that would take a copy", old->name, by, place_of(*node));
      }
    }
  }
  return {};
}

Result<void> place_returned(ir::Function& function) {
  llvm::SmallVector<const Value*> states;
  for (const Value* argument : function.arguments())
    if (argument->type.state) states.push_back(argument);
  std::size_t state = 0;
  const auto returned = function.body().terminator()->operands();
  for (std::size_t i = 0; i < returned.size(); ++i) {
    Value& value = *returned[i];
    if (value.type.state) {
      HEDDLE_CHECK(state < states.size(), "more states are returned than there are");
      const Value& wanted = *states[state++];
      if (value.placement != wanted.placement) return error("%{} is returned for state %{}: that would take a copy", value.name, wanted.name);
    } else if (!value.producer()) {
      return error("%{} is returned as it came: that would take a copy", value.name);
    } else if (value.placement.kind == Placement::output) {
      return error("%{} is returned twice: that would take a copy", value.name);
    } else {
      value.placement = {Placement::output, std::int64_t(i), 0};
    }
  }
  return {};
}

struct Buffer {
  Value* value;
  std::size_t first, last;  // positions of its writer and its last reader
  std::int64_t bytes;
  std::int64_t end() const { return value->placement.offset + bytes; }
  bool lives_with(const Buffer& other) const { return first <= other.last && other.first <= last; }
  bool shares_bytes(const Buffer& other) const { return value->placement.offset < other.end() && other.value->placement.offset < end(); }
};

std::vector<Buffer> buffers_of(const ir::Function& function) {
  std::vector<Buffer> buffers;
  const ir::Block& block = function.body();
  for (Node* node : block.nodes())
    for (Value* value : node->results()) {
      if (value->type.state || value->placement.kind == Placement::output) continue;
      const std::size_t first = block.position_of(*node);
      const auto readers = value->readers_in(block);
      buffers.push_back({value, first, readers.empty() ? first : block.position_of(*readers.back()), bytes_of(value->type.dtype, value->type.elements())});
    }
  return buffers;
}

/// Places `buffer` at the lowest offset that no placed buffer of the same time holds.
void place_first_fit(const Buffer& buffer, llvm::ArrayRef<const Buffer*> placed) {
  llvm::SmallVector<const Buffer*> rivals;
  for (const Buffer* other : placed)
    if (other->lives_with(buffer)) rivals.push_back(other);
  llvm::sort(rivals, [](const Buffer* a, const Buffer* b) { return a->value->placement.offset < b->value->placement.offset; });
  std::int64_t offset = 0;
  for (const Buffer* rival : rivals) {
    if (offset + buffer.bytes <= rival->value->placement.offset) break;
    offset = std::max(offset, aligned(rival->end()));
  }
  buffer.value->placement = {Placement::arena, offset, buffer.bytes};
}

/// The writer of every buffer waits for whoever read or wrote its bytes before.
bool order_reuse(const ir::Block& block, llvm::ArrayRef<Buffer> buffers) {
  bool added = false;
  Ordering ordering(block);
  for (const Buffer& now : buffers) {  // in the order of their writers
    Node* writer = now.value->producer();
    llvm::SmallVector<Node*> earlier;
    for (const Buffer& then : buffers) {
      if (then.last >= now.first || !then.shares_bytes(now)) continue;
      earlier.push_back(then.value->producer());
      for (Node* reader : then.value->readers_in(block)) earlier.push_back(reader);
    }
    llvm::sort(earlier, [&](Node* a, Node* b) { return block.position_of(*a) > block.position_of(*b); });
    for (Node* node : earlier) {  // the latest first: it may imply the others
      if (ordering.is_before(*node, *writer)) continue;
      ordering.add(*node, *writer);
      added = true;
    }
  }
  return added;
}

std::vector<Placement> places_of(const ir::Function& function) {
  std::vector<Placement> places;
  for (const Value* argument : function.arguments()) places.push_back(argument->placement);
  for (const Node* node : function.body().nodes())
    for (const Value* result : node->results()) places.push_back(result->placement);
  return places;
}

Result<void> run(ir::Function& function, Context& context) {
  const std::vector<Placement> earlier = places_of(function);
  for (const Node* node : function.body().nodes()) {
    if (!node->has(ir::terminator) && !node->body()) return error("{} {}: not a group, run group_rest before", node->info().name, place_of(*node));
    for (Value* value : node->results()) value->placement = {};
  }
  place_arguments(function);
  HEDDLE_TRY(place_states(function));
  HEDDLE_TRY(place_returned(function));

  std::vector<Buffer> buffers = buffers_of(function);
  std::vector<const Buffer*> by_size;
  for (const Buffer& buffer : buffers) by_size.push_back(&buffer);
  std::ranges::stable_sort(by_size, [](const Buffer* a, const Buffer* b) { return a->bytes > b->bytes; });
  function.arena_bytes = 0;
  for (std::size_t i = 0; i < by_size.size(); ++i) {
    place_first_fit(*by_size[i], llvm::ArrayRef(by_size).take_front(i));
    function.arena_bytes = std::max(function.arena_bytes, aligned(by_size[i]->end()));
  }
  const bool added = order_reuse(function.body(), buffers);
  if (added || places_of(function) != earlier) context.note(fired_at("@" + function.name));
  return {};
}

}  // namespace

Pass plan_memory() { return {"plan_memory", "places every value: arena, states, arguments, returned values", {}, run}; }

}  // namespace heddle::passes
