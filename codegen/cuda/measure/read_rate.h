#pragma once
#include <memory>

#include "ir/base/error.h"
#include "ir/target.h"
#include "runtime/plan/plan.h"

namespace heddle::codegen::cuda {

/// Kernels that read and compute nothing, for measuring what reading alone costs (runtime/cuda/measure/streams.h): a plan of one entry point that
/// only lists them. Kernel 0 is fill(address, words of 16 bytes), the others are stream(address, words of 16 bytes, 32 KiB of results that
/// the next reads), with 1, 2 and 4 blocks of 512 threads for each multiprocessor.
Result<std::shared_ptr<const plan::Plan>> stream_plan(const ir::Target& target, const std::string& cache_dir);

}  // namespace heddle::codegen::cuda
