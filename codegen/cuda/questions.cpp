#include "codegen/cuda/questions.h"

#include <unordered_map>

#include "codegen/cuda/emit.h"
#include "codegen/estimates.h"
#include "codegen/spec.h"

namespace heddle::codegen::cuda {
namespace {

/// Of attention on the matrix units of an H100: 32 heads of 64 took 17 us for 512 rows and 85 for 2048, 32 of 128 27 us for 512.
constexpr double attention_operations_per_us = 200e6;

struct HashOfSpec {
  std::size_t operator()(const plan::KernelSpec& spec) const { return std::hash<std::string>()(spec.name); }  // it spells nearly all of it
};

}  // namespace

/// What was planned, or refused, by spec.
class CudaQuestions::Plans {
 public:
  using Answer = std::variant<KernelPlan, Refusal>;
  /// Layouts may be chosen behind the fusions: the answer is for weights as the GPU reads them.
  const Answer& of(plan::KernelSpec& spec, const ir::Target& target) {
    set_layouts(spec);
    const auto found = answers_.find(spec);
    if (found != answers_.end()) return found->second;
    return answers_.emplace(spec, plan_kernel(spec, target)).first->second;
  }

 private:
  std::unordered_map<plan::KernelSpec, Answer, HashOfSpec> answers_;
};

CudaQuestions::CudaQuestions(ir::Target target) : target_(std::move(target)), plans_(std::make_unique<Plans>()) {}
CudaQuestions::~CudaQuestions() = default;

std::optional<Refusal> CudaQuestions::cannot_emit(const ir::Node& group) const {
  auto found = spec_of(group);
  if (auto* refusal = std::get_if<Refusal>(&found)) return std::move(*refusal);
  SpecOfGroup& kernel = std::get<SpecOfGroup>(found);
  const auto* refused = std::get_if<Refusal>(&plans_->of(kernel.spec, target_));
  if (!refused) return std::nullopt;
  Refusal out = *refused;
  out.node = kernel.node_of(out);
  if (!out.node) out.node = &group;
  return out;
}

std::optional<double> CudaQuestions::loop_us(const ir::Node& group) const {
  auto found = spec_of(group);
  if (std::holds_alternative<Refusal>(found)) return std::nullopt;
  plan::KernelSpec& spec = std::get<SpecOfGroup>(found).spec;
  const auto* plan = std::get_if<KernelPlan>(&plans_->of(spec, target_));
  if (!plan) return std::nullopt;
  if (const auto* tiles = std::get_if<TilePlan>(&plan->family)) return tiles->us;
  if (std::holds_alternative<PrefillAttentionPlan>(plan->family)) {
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
