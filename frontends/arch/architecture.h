#pragma once
#include <span>
#include <string_view>

#include "frontends/model.h"

namespace heddle::frontends {

class Weights;

/// A model architecture: one file in this folder, which defines the row named after it, and one line in architecture.cpp.
struct Architecture {
  std::string_view name;    // `general.architecture` of GGUF files
  bool gguf_rope_adjacent;  // GGUF files of it hold Q and K rows in the order that pairs (2i, 2i+1); else (i, i + dims/2)
  /// Declares the weights it uses and adds one function per entry of `options`.
  Result<void> (*build)(const Config& config, const BuildOptions& options, Weights& weights, ir::Module& module);
};

extern const Architecture llama, qwen2, qwen3;

std::span<const Architecture* const> architectures();           // by name
const Architecture* architecture_named(std::string_view name);  // null if it is not supported

}  // namespace heddle::frontends
