#include "frontends/arch/architecture.h"
#include "frontends/arch/transformer.h"

/// llama (also Mistral and other models that are stored as llama): RMSNorm, grouped-query attention with rotary positions, gated FFN with
/// silu. Some variants have biases in the attention. GGUF files hold Q and K permuted for adjacent pairs.
namespace heddle::frontends {

static Result<void> build(const Config& config, const BuildOptions& options, Weights& weights, ir::Module& module) {
  HEDDLE_ASSIGN(const Decoder decoder, take_decoder(weights, config, {.qkv = Bias::optional, .output = Bias::optional}));
  build_entries(module, config, options, decoder);
  return {};
}

static constexpr std::string_view model_types[] = {"llama"};
const Architecture llama = {.name = "llama", .gguf_rope_adjacent = true, .model_types = model_types, .build = build};

}  // namespace heddle::frontends
