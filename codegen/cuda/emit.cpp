#include "codegen/cuda/emit.h"

#include "runtime/plan/layout.h"

namespace heddle::codegen::cuda {
namespace {

/// Each family's plan and text, by the type of its plan.
struct PrintFamily {
  const plan::KernelSpec& spec;
  const ir::Target& target;
  CudaText operator()(const GemvPlan& plan) const { return print_gemv(spec, plan, target); }
  CudaText operator()(const TilePlan& plan) const { return print_tiles(spec, plan, target); }
  CudaText operator()(const ExpertsPlan& plan) const { return print_experts(spec, plan, target); }
  CudaText operator()(const DecodeAttentionPlan& plan) const { return print_decode_attention(spec, plan, target); }
  CudaText operator()(const PrefillAttentionPlan& plan) const { return print_prefill_attention(spec, plan, target); }
  CudaText operator()(const RowwisePlan& plan) const { return print_rowwise(spec, plan, target); }
  CudaText operator()(const EmbedPlan& plan) const { return print_embed(spec, plan, target); }
  CudaText operator()(const SamplerPlan& plan) const { return print_sampler(spec, plan, target); }
  CudaText operator()(const TopExpertsPlan& plan) const { return print_top_experts(spec, plan, target); }
  CudaText operator()(const GatherRowsPlan& plan) const { return print_gather_rows(spec, plan, target); }
};

using FamilyPlan = std::variant<KernelPlan::Family, Refusal>;

template <class Plan>
FamilyPlan widened(std::variant<Plan, Refusal> plan) {
  if (auto* refused = std::get_if<Refusal>(&plan)) return std::move(*refused);
  return KernelPlan::Family(std::get<Plan>(std::move(plan)));
}

/// Which family a loop belongs to.
struct PlanFamily {
  const plan::KernelSpec& spec;
  const ir::Target& target;
  FamilyPlan operator()(const plan::Gemm& loop) const {
    if (loop.experts >= 0) return widened(plan_experts(spec, target));
    return loop.activations == tile_activations ? widened(plan_tiles(spec, target)) : widened(plan_gemv(spec, target));
  }
  FamilyPlan operator()(const plan::Attention&) const {
    return flash_wanted(spec) ? widened(plan_prefill_attention(spec, target)) : widened(plan_decode_attention(spec, target));
  }
  FamilyPlan operator()(const plan::Rowwise&) const { return widened(plan_rowwise(spec, target)); }
  FamilyPlan operator()(const plan::Embed&) const { return widened(plan_embed(spec, target)); }
  FamilyPlan operator()(const plan::Sample&) const { return widened(plan_sampler(spec, target)); }
  FamilyPlan operator()(const plan::TopExperts&) const { return widened(plan_top_experts(spec, target)); }
  FamilyPlan operator()(const plan::GatherRows&) const { return widened(plan_gather_rows(spec, target)); }
};

}  // namespace

const Launch& KernelPlan::launch() const {
  return std::visit([](const auto& plan) -> const Launch& { return plan.launch; }, family);
}

std::variant<KernelPlan, Refusal> plan_kernel(const plan::KernelSpec& spec, const ir::Target& target) {
  auto kept = std::make_shared<const plan::KernelSpec>(spec);  // what is planned refers to it
  auto family = std::visit(PlanFamily{*kept, target}, kept->loop);
  if (auto* refused = std::get_if<Refusal>(&family)) return std::move(*refused);
  return KernelPlan{.spec = std::move(kept), .target = target, .family = std::get<KernelPlan::Family>(std::move(family))};
}

CudaText print(const KernelPlan& plan) { return std::visit(PrintFamily{*plan.spec, plan.target}, plan.family); }

Result<CudaText> emit(const plan::KernelSpec& spec, const ir::Target& target) {
  const auto plan = plan_kernel(spec, target);
  if (const auto* refused = std::get_if<Refusal>(&plan)) return error("{}: {}: {}", spec.name, refused->op, refused->reason);
  return print(std::get<KernelPlan>(plan));
}

std::optional<Refusal> cannot_emit(const plan::KernelSpec& spec, const ir::Target& target) {
  auto plan = plan_kernel(spec, target);
  if (auto* refused = std::get_if<Refusal>(&plan)) return std::move(*refused);
  return std::nullopt;
}

Layout layout_of(DType type) { return plan::planes_of(type).empty() ? Layout::rows : Layout::planes; }

void set_layouts(plan::KernelSpec& spec) {
  for (auto& arg : spec.args)
    if (arg.role == plan::ArgRole::weight) arg.layout = layout_of(arg.dtype);
}

}  // namespace heddle::codegen::cuda
