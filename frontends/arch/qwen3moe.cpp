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

const Architecture qwen3moe = {.name = "qwen3moe", .has_experts = true, .build = build};

}  // namespace heddle::frontends
