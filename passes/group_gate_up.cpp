// passes/group_gate_up.cpp: the two products of a gated feed-forward layer become one kernel.
//   before  %gate = matmul @wg, %n  %up = matmul @wu, %n  %s = silu %gate  %act = mul %s, %up
//   after   %gate, %up = group "gate_up" { %gate = matmul @wg, %n; %up = matmul @wu, %n; yield %gate, %up }  %s = silu %gate  ...
#include "passes/builtin.h"
#include "passes/match.h"

namespace heddle::passes {
namespace {

using ir::Node;
using ir::Op;
using ir::Value;

/// The product behind a value, itself or below a bias; the bias joins `members` too.
Node* product(const Value& value, llvm::SmallVectorImpl<Node*>& members) {
  Node* node = value.producer();
  Node* bias = node && biased(*node) ? node : nullptr;
  if (bias) node = biased(*bias)->producer();
  if (!node || node->op() != Op::matmul) return nullptr;
  members.push_back(node);
  if (bias) members.push_back(bias);
  return node;
}

Outcome group(Node& mul, Context& context) {
  if (mul.enclosing_group()) return no_match();
  for (unsigned side : {0u, 1u}) {
    const Node* act = mul.operand(side)->producer();
    if (!act || !act->has(ir::elementwise) || act->operands().size() != 1) continue;  // silu, gelu, relu ...
    llvm::SmallVector<Node*> members;
    const Node* gate = product(*act->operand(0), members);
    const Node* up = product(*mul.operand(1 - side), members);
    if (!gate || !up || gate == up) continue;
    if (gate->operand("x") != up->operand("x"))
      return declined(mul, "gate is a product of %{}, up of %{}", gate->operand("x")->name, up->operand("x")->name);
    for (const Node* matmul : {gate, up})
      if (!only_reader(*matmul->result()))
        return declined(mul, "%{} has {} readers", matmul->result()->name, matmul->result()->readers_in(*mul.block()).size());
    return fuse_if_better(members, "gate_up", context);
  }
  return no_match();
}

}  // namespace

Pass group_gate_up() { return at_each("group_gate_up", "makes one kernel of a gated layer's two products", Op::mul, group); }

}  // namespace heddle::passes
