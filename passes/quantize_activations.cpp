// passes/quantize_activations.cpp: put the activation of every matmul with a block-quantised weight into the target's 8-bit format, or into
// the one that the target's kernel for this matmul multiplies (halves for matrix units).
//   before  %y = matmul @w, %x                                              (@w : q4_K, the target's activations are q8_1)
//   after   %x.q = quantize %x {format="q8_1"}  %y = matmul @w, %x.q
// One quantize for each matmul: cse leaves one where several multiply the same activation. Embedding tables are read, not multiplied.
#include "ir/builder.h"
#include "ir/infer_types.h"
#include "passes/builtin.h"

namespace heddle::passes {
namespace {

using ir::Node;
using ir::Op;
using ir::Value;

Outcome quantize(Node& matmul, Context& context) {
  const Value& weight = *matmul.operand("w");
  Value& x = *matmul.operand("x");
  if (x.type.dtype != DType::f32) return no_match();
  const auto wanted = context.questions ? context.questions->activations_of(matmul) : std::nullopt;
  if (wanted == DType::f32) return declined(matmul, "the target's kernel for it multiplies f32");
  if (!wanted && !is_block_type(weight.type.dtype)) return declined(matmul, "its weight is {}", name(weight.type.dtype));
  if (!wanted && context.target.activations == DType::f32) return declined(matmul, "the target keeps activations in f32");
  const DType format = wanted.value_or(context.target.activations);
  if (const int block = info(format).elements; x.type.width() % block != 0)
    return declined(matmul, "its rows of {} are not whole blocks of {} ({})", x.type.width(), block, name(format));
  if (!context.take_change()) return declined(matmul, "the limit on changes is reached");

  Value* result = ir::Builder::before(matmul).quantize(fmt::format("{}.{}", x.name, name(format)), &x, std::string(name(format)));
  matmul.set_operand(unsigned(matmul.info().operand_index("x")), result);
  return fired(matmul);
}

}  // namespace

Pass quantize_activations() {
  Pass pass =
      at_each("quantize_activations", "puts activations that meet quantised weights into the target's 8-bit format", Op::matmul, quantize);
  pass.run = [run = pass.run](ir::Function& function, Context& context) -> Result<void> {
    const DType wanted = context.target.activations;
    if (wanted != DType::f32 && !ir::is_activation_format(wanted))
      return error("target '{}': activations are {}, wanted f32 or an 8-bit activation format", context.target.name, wanted);
    return run(function, context);
  };
  pass.approximates = true;
  return pass;
}

}  // namespace heddle::passes
