#pragma once
#include <memory>

#include "runtime/device.h"

namespace heddle::tools {

/// The reference interpreter behind the device interface: runs the plan's IR, one op after another, in double precision sums. Slow and
/// right: `--reference` compares any target with it.
std::unique_ptr<runtime::Device> make_reference_device();

}  // namespace heddle::tools
