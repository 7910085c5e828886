#include <cmath>

#include "ir/verify.h"
#include "malformed.h"

namespace heddle::testing {
namespace {

using ::testing::ElementsAre;

std::unique_ptr<ir::Module> build(const GgufWriter& w, std::vector<frontends::EntryRequest> entries = {{EntryKind::decode, 1}},
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
  const auto module = build(tiny_model(), {{EntryKind::decode, 1}, {EntryKind::decode, 8}, {EntryKind::prefill, 32}}, DType::f16);
  ASSERT_EQ(module->functions().size(), 3u);
  const ir::Function& decode = *module->functions()[1];
  EXPECT_EQ(decode.name, "decode_8");
  EXPECT_EQ(decode.kind, EntryKind::decode);
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

TEST(BuildIr, APromptGoesOnWithOneRowBehindTheLastCache) {
  const auto module = build(tiny_model({.layers = 3}), {{EntryKind::prompt, 4}});
  const ir::Function& f = *module->function("prompt_4");
  EXPECT_EQ(f.arguments()[3]->name, "last");
  EXPECT_EQ(f.arguments()[3]->type.str(), "i32[1]");
  EXPECT_EQ(f.body().size(), 1 + 3 * 17 + 4 + 3u);  // of the last layer three selects and a second norm more
  EXPECT_EQ(count(f, ir::Op::select_rows), 3u);
  const auto type = [&](const char* name) { return producer(f, name)->result()->type.str(); };
  EXPECT_EQ(type("l1.x2"), "f32[4, 32]");
  EXPECT_EQ(type("l2.k_rope"), "f32[4, 16]");
  EXPECT_EQ(type("l2.v"), "f32[4, 16]");
  EXPECT_EQ(type("l2.q_rope"), "f32[1, 32]");
  EXPECT_EQ(type("l2.x2"), "f32[1, 32]");
  EXPECT_EQ(type("logits"), "f32[1, 48]");
  EXPECT_EQ(producer(f, "kv.2.1")->operand("slot"), f.argument("slot"));
  EXPECT_EQ(producer(f, "kv.2.1")->operand("pos"), f.argument("pos"));
  EXPECT_EQ(producer(f, "l2.k_rope")->operand("pos"), f.argument("pos"));
  EXPECT_EQ(producer(f, "l2.q_rope")->operand("pos"), producer(f, "pos_last")->result());
  EXPECT_EQ(producer(f, "l2.attn")->operand("slot"), producer(f, "slot_last")->result());
  EXPECT_EQ(producer(f, "l2.attn")->operand("pos"), producer(f, "pos_last")->result());
  EXPECT_EQ(producer(f, "l2.attn")->operand("kv"), producer(f, "kv.2.1")->result());
  EXPECT_EQ(producer(f, "l2.x1")->operand("x"), producer(f, "l2.x_last")->result());
  for (const char* name : {"l2.x_last", "slot_last", "pos_last"}) EXPECT_EQ(producer(f, name)->operand("index"), f.argument("last"));
}

TEST(BuildIr, PrefillStopsAtTheLastCache) {
  const auto module = build(tiny_model({.layers = 3}), {{EntryKind::prefill, 4}});
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

TEST(BuildIr, Gemma2NormsWhatItsSubLayersAdd) {
  const auto module = build(tiny_model({.architecture = "gemma2", .layers = 2, .window = 5}));
  const ir::Function& f = *module->function("decode_1");
  EXPECT_EQ(producer(f, "x")->op(), ir::Op::mul);
  EXPECT_EQ(producer(f, "x")->operand("y")->producer()->f32("value"), std::sqrt(32.0));
  EXPECT_EQ(producer(f, "l0.x1")->operand("y")->name, "l0.attn_post_norm");
  EXPECT_EQ(producer(f, "l0.attn_post_norm")->operand("x")->name, "l0.o");
  EXPECT_EQ(producer(f, "l0.attn_post_norm")->operand("gain"), module->weight("blk.0.post_attention_norm.weight"));
  EXPECT_EQ(producer(f, "l1.x2")->operand("y")->name, "l1.ffn_post_norm");
  EXPECT_EQ(producer(f, "l0.act")->operand("x")->producer()->op(), ir::Op::gelu);
  EXPECT_EQ(producer(f, "l0.attn")->i64("window"), 5);
  EXPECT_EQ(producer(f, "l1.attn")->i64("window"), 0);
  EXPECT_EQ(producer(f, "l0.attn")->f32("softcap"), 20);
  EXPECT_EQ(producer(f, "logits")->op(), ir::Op::mul);
  EXPECT_EQ(producer(f, "logits_tanh")->operand("x")->name, "logits_divided");
}

TEST(BuildIr, Gemma3TurnsItsWindowsByAnotherBase) {
  GgufWriter w = tiny_model({.architecture = "gemma3", .layers = 6, .window = 5});
  w.text("gemma3.rope.scaling.type", "linear").f32("gemma3.rope.scaling.factor", 8).f32("gemma3.rope.freq_base", 1e6f);
  const auto module = build(w);
  const ir::Function& f = *module->function("decode_1");
  EXPECT_EQ(producer(f, "l4.k_rope")->f32("theta"), 10000);
  EXPECT_EQ(producer(f, "l4.k_rope")->operand("factors"), nullptr);
  EXPECT_EQ(producer(f, "l5.k_rope")->f32("theta"), 1e6);
  EXPECT_EQ(producer(f, "l5.k_rope")->operand("factors"), module->weight("rope_factors"));
  EXPECT_EQ(module->weight("rope_factors")->sources[0].values, std::vector<float>(4, 8));
  EXPECT_EQ(producer(f, "l5.attn")->i64("window"), 0);
}

TEST(BuildIr, Phi3TakesRowsOfItsFusedTensors) {
  GgufWriter w = tiny_model({.architecture = "phi3", .layers = 1, .heads = 4, .kv_heads = 2, .head_dim = 8});
  w.u32("phi3.rope.dimension_count", 6).u32("phi3.rope.scaling.original_context_length", 64).f32("phi3.rope.scaling.attn_factor", 2);
  w.tensor("rope_factors_short.weight", {3}, DType::f32, 1).tensor("rope_factors_long.weight", {3}, DType::f32, 4);
  const auto module = build(w);
  const auto rows = [&](const char* name) {
    const ir::WeightSource& source = module->weight(name)->sources[0];
    return fmt::format("{} {}+{}", source.tensor, source.row_begin, source.rows);
  };
  EXPECT_EQ(rows("blk.0.attn_q.weight"), "blk.0.attn_qkv.weight 0+32");
  EXPECT_EQ(rows("blk.0.attn_k.weight"), "blk.0.attn_qkv.weight 32+16");
  EXPECT_EQ(rows("blk.0.attn_v.weight"), "blk.0.attn_qkv.weight 48+16");
  EXPECT_EQ(rows("blk.0.ffn_gate.weight"), "blk.0.ffn_up.weight 0+64");
  EXPECT_EQ(rows("blk.0.ffn_up.weight"), "blk.0.ffn_up.weight 64+64");
  const ir::Function& f = *module->function("decode_1");
  EXPECT_EQ(producer(f, "l0.k_rope")->operand("factors"), module->weight("rope_factors_short.weight"));
  // The attention factor of both Q and K, on the turning part of Q.
  EXPECT_EQ(producer(f, "l0.q_rope")->operand("x")->name, "l0.q_scaled");
  const auto& factors = module->weight("rope_attention_factors")->sources[0].values;
  EXPECT_EQ(std::vector<float>(factors.begin(), factors.begin() + 9), std::vector<float>({4, 4, 4, 4, 4, 4, 1, 1, 4}));
  EXPECT_EQ(producer(f, "l0.attn")->f32("scale"), 1 / std::sqrt(8.0));

  const auto model = read(w.bytes());
  const auto long_module = frontends::build_ir(*model, {.entries = {{EntryKind::decode, 1}}, .kv = DType::f32, .context = 65, .target = {}});
  ASSERT_TRUE(long_module.ok()) << long_module.error().message();
  EXPECT_EQ(producer(*(*long_module)->function("decode_1"), "l0.k_rope")->operand("factors"),
            (*long_module)->weight("rope_factors_long.weight"));
}

TEST(BuildIr, Qwen3MoeRoutesEveryRow) {
  const auto module = build(tiny_model({.architecture = "qwen3moe", .layers = 1, .ffn = 24}), {{EntryKind::decode, 3}});
  const ir::Function& f = *module->function("decode_3");
  EXPECT_EQ(producer(f, "l0.experts")->result()->type.str(), "i32[3, 2]");
  EXPECT_EQ(producer(f, "l0.gates")->operand("x")->name, "l0.router");
  EXPECT_EQ(producer(f, "l0.up")->result()->type.str(), "f32[3, 48]");
  EXPECT_EQ(producer(f, "l0.up")->operand("gates"), nullptr);
  EXPECT_EQ(producer(f, "l0.down")->operand("gates")->name, "l0.gates");
  EXPECT_EQ(producer(f, "l0.down")->result()->type.str(), "f32[3, 32]");
  // The older way to store experts.
  GgufWriter w = tiny_model({.architecture = "qwen3moe", .layers = 1, .ffn = 24});
  w.erase_tensor("blk.0.ffn_up_exps.weight");
  for (int i = 0; i < 6; ++i) w.tensor(fmt::format("blk.0.ffn_up.{}.weight", i), {24, 32});
  const auto apart = build(w);
  ASSERT_EQ(apart->weight("blk.0.ffn_up_exps.weight")->sources.size(), 6u);
  EXPECT_EQ(apart->weight("blk.0.ffn_up_exps.weight")->type.str(), "f32[6, 24, 32]");
  EXPECT_EQ(message_of(w.erase_tensor("blk.0.ffn_up.4.weight").bytes()), "m.gguf: tensor 'blk.0.ffn_up.4.weight' is missing");
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
  EXPECT_EQ(up->layout, Layout::rows);
  const ir::Value* gain = module->weight("output_norm.weight");
  EXPECT_EQ(gain->type.str(), "f32[32]");
  EXPECT_EQ(gain->sources[0].rows, 1);
  EXPECT_EQ(module->weights().size(), 2 * 9 + 3u);
  EXPECT_EQ(module->name, "tiny");
}

}  // namespace
}  // namespace heddle::testing
