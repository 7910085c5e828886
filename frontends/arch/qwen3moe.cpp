#include "frontends/arch/architecture.h"
#include "frontends/arch/transformer.h"

/// qwen3moe: the attention of qwen3; the FFN is a mixture of experts: a router's softmax chooses some of them for every row, and their
/// results are added with its weights.
namespace heddle::frontends {

static Result<void> build(const Config& config, const BuildOptions& options, Weights& weights, ir::Module& module) {
  HEDDLE_ASSIGN(const Decoder decoder,
                take_decoder(weights, config, options,
                             {.qkv_bias = Bias::optional, .output_bias = Bias::optional, .head_norms = true, .ffn = FfnTensors::experts}));
  build_entries(module, config, options, decoder);
  return {};
}

static constexpr std::string_view model_types[] = {"qwen3_moe"};
static constexpr TensorName tensor_names[] = {
    {"model.layers.{}.mlp.gate", "blk.{}.ffn_gate_inp"},
    {"model.layers.{}.mlp.experts.{}.gate_proj", "blk.{}.ffn_gate.{}"},
    {"model.layers.{}.mlp.experts.{}.up_proj", "blk.{}.ffn_up.{}"},
    {"model.layers.{}.mlp.experts.{}.down_proj", "blk.{}.ffn_down.{}"},
};
const Architecture qwen3moe = {.name = "qwen3moe",
                               .model_types = model_types,
                               .tensor_names = tensor_names,
                               .window_on_request = true,
                               .has_experts = true,
                               .build = build};

}  // namespace heddle::frontends
