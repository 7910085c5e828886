#include "tools/compiler/targets.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "codegen/backend.h"
#include "runtime/device/factory.h"

namespace heddle::tools {

Result<ir::Target> target_named(const std::string& name, const std::string& activations) {
  if (activations != "q8" && activations != "f32") return error("activations '{}' are not known (known: q8, f32)", activations);
  const auto of = [&](BackendKind kind, const std::string& machine) {
    const codegen::Backend& backend = codegen::backend(kind);
    return backend.target_named(machine, activations == "q8" ? backend.eight_bit_activations() : DType::f32);
  };
  if (name == "auto") {  // the GPU, where there is one and kernels can be compiled for it
    if (const auto here = runtime::device_factory(BackendKind::cuda).target_here();
        here.ok() && codegen::backend(BackendKind::cuda).kernel_compiler().ok())
      return of(BackendKind::cuda, *here);
    HEDDLE_ASSIGN(const std::string processor, runtime::device_factory(BackendKind::cpu).target_here());
    return of(BackendKind::cpu, processor);
  }
  const auto kind = backend_of(name);
  if (kind == BackendKind::cuda && name.ends_with(":auto")) {
    HEDDLE_ASSIGN(const std::string here, runtime::device_factory(*kind).target_here());
    return of(*kind, here);
  }
  if (kind)
    if (auto found = of(*kind, name); found.ok()) return found;
  std::vector<std::string> known = codegen::known_targets();
  known.insert(known.begin(), "auto");
  known.insert(known.begin() + 2, fmt::format("{}:auto", BackendKind::cuda));
  return error("target '{}' is not known (known: {})", name, fmt::join(known, ", "));
}

}  // namespace heddle::tools
