#pragma once
#include "ir/base/thread_pool.h"
#include "runtime/device/inspectable_device.h"

namespace heddle::runtime::cpu {

/// The best of a few passes over a buffer four times as large as the last cache (256 MB to 1 GB), shared out among the team.
Result<ReadRate> read_rate(ThreadPool& pool);

}  // namespace heddle::runtime::cpu
