#include "frontends/arch/architecture.h"

#include <algorithm>

namespace heddle::frontends {

std::span<const Architecture* const> architectures() {
  static const Architecture* const all[] = {&gemma2, &gemma3, &llama, &phi3, &qwen2, &qwen3, &qwen3moe};
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

std::vector<bool> windowed_layers(std::int64_t layers, std::int64_t every) {
  std::vector<bool> out;
  for (std::int64_t i = 0; i < layers && every > 0; ++i) out.push_back((i + 1) % every != 0);
  return out;
}

}  // namespace heddle::frontends
