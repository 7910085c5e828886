#include <cmath>

#include "ir/verify.h"
#include "malformed.h"

namespace heddle::testing {
namespace {

using ::testing::ElementsAre;

std::unique_ptr<ir::Module> build(const GgufWriter& w, std::vector<frontends::EntryRequest> entries = {{"decode", 1}},
                                  DType kv = DType::f32) {
  const auto model = read(w.bytes());
  EXPECT_TRUE(model.ok()) << model.error().message();
  auto module = frontends::build_ir(*model, {.entries = std::move(entries), .kv = kv, .target = {}});
  EXPECT_TRUE(module.ok()) << module.error().message();
  const auto verified = ir::verify(**module);
  EXPECT_TRUE(verified.ok()) << verified.error().message();
  return std::move(*module);
}

std::size_t count(const ir::Function& function, ir::Op op) {
  std::size_t n = 0;
  for (const ir::Node* node : function.all_nodes()) n += node->op() == op;
  return n;
}

const ir::Node* producer(const ir::Function& function, std::string_view name) {
  for (const ir::Node* node : function.all_nodes()) {
    if (!node->results().empty() && node->result()->name == name) return node;
  }
  return nullptr;
}

class MalformedTensors : public ::testing::TestWithParam<Malformed> {};
TEST_P(MalformedTensors, AreRefusedByName) {
  GgufWriter w = tiny_model({.layers = 1, .rope_factors = true});
  ASSERT_EQ(message_of(w.bytes()), "");
  GetParam().spoil(w);
  EXPECT_EQ(message_of(w.bytes()), GetParam().message);
}
INSTANTIATE_TEST_SUITE_P(
    Tensors, MalformedTensors,
    ::testing::Values(Malformed{"Missing", [](GgufWriter& w) { w.erase_tensor("blk.0.ffn_up.weight"); },
                                "m.gguf: tensor 'blk.0.ffn_up.weight' is missing"},
                      Malformed{"NoOutputNorm", [](GgufWriter& w) { w.erase_tensor("output_norm.weight"); },
                                "m.gguf: tensor 'output_norm.weight' is missing"},
                      Malformed{"OtherShape",
                                [](GgufWriter& w) {
                                  w.tensor_named("blk.0.ffn_up.weight").dims = {32, 48};
                                },
                                "m.gguf: tensor 'blk.0.ffn_up.weight': shape is [48, 32], the config needs [64, 32]"},
                      Malformed{"Transposed",
                                [](GgufWriter& w) {
                                  w.tensor_named("blk.0.ffn_down.weight").dims = {32, 64};
                                },
                                "m.gguf: tensor 'blk.0.ffn_down.weight': shape is [64, 32], the config needs [32, 64]"},
                      Malformed{"OfOtherRank",
                                [](GgufWriter& w) {
                                  w.tensor_named("blk.0.attn_norm.weight").dims = {32, 1};
                                },
                                "m.gguf: tensor 'blk.0.attn_norm.weight': shape is [1, 32], the config needs [32]"},
                      Malformed{"RopeFactorsOfOtherLength", [](GgufWriter& w) { w.tensor_named("rope_freqs.weight").dims = {2}; },
                                "m.gguf: tensor 'rope_freqs.weight': shape is [2], the config needs [4]"},
                      Malformed{"HeadOfOtherVocabulary",
                                [](GgufWriter& w) {
                                  w.tensor_named("output.weight").dims = {32, 47};
                                },
                                "m.gguf: tensor 'output.weight': shape is [47, 32], the config needs [48, 32]"},
                      Malformed{"QuantisedVector",
                                [](GgufWriter& w) {
                                  w.erase_tensor("blk.0.attn_norm.weight").tensor("blk.0.attn_norm.weight", {32}, DType::q8_0);
                                },
                                "m.gguf: tensor 'blk.0.attn_norm.weight': type is q8_0, a vector is f32, f16 or bf16"},
                      Malformed{"Unused", [](GgufWriter& w) { w.tensor("blk.0.attn_sinks.weight", {4}); },
                                "m.gguf: tensor 'blk.0.attn_sinks.weight' is not part of architecture 'llama'"},
                      Malformed{"LayerTooMany", [](GgufWriter& w) { w.tensor("blk.1.attn_norm.weight", {32}); },
                                "m.gguf: tensor 'blk.1.attn_norm.weight' is not part of architecture 'llama'"}),
    name_of);

TEST(BuildIr, Qwen2WantsItsBiases) {
  GgufWriter w = tiny_model({.architecture = "qwen2"});
  EXPECT_EQ(message_of(w.erase_tensor("blk.1.attn_k.bias").bytes()), "m.gguf: tensor 'blk.1.attn_k.bias' is missing");
  EXPECT_EQ(message_of(tiny_model({.architecture = "qwen2"}).tensor("blk.0.attn_output.bias", {32}).bytes()),
            "m.gguf: tensor 'blk.0.attn_output.bias' is not part of architecture 'qwen2'");
}

TEST(BuildIr, FunctionsHaveTheAgreedArguments) {
  const auto module = build(tiny_model(), {{"decode", 1}, {"decode", 8}, {"prefill", 32}}, DType::f16);
  ASSERT_EQ(module->functions().size(), 3u);
  const ir::Function& decode = *module->functions()[1];
  EXPECT_EQ(decode.name, "decode_8");
  EXPECT_EQ(decode.kind, "decode");
  EXPECT_EQ(decode.rows, 8);
  std::vector<std::string> arguments;
  for (const ir::Value* argument : decode.arguments()) arguments.push_back(argument->name + ": " + argument->type.str());
  EXPECT_THAT(arguments,
              ElementsAre("tokens: i32[8]", "slot: i32[8]", "pos: i32[8]", "kv.0: state f16[2, 2, 8]", "kv.1: state f16[2, 2, 8]"));
  std::vector<std::string> results;
  for (const ir::Value* value : decode.body().terminator()->operands()) results.push_back(value->name + ": " + value->type.str());
  EXPECT_THAT(results, ElementsAre("logits: f32[8, 48]", "kv.0.1: state f16[2, 2, 8]", "kv.1.1: state f16[2, 2, 8]"));
  const ir::Function& prefill = *module->functions()[2];
  EXPECT_EQ(prefill.name, "prefill_32");
  results.clear();
  for (const ir::Value* value : prefill.body().terminator()->operands()) results.push_back(value->name);
  EXPECT_THAT(results, ElementsAre("kv.0.1", "kv.1.1"));
}

TEST(BuildIr, DecodeHasEveryNodeOfEveryLayer) {
  const auto module = build(tiny_model({.layers = 3}));
  const ir::Function& f = *module->function("decode_1");
  std::vector<std::string> names;
  for (const ir::Node* node : f.all_nodes()) {
    if (!node->results().empty() && (node->result()->name.starts_with("l1.") || node->result()->name == "kv.1.1"))
      names.push_back(node->result()->name);
  }
  EXPECT_THAT(names, ElementsAre("l1.attn_norm", "l1.q", "l1.k", "l1.v", "l1.q_rope", "l1.k_rope", "kv.1.1", "l1.attn", "l1.o", "l1.x1",
                                 "l1.ffn_norm", "l1.gate", "l1.up", "l1.silu", "l1.act", "l1.down", "l1.x2"));
  EXPECT_EQ(f.body().size(), 1 + 3 * 17 + 3u);  // embed, layers, norm, head and ret
  EXPECT_EQ(count(f, ir::Op::matmul), 3 * 7 + 1u);
  EXPECT_EQ(count(f, ir::Op::add), 3 * 2u);
  EXPECT_EQ(count(f, ir::Op::rms_norm), 3 * 2 + 1u);
}

TEST(BuildIr, PrefillStopsAtTheLastCache) {
  const auto module = build(tiny_model({.layers = 3}), {{"prefill", 4}});
  const ir::Function& f = *module->function("prefill_4");
  EXPECT_EQ(f.body().size(), 1 + 2 * 17 + 5 + 1u);  // the last layer: norm, k, v, rope and store
  EXPECT_EQ(count(f, ir::Op::kv_store), 3u);
  EXPECT_EQ(count(f, ir::Op::attention), 2u);
  EXPECT_EQ(producer(f, "logits"), nullptr);
}

TEST(BuildIr, OpsCarryTheConfig) {
  GgufWriter w = tiny_model({.rope_factors = true});
  w.u32("llama.rope.dimension_count", 8).f32("llama.rope.freq_base", 5e5f);
  const auto module = build(w);
  const ir::Function& f = *module->function("decode_1");
  const ir::Node* rope = producer(f, "l0.k_rope");
  EXPECT_EQ(rope->i64("head_dim"), 8);
  EXPECT_EQ(rope->i64("dims"), 8);
  EXPECT_EQ(rope->f32("theta"), 5e5);
  EXPECT_EQ(rope->str("pairing"), "adjacent");
  EXPECT_EQ(rope->operand("factors"), module->weight("rope_freqs.weight"));
  EXPECT_EQ(rope->operand("pos")->name, "pos");
  const ir::Node* attention = producer(f, "l1.attn");
  EXPECT_EQ(attention->i64("heads"), 4);
  EXPECT_EQ(attention->i64("kv_heads"), 2);
  EXPECT_EQ(attention->i64("head_dim"), 8);
  EXPECT_EQ(attention->f32("scale"), 1 / std::sqrt(8.0));
  EXPECT_EQ(attention->i64("window"), 0);
  EXPECT_EQ(attention->f32("softcap"), 0);
  EXPECT_EQ(attention->operand("kv")->name, "kv.1.1");
  EXPECT_EQ(producer(f, "l0.ffn_norm")->f32("eps"), double(1e-5f));
  EXPECT_EQ(producer(f, "l0.act")->operand("x")->name, "l0.silu");
  EXPECT_EQ(producer(f, "l0.silu")->operand("x")->name, "l0.gate");
}

TEST(BuildIr, Qwen2HasBiasesAndPairsOfHalves) {
  const auto module = build(tiny_model({.architecture = "qwen2"}));
  const ir::Function& f = *module->function("decode_1");
  EXPECT_EQ(producer(f, "l0.k_rope")->str("pairing"), "halves");
  EXPECT_EQ(producer(f, "l0.k_rope")->operand("factors"), nullptr);
  for (const std::string name : {"q", "k", "v"}) {
    const ir::Node* add = producer(f, "l1." + name);
    EXPECT_EQ(add->op(), ir::Op::add);
    EXPECT_EQ(add->operand("x")->name, "l1." + name + "_matmul");
    EXPECT_EQ(add->operand("y"), module->weight("blk.1.attn_" + name + ".bias"));
  }
  EXPECT_EQ(count(f, ir::Op::add), 2 * (2 + 3u));
  EXPECT_EQ(producer(f, "l1.o")->op(), ir::Op::matmul);
}

TEST(BuildIr, Qwen3NormsEveryHeadBeforeTheRope) {
  const auto module = build(tiny_model({.architecture = "qwen3"}));
  const ir::Function& f = *module->function("decode_1");
  for (const std::string name : {"q", "k"}) {
    const ir::Node* rope = producer(f, "l1." + name + "_rope");
    EXPECT_EQ(rope->str("pairing"), "halves");
    const ir::Node* norm = rope->operand("x")->producer();
    EXPECT_EQ(norm->op(), ir::Op::rms_norm);
    EXPECT_EQ(norm->operand("x")->name, "l1." + name);
    EXPECT_EQ(norm->operand("gain"), module->weight("blk.1.attn_" + name + "_norm.weight"));
  }
  EXPECT_EQ(message_of(tiny_model({.architecture = "qwen3"}).erase_tensor("blk.0.attn_k_norm.weight").bytes()),
            "m.gguf: tensor 'blk.0.attn_k_norm.weight' is missing");
}

TEST(BuildIr, LlamaMayHaveBiases) {
  GgufWriter w = tiny_model({.layers = 1});
  w.tensor("blk.0.attn_q.bias", {32}).tensor("blk.0.attn_output.bias", {32}, DType::f16);
  const auto module = build(w);
  const ir::Function& f = *module->function("decode_1");
  EXPECT_EQ(producer(f, "l0.q")->operand("y"), module->weight("blk.0.attn_q.bias"));
  EXPECT_EQ(producer(f, "l0.o")->operand("y"), module->weight("blk.0.attn_output.bias"));
  EXPECT_EQ(producer(f, "l0.k")->op(), ir::Op::matmul);
}

TEST(BuildIr, TiedModelsShareTheEmbedding) {
  const auto tied = build(tiny_model({.tied = true}));
  EXPECT_EQ(tied->weight("output.weight"), nullptr);
  EXPECT_EQ(producer(*tied->function("decode_1"), "logits")->operand("w"), tied->weight("token_embd.weight"));
  const auto untied = build(tiny_model({.tied = false}));
  EXPECT_EQ(producer(*untied->function("decode_1"), "logits")->operand("w"), untied->weight("output.weight"));
}

TEST(BuildIr, WeightsKeepTypeShapeAndSource) {
  const auto module = build(tiny_model({.matrices = DType::q8_0}));
  const ir::Value* up = module->weight("blk.1.ffn_up.weight");
  EXPECT_EQ(up->type.str(), "q8_0[64, 32]");
  ASSERT_EQ(up->sources.size(), 1u);
  EXPECT_EQ(up->sources[0].tensor, "blk.1.ffn_up.weight");
  EXPECT_EQ(up->sources[0].row_begin, 0);
  EXPECT_EQ(up->sources[0].rows, 64);
  EXPECT_EQ(up->layout.name, "rows");
  const ir::Value* gain = module->weight("output_norm.weight");
  EXPECT_EQ(gain->type.str(), "f32[32]");
  EXPECT_EQ(gain->sources[0].rows, 1);
  EXPECT_EQ(module->weights().size(), 2 * 9 + 3u);
  EXPECT_EQ(module->name, "tiny");
}

}  // namespace
}  // namespace heddle::testing
