#pragma once
#include "ir/graph.h"

/// Graph algorithms over a block, by Boost.Graph on a view that copies nothing of the IR. A node depends on the producers of what it (or
/// its body) reads, on its `after` list, and, for a state writer, on all readers of the version it replaces (`for_each_dependency`).
namespace heddle::ir {

/// The nodes of `block` that `node` directly depends on, in block order.
std::vector<Node*> predecessors(const Block& block, const Node& node);

/// A topological order, block order where free; an error names a node on a cycle.
Result<std::vector<Node*>> topological_order(const Block& block);

/// Whether `to` depends on `from`, directly or not; a node reaches itself.
bool is_reachable(const Block& block, const Node& from, const Node& to);

/// No path leaves the set and comes back: the set can become one group. The block must be in a valid order, as verified ones are: only the
/// nodes between the first and the last of the set are looked at.
bool is_convex(const Block& block, llvm::ArrayRef<Node*> set);

/// Length in nodes of the longest dependency chain; the terminator counts. The block must have no cycle.
std::size_t longest_path(const Block& block);

/// For every node (by position) the predecessors that no other predecessor implies, in block order. The block must have no cycle.
std::vector<std::vector<std::size_t>> transitively_reduced_edges(const Block& block);

/// Graphviz text of a function; groups are clusters, nodes are labelled with name, op and type, edges that only order are dashed.
std::string to_dot(const Function& function);

}  // namespace heddle::ir
