#pragma once
#include <memory>

#include "runtime/device/inspectable_device.h"

namespace heddle::runtime {

/// Runs plans on this machine's processors. `threads` 0: all that the process may use.
///
/// Rows after the last one that is not idle are not computed; `logits` of such a row is what an earlier step left.
/// Results do not depend on the number of threads, bit for bit.
std::unique_ptr<NodeDevice> make_cpu_device(int threads);

}  // namespace heddle::runtime
