// passes/fuse_quantize.cpp: pull a quantize that no product could take into the kernel that computes its operand: a norm or an attention.
//   before  %n = rms_norm %x, @g  %q = quantize %n {format="f16_128"}  %y = group "qkv" { ... matmul @w, %q ... }
//   after   %q = group "norm_quantize" { %n = rms_norm %x, @g; %q = quantize %n {format="f16_128"}; yield %q }  %y = group "qkv" { ... }
// Kernels on matrix units read their activations from memory; so do those whose products are too wide for a norm in front of them.
#include "passes/builtin.h"
#include "passes/match.h"

namespace heddle::passes {
namespace {

using ir::Node;
using ir::Op;

Outcome fuse(Node& quantize, Context& context) {
  if (quantize.enclosing_group()) return no_match();
  Node* producer = quantize.operand("x")->producer();
  if (!producer || !(producer->op() == Op::rms_norm || holds(*producer, Op::attention))) return no_match();
  if (only_reader(*quantize.operand("x")) != &quantize)
    return declined(quantize, "%{} has {} readers", quantize.operand("x")->name,
                    quantize.operand("x")->readers_in(*quantize.block()).size());
  return fuse_if_better({producer, &quantize}, (producer->op() == Op::rms_norm ? "norm" : label_of(*producer)) + "_quantize", context);
}

}  // namespace

Pass fuse_quantize() {
  return at_each("fuse_quantize", "pulls a quantize into the kernel of the norm or attention that it reads", Op::quantize, fuse);
}

}  // namespace heddle::passes
