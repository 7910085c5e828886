#pragma once
#include <memory>

#include "codegen/cuda/kernel_text.h"
#include "ir/base/error.h"
#include "ir/target.h"
#include "runtime/plan/plan.h"

namespace heddle::codegen::cuda {

/// A kernel that multiplies halves on the matrix units and does nothing else, for measuring how fast they are at their best
/// (runtime/cuda/measure/matrix_rate.h): multiply(address of 256 floats that it writes to, u64 rounds).
struct MultiplyKernel {
  std::shared_ptr<const plan::Plan> plan;  // of one entry point with this one kernel, which cannot be run as a step
  double operations = 0;  // multiplications and additions of one block in one round
};

/// By the instructions that the target's products use: of warpgroups where it has them, else of warps. Errors: NVRTC's.
Result<MultiplyKernel> multiply_kernel(const ir::Target& target, const std::string& cache_dir);

/// Its text, and what it counts as operations.
struct MultiplyText {
  CudaText kernel;
  double operations = 0;
};
MultiplyText multiply_text(const ir::Target& target);

}  // namespace heddle::codegen::cuda
