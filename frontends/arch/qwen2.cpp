#include "frontends/arch/architecture.h"
#include "frontends/arch/transformer.h"

/// qwen2 (also Qwen2.5): as llama, with biases on Q, K and V, and rotary pairs half a head apart.
namespace heddle::frontends {

static Result<void> build(const Config& config, const BuildOptions& options, Weights& weights, ir::Module& module) {
  HEDDLE_ASSIGN(const Decoder decoder, take_decoder(weights, config, {.qkv = Bias::required}));
  build_entries(module, config, options, decoder);
  return {};
}

static constexpr std::string_view model_types[] = {"qwen2"};
const Architecture qwen2 = {.name = "qwen2", .gguf_rope_adjacent = false, .model_types = model_types, .build = build};

}  // namespace heddle::frontends
