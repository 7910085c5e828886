#pragma once
#include <string>
#include <string_view>
#include <vector>

#include "ir/base/error.h"
#include "ir/target.h"

namespace heddle::codegen::cuda {

/// Names of the architectures that can be compiled for, each for its first card: "cuda:sm_80", ...
std::vector<std::string> target_names();
/// Names of the cards with figures of their own: "cuda:a100", ...
std::vector<std::string> card_names();

/// The target of a name. `activations`: q8_16 or f32. An architecture that has no card takes the figures of the nearest of its generation
/// ("cuda:sm_87": an RTX 3090's), which `figures_remark` says.
///   target 'cuda:sm_70' is not known (known: cuda:a100, ..., cuda:sm_80, ...)
Result<ir::Target> target_named(std::string_view name, DType activations = DType::q8_16);

/// The card whose figures a target has: "cuda:h100" for "cuda:h100" and "cuda:sm_90". The name itself for what is no CUDA target.
std::string card_of(std::string_view target);

/// "the figures of cuda:sm_90 are those of cuda:h100, the first card of that architecture"; empty where a target names its card.
std::string figures_remark(const ir::Target& target);

/// NVRTC's name of the architecture: "sm_90" for "cuda:sm_90" and "cuda:h200".
std::string architecture_of(const ir::Target& target);

/// What a target's multiprocessors hold.
struct Limits {
  int shared_bytes;  // dynamic shared memory that one block may have
};
Limits limits_of(const ir::Target& target);

}  // namespace heddle::codegen::cuda
