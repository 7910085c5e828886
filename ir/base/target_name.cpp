#include "ir/base/target_name.h"

namespace heddle {

std::string_view name(BackendKind kind) {
  switch (kind) {
    case BackendKind::cpu: return "cpu";
    case BackendKind::cuda: return "cuda";
  }
  return "";
}

std::optional<BackendKind> backend_of(std::string_view target) {
  const std::string_view front = target.substr(0, target.find(':'));
  for (const BackendKind kind : {BackendKind::cpu, BackendKind::cuda})
    if (name(kind) == front) return kind;
  return std::nullopt;
}

}  // namespace heddle
