#include "runtime/cuda/factory.h"

#include "runtime/cuda/device.h"

namespace heddle::runtime::cuda {
namespace {

class CudaFactory : public DeviceFactory {
 public:
  Result<std::unique_ptr<Device>> make(const plan::Plan& plan, const DeviceOptions& options) const override {
    CudaOptions cuda;
    cuda.graph = options.graph;
    cuda.plain_edges = options.plain_edges;
    cuda.target = plan.target;
    HEDDLE_ASSIGN(auto device, make_cuda_device(cuda));
    return std::unique_ptr<Device>(std::move(device));
  }
  MemoryUse memory_use(const plan::Plan& plan, const Capacity& capacity) const override { return cuda_memory_use(plan, capacity); }
  Result<std::string> target_here() const override { return cuda_target_here(); }
  double rows_per_weight_read() const override { return 100; }
};

}  // namespace

const DeviceFactory& factory() {
  static const CudaFactory one;
  return one;
}

}  // namespace heddle::runtime::cuda
