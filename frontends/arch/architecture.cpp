#include "frontends/arch/architecture.h"

namespace heddle::frontends {

std::span<const Architecture* const> architectures() {
  static const Architecture* const all[] = {&llama, &qwen2, &qwen3};
  return all;
}

const Architecture* architecture_named(std::string_view name) {
  for (const Architecture* architecture : architectures()) {
    if (architecture->name == name) return architecture;
  }
  return nullptr;
}

}  // namespace heddle::frontends
