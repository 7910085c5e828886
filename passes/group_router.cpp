// passes/group_router.cpp: the choice of the experts and their gates become one kernel.
//   before  %e = top_k %logits {k=8}  %g = expert_gates %logits, %e {normalized=1}
//   after   %e, %g = group "router" { %e = top_k %logits {k=8}; %g = expert_gates %logits, %e {normalized=1}; yield %e, %g }
// No kernel gives only one of them, so nothing is asked and no limit on changes counts it.
#include "passes/builtin.h"
#include "passes/match.h"

namespace heddle::passes {
namespace {

using ir::Node;
using ir::Op;

Outcome group(Node& gates, Context&) {
  if (gates.enclosing_group()) return no_match();
  Node* choice = gates.operand("experts")->producer();
  if (!choice || choice->op() != Op::top_k) return no_match();
  if (choice->operand("x") != gates.operand("x"))
    return declined(gates, "the experts are chosen by %{}, the gates are of %{}", choice->operand("x")->name, gates.operand("x")->name);
  return fired(ir::make_group({choice, &gates}, "router"));
}

}  // namespace

Pass group_router() {
  return at_each("group_router", "makes one kernel of the choice of the experts and their gates", Op::expert_gates, group);
}

}  // namespace heddle::passes
