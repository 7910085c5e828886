// passes/fuse_gate_up_swiglu.cpp: pull the gate's activation, its product with `up`, and the quantize of that, into the kernel of gate and
// up, so that neither of the two wide rows reaches memory.
//   before  %gate, %up = group "gate_up" { ... }  %s = silu %gate  %act = mul %s, %up  %q = quantize %act {format="q8_1"}
//   after   %q = group "gate_up_swiglu" { ...; %s = silu %gate; %act = mul %s, %up; %q = quantize %act {format="q8_1"}; yield %q }
#include "passes/builtin.h"
#include "passes/match.h"

namespace heddle::passes {
namespace {

using ir::Node;
using ir::Op;

Outcome fuse(Node& mul, Context& context) {
  if (mul.enclosing_group()) return no_match();
  for (unsigned side : {0u, 1u}) {
    Node* act = mul.operand(side)->producer();
    if (!act || !act->has(ir::elementwise) || act->operands().size() != 1) continue;  // silu, gelu, relu ...
    Node* group = act->operand(0)->producer();
    if (!group || !holds(*group, Op::matmul)) continue;
    if (mul.operand(1 - side)->producer() != group) return declined(mul, "gate and up are not one kernel");
    if (only_reader(*act->result()) != &mul)
      return declined(mul, "%{} has {} readers", act->result()->name, act->result()->readers_in(*mul.block()).size());

    const std::string label = label_of(*group) + "_swiglu";
    Node* quantize = only_reader(*mul.result());
    if (quantize && quantize->op() == Op::quantize) {
      // Behind the loop the workers share it; in front of the next product each of them would repeat it.
      Outcome outcome = fuse_if_better({group, act, &mul, quantize}, label, context);
      if (outcome.kind == Outcome::fired) return outcome;
      context.note(std::move(outcome));
    }
    return fuse_if_better({group, act, &mul}, label, context);
  }
  return no_match();
}

}  // namespace

Pass fuse_gate_up_swiglu() {
  return at_each("fuse_gate_up_swiglu", "pulls silu(gate) * up, and its quantize, into the kernel of gate and up", Op::mul, fuse);
}

}  // namespace heddle::passes
