// passes/group_head_norms.cpp: norms over the heads of q and k, their rotary embeddings and the cache store become one kernel: behind the
// products of Q, K and V a head's columns are spread over many workers, and a norm needs them together.
//   before  %qn = rms_norm %q, @gq  %qr = rope %qn, %pos  %kn = rms_norm %k, @gk  %kr = rope %kn, %pos  %kv.1 = kv_store %kv, %kr, %v, ...
//   after   %qr, %kv.1 = group "head_norms_rope_cache" { %qn = ...; %qr = ...; %kn = ...; %kr = ...; %kv.1 = ...; yield %qr, %kv.1 }
#include "passes/builtin.h"
#include "passes/match.h"

namespace heddle::passes {
namespace {

using ir::Node;
using ir::Op;
using ir::Value;

/// Adds the rope that `value` comes from, if any, and the norm in front of it; whether there is a norm. Nodes that others read too are
/// left.
bool add_norm(const Value& value, llvm::SmallVectorImpl<Node*>& members) {
  Node* rope = value.producer();
  if (!rope || rope->op() != Op::rope) return false;
  Node* norm = rope->operand("x")->producer();
  if (!norm || norm->op() != Op::rms_norm || only_reader(*norm->result()) != rope || only_reader(value) == nullptr) return false;
  members.push_back(norm);
  members.push_back(rope);
  return true;
}

Outcome group(Node& store, Context& context) {
  if (store.enclosing_group()) return no_match();
  llvm::SmallVector<Node*> members;
  for (Node* reader : store.result()->readers_in(*store.block()))
    if (reader->op() == Op::attention && members.empty() && reader->operand("q")->type.rows() == store.operand("k")->type.rows())
      add_norm(*reader->operand("q"), members);
  if (!add_norm(*store.operand("k"), members) && members.empty()) return no_match();
  members.push_back(&store);
  return fuse_if_better(members, "head_norms_rope_cache", context);
}

}  // namespace

Pass group_head_norms() {
  return at_each("group_head_norms", "makes one kernel of the norms over heads of q and k, their ropes and the cache store", Op::kv_store,
                 group);
}

}  // namespace heddle::passes
