#include "runtime/cpu/factory.h"

#include "runtime/cpu/device.h"

namespace heddle::runtime::cpu {
namespace {

class CpuFactory : public DeviceFactory {
 public:
  Result<std::unique_ptr<Device>> make(const plan::Plan&, const DeviceOptions& options) const override {
    return std::unique_ptr<Device>(make_cpu_device(options.threads));
  }
  MemoryUse memory_use(const plan::Plan& plan, const Capacity& capacity) const override { return runtime::memory_use(plan, capacity); }
  Result<std::string> target_here() const override { return std::string(heddle::name(BackendKind::cpu)); }
  double rows_per_weight_read() const override { return 8; }
};

}  // namespace

const DeviceFactory& factory() {
  static const CpuFactory one;
  return one;
}

}  // namespace heddle::runtime::cpu
