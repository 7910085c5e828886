#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ir/base/error.h"
#include "ir/target.h"

namespace heddle::codegen::cuda {

/// Names of the GPUs that can be compiled for: "cuda:sm_80", ...
std::vector<std::string> target_names();

/// The target of a name. `activations`: "q8_16" or "f32".
///   target 'cuda:sm_70' is not known (known: cuda:sm_80, ...)
Result<ir::Target> target_named(std::string_view name, DType activations = DType::q8_16);

/// NVRTC's name of the architecture: "sm_90" for "cuda:sm_90".
std::string architecture_of(const ir::Target& target);

/// What a target's multiprocessors hold.
struct Limits {
  int shared_bytes;  // dynamic shared memory that one block may have
};
Limits limits_of(const ir::Target& target);

}  // namespace heddle::codegen::cuda
