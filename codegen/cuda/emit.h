#pragma once
#include <memory>
#include <optional>
#include <variant>

#include "codegen/cuda/kernel_text.h"
#include "codegen/cuda/kernels/attention/decode_attention.h"
#include "codegen/cuda/kernels/attention/prefill_attention.h"
#include "codegen/cuda/kernels/experts/experts.h"
#include "codegen/cuda/kernels/experts/top_experts.h"
#include "codegen/cuda/kernels/gemm/gemm.h"
#include "codegen/cuda/kernels/gemv/gemv.h"
#include "codegen/cuda/kernels/rows/embed.h"
#include "codegen/cuda/kernels/rows/gather_rows.h"
#include "codegen/cuda/kernels/rows/rowwise.h"
#include "codegen/cuda/kernels/sample/sampler.h"
#include "codegen/refusal.h"
#include "ir/base/error.h"
#include "ir/target.h"

namespace heddle::codegen::cuda {

/// A kernel before it is text: all that was chosen for a spec and a target.
struct KernelPlan {
  using Family = std::variant<GemvPlan, TilePlan, ExpertsPlan, DecodeAttentionPlan, PrefillAttentionPlan, RowwisePlan, EmbedPlan, SamplerPlan,
                              TopExpertsPlan, GatherRowsPlan>;
  std::shared_ptr<const plan::KernelSpec> spec;  // a copy: the family's plan refers to its parts
  ir::Target target;
  Family family;

  const Launch& launch() const;
};

/// Whether a spec can be a kernel, and as which: checks and sizes, no text. Equal specs and targets give equal plans.
std::variant<KernelPlan, Refusal> plan_kernel(const plan::KernelSpec& spec, const ir::Target& target);

/// The text of a planned kernel.
CudaText print(const KernelPlan& plan);

/// Both in one, for those who have a spec that was planned before; otherwise an error says what stands in the way:
///   gemv_q4_K_64x256__quantize: quantize: behind a product it needs more columns together than a unit has
Result<CudaText> emit(const plan::KernelSpec& spec, const ir::Target& target);
/// The first alone, for those who only ask.
std::optional<Refusal> cannot_emit(const plan::KernelSpec& spec, const ir::Target& target);

/// How the GPU reads a weight of this type and shape: "planes" for matrices in blocks that have them, else "rows".
Layout layout_of(DType type);
/// Marks every weight argument as stored that way, whatever a pass has chosen so far.
void set_layouts(plan::KernelSpec& spec);

}  // namespace heddle::codegen::cuda
