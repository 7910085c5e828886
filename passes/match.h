#pragma once
#include "ir/graph.h"

/// Questions about the graph that several passes ask.
namespace heddle::passes {

/// The node that computes `value`, or null for arguments and weights; of a group's result, the node in its body.
ir::Node* computed_by(const ir::Value& value);

/// Whether `node` is of `op` or a group that holds one.
bool holds(const ir::Node& node, ir::Op op);

/// What `node` adds a weight vector to, or multiplies by one; null for any other node.
ir::Value* biased(const ir::Node& node);

/// Whether all that `node` (a matmul, or a group of matmuls and what follows them) does with `value` is to multiply it by weights.
bool multiplies(const ir::Node& node, const ir::Value& value);

/// The node of its block that alone reads a node's result, or null.
ir::Node* only_reader(const ir::Value& value);

/// The versions of states that a node (or its body) overwrites.
std::vector<ir::Value*> states_written_by(const ir::Node& node);

/// How remarks and errors name a node: "%7", its first result; its op where it has none.
std::string place_of(const ir::Node& node);

/// A name for what a node does: the label of a group, the op of a lone node.
std::string label_of(const ir::Node& node);

}  // namespace heddle::passes
