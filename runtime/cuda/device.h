#pragma once
#include <memory>

#include "runtime/device/inspectable_device.h"

namespace heddle::runtime {

namespace cuda {
struct Driver;
}

struct CudaOptions {
  bool graph = true;            // false: the same kernels launched one by one
  bool plain_edges = false;     // no node of a graph starts before its predecessors are complete
  int device = 0;               // ordinal of the GPU
  int ahead = 4;                // steps that a generation keeps queued, 1 to 32
  std::string target = "cuda";  // only for errors: "cuda:sm_90"
};

/// A device with what tools look at beside running.
class CudaDevice : public NodeDevice {
 public:
  /// Kernel nodes as the driver counts them in the graph of an entry point; `sampling`: in the one that also draws tokens. 0 without
  /// graphs.
  virtual std::size_t kernel_nodes(std::size_t entry, bool sampling = false) const = 0;

  struct LoadSeconds {
    double modules = 0, upload = 0, graphs = 0;
  };
  virtual LoadSeconds load_seconds() const = 0;
};

/// Bytes by name of a plan for a CUDA target, as `load` allocates them. Needs no GPU.
MemoryUse cuda_memory_use(const plan::Plan& plan, const Capacity& capacity);

/// The target of the first GPU of this machine, by its card where that is known: "cuda:h200", "cuda:sm_90". Errors as make_cuda_device's.
Result<std::string> cuda_target_here();

/// A CUDA device over `driver` (null: the system's). Errors: no driver, no GPU, a driver that is too old (driver.h has the texts); `load`
/// adds those of memory.h (out of memory), modules.h (a plan for another GPU) and upload.h.
///
/// A step that fails on the device shows up in the next call that looks: "cuda: decode_1 failed: CUDA_ERROR_ILLEGAL_ADDRESS: an illegal
/// memory access was encountered". The device is lost then: every later call returns the same error at once.
Result<std::unique_ptr<CudaDevice>> make_cuda_device(const CudaOptions& options, const cuda::Driver* driver = nullptr);

}  // namespace heddle::runtime
