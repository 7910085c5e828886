// passes/plan_memory.cpp: give every value that kernels exchange its place: one arena, reused as values die; all versions of a state the
// state's own memory; arguments and returned values the caller's.
//   before  %kv.1 = group { kv_store %kv, ... }
//           %h = group { ... } : f32[1, 64]
//           %y = group { ... } : f32[1, 64]
//   after   %kv.1 = group { kv_store %kv, ... } at state+3
//           %h = group { ... } : f32[1, 64] at arena+256:256
//           %y = group after(%k) { ... } : f32[1, 64] at output+0
// First fit, the largest first, at multiples of 256 bytes. A kernel that writes where another value was waits, by data or by an `after`
// edge added here, for all that read that value: only edges order kernels on a device. A state that would need a copy is an error.
#include <llvm/ADT/BitVector.h>
#include <llvm/ADT/DenseMap.h>
#include <llvm/ADT/STLExtras.h>

#include "ir/dependencies.h"
#include "passes/builtin.h"
#include "passes/match.h"

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
      if (value.placement != wanted.placement)
        return error("%{} is returned for state %{}: that would take a copy", value.name, wanted.name);
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
  llvm::SmallVector<std::size_t> users;  // positions of its writer and its readers, in order
  std::int64_t bytes;
  std::int64_t end() const { return value->placement.offset + bytes; }
  bool is_over_before(const Buffer& other) const { return users.back() < other.users.front(); }
  bool shares_bytes(const Buffer& other) const { return value->placement.offset < other.end() && other.value->placement.offset < end(); }
};

/// In the order of their writers.
std::vector<Buffer> buffers_of(const ir::Function& function) {
  std::vector<Buffer> buffers;
  const ir::Block& block = function.body();
  llvm::DenseMap<const Node*, std::size_t> position;
  for (const Node* node : block.nodes()) position.try_emplace(node, position.size());
  for (const Node* node : block.nodes())
    for (Value* value : node->results()) {
      if (value->type.state || value->placement.kind == Placement::output) continue;
      Buffer& buffer = buffers.emplace_back(Buffer{value, {position.at(node)}, bytes_of(value->type.dtype, value->type.elements())});
      for (const Value::Use& use : value->uses())
        buffer.users.push_back(position.at(use.node->enclosing_group() ? use.node->enclosing_group() : use.node));
      llvm::sort(buffer.users);
      buffer.users.erase(std::unique(buffer.users.begin(), buffer.users.end()), buffer.users.end());
    }
  return buffers;
}

/// Places `buffer` at the lowest offset that no placed buffer of the same time holds.
void place_first_fit(const Buffer& buffer, llvm::ArrayRef<const Buffer*> placed) {
  llvm::SmallVector<const Buffer*> rivals;
  for (const Buffer* other : placed)
    if (!other->is_over_before(buffer) && !buffer.is_over_before(*other)) rivals.push_back(other);
  llvm::sort(rivals, [](const Buffer* a, const Buffer* b) { return a->value->placement.offset < b->value->placement.offset; });
  std::int64_t offset = 0;
  for (const Buffer* rival : rivals) {
    if (offset + buffer.bytes <= rival->value->placement.offset) break;
    offset = std::max(offset, aligned(rival->end()));
  }
  buffer.value->placement = {Placement::arena, offset, buffer.bytes};
}

/// Makes the writer of every buffer wait for whoever read or wrote its bytes before. Whether that took an edge.
bool order_reuse(const ir::Block& block, llvm::ArrayRef<Buffer> buffers) {
  ir::Dependencies stated(block, ir::Dependencies::Edges::stated);
  const std::vector<Node*> nodes = block.nodes();
  bool added = false;
  for (const Buffer& now : buffers) {
    llvm::BitVector earlier(unsigned(nodes.size()));
    for (const Buffer& then : buffers)
      if (then.is_over_before(now) && then.shares_bytes(now))
        for (std::size_t user : then.users) earlier.set(unsigned(user));
    Node& writer = *nodes[now.users.front()];
    for (int user = earlier.find_last(); user >= 0;
         user = earlier.find_prev(unsigned(user))) {  // the latest first: it may imply the others
      if (stated.reaches(*nodes[std::size_t(user)], writer)) continue;
      stated.wait(writer, *nodes[std::size_t(user)]);
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
    if (!node->has(ir::terminator) && !node->body())
      return error("{} {}: not a group, run group_rest before", node->info().name, place_of(*node));
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
