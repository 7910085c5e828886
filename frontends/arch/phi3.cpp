#include "frontends/arch/architecture.h"
#include "frontends/arch/transformer.h"

/// phi3 (also Phi-3.5 and Phi-4-mini): as llama, with Q, K and V in one tensor and gate and up in another, rotary pairs half a head apart
/// over a part of the head, and rotary factors for short and for long contexts.
namespace heddle::frontends {

static Result<void> build(const Config& config, const BuildOptions& options, Weights& weights, ir::Module& module) {
  HEDDLE_ASSIGN(const Decoder decoder, take_decoder(weights, config, options, {.fused_qkv = true, .ffn = FfnTensors::fused_gate_up}));
  build_entries(module, config, options, decoder);
  return {};
}

static constexpr std::string_view model_types[] = {"phi3"};
static constexpr TensorName tensor_names[] = {
    {"model.layers.{}.self_attn.qkv_proj", "blk.{}.attn_qkv"},
    {"model.layers.{}.mlp.gate_up_proj", "blk.{}.ffn_up"},
};
const Architecture phi3 = {.name = "phi3", .model_types = model_types, .tensor_names = tensor_names, .has_long_rope = true, .build = build};

}  // namespace heddle::frontends
