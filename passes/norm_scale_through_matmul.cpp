// passes/norm_scale_through_matmul.cpp: the row scale of an rms_norm commutes with the product, so it can be applied once at the end; the
// loop (and the quantize before it) need not wait for the sum of squares.
//   before  %n = rms_norm %x, @g {eps=1e-5}  %q = quantize %n  %y = matmul @w, %q
//   after   %xg = mul %x, @g  %q = quantize %xg  %s = rms_scale %x {eps=1e-5}  %m = matmul @w, %q  %y = mul %m, %s
// The rounding changes (a block's scale is rounded before the row scale, not after). It works at the top level and inside a group, where
// the norm and its products are in one block: before the fusions or after fuse_norm_matmul.
#include "ir/builder.h"
#include "passes/builtin.h"

namespace heddle::passes {
namespace {

using ir::Node;
using ir::Op;
using ir::Value;

bool is_factor(const Node& node, const Value& value) {
  return node.op() == Op::matmul && node.operand("x") == &value && node.operand("w") != &value;
}

Outcome rewrite(Node& norm, Context& context) {
  Value& x = *norm.operand("x");
  Value& gain = *norm.operand("gain");
  if (gain.type.width() != x.type.width())
    return declined(norm, "it is taken per head: {} scales in a row of {}", x.type.width() / gain.type.width(), x.type.width());

  llvm::SmallVector<Node*> products, quantizes;
  for (const Value::Use& use : norm.result()->uses()) {
    if (use.node->block() != norm.block()) return declined(norm, "it is read in another kernel");
    if (is_factor(*use.node, *norm.result())) products.push_back(use.node);
    else if (use.node->op() == Op::quantize) quantizes.push_back(use.node);
    else return declined(norm, "{} reads it", use.node->info().name);
  }
  for (Node* quantize : quantizes)
    for (const Value::Use& use : quantize->result()->uses()) {
      if (use.node->block() != norm.block()) return declined(norm, "its quantize is read in another kernel");
      if (!is_factor(*use.node, *quantize->result())) return declined(norm, "{} reads its quantize", use.node->info().name);
      products.push_back(use.node);
    }
  if (products.empty()) return no_match();
  if (!context.take_change()) return declined(norm, "the limit on changes is reached");

  const std::string name = norm.result()->name;
  auto builder = ir::Builder::before(norm);
  Value* scaled = builder.mul(name + ".unscaled", &x, &gain);
  Value* scale = builder.rms_scale(name + ".scale", &x, norm.f32("eps"));
  norm.result()->replace_all_uses_with(*scaled);
  norm.erase();
  for (Node* product : products) {
    ir::Block& block = *product->block();
    Value& y = *product->result();
    Value* end = ir::Builder::before(block[block.position_of(*product) + 1]).mul(y.name, &y, scale);
    y.name += ".unscaled";
    const llvm::SmallVector<Value::Use> uses(y.uses().begin(), y.uses().end());
    for (const Value::Use& use : uses)
      if (use.node != end->producer()) use.node->set_operand(use.operand, end);
  }
  return fired_at("%" + name);
}

}  // namespace

Pass norm_scale_through_matmul() {
  return at_each("norm_scale_through_matmul", "applies the row scale of an rms_norm after the product (changes the rounding)", Op::rms_norm,
                 rewrite);
}

}  // namespace heddle::passes
