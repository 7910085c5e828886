#pragma once
#include <string>
#include <vector>

#include "ir/base/dtype.h"

namespace heddle::ir {

/// What passes and the code generator may know about the machine compiled for. Part of the module, so that IR text says all that a pass
/// decides by. The figures are round numbers for the cost model, not measurements of this machine.
struct Target {
  std::string name = "cpu";                  // "cpu", "cuda:h200", "cuda:sm_90"
  DType activations = DType::f32;            // format that `quantize_activations` writes, or f32: leave them alone
  std::vector<std::string> features;         // e.g. "programmatic_launch"; sorted
  int workers = 8;                           // threads or multiprocessors that share a kernel
  double launch_us = 2;                      // from the end of one kernel to the start of the next
  double memory_gbps = 30;                   // reading weights, all workers together
  double worker_gflops = 20;                 // plain float arithmetic of one worker (prologues, epilogues)

  bool has(const std::string& feature) const;
  bool operator==(const Target&) const = default;
};

}  // namespace heddle::ir
