#pragma once
#include <variant>
#include <vector>

#include "codegen/cuda/device/lane_formats.h"
#include "codegen/cuda/kernel_text.h"
#include "codegen/refusal.h"
#include "ir/target.h"

/// Products with the experts that every row chose.
namespace heddle::codegen::cuda {

struct ExpertsPlan {
  std::vector<Format> formats;    // of the segments of all parts
  std::vector<unsigned> weights;  // their arguments
  std::int64_t columns;           // of an expert's product
  std::int64_t slices;            // activations of a row that a block holds
  int together;                   // columns of a warp
  Launch launch;
};

std::variant<ExpertsPlan, Refusal> plan_experts(const plan::KernelSpec& spec, const ir::Target& target);
CudaText print_experts(const plan::KernelSpec& spec, const ExpertsPlan& plan, const ir::Target& target);

}  // namespace heddle::codegen::cuda
