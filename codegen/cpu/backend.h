#pragma once
#include "codegen/backend.h"

namespace heddle::codegen::cpu {

/// Compiles for this machine's processors: kernels are specs, which the runtime's own functions carry out.
const Backend& backend();

}  // namespace heddle::codegen::cpu
