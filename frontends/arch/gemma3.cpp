#include "frontends/arch/architecture.h"
#include "frontends/arch/transformer.h"

/// gemma3 (text): as gemma2 without the soft caps, with norms over each head of Q and K; five layers with a sliding window and rotary
/// embeddings of a base of their own, then one without.
namespace heddle::frontends {

static Result<void> build(const Config& config, const BuildOptions& options, Weights& weights, ir::Module& module) {
  HEDDLE_ASSIGN(const Decoder decoder,
                take_decoder(weights, config, options, {.head_norms = true, .post_norms = true, .activation = ir::Op::gelu}));
  build_entries(module, config, options, decoder);
  return {};
}

static constexpr std::string_view model_types[] = {"gemma3_text"};
static constexpr TensorName tensor_names[] = {
    {"model.layers.{}.post_attention_layernorm", "blk.{}.post_attention_norm"},
    {"model.layers.{}.pre_feedforward_layernorm", "blk.{}.ffn_norm"},
    {"model.layers.{}.post_feedforward_layernorm", "blk.{}.post_ffw_norm"},
};
const Architecture gemma3 = {.name = "gemma3",
                             .model_types = model_types,
                             .tensor_names = tensor_names,
                             .activation = "gelu_pytorch_tanh",
                             .gains_less_one = true,
                             .scaled_embeddings = true,
                             .full_attention_every = 6,
                             .local_rope_theta = 10000,
                             .layers_scaled_by_width = 62,
                             .build = build};

}  // namespace heddle::frontends
