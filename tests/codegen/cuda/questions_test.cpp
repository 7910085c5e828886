#include "codegen/cuda/questions.h"

#include <gtest/gtest.h>

#include "codegen/cuda/target.h"
#include "ir/text/text.h"
#include "ir/verify.h"

namespace heddle::codegen::cuda {
namespace {

/// What is said of the first group: "emitted", or the node and the reason.
std::string answer(const std::string& body, const std::string& returned, const std::string& target = "cuda:sm_90") {
  const std::string text = fmt::format(R"(heddle-ir 1
weight @wq : q4_K[256, 256]
weight @wu : f16[256, 256]
weight @w3 : f16[9, 33]
weight @big : f32[8, 65536]
weight @g : f32[256]
weight @gh : f32[64]
func @decode_1 decode rows=1 (%tokens: i32[1], %slot: i32[1], %pos: i32[1], %x: f32[1, 256], %y1: f32[1, 33], %wide: f32[1, 65536], %kv: state f16[2, 4, 64], %kvb: state bf16[2, 4, 64]) {{
{}  ret {}
}}
)",
                                       body, returned);
  auto module = ir::parse(text);
  EXPECT_TRUE(module.ok()) << (module.ok() ? "" : module.error().message());
  if (!module.ok()) return "";
  const ir::Node& group = (*module)->functions().front()->body()[0];
  auto refusal = CudaQuestions(*target_named(target)).cannot_emit(group);
  return refusal ? fmt::format("{}: {}", refusal->node->info().name, refusal->reason) : "emitted";
}

TEST(CudaQuestionsTest, TakesWhatTheKernelsDo) {
  EXPECT_EQ(answer("  %y = group \"g\" {\n    %n = rms_norm %x, @g {eps=1e-05}\n    %a = quantize %n {format=\"q8_16\"}\n    %m = matmul "
                   "@wq, %a\n    %s = add %m, %x\n"
                   "    yield %s\n  }\n",
                   "%y, %kv, %kvb"),
            "emitted");
  EXPECT_EQ(answer("  %y = group \"g\" {\n    %n = rms_norm %x, @gh {eps=1e-05}\n    %r = rope %n, %pos {head_dim=64, dims=64, "
                   "theta=10000, pairing=\"halves\"}\n"
                   "    yield %r\n  }\n",
                   "%y, %kv, %kvb"),
            "emitted");
}

/// The format that is wanted for the activation of a matmul of `rows` rows with a weight of a type; "" if none.
std::string wanted_activations(const std::string& type, int rows, int columns, DType target_activations = DType::q8_16) {
  auto module =
      ir::parse(fmt::format("heddle-ir 1\nweight @w : {0}[64, {1}]\nfunc @f decode rows={2} (%x: f32[{2}, {1}]) {{\n  %y = matmul "
                            "@w, %x\n  ret %y\n}}\n",
                            type, columns, rows));
  EXPECT_TRUE(module.ok()) << (module.ok() ? "" : module.error().message());
  if (!module.ok()) return "";
  const auto wanted = CudaQuestions(*target_named("cuda:sm_80", target_activations)).activations_of((*module)->functions().front()->body()[0]);
  return wanted ? std::string(name(*wanted)) : "";
}

TEST(CudaQuestionsTest, ManyRowsWantActivationsForTheMatrixUnits) {
  EXPECT_EQ(wanted_activations("q4_K", 16, 256), "f16_128");
  EXPECT_EQ(wanted_activations("bf16", 2048, 128), "f16_128");
  EXPECT_EQ(wanted_activations("q4_K", 8, 256), "");   // decode's kernels
  EXPECT_EQ(wanted_activations("q4_K", 24, 256), "");  // no whole tiles of rows
  EXPECT_EQ(wanted_activations("q8_0", 64, 96), "");   // nor of columns
  EXPECT_EQ(wanted_activations("f32", 64, 256), "");
  EXPECT_EQ(wanted_activations("q4_K", 64, 256, DType::f32), "");  // exact
}

struct Case {
  const char *name, *body, *returned, *wanted;
};
class Refused : public ::testing::TestWithParam<Case> {};
TEST_P(Refused, NamesTheNodeAndTheReason) { EXPECT_EQ(answer(GetParam().body, GetParam().returned), GetParam().wanted); }

INSTANTIATE_TEST_SUITE_P(
    Cases, Refused,
    ::testing::Values(
        Case{"quantize_behind_a_product",
             "  %y = group \"g\" {\n    %m = matmul @wq, %x\n    %q = quantize %m {format=\"q8_16\"}\n    yield %q\n  }\n", "%y, %kv, %kvb",
             "quantize: behind a product it needs more columns together than a unit has"},
        Case{"norm_of_heads_behind_a_product",
             "  %y = group \"g\" {\n    %m = matmul @wq, %x\n    %n = rms_norm %m, @gh {eps=1e-05}\n    yield %n\n  }\n", "%y, %kv, %kvb",
             "rms_norm: behind a product it needs more columns together than a unit has"},
        Case{"norm_of_heads_before_a_product",
             "  %y = group \"g\" {\n    %n = rms_norm %x, @gh {eps=1e-05}\n    %m = matmul @wq, %n\n    yield %m\n  }\n", "%y, %kv, %kvb",
             "rms_norm: in front of a product a norm of heads is not emitted"},
        Case{"foreign_activations",
             "  %y = group \"g\" {\n    %a = quantize %x {format=\"q8_1\"}\n    %m = matmul @wq, %a\n    yield %m\n  }\n", "%y, %kv, %kvb",
             "matmul: activations in q8_1 are not of this target"},
        Case{"mixed_pieces",
             "  %y = group \"g\" {\n    %m = matmul @wq, %x\n    %n = matmul @wu, %x\n    %s = mul %m, %n\n    yield %s\n  }\n",
             "%y, %kv, %kvb", "matmul: weights in q4_K and f16 do not share a unit"},
        Case{"two_ropes",
             "  %y = group \"g\" {\n    %m = matmul @wq, %x\n    %r = rope %m, %pos {head_dim=64, dims=64, theta=10000, "
             "pairing=\"halves\"}\n"
             "    %s = rope %r, %pos {head_dim=64, dims=64, theta=10000, pairing=\"halves\"}\n    yield %s\n  }\n",
             "%y, %kv, %kvb", "rope: behind a product there may be one"},
        Case{"one_row_in_halves",
             "  %y = group \"g\" {\n    %n = rms_norm %x, @g {eps=1e-05}\n    %a = quantize %n {format=\"f16_128\"}\n    %m = matmul @wq, "
             "%a\n    yield %m\n  }\n",
             "%y, %kv, %kvb", "matmul: 1 rows are not whole tiles of 16"},
        Case{"no_room", "  %y = group \"g\" {\n    %m = matmul @big, %wide\n    yield %m\n  }\n", "%y, %kv, %kvb",
             "matmul: 65536 activations do not fit into the 227 KiB of a block's shared memory"},
        Case{"bf16_cache",
             "  %y = group \"g\" {\n    %a = attention %x, %kvb, %slot, %pos {heads=4, kv_heads=4, head_dim=64, scale=1, window=0, "
             "softcap=0}\n    yield %a\n  }\n",
             "%y, %kv, %kvb", "attention: a cache of bf16 cannot be read"},
        Case{"not_a_spec", "  %y = group \"g\" {\n    %m = matmul @wq, %x\n    %n = rms_norm %m, @g {eps=1e-05}\n    yield %n\n  }\n",
             "%y, %kv, %kvb", "rms_norm: rms_norm after the loop needs whole rows"}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace heddle::codegen::cuda
