#include <cmath>

#include "malformed.h"

namespace heddle::testing {
namespace {

class MalformedConfig : public ::testing::TestWithParam<Malformed> {};

TEST_P(MalformedConfig, IsRefusedByName) {
  GgufWriter w = tiny_model({.layers = 2});
  ASSERT_EQ(message_of(w.bytes()), "");
  GetParam().spoil(w);
  EXPECT_EQ(message_of(w.bytes()), GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    Sizes, MalformedConfig,
    ::testing::Values(
        Malformed{"NoBlockCount", [](GgufWriter& w) { w.erase("llama.block_count"); }, "m.gguf: key 'llama.block_count' is missing"},
        Malformed{"NoContext", [](GgufWriter& w) { w.erase("llama.context_length"); }, "m.gguf: key 'llama.context_length' is missing"},
        Malformed{"NoWidth", [](GgufWriter& w) { w.erase("llama.embedding_length"); }, "m.gguf: key 'llama.embedding_length' is missing"},
        Malformed{"NoFfn", [](GgufWriter& w) { w.erase("llama.feed_forward_length"); },
                  "m.gguf: key 'llama.feed_forward_length' is missing"},
        Malformed{"NoHeads", [](GgufWriter& w) { w.erase("llama.attention.head_count"); },
                  "m.gguf: key 'llama.attention.head_count' is missing"},
        Malformed{"NoEps", [](GgufWriter& w) { w.erase("llama.attention.layer_norm_rms_epsilon"); },
                  "m.gguf: key 'llama.attention.layer_norm_rms_epsilon' is missing"},
        Malformed{"BlockCountAsString", [](GgufWriter& w) { w.text("llama.block_count", "2"); },
                  "m.gguf: key 'llama.block_count': found string, wanted an integer"},
        Malformed{"WidthAsFloat", [](GgufWriter& w) { w.f32("llama.embedding_length", 32); },
                  "m.gguf: key 'llama.embedding_length': found f32, wanted an integer"},
        Malformed{"WidthAsBool", [](GgufWriter& w) { w.flag("llama.embedding_length", true); },
                  "m.gguf: key 'llama.embedding_length': found bool, wanted an integer"},
        Malformed{"NoBlocks", [](GgufWriter& w) { w.u32("llama.block_count", 0); },
                  "m.gguf: key 'llama.block_count': found 0, wanted 1 to 2147483647"},
        Malformed{"NegativeWidth", [](GgufWriter& w) { w.i32("llama.embedding_length", -32); },
                  "m.gguf: key 'llama.embedding_length': found -32, wanted 1 to 2147483647"},
        Malformed{"HugeWidth", [](GgufWriter& w) { w.u64("llama.embedding_length", 1ull << 40); },
                  "m.gguf: key 'llama.embedding_length': found 1099511627776, wanted 1 to 2147483647"},
        Malformed{"WidthBeyondSigned", [](GgufWriter& w) { w.u64("llama.embedding_length", 1ull << 63); },
                  "m.gguf: key 'llama.embedding_length': found 9223372036854775808, which is too large"},
        Malformed{"AbsurdBlockCount", [](GgufWriter& w) { w.u32("llama.block_count", 0x7fffffff); },
                  "m.gguf: tensor 'blk.2.attn_norm.weight' is missing"},
        Malformed{"EpsOf0", [](GgufWriter& w) { w.f32("llama.attention.layer_norm_rms_epsilon", 0); },
                  "m.gguf: key 'llama.attention.layer_norm_rms_epsilon': found 0, wanted a number above 0"},
        Malformed{"EpsAsInteger", [](GgufWriter& w) { w.u32("llama.attention.layer_norm_rms_epsilon", 1); },
                  "m.gguf: key 'llama.attention.layer_norm_rms_epsilon': found u32, wanted a floating-point number"},
        Malformed{"ThetaIsNan", [](GgufWriter& w) { w.f32("llama.rope.freq_base", std::nanf("")); },
                  "m.gguf: key 'llama.rope.freq_base': found nan, wanted a number above 0"},
        Malformed{"ThetaIsInfinite", [](GgufWriter& w) { w.f32("llama.rope.freq_base", HUGE_VALF); },
                  "m.gguf: key 'llama.rope.freq_base': found inf, wanted a number above 0"},
        Malformed{"HeadsDoNotDivideWidth",
                  [](GgufWriter& w) {
                    w.erase("llama.attention.key_length").u32("llama.attention.head_count", 5).u32("llama.attention.head_count_kv", 5);
                  },
                  "m.gguf: key 'llama.attention.head_count': 5 heads do not divide a width of 32"},
        Malformed{"KvHeadsDoNotDivideHeads", [](GgufWriter& w) { w.u32("llama.attention.head_count_kv", 3); },
                  "m.gguf: key 'llama.attention.head_count_kv': 3 does not divide 4 heads"},
        Malformed{"KeyAndValueLengthDiffer", [](GgufWriter& w) { w.u32("llama.attention.value_length", 16); },
                  "m.gguf: key 'llama.attention.value_length': 16 is not the key length 8, different ones are not supported"},
        Malformed{"OddRopeDims", [](GgufWriter& w) { w.u32("llama.rope.dimension_count", 7); },
                  "m.gguf: key 'llama.rope.dimension_count': found 7, wanted an even number up to the head dimension 8"},
        Malformed{"RopeBeyondHead", [](GgufWriter& w) { w.u32("llama.rope.dimension_count", 10); },
                  "m.gguf: key 'llama.rope.dimension_count': found 10, wanted an even number up to the head dimension 8"},
        Malformed{"ArrayOfWrongLength",
                  [](GgufWriter& w) {
                    w.i32s("llama.attention.head_count_kv", {2, 2, 2});
                  },
                  "m.gguf: key 'llama.attention.head_count_kv': found 3 entries, wanted 2"},
        Malformed{"LayersDiffer",
                  [](GgufWriter& w) {
                    w.i32s("llama.feed_forward_length", {64, 96});
                  },
                  "m.gguf: key 'llama.feed_forward_length': found 64 and 96, layers that differ are not supported"},
        Malformed{"ArrayOfFloats",
                  [](GgufWriter& w) {
                    w.f32s("llama.feed_forward_length", {64, 64});
                  },
                  "m.gguf: key 'llama.feed_forward_length': found array of f32, wanted an array of integers"},
        Malformed{"NoVocabulary", [](GgufWriter& w) { w.erase_tensor("token_embd.weight"); }, "m.gguf: key 'llama.vocab_size' is missing"}),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    Settings, MalformedConfig,
    ::testing::Values(Malformed{"Unknown", [](GgufWriter& w) { w.u32("llama.attention.flux", 1); },
                                "m.gguf: key 'llama.attention.flux': the setting is not supported"},
                      Malformed{"Experts", [](GgufWriter& w) { w.u32("llama.expert_count", 8); },
                                "m.gguf: key 'llama.expert_count': found 8, wanted 0: a mixture of experts is not supported"},
                      Malformed{"RopeScalingFactor", [](GgufWriter& w) { w.f32("llama.rope.scaling.factor", 4); },
                                "m.gguf: key 'llama.rope.scaling.factor': found 4, wanted 1: rope.scaling.type is 'none'"},
                      Malformed{"YarnFactor",
                                [](GgufWriter& w) { w.text("llama.rope.scaling.type", "yarn").f32("llama.rope.scaling.factor", 4); },
                                "m.gguf: key 'llama.rope.scaling.type': found 'yarn', wanted 'none' or 'linear': others are not supported"},
                      Malformed{"AttentionFactor", [](GgufWriter& w) { w.f32("llama.rope.scaling.attn_factor", 1.5f); },
                                "m.gguf: key 'llama.rope.scaling.attn_factor': found 1.5, wanted 1: rope scaling is not supported"},
                      Malformed{"Yarn", [](GgufWriter& w) { w.text("llama.rope.scaling.type", "yarn"); },
                                "m.gguf: key 'llama.rope.scaling.type': found 'yarn', wanted 'none': rope scaling is not supported"},
                      Malformed{"SlidingWindow", [](GgufWriter& w) { w.i32("llama.attention.sliding_window", -5); },
                                "m.gguf: key 'llama.attention.sliding_window': found -5, wanted 1 to 2147483647"},
                      Malformed{"SoftCap", [](GgufWriter& w) { w.f32("llama.attn_logit_softcapping", -50); },
                                "m.gguf: key 'llama.attn_logit_softcapping': found -50, wanted 0 or a number above"},
                      Malformed{"NotCausal", [](GgufWriter& w) { w.flag("llama.attention.causal", false); },
                                "m.gguf: key 'llama.attention.causal': found 0, wanted 1: attention that is not causal is not supported"},
                      Malformed{"LogitScaleAsString", [](GgufWriter& w) { w.text("llama.logit_scale", "1"); },
                                "m.gguf: key 'llama.logit_scale': found string, wanted an integer"}),
    name_of);

TEST(Config, EveryFieldIsRead) {
  GgufWriter w =
      tiny_model({.layers = 3, .width = 32, .ffn = 64, .heads = 2, .kv_heads = 1, .head_dim = 8, .vocabulary = 40, .context = 99});
  w.u32("llama.rope.dimension_count", 6).f32("llama.rope.freq_base", 5e5f);
  const auto model = read(w.bytes());
  ASSERT_TRUE(model.ok()) << model.error().message();
  const auto& c = model->config;
  EXPECT_EQ(c.architecture, "llama");
  EXPECT_EQ(c.name, "tiny");
  EXPECT_EQ(c.layers, 3);
  EXPECT_EQ(c.width, 32);
  EXPECT_EQ(c.ffn, 64);
  EXPECT_EQ(c.heads, 2);
  EXPECT_EQ(c.kv_heads, 1);
  EXPECT_EQ(c.head_dim, 8);
  EXPECT_EQ(c.vocabulary, 40);
  EXPECT_EQ(c.trained_context, 99);
  EXPECT_EQ(c.rms_eps, double(1e-5f));
  EXPECT_EQ(c.rope_theta, 5e5);
  EXPECT_EQ(c.rope_dims, 6);
  EXPECT_TRUE(c.rope_adjacent);
  EXPECT_FALSE(read(tiny_model({.architecture = "qwen2"}).bytes())->config.rope_adjacent);
}

TEST(Config, GemmaScalesItsEmbeddingsAndKnowsItsWindows) {
  GgufWriter w = tiny_model({.architecture = "gemma3", .layers = 7, .window = 5});
  w.text("gemma3.rope.scaling.type", "linear").f32("gemma3.rope.scaling.factor", 8);
  const auto model = read(w.bytes());
  ASSERT_TRUE(model.ok()) << model.error().message();
  const auto& c = model->config;
  EXPECT_EQ(c.embedding_scale, std::sqrt(32.0));
  EXPECT_EQ(c.window, 5);
  EXPECT_EQ(c.windowed, std::vector<bool>({true, true, true, true, true, false, true}));
  EXPECT_EQ(c.local_rope_theta, 10000);
  EXPECT_EQ(c.rope_factors, std::vector<float>(4, 8));
  EXPECT_EQ(c.attention_softcap, 0);
  const auto gemma2 = read(tiny_model({.architecture = "gemma2", .layers = 3, .window = 5}).bytes());
  ASSERT_TRUE(gemma2.ok()) << gemma2.error().message();
  EXPECT_EQ(gemma2->config.windowed, std::vector<bool>({true, false, true}));
  EXPECT_EQ(gemma2->config.attention_softcap, 20);
  EXPECT_EQ(gemma2->config.logit_softcap, 9);
  EXPECT_EQ(gemma2->config.attention_scale, 0);
  // Of the largest models files do not say that the scale is by the width.
  const auto large = read(tiny_model({.architecture = "gemma2", .layers = 46, .width = 64, .heads = 4, .head_dim = 8}).bytes());
  EXPECT_EQ(large->config.attention_scale, 1 / std::sqrt(16.0));
}

TEST(Config, Qwen3MoeReadsItsExperts) {
  GgufWriter w = tiny_model({.architecture = "qwen3moe", .ffn = 24});
  w.u32("qwen3moe.feed_forward_length", 100);
  const auto model = read(w.bytes());
  ASSERT_TRUE(model.ok()) << model.error().message();
  EXPECT_EQ(model->config.experts, 6);
  EXPECT_EQ(model->config.experts_used, 2);
  EXPECT_EQ(model->config.ffn, 24);
  EXPECT_TRUE(model->config.normalized_gates);
  EXPECT_EQ(message_of(w.u32("qwen3moe.expert_used_count", 7).bytes()),
            "m.gguf: key 'qwen3moe.expert_used_count': found 7, there are 6 experts");
  EXPECT_EQ(message_of(w.u32("qwen3moe.expert_used_count", 2).u32("qwen3moe.expert_gating_func", 2).bytes()),
            "m.gguf: key 'qwen3moe.expert_gating_func': found 2, wanted 1: a router without a softmax is not supported");
}

TEST(Config, Phi3TakesLongFactorsBeyondItsOriginalContext) {
  GgufWriter w = tiny_model({.architecture = "phi3"});
  w.u32("phi3.rope.scaling.original_context_length", 64).f32("phi3.rope.scaling.attn_factor", 1.25f);
  const auto model = read(w.bytes());
  ASSERT_TRUE(model.ok()) << model.error().message();
  EXPECT_EQ(model->config.rope_attention_factor, 1.25);
  EXPECT_FALSE(frontends::wants_long_rope(model->config, 0));
  EXPECT_FALSE(frontends::wants_long_rope(model->config, 64));
  EXPECT_TRUE(frontends::wants_long_rope(model->config, 65));
}

TEST(Config, DefaultsAreThoseOfGguf) {
  GgufWriter w = tiny_model({.heads = 4, .kv_heads = 4});
  w.erase("llama.attention.key_length").erase("llama.attention.value_length").erase("llama.attention.head_count_kv");
  const auto model = read(w.bytes());
  ASSERT_TRUE(model.ok()) << model.error().message();
  EXPECT_EQ(model->config.kv_heads, 4);
  EXPECT_EQ(model->config.head_dim, 8);
  EXPECT_EQ(model->config.rope_dims, 8);
  EXPECT_EQ(model->config.rope_theta, 10000);
  EXPECT_EQ(model->config.vocabulary, 48);
}

TEST(Config, HarmlessSettingsAreAccepted) {
  GgufWriter w = tiny_model();
  w.u32("llama.expert_count", 0).u32("llama.expert_used_count", 0).u32("llama.vocab_size", 48);
  w.text("llama.tensor_data_layout", "Meta AI original pth").u32("llama.rope.scaling.original_context_length", 64);
  w.text("llama.rope.scaling.type", "linear").f32("llama.rope.scaling.factor", 1).flag("llama.rope.scaling.finetuned", false);
  w.u32("llama.attention.sliding_window", 128).flag("llama.attention.causal", true).f32("llama.logit_scale", 1);
  w.i32s("llama.attention.head_count_kv", {2, 2}).i32s("llama.feed_forward_length", {64, 64}).u64("llama.context_length", 128);
  EXPECT_EQ(message_of(w.bytes()), "");
  w.text("llama.rope.scaling.type", "none").erase("llama.rope.scaling.factor");
  EXPECT_EQ(message_of(w.bytes()), "");
}

TEST(Config, VocabularyOnlyFilesAndForeignArchitecturesOpen) {
  GgufWriter w;
  w.text("general.architecture", "falcon").text("tokenizer.ggml.model", "gpt2").text("tokenizer.ggml.pre", "falcon");
  w.texts("tokenizer.ggml.tokens", {"a", "b", "ab"}).texts("tokenizer.ggml.merges", {"a b"}).u32("falcon.block_count", 32);
  const auto model = read(w.bytes());
  ASSERT_TRUE(model.ok()) << model.error().message();
  EXPECT_EQ(model->config.architecture, "falcon");
  EXPECT_EQ(model->config.vocabulary, 3);
  EXPECT_EQ(model->config.layers, 0);
  EXPECT_EQ(message_of(w.bytes()),
            "m.gguf: architecture 'falcon' is not supported (supported: gemma2, gemma3, llama, phi3, qwen2, qwen3, qwen3moe)");
}

}  // namespace
}  // namespace heddle::testing
