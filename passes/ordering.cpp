#include "passes/ordering.h"

namespace heddle::passes {

using ir::Node;
using ir::Value;

Ordering::Ordering(const ir::Block& block) {
  const auto nodes = block.nodes();
  for (unsigned i = 0; i < nodes.size(); ++i) position_[nodes[i]] = i;
  before_.assign(nodes.size(), llvm::BitVector(unsigned(nodes.size())));
  auto wait = [&](unsigned i, const Node* node) {
    const auto found = position_.find(node);
    if (found == position_.end() || found->second == i) return;
    HEDDLE_CHECK(found->second < i, "the order of the nodes is not topological");
    before_[i] |= before_[found->second];
    before_[i].set(found->second);
  };
  for (unsigned i = 0; i < nodes.size(); ++i) {
    auto wait_for_operands = [&](const Node& node) {
      for (const Value* value : node.operands())
        if (value->producer()) wait(i, value->producer());
    };
    wait_for_operands(*nodes[i]);
    if (nodes[i]->body())
      for (const Node* inner : nodes[i]->body()->nodes()) wait_for_operands(*inner);
    for (const Node* earlier : nodes[i]->after) wait(i, earlier);
  }
}

bool Ordering::is_before(const Node& a, const Node& b) const { return before_[position_.at(&b)].test(position_.at(&a)); }

void Ordering::add(Node& a, Node& b) {
  const unsigned first = position_.at(&a), second = position_.at(&b);
  HEDDLE_CHECK(first < second, "an edge against the order of the nodes");
  b.after.push_back(&a);
  for (unsigned i = second; i < before_.size(); ++i) {
    if (i != second && !before_[i].test(second)) continue;
    before_[i] |= before_[first];
    before_[i].set(first);
  }
}

std::vector<Value*> states_written_by(const Node& node) {
  std::vector<Value*> states;
  if (node.has(ir::state_write)) states.push_back(node.operand(0));
  if (node.body())
    for (const Node* inner : node.body()->nodes())
      if (inner->has(ir::state_write)) states.push_back(inner->operand(0));
  return states;
}

}  // namespace heddle::passes
