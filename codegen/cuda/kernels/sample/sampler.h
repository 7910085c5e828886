#pragma once
#include "ir/base/error.h"
#include "runtime/plan/plan.h"

namespace heddle::codegen::cuda {

/// The spec of a kernel that draws one token for each row, with any knobs.
plan::KernelSpec sample_spec(std::int64_t rows, std::int64_t vocabulary);

/// Gives every decode entry point of a plan its sampling node, behind all that no other node waits for.
void add_sampling(plan::Plan& plan);

}  // namespace heddle::codegen::cuda
