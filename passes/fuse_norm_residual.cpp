// passes/fuse_norm_residual.cpp: pull the add of a residual into the kernel of the norm that stands behind a sub-layer.
//   before  %n = rms_norm %o, @g  %y = add %x, %n
//   after   %y = group "norm_residual" { %n = rms_norm %o, @g; %y = add %x, %n; yield %y }
// The norm needs the whole row that the product in front of it spreads over many workers, so it does not join that product.
#include "passes/builtin.h"
#include "passes/match.h"

namespace heddle::passes {
namespace {

using ir::Node;
using ir::Op;
using ir::Value;

Outcome fuse(Node& add, Context& context) {
  if (add.enclosing_group()) return no_match();
  for (const Value* value : add.operands()) {
    Node* norm = value->producer();
    if (!norm || norm->op() != Op::rms_norm) continue;
    if (only_reader(*value) != &add) return declined(add, "%{} has {} readers", value->name, value->readers_in(*add.block()).size());
    return fuse_if_better({norm, &add}, "norm_residual", context);
  }
  return no_match();
}

}  // namespace

Pass fuse_norm_residual() {
  return at_each("fuse_norm_residual", "pulls a residual's add into the kernel of the norm behind a sub-layer", Op::add, fuse);
}

}  // namespace heddle::passes
