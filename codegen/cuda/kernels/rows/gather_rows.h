#pragma once
#include <variant>
#include <vector>

#include "codegen/cuda/kernel_text.h"
#include "codegen/refusal.h"
#include "ir/target.h"

/// Rows chosen among those of a step.
namespace heddle::codegen::cuda {

struct GatherRowsPlan {
  struct Copy {
    std::uint32_t from, to;
    std::int64_t words;  // of a row
    std::string_view word;
  };
  std::vector<Copy> copies;
  int threads;
  Launch launch;
};

std::variant<GatherRowsPlan, Refusal> plan_gather_rows(const plan::KernelSpec& spec, const ir::Target& target);
CudaText print_gather_rows(const plan::KernelSpec& spec, const GatherRowsPlan& plan, const ir::Target& target);

}  // namespace heddle::codegen::cuda
