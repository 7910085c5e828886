#pragma once
#include "codegen/backend.h"

namespace heddle::codegen::cuda {

/// Compiles for NVIDIA's GPUs: kernels are texts that NVRTC compiles.
const Backend& backend();

}  // namespace heddle::codegen::cuda
