#pragma once
#include "ir/base/error.h"
#include "runtime/plan/plan.h"

namespace heddle::runtime {

namespace cuda {
struct Driver;
}

/// Operations (multiplications and additions) a second of a GPU's matrix units with nothing else to do, at the clock that they leave it:
/// median of 25 launches of about 2 ms behind 100 ms of the same. `kernel`: codegen/cuda/measure/matrix_peak.h's plan; `operations`: of a block in a
/// round. `driver`: null for the system's. Errors as make_cuda_device's and Device::load's.
Result<double> matrix_rate(int device, const plan::Plan& kernel, double operations, const cuda::Driver* driver = nullptr);

}  // namespace heddle::runtime
