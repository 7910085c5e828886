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
  std::string_view name;            // `general.architecture` of GGUF files
  bool gguf_rope_adjacent = false;  // GGUF files of it hold Q and K rows in the order that pairs (2i, 2i+1); else (i, i + dims/2)

  std::span<const std::string_view> model_types = {};  // `model_type` of Hugging Face's config.json
  std::span<const TensorName> tensor_names = {};       // of Hugging Face files, before those that all share (safetensors/names.cpp)
  std::string_view activation = "silu";                // of the gate, by its name in config.json
  bool gains_less_one = false;                         // Hugging Face files hold norm gains less 1
  bool window_on_request = false;                      // config.json's sliding_window counts only with use_sliding_window

  // What a model of it has without its configuration saying so.
  bool scaled_embeddings = false;         // by sqrt(width)
  std::int64_t full_attention_every = 0;  // of a model with a window: layers n - 1, 2n - 1, ... have none; 0: all have it
  double local_rope_theta = 0;            // of layers with a window; 0: as all
  std::int64_t window = 0;                // these three of early GGUF files
  double attention_softcap = 0, logit_softcap = 0;
  bool has_experts = false;
  bool has_long_rope = false;               // factors for contexts beyond the original one
  std::int64_t layers_scaled_by_width = 0;  // a model of so many layers scales scores by 1 / sqrt(width / heads); GGUF files do not say it

  /// Declares the weights it uses and adds one function per entry of `options`.
  Result<void> (*build)(const Config& config, const BuildOptions& options, Weights& weights, ir::Module& module) = nullptr;
};

extern const Architecture gemma2, gemma3, llama, phi3, qwen2, qwen3, qwen3moe;

std::span<const Architecture* const> architectures();           // by name
const Architecture* architecture_named(std::string_view name);  // null if it is not supported

const Architecture* architecture_of_model_type(std::string_view model_type);  // null if it is not supported

/// Which layers have a window by the architecture's own pattern, `every` as full_attention_every; empty: all.
std::vector<bool> windowed_layers(std::int64_t layers, std::int64_t every);

}  // namespace heddle::frontends
