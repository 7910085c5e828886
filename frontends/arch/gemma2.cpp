#include "frontends/arch/architecture.h"
#include "frontends/arch/transformer.h"

/// gemma2: scaled embeddings, norms before and after both sub-layers, soft caps on scores and logits, a sliding window in every other
/// layer, gated FFN with gelu; head tied to the embedding.
namespace heddle::frontends {

static Result<void> build(const Config& config, const BuildOptions& options, Weights& weights, ir::Module& module) {
  HEDDLE_ASSIGN(const Decoder decoder, take_decoder(weights, config, options, {.post_norms = true, .activation = ir::Op::gelu}));
  build_entries(module, config, options, decoder);
  return {};
}

const Architecture gemma2 = {
    .name = "gemma2", .scaled_embeddings = true, .full_attention_every = 2, .layers_scaled_by_width = 46, .build = build};

}  // namespace heddle::frontends
