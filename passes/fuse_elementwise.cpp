// passes/fuse_elementwise.cpp: pull arithmetic with constants (the scale of an embedding, the cap of logits) into the kernel that computes
// its operand.
//   before  %e = embed @table, %tokens  %c = constant {value=16}  %x = mul %e, %c
//   after   %c = constant {value=16}  %x = group "embed_mul" { %e = embed @table, %tokens; %x = mul %e, %c; yield %x }
#include "passes/builtin.h"
#include "passes/match.h"

namespace heddle::passes {
namespace {

using ir::Node;
using ir::Op;
using ir::Value;

bool is_constant(const Value& value) { return value.producer() && value.producer()->op() == Op::constant; }

Outcome fuse(Node& node, Context& context) {
  if (node.enclosing_group()) return no_match();
  const Value* read = nullptr;
  for (const Value* value : node.operands()) {
    if (is_constant(*value)) continue;
    if (read && read != value) return no_match();
    read = value;
  }
  if (!read || !read->producer()) return no_match();
  Node& producer = *read->producer();
  if (!holds(producer, Op::embed) && !holds(producer, Op::matmul)) return no_match();
  if (only_reader(*read) != &node) return declined(node, "%{} has {} readers", read->name, read->readers_in(*node.block()).size());
  return fuse_if_better({&producer, &node}, label_of(producer) + "_" + std::string(node.info().name), context);
}

}  // namespace

Pass fuse_elementwise() {
  return at_each("fuse_elementwise", "pulls arithmetic with constants into the kernel that computes its operand",
                 {Op::add, Op::sub, Op::mul, Op::div, Op::max, Op::neg, Op::exp, Op::tanh, Op::sigmoid, Op::silu, Op::gelu, Op::relu},
                 fuse);
}

}  // namespace heddle::passes
