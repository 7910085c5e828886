// passes/group_select.cpp: all that is taken by one index becomes one kernel: copies of a few rows cost less than a launch each.
//   before  %y = select_rows %x, %last  %s = select_rows %slot, %last  %p = select_rows %pos, %last
//   after   %y, %s, %p = group "select" { %y = select_rows %x, %last; %s = select_rows %slot, %last; ...; yield %y, %s, %p }
#include "passes/builtin.h"
#include "passes/match.h"

namespace heddle::passes {
namespace {

using ir::Node;
using ir::Op;

Outcome group(Node& select, Context& context) {
  if (select.enclosing_group()) return no_match();
  llvm::SmallVector<Node*> members;
  for (Node* reader : select.operand("index")->readers_in(*select.block()))
    if (reader->op() == Op::select_rows && reader->operand("index") == select.operand("index") &&
        reader->operand("x")->type.shape[0] == select.operand("x")->type.shape[0])
      members.push_back(reader);
  if (members.size() < 2) return declined(select, "nothing else is taken by %{}", select.operand("index")->name);
  return fuse_if_better(members, "select", context);
}

}  // namespace

Pass group_select() { return at_each("group_select", "makes one kernel of the rows that one index takes", Op::select_rows, group); }

}  // namespace heddle::passes
