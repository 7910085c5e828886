#pragma once
#include <memory>
#include <string>

#include "ir/base/target_name.h"
#include "runtime/device/device.h"

namespace heddle::runtime {

/// How a device is to run a plan. What does not concern a kind of device is ignored.
struct DeviceOptions {
  int threads = 0;           // CPU; 0: all that the process may use
  bool graph = true;         // CUDA: one graph a step; false: the same kernels launched one by one
  bool plain_edges = false;  // CUDA: no node of a graph starts before its predecessors are complete
};

/// What runs plans of one kind of machine; what compiles them is a codegen::Backend. A factory is asked for by its kind, never by a target's
/// name.
class DeviceFactory {
 public:
  virtual ~DeviceFactory() = default;
  virtual Result<std::unique_ptr<Device>> make(const plan::Plan& plan, const DeviceOptions& options) const = 0;
  /// What `load` will allocate. Needs no device.
  virtual MemoryUse memory_use(const plan::Plan& plan, const Capacity& capacity) const = 0;
  /// The target of this machine's first device, by its card where that is known: "cpu", "cuda:h200". An error where there is none.
  virtual Result<std::string> target_here() const = 0;
  /// A step reads all weights once, which costs about as much as computing this many rows: for plans that do not say how long their steps take.
  virtual double rows_per_weight_read() const = 0;
};

/// The registry.
const DeviceFactory& device_factory(BackendKind kind);

/// The device a plan was compiled for.
///   the plan is for target 'tpu', which this program cannot run (it runs: cpu, cuda:sm_NN)
Result<std::unique_ptr<Device>> make_device(const plan::Plan& plan, const DeviceOptions& options);

}  // namespace heddle::runtime
