#include <llvm/ADT/DenseMap.h>

#include <map>

#include "ir/dependencies.h"
#include "ir/verify_rules.h"

/// The verifier's rules about memory: versions of states, and places.
namespace heddle::ir {
namespace {

/// The value of a group's body behind a group's result: both are one version of a state.
const Value* version(const Value* value) {
  while (value->producer() && value->producer()->body()) value = value->producer()->body()->terminator()->operand(value->index());
  return value;
}

/// For every version of a state that is replaced, the node that writes the next one.
using Writers = llvm::DenseMap<const Value*, const Node*>;

const Value* last_version(const Writers& writers, const Value* argument) {
  const Value* value = argument;
  while (const Node* writer = writers.lookup(value)) value = writer->result();
  return value;
}

Writers writers_of(const Function& function) {
  Writers writers;
  for (const Node* node : function.all_nodes())
    if (node->has(state_write)) writers.try_emplace(version(node->operand(0)), node);
  return writers;
}

std::string place_of(const Value& value) {
  constexpr std::string_view kinds[] = {"nowhere", "arena", "state", "input", "output"};
  const Placement& place = value.placement;
  std::string out = fmt::format("{}+{}", kinds[place.kind], place.offset);
  return place.kind == Placement::arena ? fmt::format("{}:{}", out, place.bytes) : out;
}

}  // namespace

Result<void> check_states(const Function& function) {
  Writers writers;
  for (const Node* node : function.all_nodes()) {
    if (node->op() == Op::yield) continue;  // names a version, reads nothing
    for (const Value* value : node->operands()) {
      if (!value->type.state) continue;
      if (const Node* writer = writers.lookup(version(value))) {
        const std::string_view verb = node->has(state_write) ? "writes" : "reads";
        return rule_broken(function, *node, "{} %{}, which '{}' has replaced already", verb, value->name, head(*writer));
      }
    }
    if (node->has(state_write)) writers[version(node->operand(0))] = node;
  }
  llvm::DenseMap<const Value*, int> returned;
  for (const Value* value : function.body().terminator()->operands())
    if (value->type.state && ++returned[version(value)] == 2) return rule_broken(function, "state %{} is returned twice", value->name);
  for (const Value* argument : function.arguments()) {
    if (!argument->type.state) continue;
    const Value* last = last_version(writers, argument);
    if (!returned.contains(last))
      return rule_broken(function, "state %{} is not returned, its last version is %{}", argument->name, last->name);
  }
  return {};
}

namespace {

/// The place of one value, by itself.
Result<void> check_place(const Function& function, const Value& value) {
  const Placement& place = value.placement;
  const auto broken = [&](std::string_view why) {
    return rule_broken(function, "value %{} : {}: at {}, {}", value.name, value.type.str(), place_of(value), why);
  };
  if (value.type.state && place.kind != Placement::state) return broken("a state is placed at its argument's state");
  switch (place.kind) {
    case Placement::none:
      return {};
    case Placement::arena: {
      const std::int64_t needed = bytes_of(value.type.dtype, value.type.elements());
      if (place.bytes < needed) return broken(fmt::format("it takes {} bytes", needed));
      if (place.offset < 0 || place.bytes > function.arena_bytes || place.offset > function.arena_bytes - place.bytes)
        return broken(fmt::format("the arena has {} bytes", function.arena_bytes));
      return {};
    }
    case Placement::state:
      if (!value.type.state) return broken("it is no state");
      if (value.is_argument() && place.offset != value.index()) return broken("it is not that argument");
      return {};
    case Placement::input:
      if (!value.is_argument() || place.offset != value.index()) return broken("it is not that argument");
      return {};
    case Placement::output: {
      const auto returned = function.body().terminator()->operands();
      if (place.offset < 0 || place.offset >= std::int64_t(returned.size()) || returned[place.offset] != &value)
        return broken("the function does not return it there");
      return {};
    }
  }
  return {};
}

/// Versions of one state share the place of its argument.
Result<void> check_state_places(const Function& function) {
  const Writers writers = writers_of(function);
  llvm::DenseMap<const Value*, const Value*> argument_of;  // version -> state argument
  for (const Value* argument : function.arguments()) {
    if (!argument->type.state) continue;
    const Value* value = argument;
    argument_of[value] = argument;
    while (const Node* writer = writers.lookup(value)) argument_of[value = writer->result()] = argument;
  }
  for (const Node* node : function.body().nodes())
    for (const Value* result : node->results()) {
      if (!result->type.state || result->placement.kind == Placement::none) continue;
      const Value* argument = argument_of.lookup(version(result));
      if (argument->placement != result->placement)
        return rule_broken(function, "value %{} is at {}, the state %{} it is a version of at {}", result->name, place_of(*result),
                           argument->name, place_of(*argument));
    }
  return {};
}

/// Which nodes of a block read a value and which wait for which, by positions. A node stands for its body.
class Timeline {
 public:
  explicit Timeline(const Block& block) : block_(block), nodes_(block.nodes()) {
    for (std::size_t i = 0; i < nodes_.size(); ++i) {
      read(*nodes_[i], i);
      if (nodes_[i]->body())
        for (const Node* inner : nodes_[i]->body()->nodes()) read(*inner, i);
    }
  }
  llvm::ArrayRef<Node*> nodes() const { return nodes_; }
  /// In order, each once.
  llvm::ArrayRef<std::size_t> readers(const Value& value) const {
    const auto found = readers_.find(&value);
    return found == readers_.end() ? llvm::ArrayRef<std::size_t>() : llvm::ArrayRef(found->second);
  }
  /// Whether `later` waits for `earlier`, by data and `after` lists, directly or not: nothing else orders kernels on a device.
  bool waits(std::size_t later, std::size_t earlier) {
    if (!dependencies_) dependencies_.emplace(block_, Dependencies::Edges::stated);
    return dependencies_->reaches(*nodes_[earlier], *nodes_[later]);
  }

 private:
  void read(const Node& node, std::size_t position) {
    for (const Value* value : node.operands())
      if (auto& list = readers_[value]; list.empty() || list.back() != position) list.push_back(position);
  }
  const Block& block_;
  std::vector<Node*> nodes_;
  llvm::DenseMap<const Value*, llvm::SmallVector<std::size_t, 2>> readers_;
  std::optional<Dependencies> dependencies_;  // once one is asked about: a function that no memory is planned for needs none
};

/// Who wrote the bytes of the arena last, as disjoint ranges.
class Owners {
 public:
  struct Owner {
    const Value* value;
    std::size_t since;  // position of its writer
  };
  /// The owners of any byte in [begin, end).
  llvm::SmallVector<Owner> of(std::int64_t begin, std::int64_t end) const {
    llvm::SmallVector<Owner> out;
    for (auto range = first_touching(begin); range != ranges_.end() && range->first < end; ++range) out.push_back(range->second.owner);
    return out;
  }
  void take(std::int64_t begin, std::int64_t end, Owner owner) {
    auto range = first_touching(begin);
    while (range != ranges_.end() && range->first < end) {
      const auto [old_begin, old] = *range;
      range = ranges_.erase(range);
      if (old_begin < begin) ranges_[old_begin] = {begin, old.owner};
      if (old.end > end) ranges_[end] = old;
    }
    ranges_[begin] = {end, owner};
  }

 private:
  struct Range {
    std::int64_t end;
    Owner owner;
  };
  std::map<std::int64_t, Range>::const_iterator first_touching(std::int64_t begin) const {
    auto range = ranges_.upper_bound(begin);
    if (range != ranges_.begin() && std::prev(range)->second.end > begin) --range;
    return range;
  }
  std::map<std::int64_t, Range> ranges_;  // by first byte
};

/// Values in the arena that are alive at the same time lie apart, and bytes are used again only by a node that waits for all that wrote or
/// read them before. A value lives from the node that makes it to its last reader, both included, in the order of the block. To look at the
/// last owner of a byte is enough: that one waited for the owners before it.
Result<void> check_arena(const Function& function, Timeline& timeline) {
  Owners owners;
  for (std::size_t i = 0; i < timeline.nodes().size(); ++i)
    for (const Value* value : timeline.nodes()[i]->results()) {
      if (value->placement.kind != Placement::arena) continue;
      const std::int64_t begin = value->placement.offset, end = begin + value->placement.bytes;
      for (const Owners::Owner& owner : owners.of(begin, end)) {
        const auto readers = timeline.readers(*owner.value);
        if (owner.since == i || (!readers.empty() && readers.back() >= i))
          return rule_broken(function, "value %{} at {} overlaps %{} at {}, which is alive too", value->name, place_of(*value),
                             owner.value->name, place_of(*owner.value));
        for (std::size_t user : readers.empty() ? llvm::ArrayRef(owner.since) : readers)
          if (!timeline.waits(i, user))
            return rule_broken(function, *timeline.nodes()[i], "puts %{} where %{} was, without waiting for '{}'", value->name,
                               owner.value->name, head(*timeline.nodes()[user]));
      }
      owners.take(begin, end, {value, i});
    }
  return {};
}

/// Once a state has its place, whoever replaces a version waits for all readers of it.
Result<void> check_state_order(const Function& function, Timeline& timeline) {
  for (std::size_t i = 0; i < timeline.nodes().size(); ++i) {
    auto check = [&](const Node& node) -> Result<void> {
      if (!node.has(state_write) || node.operand(0)->placement.kind == Placement::none) return {};
      for (std::size_t reader : timeline.readers(*node.operand(0)))
        if (reader < i && !timeline.waits(i, reader))
          return rule_broken(function, *timeline.nodes()[i], "replaces %{} without waiting for '{}'", node.operand(0)->name,
                             head(*timeline.nodes()[reader]));
      return {};
    };
    HEDDLE_TRY(check(*timeline.nodes()[i]));
    if (timeline.nodes()[i]->body())
      for (const Node* inner : timeline.nodes()[i]->body()->nodes()) HEDDLE_TRY(check(*inner));
  }
  return {};
}

}  // namespace

Result<void> check_placements(const Function& function) {
  if (function.arena_bytes < 0) return rule_broken(function, "arena is {} bytes", function.arena_bytes);
  for (const Value* argument : function.arguments())
    if (argument->placement.kind == Placement::arena)
      return rule_broken(function, "argument %{}: at {}, but arguments are not in the arena", argument->name, place_of(*argument));
    else if (argument->placement.kind != Placement::none) HEDDLE_TRY(check_place(function, *argument));
  for (const Node* node : function.all_nodes())
    for (const Value* result : node->results()) {
      if (result->placement.kind == Placement::none) continue;
      if (node->enclosing_group())
        return rule_broken(function, "value %{}: at {}, but values inside a group have no place", result->name, place_of(*result));
      HEDDLE_TRY(check_place(function, *result));
    }
  HEDDLE_TRY(check_state_places(function));
  Timeline timeline(function.body());
  HEDDLE_TRY(check_arena(function, timeline));
  return check_state_order(function, timeline);
}

}  // namespace heddle::ir
