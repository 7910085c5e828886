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

static constexpr std::string_view model_types[] = {"gemma2"};
static constexpr TensorName tensor_names[] = {
    {"model.layers.{}.post_attention_layernorm", "blk.{}.post_attention_norm"},
    {"model.layers.{}.pre_feedforward_layernorm", "blk.{}.ffn_norm"},
    {"model.layers.{}.post_feedforward_layernorm", "blk.{}.post_ffw_norm"},
};
const Architecture gemma2 = {.name = "gemma2",
                             .model_types = model_types,
                             .tensor_names = tensor_names,
                             .activation = "gelu_pytorch_tanh",
                             .gains_less_one = true,
                             .scaled_embeddings = true,
                             .full_attention_every = 2,
                             .window = 4096,
                             .attention_softcap = 50,
                             .logit_softcap = 30,
                             .layers_scaled_by_width = 46,
                             .build = build};

}  // namespace heddle::frontends
