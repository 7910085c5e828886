#pragma once
#include <span>
#include <string_view>

#include "frontends/model.h"

namespace heddle::frontends {

class Weights;

/// A tensor's name in Hugging Face files and what it is called here (the name in GGUF files), both without the ending .weight or .bias;
/// {} is a number. Empty: no weight, to be left out.
struct TensorName {
  std::string_view stored, canonical;
};

/// A model architecture: one file in this folder, which defines the row named after it, and one line in architecture.cpp.
struct Architecture {
  std::string_view name;    // `general.architecture` of GGUF files
  bool gguf_rope_adjacent;  // GGUF files of it hold Q and K rows in the order that pairs (2i, 2i+1); else (i, i + dims/2)
  std::span<const std::string_view> model_types;  // `model_type` of Hugging Face's config.json
  /// Declares the weights it uses and adds one function per entry of `options`.
  Result<void> (*build)(const Config& config, const BuildOptions& options, Weights& weights, ir::Module& module);
  std::span<const TensorName> tensor_names = {};  // of Hugging Face files, before those that all share (safetensors/names.cpp)
};

extern const Architecture llama, qwen2, qwen3;

std::span<const Architecture* const> architectures();           // by name
const Architecture* architecture_named(std::string_view name);  // null if it is not supported
const Architecture* architecture_of_model_type(std::string_view model_type);  // null if it is not supported

}  // namespace heddle::frontends
