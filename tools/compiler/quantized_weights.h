#pragma once
#include "runtime/plan/plan.h"

#include "ir/base/error.h"
#include "tools/compiler/listener.h"

namespace heddle::tools {

/// Sees to the file of quantised weights that a plan names last if it was made with --quantize: where the file is not there, was made from
/// other weights or fails its checksum, it is made (again), which the listener hears.
Result<void> prepare_weights(const plan::Plan& plan, const Listener& listener);

}  // namespace heddle::tools
