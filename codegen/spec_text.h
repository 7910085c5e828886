#pragma once
#include <string>

#include "runtime/plan/plan.h"

namespace heddle::codegen {

/// A spec as lines of comment, for people and for diff: arguments, loop, programs. The same for every target.
std::string spec_text(const plan::KernelSpec& spec);

}  // namespace heddle::codegen
