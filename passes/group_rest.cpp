// passes/group_rest.cpp: every node that is left becomes a group of its own: from here on a top-level node is a kernel.
//   before  %c = constant {value=2}  %a = mul %x, %c
//   after   %a = group "mul" { %c = constant {value=2}; %a = mul %x, %c; yield %a }
// Constants are no kernels: each group that reads one gets its own.
#include <llvm/ADT/STLExtras.h>

#include "ir/builder.h"
#include "passes/builtin.h"

namespace heddle::passes {
namespace {

using ir::Node;
using ir::Op;
using ir::Value;

/// Copies the constant into every group that reads it, and drops it unless the function returns it.
void sink(Node& constant) {
  Value& value = *constant.result();
  for (Node* reader : value.readers_in(*constant.block())) {
    if (reader->op() != Op::group) continue;
    Value* inner = ir::Builder::before((*reader->body())[0]).constant(value.name, constant.f32("value"));
    const llvm::SmallVector<Value::Use> uses(value.uses().begin(), value.uses().end());
    for (const Value::Use& use : uses)
      if (use.node->enclosing_group() == reader) use.node->set_operand(use.operand, inner);
  }
  if (!value.has_uses()) constant.erase();
}

Result<void> group_all(ir::Function& function, Context& context) {
  for (Node* node : function.body().nodes())
    if (!node->has(ir::terminator) && node->op() != Op::group && node->op() != Op::constant)
      context.note(fired(ir::make_group(node, std::string(node->info().name))));
  for (Node* node : function.body().nodes()) {
    if (node->op() != Op::constant) continue;
    const std::string name = node->result()->name;
    const bool returned = llvm::any_of(node->result()->uses(),
                                       [](const Value::Use& use) { return use.node->has(ir::terminator) && !use.node->enclosing_group(); });
    if (returned) return error("%{}: a constant is returned, wanted a value that a kernel computes", name);
    sink(*node);
  }
  return {};
}

}  // namespace

Pass group_rest() { return {"group_rest", "makes every node that is left a kernel of its own", {}, group_all}; }

}  // namespace heddle::passes
