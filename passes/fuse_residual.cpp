// passes/fuse_residual.cpp: pull the add of a residual (or of a bias) into the kernel of the product it is added to.
//   before  %o = group "quantize_matmul" { ... }  %y = add %x, %o
//   after   %y = group "quantize_matmul_residual" { ...; %y = add %x, %o; yield %y }
#include "passes/builtin.h"
#include "passes/match.h"

namespace heddle::passes {
namespace {

using ir::Node;
using ir::Op;
using ir::Value;

Outcome fuse(Node& add, Context& context) {
  if (add.enclosing_group()) return no_match();
  Node* product = nullptr;
  const Value* read = nullptr;
  for (const Value* value : add.operands()) {  // the later of two products: the other one's result is then its residual
    Node* node = value->producer();
    if (!node || !holds(*node, Op::matmul) || value->type != add.result()->type) continue;
    if (product && add.block()->position_of(*product) > add.block()->position_of(*node)) continue;
    product = node;
    read = value;
  }
  if (!product) return no_match();
  if (only_reader(*read) != &add) return declined(add, "%{} has {} readers", read->name, read->readers_in(*add.block()).size());
  return fuse_if_better({product, &add}, label_of(*product) + (biased(add) ? "_bias" : "_residual"), context);
}

}  // namespace

Pass fuse_residual() {
  return at_each("fuse_residual", "pulls a residual's add into the kernel of the product it is added to", Op::add, fuse);
}

}  // namespace heddle::passes
