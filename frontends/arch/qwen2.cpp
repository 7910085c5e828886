#include "frontends/arch/architecture.h"
#include "frontends/arch/transformer.h"

/// qwen2 (also Qwen2.5): as llama, with biases on Q, K and V, and rotary pairs half a head apart.
namespace heddle::frontends {

static Result<void> build(const Config& config, const BuildOptions& options, Weights& weights, ir::Module& module) {
  HEDDLE_ASSIGN(const Decoder decoder, take_decoder(weights, config, {.qkv = Bias::required}));
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

const Architecture qwen2 = {.name = "qwen2", .gguf_rope_adjacent = false, .build = build};

}  // namespace heddle::frontends
