#pragma once
#include <optional>
#include <string>

#include "ir/base/error.h"
#include "runtime/plan/plan.h"

namespace heddle::tools {

/// Operations a second of the matrix units of the GPU that a plan runs on, measured here (runtime/cuda/measure/matrix_rate.h); none for plans of
/// other targets. Errors: no NVRTC, no GPU.
Result<std::optional<double>> matrix_peak(const plan::Plan& plan, const std::string& cache_dir);

}  // namespace heddle::tools
