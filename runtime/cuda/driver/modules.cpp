#include "runtime/cuda/driver/modules.h"

#include "ir/base/cuda_card.h"

namespace heddle::runtime::cuda {
namespace {

/// 90 of "cuda:sm_90" and of "cuda:h200".
Result<int> architecture_of(std::string_view target) {
  const int architecture = cuda_architecture(target).value_or(0);
  if (architecture < 10) return error("the plan is for target '{}', wanted cuda:sm_NN", target);
  return architecture;
}

/// "8.4" of PTX that begins with ".version 8.4".
std::string_view ptx_version(std::string_view ptx) {
  constexpr std::string_view word = ".version ";
  const std::size_t at = ptx.find(word);
  if (at == ptx.npos) return "of unknown version";
  ptx.remove_prefix(at + word.size());
  return ptx.substr(0, ptx.find_first_not_of("0123456789."));
}

struct Loader {
  const Gpu& gpu;
  int architecture;  // of the plan

  bool cubin_fits() const { return architecture / 10 == gpu.compute_capability / 10 && architecture <= gpu.compute_capability; }
  std::string compile_hint() const { return fmt::format("compile it with --target cuda:sm_{}", gpu.compute_capability); }

  Result<OwnedModule> load(const plan::CudaCode& code) const {
    const Driver& driver = gpu.driver();
    Module module = nullptr;
    Status from_cubin = Status::success;
    if (cubin_fits() && !code.cubin.empty()) {
      from_cubin = driver.module_load(&module, code.cubin.data());
      if (from_cubin == Status::success) return OwnedModule(driver, module);
    }
    if (code.ptx.empty()) {
      if (from_cubin != Status::success) return failure(driver, from_cubin, "cuModuleLoadData of its cubin");
      return error("the plan is for sm_{} and has no PTX, {} is sm_{}: {}", architecture, gpu.text(), gpu.compute_capability,
                   compile_hint());
    }
    const Status from_ptx = driver.module_load(&module, code.ptx.c_str());
    if (from_ptx == Status::success) return OwnedModule(driver, module);
    if (from_ptx == Status::unsupported_ptx_version)
      return error("the driver (CUDA {}) is too old for the plan's PTX {}: update it, or {}", cuda_version_text(gpu.driver_version),
                   ptx_version(code.ptx), cubin_fits() ? "compile with an older NVRTC" : compile_hint());
    return failure(driver, from_ptx, "cuModuleLoadData of its PTX");
  }

  Result<LoadedKernel> kernel(const plan::CudaCode& code, Module module) const {
    const Driver& driver = gpu.driver();
    LoadedKernel kernel;
    HEDDLE_TRY(check(driver, driver.module_function(&kernel.function, module, code.entry.c_str()), "cuModuleGetFunction"));
    kernel.grid = {code.grid[0], code.grid[1], code.grid[2]};
    if (code.grid_per_sm > 0) kernel.grid = {code.grid_per_sm * unsigned(gpu.multiprocessors), 1, 1};
    kernel.block = {code.block[0], code.block[1], code.block[2]};
    kernel.shared_bytes = code.dynamic_shared_bytes;
    kernel.programmatic = code.programmatic;
    kernel.even_start = code.even_start;
    const std::int64_t shared = std::int64_t(code.shared_bytes) + code.dynamic_shared_bytes;
    if (shared > gpu.most_shared_bytes)
      return error("needs {} bytes of shared memory, {} has {}", shared, gpu.text(), gpu.most_shared_bytes);
    if (code.dynamic_shared_bytes > 0)
      HEDDLE_TRY(check(driver, driver.function_set(kernel.function, max_dynamic_shared_size_bytes, int(code.dynamic_shared_bytes)),
                       "cuFuncSetAttribute"));
    return kernel;
  }
};

}  // namespace

Result<Modules> Modules::load(const Gpu& gpu, const plan::Plan& plan) {
  HEDDLE_ASSIGN(const int architecture, architecture_of(plan.target));
  const Loader loader{gpu, architecture};
  if (architecture > gpu.compute_capability)
    return error("the plan is for sm_{}, {} is sm_{}: {}", architecture, gpu.text(), gpu.compute_capability, loader.compile_hint());
  std::vector<bool> used(plan.kernels.size());
  for (const auto& entry : plan.entries)
    for (const auto* list : {&entry.nodes, &entry.sampling})
      for (const auto& node : *list) used[node.kernel] = true;
  Modules modules;
  modules.kernels_.resize(plan.kernels.size());
  for (std::size_t i = 0; i < used.size(); ++i) {
    if (!used[i]) continue;
    const plan::Kernel& kernel = plan.kernels[i];
    const std::string place = fmt::format("kernel '{}'", kernel.spec.name);
    auto module = loader.load(*kernel.cuda);
    if (!module.ok()) return module.take_error().at(place);
    auto loaded = loader.kernel(*kernel.cuda, module->get());
    if (!loaded.ok()) return loaded.take_error().at(place);
    loaded->name = kernel.spec.name;
    modules.modules_.push_back(std::move(*module));
    modules.kernels_[i] = std::move(*loaded);
  }
  return modules;
}

}  // namespace heddle::runtime::cuda
