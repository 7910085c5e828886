#pragma once
#include "runtime/cuda/memory.h"

namespace heddle::runtime::cuda {

/// Brings the weights of a plan from its mapped model files to `base` (the weights pool) in the layouts the plan asks for. Several threads
/// copy and repack into one pinned buffer while the others travel. Returns when all is there.
/// "a.gguf: has 10 bytes, the plan was made for 20"; anything else is the driver's failure.
Result<void> upload_weights(const Gpu& gpu, Stream stream, const plan::Plan& plan, const MemoryLayout& layout, DevicePointer base,
                            const Progress& progress);

}  // namespace heddle::runtime::cuda
