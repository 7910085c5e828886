#pragma once
#include <variant>
#include <vector>

#include "codegen/cuda/expression.h"
#include "codegen/cuda/kernel_text.h"
#include "ir/target.h"

/// Programs without a loop.
namespace heddle::codegen::cuda {

struct RowwisePlan {
  struct Part {
    Program program;
    std::int64_t columns;  // of a block
    std::int64_t first, end;  // blocks along y
  };
  std::vector<Part> parts;
  int threads;
  Launch launch;
};

std::variant<RowwisePlan, Refusal> plan_rowwise(const plan::KernelSpec& spec, const ir::Target& target);
CudaText print_rowwise(const plan::KernelSpec& spec, const RowwisePlan& plan, const ir::Target& target);

}  // namespace heddle::codegen::cuda
