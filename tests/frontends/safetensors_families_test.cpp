// What config.json says of each family, and what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "frontends/safetensors/config.h"

namespace heddle::testing {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::FloatEq;

json basic(const std::string& model_type) {
  return {{"model_type", model_type}, {"num_hidden_layers", 4}, {"max_position_embeddings", 256}, {"hidden_size", 40},
          {"intermediate_size", 70},  {"vocab_size", 50},       {"rms_norm_eps", 1e-6},           {"num_attention_heads", 5},
          {"num_key_value_heads", 5}, {"rope_theta", 20000.0},  {"tie_word_embeddings", false}};
}

Result<frontends::Config> config_of(const json& text) {
  HEDDLE_ASSIGN(const auto object, frontends::safetensors::JsonObject::parse(text.dump(), "config.json"));
  const auto* architecture = frontends::architecture_of_model_type(text["model_type"].get<std::string>());
  HEDDLE_CHECK(architecture, "{}", text["model_type"].get<std::string>());
  return frontends::safetensors::read_config(object, *architecture);
}
frontends::Config read(const json& text) {
  auto config = config_of(text);
  EXPECT_TRUE(config.ok()) << config.error().message();
  return config.ok() ? *config : frontends::Config();
}
std::string refusal(json text, const json& more) {
  text.update(more);
  const auto config = config_of(text);
  return config.ok() ? "" : config.error().message();
}

TEST(SafetensorsFamilies, MistralHasAWindowInAllLayers) {
  json text = basic("mistral");
  text["sliding_window"] = 11;
  const auto c = read(text);
  EXPECT_EQ(c.architecture, "llama");
  EXPECT_EQ(c.window, 11);
  for (std::int64_t layer = 0; layer < 4; ++layer) EXPECT_TRUE(c.has_window(layer));
  text["sliding_window"] = nullptr;
  EXPECT_EQ(read(text).window, 0);
}

TEST(SafetensorsFamilies, QwenUsesItsWindowOnRequest) {
  json text = basic("qwen2");
  text["sliding_window"] = 11, text["max_window_layers"] = 2;
  EXPECT_EQ(read(text).window, 0);
  text["use_sliding_window"] = true;
  const auto c = read(text);
  EXPECT_EQ(c.window, 11);
  EXPECT_EQ(c.windowed, std::vector<bool>({false, false, true, true}));
}

TEST(SafetensorsFamilies, Gemma2) {
  json text = basic("gemma2");
  text.update({{"hidden_activation", "gelu_pytorch_tanh"},
               {"query_pre_attn_scalar", 16},
               {"sliding_window", 13},
               {"attn_logit_softcapping", 50.0},
               {"final_logit_softcapping", 30.0}});
  const auto c = read(text);
  EXPECT_EQ(c.attention_scale, 0.25);
  EXPECT_EQ(c.attention_softcap, 50);
  EXPECT_EQ(c.logit_softcap, 30);
  EXPECT_EQ(c.embedding_scale, std::sqrt(40.0));
  EXPECT_TRUE(c.gains_less_one);
  EXPECT_EQ(c.windowed, std::vector<bool>({true, false, true, false}));
  EXPECT_EQ(refusal(text, {{"hidden_activation", "silu"}}),
            "config.json: key 'hidden_activation': found 'silu', wanted 'gelu_pytorch_tanh': other activations are not supported");
}

TEST(SafetensorsFamilies, Gemma3InBothSpellings) {
  json text = basic("gemma3_text");
  text.update({{"sliding_window", 13},
               {"sliding_window_pattern", 3},
               {"rope_local_base_freq", 5000.0},
               {"rope_scaling", {{"rope_type", "linear"}, {"factor", 8.0}}}});
  const auto old = read(text);
  EXPECT_EQ(old.windowed, std::vector<bool>({true, true, false, true}));
  EXPECT_EQ(old.rope_theta, 20000);
  EXPECT_EQ(old.local_rope_theta, 5000);
  EXPECT_EQ(old.rope_factors, std::vector<float>(4, 8));
  for (const char* key : {"sliding_window_pattern", "rope_local_base_freq", "rope_scaling", "rope_theta"}) text.erase(key);
  text["layer_types"] = {"sliding_attention", "sliding_attention", "full_attention", "sliding_attention"};
  text["rope_parameters"] = {{"full_attention", {{"rope_type", "linear"}, {"factor", 8.0}, {"rope_theta", 20000.0}}},
                             {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 5000.0}}}};
  const auto now = read(text);
  EXPECT_EQ(now.windowed, old.windowed);
  EXPECT_EQ(now.rope_theta, 20000);
  EXPECT_EQ(now.local_rope_theta, 5000);
  EXPECT_EQ(now.rope_factors, old.rope_factors);
  text["layer_types"][1] = "chunked_attention";
  EXPECT_EQ(
      refusal(text, json::object()),
      "config.json: key 'layer_types': found 'chunked_attention', wanted 'full_attention' or 'sliding_attention': other layers are not "
      "supported");
}

TEST(SafetensorsFamilies, Llama3StretchesLongWavelengths) {
  json text = basic("llama");
  text["rope_scaling"] = {{"rope_type", "llama3"},
                          {"factor", 8.0},
                          {"low_freq_factor", 1.0},
                          {"high_freq_factor", 4.0},
                          {"original_max_position_embeddings", 64}};
  // Wavelengths 6.3, 75, 889, 10566 of 64 positions: more than 4 turns, between (64 / 75 is less than 1), none.
  EXPECT_THAT(read(text).rope_factors, ElementsAre(FloatEq(1), FloatEq(8), FloatEq(8), FloatEq(8)));
  text["rope_scaling"]["original_max_position_embeddings"] = 150;
  const double turns = 150 / (2 * M_PI * std::pow(20000, 0.25)), blend = (turns - 1) / 3;
  EXPECT_THAT(read(text).rope_factors, ElementsAre(FloatEq(1), FloatEq(float(1 / ((1 - blend) / 8 + blend))), FloatEq(8), FloatEq(8)));
  EXPECT_EQ(refusal(text, {{"rope_scaling", {{"rope_type", "yarn"}, {"factor", 4.0}}}}),
            "config.json: key 'rope_scaling.rope_type': found 'yarn', wanted 'default', 'linear', 'llama3' or, of some architectures, "
            "'longrope': others are not supported");
}

TEST(SafetensorsFamilies, Phi3TurnsAPartOfTheHead) {
  json text = basic("phi3");
  text.update({{"partial_rotary_factor", 0.75},
               {"original_max_position_embeddings", 16},
               {"rope_scaling", {{"type", "longrope"}, {"short_factor", {1.0, 1.1, 1.2}}, {"long_factor", {2.0, 3.0, 4.0}}}}});
  const auto c = read(text);
  EXPECT_EQ(c.rope_dims, 6);
  EXPECT_THAT(c.rope_factors, ElementsAre(1.0f, 1.1f, 1.2f));
  EXPECT_THAT(c.long_rope_factors, ElementsAre(2, 3, 4));
  EXPECT_EQ(c.original_context, 16);
  EXPECT_EQ(c.rope_attention_factor, std::sqrt(1 + std::log(16.0) / std::log(16.0)));
  text["rope_scaling"]["short_factor"] = {1.0, 1.1};
  EXPECT_EQ(refusal(text, json::object()), "config.json: key 'rope_scaling.short_factor': wanted a list of 3 numbers");
  EXPECT_EQ(refusal(basic("llama"), {{"rope_scaling", {{"type", "longrope"}}}}),
            "config.json: key 'rope_scaling.type': found 'longrope', wanted 'default', 'linear', 'llama3' or, of some architectures, "
            "'longrope': others are not supported");
}

TEST(SafetensorsFamilies, Qwen3Moe) {
  json text = basic("qwen3_moe");
  text.update({{"num_local_experts", 7}, {"num_experts_per_tok", 3}, {"moe_intermediate_size", 38}, {"norm_topk_prob", true}});
  const auto c = read(text);
  EXPECT_EQ(c.experts, 7);
  EXPECT_EQ(c.experts_used, 3);
  EXPECT_EQ(c.ffn, 38);
  EXPECT_TRUE(c.normalized_gates);
  EXPECT_EQ(refusal(text, {{"mlp_only_layers", {1}}}), "config.json: key 'mlp_only_layers': layers without experts are not supported");
  EXPECT_EQ(refusal(text, {{"decoder_sparse_step", 2}}),
            "config.json: key 'decoder_sparse_step': found 2, wanted 1: layers without experts are not supported");
  EXPECT_EQ(refusal(basic("llama"), {{"num_experts", 7}}), "config.json: key 'num_experts': the setting is not supported");
}

}  // namespace
}  // namespace heddle::testing
