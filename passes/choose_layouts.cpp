// passes/choose_layouts.cpp: store every weight matrix as the target's kernels read it; what the layout is called and means is theirs.
//   before  weight @w : q6_K[4096, 4096] ... layout "rows"
//   after   weight @w : q6_K[4096, 4096] ... layout "planes"
// A tied matrix has one symbol and so one layout, in which the embedding reads it too.
#include <llvm/ADT/STLExtras.h>

#include "passes/builtin.h"

namespace heddle::passes {
namespace {

Result<void> run(ir::Function& function, Context& context) {
  if (!context.questions) return {};
  for (ir::Value* weight : function.module().weights()) {
    if (weight->type.shape.size() < 2) continue;
    const bool table = llvm::all_of(weight->uses(), [](const ir::Value::Use& use) { return use.node->op() == ir::Op::embed; });
    const DType type = weight->type.dtype;
    const Layout layout = table                                 ? context.questions->table_layout_of(type)
                               : weight->type.shape.size() == 3 ? context.questions->stack_layout_of(type, weight->type.shape[1])
                                                                : context.questions->layout_of(type);
    if (weight->layout == layout) continue;
    if (!context.take_change()) return {};
    weight->layout = layout;
    context.note({Outcome::fired, "@" + weight->name, {}});
  }
  return {};
}

}  // namespace

Pass choose_layouts() {
  return {.name = "choose_layouts", .summary = "stores weight matrices as the target's kernels read them", .option_names = {}, .run = run};
}

}  // namespace heddle::passes
