// passes/fuse_rope_cache.cpp: pull the rotary embedding of q and k, and the store of k and v, into the kernel of their products.
//   before  %q, %k, %v = group "qkv" { ... }
//           %q_rope = rope %q, %pos  %k_rope = rope %k, %pos
//           %kv.1 = kv_store %kv, %k_rope, %v, %slot, %pos
//   after   %q_rope, %kv.1 = group "qkv_rope_cache" { ...; %q_rope = rope %q, %pos; %k_rope = rope %k, %pos;
//                                                     %kv.1 = kv_store %kv, %k_rope, %v, %slot, %pos; yield %q_rope, %kv.1 }
#include "passes/builtin.h"
#include "passes/match.h"

namespace heddle::passes {
namespace {

using ir::Node;
using ir::Op;

std::string with(std::string label, const std::string& suffix) { return label.ends_with(suffix) ? label : label + suffix; }

Outcome fuse(Node& node, Context& context) {
  if (node.enclosing_group()) return no_match();
  if (node.op() == Op::rope) {
    Node* group = node.operand("x")->producer();
    if (!group || !holds(*group, Op::matmul)) return no_match();
    if (only_reader(*node.operand("x")) != &node)
      return declined(node, "%{} has {} readers", node.operand("x")->name, node.operand("x")->readers_in(*node.block()).size());
    return fuse_if_better({group, &node}, with(label_of(*group), "_rope"), context);
  }
  Node* group = node.operand("k")->producer();
  Node* other = node.operand("v")->producer();
  if (!group || !other || !holds(*other, Op::matmul)) return no_match();
  if (group != other) return declined(node, "k and v come out of different kernels");
  return fuse_if_better({group, &node}, label_of(*group) + "_cache", context);
}

}  // namespace

Pass fuse_rope_cache() {
  return at_each("fuse_rope_cache", "pulls rope and the cache store into the kernel of q, k and v", {Op::rope, Op::kv_store}, fuse);
}

}  // namespace heddle::passes
