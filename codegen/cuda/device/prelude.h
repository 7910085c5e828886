#pragma once
#include <string>
#include <string_view>

#include "ir/target.h"

namespace heddle::codegen::cuda {

/// Ends the prelude. Nothing behind it holds inline assembly, so that a test can put its own prelude in front of the rest.
inline constexpr std::string_view end_of_prelude = "// ---- end of the prelude\n";

/// What every kernel's text begins with: loads, asynchronous copies, sums over lanes, conversions, and `wait` and `trigger` of programmatic
/// launches, which do nothing on a target without them. `more`: device functions with inline assembly that only some kernels need.
std::string prelude(const ir::Target& target, std::string_view more = {});

}  // namespace heddle::codegen::cuda
