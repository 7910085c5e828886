#include "codegen/backend.h"

#include "codegen/cpu/backend.h"
#include "codegen/cuda/backend.h"

namespace heddle::codegen {

const Tuning& Backend::shipped_tuning(const ir::Target&) const {
  static const Tuning none;
  return none;
}

const Backend& backend(BackendKind kind) {
  switch (kind) {
    case BackendKind::cpu: return cpu::backend();
    case BackendKind::cuda: return cuda::backend();
  }
  HEDDLE_CHECK(false, "backend {}", int(kind));
}

const Backend& backend(const ir::Target& target) { return backend(backend_of(target.name).value_or(BackendKind::cpu)); }

std::vector<std::string> known_targets() {
  std::vector<std::string> out;
  for (const BackendKind kind : {BackendKind::cpu, BackendKind::cuda})
    for (std::string& name : backend(kind).target_names()) out.push_back(std::move(name));
  return out;
}

}  // namespace heddle::codegen
