// passes/cse.cpp: of pure nodes of one block with the same op, operands and attributes, keep the first.
//   before  %a = quantize %n {format="q8_1"}  %q = matmul @wq, %a    %b = quantize %n {format="q8_1"}  %k = matmul @wk, %b
//   after   %a = quantize %n {format="q8_1"}  %q = matmul @wq, %a    %k = matmul @wk, %a
// State ops are never merged: a store is not pure, and reads of two versions have different operands.
#include <tuple>

#include "passes/builtin.h"

namespace heddle::passes {
namespace {

using ir::Node;

using Key = std::tuple<ir::Op, std::vector<ir::Value*>, std::vector<ir::AttrValue>>;

void merge(ir::Block& block, Context& context) {
  std::map<Key, Node*> first_of;
  for (Node* node : block.nodes()) {
    if (node->body()) merge(*node->body(), context);
    if (!node->has(ir::pure)) continue;
    auto [first, is_new] = first_of.try_emplace(Key{node->op(), {node->operands().begin(), node->operands().end()}, node->attrs()}, node);
    if (is_new) continue;
    if (!context.take_change()) {
      context.note(declined(*node, "the limit on changes is reached"));
      continue;
    }
    context.note(fired(*node));
    node->result()->replace_all_uses_with(*first->second->result());
    node->erase();
  }
}

}  // namespace

Pass cse() {
  return {"cse", "merges pure nodes that compute the same value", {}, [](ir::Function& function, Context& context) -> Result<void> {
            merge(function.body(), context);
            return {};
          }};
}

}  // namespace heddle::passes
