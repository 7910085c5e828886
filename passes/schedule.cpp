// passes/schedule.cpp: put the kernels into the order in which they are listed for the device, and say by `after` what data does not: a
// kernel that overwrites a state waits for those that read the version before.
//   before  %kv.1 = group { kv_store %kv, ... }     %a = group { attention %q, %kv, ... }
//   after   %a = group { attention %q, %kv, ... }   %kv.1 = group after(%a) { kv_store %kv, ... }
// The order is topological, and the given one where it is free. Before plan_memory: lifetimes follow from the order, and plan_memory adds
// the edges that its reuse of the arena needs.
#include "ir/dependencies.h"
#include "passes/builtin.h"
#include "passes/match.h"

namespace heddle::passes {
namespace {

using ir::Node;
using ir::Value;

Result<void> run(ir::Function& function, Context& context) {
  ir::Block& block = function.body();
  HEDDLE_ASSIGN(const std::vector<Node*> order, ir::Dependencies(block).topological_order());
  if (order != block.nodes()) {
    Node* end = block.terminator();
    for (Node* node : order)
      if (node != end) node->move_before(*end);
    context.note(fired_at("@" + function.name));
  }

  ir::Dependencies stated(block, ir::Dependencies::Edges::stated);
  for (Node* writer : block.nodes())
    for (const Value* old : states_written_by(*writer))
      for (Node* reader : old->readers_in(block)) {
        if (reader == writer || stated.reaches(*reader, *writer)) continue;
        stated.wait(*writer, *reader);
        context.note(fired(*writer));
      }
  return {};
}

}  // namespace

Pass schedule() { return {"schedule", "orders the kernels, and the overwriting of states behind the reading", {}, run}; }

}  // namespace heddle::passes
