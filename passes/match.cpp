#include "passes/match.h"

#include <llvm/ADT/STLExtras.h>

namespace heddle::passes {

using ir::Node;
using ir::Op;
using ir::Value;

Node* computed_by(const Value& value) {
  Node* node = value.producer();
  if (node && node->op() == Op::group) return node->body()->terminator()->operand(value.index())->producer();
  return node;
}

bool holds(const Node& node, Op op) {
  if (node.op() == op) return true;
  return node.op() == Op::group && llvm::any_of(node.body()->nodes(), [&](Node* inner) { return inner->op() == op; });
}

Value* biased(const Node& node) {
  if (node.op() != Op::add && node.op() != Op::mul) return nullptr;
  for (unsigned i : {0u, 1u})
    if (node.operand(i)->is_weight() && node.operand(i)->type.shape.size() == 1 && !node.operand(1 - i)->is_weight())
      return node.operand(1 - i);
  return nullptr;
}

bool multiplies(const Node& node, const Value& value) {
  bool found = false;
  for (const Value::Use& use : value.uses()) {
    if (use.node != &node && use.node->enclosing_group() != &node) continue;
    if (use.node->op() != Op::matmul || use.node->operand("x") != &value) return false;
    found = true;
  }
  return found;
}

Node* only_reader(const Value& value) {
  if (!value.producer()) return nullptr;
  const auto readers = value.readers_in(*value.producer()->block());
  return readers.size() == 1 ? readers.front() : nullptr;
}

std::vector<Value*> states_written_by(const Node& node) {
  std::vector<Value*> states;
  if (node.has(ir::state_write)) states.push_back(node.operand(0));
  if (node.body())
    for (const Node* inner : node.body()->nodes())
      if (inner->has(ir::state_write)) states.push_back(inner->operand(0));
  return states;
}

std::string place_of(const Node& node) { return node.results().empty() ? std::string(node.info().name) : "%" + node.result()->name; }

std::string label_of(const Node& node) { return node.op() == Op::group ? node.str("label") : std::string(node.info().name); }

}  // namespace heddle::passes
