#include "frontends/arch/architecture.h"

#include <algorithm>

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

const Architecture* architecture_of_model_type(std::string_view model_type) {
  for (const Architecture* architecture : architectures()) {
    if (std::ranges::find(architecture->model_types, model_type) != architecture->model_types.end()) return architecture;
  }
  return nullptr;
}

}  // namespace heddle::frontends
