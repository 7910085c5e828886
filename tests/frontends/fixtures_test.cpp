#include <gtest/gtest.h>

#include "frontends/model.h"
#include "ir/text/text.h"
#include "ir/verify.h"
#include "tests/support/paths.h"

namespace heddle::testing {
namespace {

struct Fixture {
  std::string path;  // under models/
  frontends::Config config;
  std::string kind, pre;
  std::int32_t bos, eos;
  bool add_bos;
  std::vector<std::int32_t> end_tokens;
  std::uint64_t tensors, parameters;
  std::string q_type, down_type;  // of layer 0
  std::size_t nodes;              // of decode_1
};

void PrintTo(const Fixture& fixture, std::ostream* out) { *out << fixture.path; }

class Fixtures : public ::testing::TestWithParam<Fixture> {};

TEST_P(Fixtures, ParseAndBuild) {
  const Fixture& want = GetParam();
  const std::string path = shared_path("models/" + want.path);
  if (path.empty()) GTEST_SKIP() << "no " << want.path;
  const auto model = frontends::open_model(path);
  ASSERT_TRUE(model.ok()) << model.error().message();
  const frontends::Config &c = model->config, &w = want.config;
  EXPECT_EQ(c.architecture, w.architecture);
  EXPECT_EQ(c.name, w.name);
  EXPECT_EQ(c.layers, w.layers);
  EXPECT_EQ(c.width, w.width);
  EXPECT_EQ(c.ffn, w.ffn);
  EXPECT_EQ(c.heads, w.heads);
  EXPECT_EQ(c.kv_heads, w.kv_heads);
  EXPECT_EQ(c.head_dim, w.head_dim);
  EXPECT_EQ(c.vocabulary, w.vocabulary);
  EXPECT_EQ(c.trained_context, w.trained_context);
  EXPECT_EQ(float(c.rms_eps), float(w.rms_eps));
  EXPECT_EQ(c.rope_theta, w.rope_theta);
  EXPECT_EQ(c.rope_dims, w.rope_dims);
  EXPECT_EQ(c.rope_adjacent, w.rope_adjacent);
  EXPECT_EQ(model->vocabulary.kind, want.kind);
  EXPECT_EQ(model->vocabulary.pre, want.pre);
  EXPECT_EQ(std::int64_t(model->vocabulary.tokens.size()), w.vocabulary);
  EXPECT_EQ(model->vocabulary.bos, want.bos);
  EXPECT_EQ(model->vocabulary.eos, want.eos);
  EXPECT_EQ(model->vocabulary.add_bos, want.add_bos);
  EXPECT_EQ(model->vocabulary.end_tokens, want.end_tokens);
  EXPECT_EQ(model->tensors.size(), want.tensors);
  EXPECT_EQ(model->parameters(), want.parameters);

  const auto module =
      frontends::build_ir(*model, {.entries = {{EntryKind::decode, 1}, {EntryKind::decode, 8}, {EntryKind::prefill, 32}, {EntryKind::prompt, 32}}, .kv = DType::f32, .target = {}});
  ASSERT_TRUE(module.ok()) << module.error().message();
  const auto verified = ir::verify(**module);
  EXPECT_TRUE(verified.ok()) << verified.error().message();
  EXPECT_EQ(name((*module)->weight("blk.0.attn_q.weight")->type.dtype), want.q_type);
  EXPECT_EQ(name((*module)->weight("blk.0.ffn_down.weight")->type.dtype), want.down_type);
  EXPECT_EQ((*module)->function("decode_1")->body().size(), want.nodes);
  EXPECT_EQ((*module)->function("decode_8")->body().size(), want.nodes);
  const std::string text = ir::print(**module);
  const auto parsed = ir::parse(text, want.path);
  ASSERT_TRUE(parsed.ok()) << parsed.error().message();
  EXPECT_EQ(ir::print(**parsed), text);
}

frontends::Config tiny_llama() {
  return {.architecture = "llama",
          .name = "Tiny Llama",
          .layers = 4,
          .width = 256,
          .ffn = 768,
          .heads = 4,
          .kv_heads = 2,
          .head_dim = 64,
          .vocabulary = 2048,
          .trained_context = 2048,
          .rms_eps = 1e-5,
          .rope_theta = 10000,
          .rope_dims = 64,
          .rope_adjacent = true,
          .rope_factors = {},
          .long_rope_factors = {},
          .windowed = {}};
}
Fixture tiny_llama_in(const std::string& file, const std::string& q_type, const std::string& down_type) {
  return {.path = "tiny-llama/" + file,
          .config = tiny_llama(),
          .kind = "bpe",
          .pre = "llama-bpe",
          .bos = -1,
          .eos = 2047,
          .add_bos = false,
          .end_tokens = {2047},
          .tensors = 38,
          .parameters = 3672320,
          .q_type = q_type,
          .down_type = down_type,
          .nodes = 1 + 4 * 17 + 3};
}

INSTANTIATE_TEST_SUITE_P(Models, Fixtures,
                         ::testing::Values(Fixture{.path = "stories260K/stories260K-f32.gguf",
                                                   .config = {.architecture = "llama",
                                                              .name = "stories260K",
                                                              .layers = 5,
                                                              .width = 64,
                                                              .ffn = 172,
                                                              .heads = 8,
                                                              .kv_heads = 4,
                                                              .head_dim = 8,
                                                              .vocabulary = 512,
                                                              .trained_context = 512,
                                                              .rms_eps = 1e-5,
                                                              .rope_theta = 10000,
                                                              .rope_dims = 8,
                                                              .rope_adjacent = true,
                                                              .rope_factors = {},
                                                              .long_rope_factors = {},
                                                              .windowed = {}},
                                                   .kind = "spm",
                                                   .pre = "",
                                                   .bos = 1,
                                                   .eos = 2,
                                                   .add_bos = true,
                                                   .end_tokens = {2},
                                                   .tensors = 47,
                                                   .parameters = 260032,
                                                   .q_type = "f32",
                                                   .down_type = "f32",
                                                   .nodes = 1 + 5 * 17 + 3},
                                           tiny_llama_in("tiny-llama-bf16.gguf", "bf16", "bf16"),
                                           tiny_llama_in("tiny-llama-Q8_0.gguf", "q8_0", "q8_0"),
                                           tiny_llama_in("tiny-llama-Q6_K.gguf", "q6_K", "q6_K"),
                                           tiny_llama_in("tiny-llama-Q4_K_M.gguf", "q4_K", "q4_K"),
                                           Fixture{.path = "small-qwen2/small-qwen2-Q4_K_M.gguf",
                                                   .config = {.architecture = "qwen2",
                                                              .name = "Small Qwen2",
                                                              .layers = 6,
                                                              .width = 512,
                                                              .ffn = 1536,
                                                              .heads = 8,
                                                              .kv_heads = 2,
                                                              .head_dim = 64,
                                                              .vocabulary = 8192,
                                                              .trained_context = 2048,
                                                              .rms_eps = 1e-6,
                                                              .rope_theta = 1e6,
                                                              .rope_dims = 64,
                                                              .rope_adjacent = false,
                                                              .rope_factors = {},
                                                              .long_rope_factors = {},
                                                              .windowed = {}},
                                                   .kind = "bpe",
                                                   .pre = "qwen2",
                                                   .bos = -1,
                                                   .eos = 8189,
                                                   .add_bos = false,
                                                   .end_tokens = {8189, 8191},
                                                   .tensors = 74,
                                                   .parameters = 22293504,
                                                   .q_type = "q4_K",
                                                   .down_type = "q4_K",
                                                   .nodes = 1 + 6 * 20 + 3}));

TEST(Bundled, TinyLlamaIsThere) {
  const auto model = frontends::open_model(source_path("tests/models/tiny-llama-Q4_K_M.gguf"));
  ASSERT_TRUE(model.ok()) << model.error().message();
  EXPECT_EQ(model->config.name, "Tiny Llama");
  EXPECT_TRUE(frontends::build_ir(*model, {.entries = {{EntryKind::decode, 1}}, .kv = DType::f32, .target = {}}).ok());
}

}  // namespace
}  // namespace heddle::testing
