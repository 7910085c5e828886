#include "codegen/cuda/questions.h"

#include <llvm/ADT/STLExtras.h>

#include "codegen/cuda/emit.h"
#include "codegen/cuda/tiles.h"
#include "codegen/spec.h"

namespace heddle::codegen::cuda {
namespace {

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
  plan::KernelSpecT& asked = std::get<SpecOfGroup>(spec).spec;
  set_layouts(asked);
  auto refused = cuda::cannot_emit(asked, target_);
  if (!refused) return std::nullopt;
  return Refusal{node_of(group, refused->op), refused->reason};
}

std::string CudaQuestions::layout_of(DType type) const { return cuda::layout_of(type); }

std::optional<std::string> CudaQuestions::activations_of(const ir::Node& matmul) const {
  const ir::Type& weight = matmul.operand("w")->type;
  if (matmul.operand("experts")) return std::string("f32");
  if (target_.activations == "f32") return std::nullopt;
  if (matmul.result()->type.rows() % least_tile_rows != 0 || !has_tiles(weight.dtype, weight.width())) return std::nullopt;
  return std::string(tile_activations);
}

}  // namespace heddle::codegen::cuda
