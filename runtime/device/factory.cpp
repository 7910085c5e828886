#include "runtime/device/factory.h"

#include "runtime/cpu/factory.h"
#include "runtime/cuda/factory.h"

namespace heddle::runtime {

const DeviceFactory& device_factory(BackendKind kind) {
  switch (kind) {
    case BackendKind::cpu: return cpu::factory();
    case BackendKind::cuda: return cuda::factory();
  }
  HEDDLE_CHECK(false, "backend {}", int(kind));
}

Result<std::unique_ptr<Device>> make_device(const plan::Plan& plan, const DeviceOptions& options) {
  if (backend_of(plan.target) != plan.backend)
    return error("the plan is for target '{}', which this program cannot run (it runs: cpu, cuda:sm_NN)", plan.target);
  return device_factory(plan.backend).make(plan, options);
}

}  // namespace heddle::runtime
