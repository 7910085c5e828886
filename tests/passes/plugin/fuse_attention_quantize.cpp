// tests/passes/plugin/fuse_attention_quantize.cpp: an example of a pass from outside the tree. It pulls the quantize of the attention's result
// into the attention's kernel, so that the row leaves it in 8 bits; heddle itself puts that quantize in front of the next product.
//   before  %a = attention %q, %kv, %slot, %pos {...}  %aq = quantize %a {format="q8_1"}  %o = matmul @wo, %aq
//   after   %aq = group "attention_quantize" { %a = attention ...; %aq = quantize %a {format="q8_1"}; yield %aq }  %o = matmul @wo, %aq
#include "passes/plugin.h"

namespace {

using namespace heddle;
using passes::Context, passes::Outcome;

Outcome fuse(ir::Node& quantize, Context& context) {
  ir::Node* attention = quantize.operand("x")->producer();
  if (quantize.enclosing_group() || !attention || attention->op() != ir::Op::attention) return passes::no_match();
  if (const auto readers = attention->result()->readers_in(*attention->block()); readers.size() > 1)
    return passes::declined(quantize, "attention has {} readers", readers.size());
  return passes::fuse_if_better({attention, &quantize}, "attention_quantize", context);
}

}  // namespace

HEDDLE_PLUGIN(registry) {
  auto pass =
      passes::at_each("fuse_attention_quantize", "pulls the quantize of an attention's result into its kernel", ir::Op::quantize, fuse);
  pass.before = "fuse_norm_matmul";  // which would take the quantize for the product behind it
  return registry.add(std::move(pass));
}
