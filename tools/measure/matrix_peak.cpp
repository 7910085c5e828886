#include "tools/measure/matrix_peak.h"

#include "codegen/cuda/measure/matrix_peak.h"
#include "codegen/cuda/target.h"
#include "runtime/cuda/measure/matrix_rate.h"

namespace heddle::tools {

Result<std::optional<double>> matrix_peak(const plan::Plan& plan, const std::string& cache_dir) {
  if (plan.backend != BackendKind::cuda) return std::optional<double>();
  HEDDLE_ASSIGN(const auto target, codegen::cuda::target_named(plan.target, DType::f32));
  HEDDLE_ASSIGN(const auto kernel, codegen::cuda::multiply_kernel(target, cache_dir));
  HEDDLE_ASSIGN(const double rate, runtime::matrix_rate(0, *kernel.plan, kernel.operations));
  return std::optional<double>(rate);
}

}  // namespace heddle::tools
