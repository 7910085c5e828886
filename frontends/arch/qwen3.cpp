#include "frontends/arch/architecture.h"
#include "frontends/arch/transformer.h"

/// qwen3 (dense): as llama, with a norm over each head of Q and K before the rotary embedding, and rotary pairs half a head apart.
namespace heddle::frontends {

static Result<void> build(const Config& config, const BuildOptions& options, Weights& weights, ir::Module& module) {
  HEDDLE_ASSIGN(const Decoder decoder,
                take_decoder(weights, config, {.qkv = Bias::optional, .output = Bias::optional, .head_norms = true}));
  for (const EntryRequest& entry : options.entries) {
    Step step(module, config, decoder, entry, options.kv);
    ir::Value* x = step.embed();
    for (std::size_t layer = 0; layer < decoder.layers.size(); ++layer) {
      x = step.attention(layer, x);
      if (x) x = step.gated_ffn(layer, x);
    }
    step.finish(x);
  }
  return {};
}

const Architecture qwen3 = {.name = "qwen3", .gguf_rope_adjacent = false, .build = build};

}  // namespace heddle::frontends
