#pragma once
#include <llvm/ADT/BitVector.h>
#include <llvm/ADT/DenseMap.h>

#include "ir/graph.h"

namespace heddle::ir {

/// Which nodes of a block depend on which, directly and by others, as the block is when this is made; later changes are seen through `wait`
/// alone. Making it takes a walk over the block and the transitive closure, after which questions are cheap.
///
/// All but `direct` and `topological_order` need a block without a cycle, as verified ones are.
class Dependencies {
 public:
  enum class Edges : std::uint8_t {
    all,     // of `for_each_dependency`
    stated,  // of `for_each_stated_dependency`: what orders kernels before `schedule` has run
  };
  explicit Dependencies(const Block& block, Edges edges = Edges::all);

  /// Of the nodes from `first` to `last` of one block alone: enough, and cheap, for what lies between them in a block in a valid order.
  static Dependencies between(const Node& first, const Node& last);

  /// What `node` depends on directly, in block order, each once.
  std::vector<Node*> direct(const Node& node) const;

  /// An order in which everything comes after what it depends on: block order where free, so a valid order stays. An error names a node on
  /// a cycle.
  Result<std::vector<Node*>> topological_order() const;

  /// Whether `to` depends on `from`, directly or not; a node reaches itself.
  bool reaches(const Node& from, const Node& to) const;

  /// No path leaves `members` and comes back: they can become one group.
  bool is_convex(llvm::ArrayRef<Node*> members) const;

  /// The transitive reduction: for every node (by position) the positions, ascending, of what it depends on directly and by no other way.
  std::vector<llvm::SmallVector<unsigned, 4>> reduced() const;

  /// The chain of dependencies whose weights have the largest sum, in order: what bounds a step however many nodes run side by side.
  std::vector<Node*> critical_path(llvm::function_ref<double(const Node&)> weight) const;

  /// Makes `later` wait for `earlier`, by its `after` list. The block is in a valid order, and `earlier` comes first in it.
  void wait(Node& later, Node& earlier);

 private:
  Dependencies(std::vector<Node*> nodes, Edges edges);
  unsigned position(const Node& node) const;
  void close();
  const llvm::BitVector& ancestors(unsigned node) const;

  std::vector<Node*> nodes_;
  llvm::DenseMap<const Node*, unsigned> positions_;
  std::vector<llvm::SmallVector<unsigned, 4>> direct_;  // by position: positions, ascending; a graph to Boost, edges lead backwards
  std::vector<unsigned> order_;                         // topological
  std::optional<unsigned> on_cycle_;
  std::vector<llvm::BitVector> ancestors_;  // by position: all that it depends on
};

}  // namespace heddle::ir
