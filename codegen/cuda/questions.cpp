#include "codegen/cuda/questions.h"

#include <llvm/ADT/STLExtras.h>

#include "codegen/cuda/emit.h"
#include "codegen/cuda/kernels/attention/prefill_attention.h"
#include "codegen/cuda/kernels/gemm/gemm.h"
#include "codegen/spec.h"

namespace heddle::codegen::cuda {
namespace {

/// Of attention on the matrix units of an H100: 32 heads of 64 took 17 us for 512 rows and 85 for 2048, 32 of 128 27 us for 512.
constexpr double attention_operations_per_us = 200e6;

/// The last node of this op: what is refused stands mostly behind the loop. The group itself if there is none.
const ir::Node* node_of(const ir::Node& group, std::string_view op) {
  const auto nodes = group.body()->nodes();
  for (const ir::Node* node : llvm::reverse(nodes))
    if (node->info().name == op) return node;
  return &group;
}

}  // namespace

std::optional<Refusal> CudaQuestions::cannot_emit(const ir::Node& group) const {
  auto spec = spec_of(group);
  if (auto* refusal = std::get_if<Refusal>(&spec)) return *refusal;
  // Layouts are chosen behind the fusions: ask as if the weights were already stored as the GPU reads them.
  plan::KernelSpec& asked = std::get<SpecOfGroup>(spec).spec;
  set_layouts(asked);
  auto refused = cuda::cannot_emit(asked, target_);
  if (!refused) return std::nullopt;
  return Refusal{node_of(group, refused->op), refused->reason};
}

std::optional<double> CudaQuestions::loop_us(const ir::Node& group) const {
  auto found = spec_of(group);
  if (std::holds_alternative<Refusal>(found)) return std::nullopt;
  plan::KernelSpec& spec = std::get<SpecOfGroup>(found).spec;
  set_layouts(spec);
  if (spec.gemm() && spec.gemm()->activations == tile_activations) return tiles_us(spec, target_);
  if (spec.attention() && flash_wanted(spec)) {
    constexpr double least_us = 10;  // as if the rows were a prompt of their own
    const double rows = double(spec.rows);
    return least_us + 2 * rows * (rows + 1) * double(spec.attention()->heads * spec.attention()->head_dim) / attention_operations_per_us;
  }
  return std::nullopt;
}

double CudaQuestions::key_us(const ir::Node& group) const {
  auto spec = spec_of(group);
  auto* found = std::get_if<SpecOfGroup>(&spec);
  return found ? operations_per_key(found->spec) / attention_operations_per_us : 0;
}

Layout CudaQuestions::layout_of(DType type) const { return cuda::layout_of(type); }

std::optional<DType> CudaQuestions::activations_of(const ir::Node& matmul) const {
  const ir::Type& weight = matmul.operand("w")->type;
  if (matmul.operand("experts")) return DType::f32;
  if (target_.activations == DType::f32) return std::nullopt;
  if (matmul.result()->type.rows() % least_tile_rows != 0 || !has_tiles(weight.dtype, weight.width())) return std::nullopt;
  return tile_activations;
}

}  // namespace heddle::codegen::cuda
