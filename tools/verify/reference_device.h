#pragma once
#include <memory>

#include "runtime/device/inspectable_device.h"

namespace heddle::tools {

/// The reference interpreter behind the device interface: runs the plan's IR, one op after another, in double precision sums. Slow and
/// right: `--reference` compares any target with it. Node by node it keeps every value where the plan puts it, so that a wrong place shows.
/// It keeps no time.
std::unique_ptr<runtime::NodeDevice> make_reference_device();

}  // namespace heddle::tools
