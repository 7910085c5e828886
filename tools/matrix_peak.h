#pragma once
#include <optional>

#include "tools/compile_model.h"

namespace heddle::tools {

/// Operations a second of the matrix units of the GPU that a plan runs on, measured here (runtime/cuda/matrix_rate.h); none for plans of
/// other targets. Errors: no NVRTC, no GPU.
Result<std::optional<double>> matrix_peak(const plan::PlanT& plan, const std::string& cache_dir);

/// Where kernels that only measure are kept: the options' cache, "" for none.
std::string measuring_cache(const CompileOptions& options);

}  // namespace heddle::tools
