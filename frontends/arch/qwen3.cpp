#include "frontends/arch/architecture.h"
#include "frontends/arch/transformer.h"

/// qwen3 (dense): as llama, with a norm over each head of Q and K before the rotary embedding, and rotary pairs half a head apart.
namespace heddle::frontends {

static Result<void> build(const Config& config, const BuildOptions& options, Weights& weights, ir::Module& module) {
  HEDDLE_ASSIGN(const Decoder decoder,
                take_decoder(weights, config, {.qkv = Bias::optional, .output = Bias::optional, .head_norms = true}));
  build_entries(module, config, options, decoder);
  return {};
}

static constexpr std::string_view model_types[] = {"qwen3"};
const Architecture qwen3 = {.name = "qwen3", .gguf_rope_adjacent = false, .model_types = model_types, .build = build};

}  // namespace heddle::frontends
