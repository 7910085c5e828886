#pragma once
#include <variant>

#include "codegen/cuda/kernel_text.h"
#include "codegen/refusal.h"
#include "ir/target.h"
#include "runtime/plan/plan.h"

namespace heddle::codegen::cuda {

struct SamplerPlan {
  std::int64_t vocabulary, blocks, counters;  // blocks of a row; bytes of counters in the scratch memory
  Launch launch;
};

std::variant<SamplerPlan, Refusal> plan_sampler(const plan::KernelSpec& spec, const ir::Target& target);
CudaText print_sampler(const plan::KernelSpec& spec, const SamplerPlan& plan, const ir::Target& target);

/// The spec of a kernel that draws one token for each row, with any knobs.
plan::KernelSpec sample_spec(std::int64_t rows, std::int64_t vocabulary);

/// Gives every decode entry point of a plan its sampling node, behind all that no other node waits for.
void add_sampling(plan::Plan& plan);

}  // namespace heddle::codegen::cuda
