#pragma once
#include "runtime/device/factory.h"

namespace heddle::runtime::cpu {

/// Runs plans on this machine's processors.
const DeviceFactory& factory();

}  // namespace heddle::runtime::cpu
