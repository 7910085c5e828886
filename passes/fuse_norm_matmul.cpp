// passes/fuse_norm_matmul.cpp: pull an rms_norm and the quantize behind it into the kernel that alone reads them, so that the normalised
// row never reaches memory; likewise a quantize of any other activation.
//   before  %n = rms_norm %x, @g  %q = quantize %n {format="q8_1"}  %y = group { %m = matmul @w, %q; yield %m }
//   after   %y = group { %n = rms_norm %x, @g; %q = quantize %n {format="q8_1"}; %m = matmul @w, %q; yield %m }
// Every worker of the kernel repeats the row: with many rows or wide ones it may cost more than a kernel of its own, and is declined.
#include "passes/builtin.h"
#include "passes/match.h"

namespace heddle::passes {
namespace {

using ir::Node;
using ir::Op;

Outcome fuse(Node& first, Context& context) {
  if (first.enclosing_group()) return no_match();
  llvm::SmallVector<Node*> members;
  for (Node* node = &first;;) {
    members.push_back(node);
    const auto readers = node->result()->readers_in(*first.block());
    if (readers.size() != 1) {
      auto wants_it = [&](Node* reader) { return reader->op() == Op::quantize || multiplies(*reader, *node->result()); };
      if (llvm::none_of(readers, wants_it)) return no_match();
      return declined(first, "{} has {} readers", node->op() == Op::quantize ? "quantize" : "norm", readers.size());
    }
    Node* reader = readers.front();
    if (node->op() == Op::rms_norm && reader->op() == Op::quantize) {
      node = reader;
      continue;
    }
    if (!multiplies(*reader, *node->result())) return no_match();
    members.push_back(reader);
    return fuse_if_better(members, (first.op() == Op::rms_norm ? "norm_" : "quantize_") + label_of(*reader), context);
  }
}

}  // namespace

Pass fuse_norm_matmul() {
  return at_each("fuse_norm_matmul", "pulls an rms_norm and a quantize into the kernel of the products that read them",
                 {Op::rms_norm, Op::quantize}, fuse);
}

}  // namespace heddle::passes
