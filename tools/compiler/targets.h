#pragma once
#include <string>

#include "ir/base/error.h"
#include "ir/target.h"

namespace heddle::tools {

/// The machine a target name stands for: "cpu", "cuda:h200"; "cuda:auto" is the GPU here, "auto" the best machine here. `activations`: "q8", the
/// target's 8-bit format, or "f32". Unknown names are refused with the list of known ones.
Result<ir::Target> target_named(const std::string& name, const std::string& activations);

}  // namespace heddle::tools
