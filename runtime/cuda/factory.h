#pragma once
#include "runtime/device/factory.h"

namespace heddle::runtime::cuda {

/// Runs plans on this machine's GPUs.
const DeviceFactory& factory();

}  // namespace heddle::runtime::cuda
