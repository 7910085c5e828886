#pragma once
#include <variant>

#include "codegen/cuda/kernel_text.h"
#include "codegen/refusal.h"
#include "ir/target.h"

/// The experts of every row from its logits.
namespace heddle::codegen::cuda {

struct TopExpertsPlan {
  std::int64_t columns, each;  // of the logits; of a lane
  Launch launch;
};

std::variant<TopExpertsPlan, Refusal> plan_top_experts(const plan::KernelSpec& spec, const ir::Target& target);
CudaText print_top_experts(const plan::KernelSpec& spec, const TopExpertsPlan& plan, const ir::Target& target);

}  // namespace heddle::codegen::cuda
