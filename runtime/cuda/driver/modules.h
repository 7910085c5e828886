#pragma once
#include <array>
#include <vector>

#include "runtime/cuda/driver/driver.h"
#include "runtime/plan/plan.h"

namespace heddle::runtime::cuda {

/// A kernel of the plan, ready to be launched.
struct LoadedKernel {
  std::string name;
  Function function = nullptr;
  std::array<unsigned, 3> grid = {}, block = {};
  unsigned shared_bytes = 0;  // dynamic
  bool programmatic = false;  // waits before it reads what other kernels write
  bool even_start = false;    // starts on idle multiprocessors only
};

/// The plan's kernels by index, those that no node uses left empty.
class Modules {
 public:
  /// Takes the cubin where it fits the GPU (the same major architecture, none newer), else has the driver compile the PTX.
  /// "the plan is for sm_90, GPU 0 (NVIDIA A100) is sm_80: compile it with --target cuda:sm_80"
  /// "the driver (CUDA 12.3) is too old for the plan's PTX 9.0: update it or compile with --target cuda:sm_100"
  /// "kernel 'head': needs 200000 bytes of shared memory, GPU 0 (NVIDIA A100) has 166912"
  static Result<Modules> load(const Gpu& gpu, const plan::Plan& plan);
  const LoadedKernel& operator[](std::size_t kernel) const { return kernels_[kernel]; }

 private:
  std::vector<OwnedModule> modules_;
  std::vector<LoadedKernel> kernels_;
};

}  // namespace heddle::runtime::cuda
