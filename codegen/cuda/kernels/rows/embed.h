#pragma once
#include <variant>

#include "codegen/cuda/device/lane_formats.h"
#include "codegen/cuda/expression.h"
#include "codegen/cuda/kernel_text.h"
#include "ir/target.h"

/// Rows of a table.
namespace heddle::codegen::cuda {

struct EmbedPlan {
  Program program;
  Format format;  // of the table
  int threads;
  Launch launch;
};

std::variant<EmbedPlan, Refusal> plan_embed(const plan::KernelSpec& spec, const ir::Target& target);
CudaText print_embed(const plan::KernelSpec& spec, const EmbedPlan& plan, const ir::Target& target);

}  // namespace heddle::codegen::cuda
