// passes/dce.cpp: drop nodes and results of groups that nobody reads.
//   before  %n = rms_norm %x, @g  %y, %z = group { %a = silu %x; %b = neg %x; yield %a, %b }  ret %y
//   after   %y = group { %a = silu %x; yield %a }  ret %y
// A state is returned by its function, so its writers are never dead.
#include "passes/builtin.h"

#include <llvm/ADT/STLExtras.h>

namespace heddle::passes {
namespace {

using ir::Node;

bool may_go(const Node& node) {
  if (node.body()) return llvm::all_of(node.body()->nodes(), [](Node* inner) { return inner->has(ir::terminator) || may_go(*inner); });
  return node.has(ir::pure);
}

void drop_unused(ir::Block& block, Context& context) {
  const auto nodes = block.nodes();
  for (Node* node : llvm::reverse(nodes)) {  // readers before what they read
    if (node->body()) {
      for (unsigned i = unsigned(node->results().size()); i-- > 0;) {
        ir::Value& result = *node->result(i);
        if (result.has_uses() || result.type.state || (node->results().size() == 1 && may_go(*node))) continue;
        if (!context.take_change()) continue;
        context.note(fired_at("%" + result.name));
        node->erase_result(i);
      }
      drop_unused(*node->body(), context);
    }
    if (!may_go(*node) || llvm::any_of(node->results(), [](ir::Value* value) { return value->has_uses(); })) continue;
    if (!context.take_change()) continue;
    context.note(fired(*node));
    node->erase();
  }
}

}  // namespace

Pass dce() {
  return {"dce", "drops nodes and results of groups that nobody reads", {}, [](ir::Function& function, Context& context) -> Result<void> {
            drop_unused(function.body(), context);
            return {};
          }};
}

}  // namespace heddle::passes
