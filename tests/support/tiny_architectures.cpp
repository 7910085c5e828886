#include "tests/support/tiny_architectures.h"

namespace heddle::testing {

std::vector<TinyArchitecture> tiny_architectures() {
  std::vector<TinyArchitecture> out;
  const auto add = [&](const std::string& name, const TinyModel& model) -> GgufWriter& {
    return out.emplace_back(TinyArchitecture{name, tiny_model(model)}).file;
  };
  const TinyModel odd{.width = 42, .ffn = 38, .heads = 6, .kv_heads = 3, .head_dim = 10, .window = 5};
  const auto odd_of = [&](const std::string& architecture) {
    TinyModel model = odd;
    model.architecture = architecture;
    return model;
  };
  add("mistral", odd);
  TinyModel scaled = odd;
  scaled.rope_factors = true, scaled.window = 0, scaled.tied = true;
  add("llama_scaled", scaled);
  add("qwen2", odd_of("qwen2"));
  add("qwen3", odd_of("qwen3"));
  add("gemma2", odd_of("gemma2"));
  TinyModel gemma3 = odd_of("gemma3");
  gemma3.layers = 7;
  add("gemma3", gemma3).text("gemma3.rope.scaling.type", "linear").f32("gemma3.rope.scaling.factor", 8).f32("gemma3.rope.freq_base", 1e6f);
  add("phi3", odd_of("phi3"))
      .u32("phi3.rope.dimension_count", 6)
      .u32("phi3.rope.scaling.original_context_length", 64)
      .f32("phi3.rope.scaling.attn_factor", 1.2f)
      .tensor("rope_factors_short.weight", {3}, DType::f32, 1.5f)
      .tensor("rope_factors_long.weight", {3}, DType::f32, 4);
  add("qwen3moe", odd_of("qwen3moe"));
  // Of sizes that blocks divide.
  const TinyModel blocks{.width = 64, .ffn = 96, .heads = 4, .kv_heads = 2, .head_dim = 32, .window = 5, .matrices = DType::q8_0};
  for (const char* architecture : {"gemma2", "phi3", "qwen3moe"}) {
    TinyModel model = blocks;
    model.architecture = architecture;
    add(std::string(architecture) + "_q8", model);
  }
  return out;
}

}  // namespace heddle::testing
