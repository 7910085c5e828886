#include "codegen/spec.h"

#include <gtest/gtest.h>

#include "ir/text/text.h"
#include "ir/verify.h"

namespace heddle::codegen {
namespace {

/// The first group of a function given as text, with what it needs to be a module.
struct Parsed {
  std::unique_ptr<ir::Module> module;
  const ir::Node* group = nullptr;
};

Parsed parse(const std::string& body, const std::string& returned) {
  const std::string text = fmt::format(R"(heddle-ir 1
weight @wq : q4_K[256, 256]
weight @wk : q4_K[128, 256]
weight @wv : q6_K[128, 256]
weight @wu : q4_K[256, 256]
weight @g : f32[256]
weight @gh : f32[64]
weight @table : q6_K[1000, 256]
func @decode_1 decode rows=1 (%tokens: i32[1], %slot: i32[1], %pos: i32[1], %x: f32[1, 256], %kv: state f32[2, 2, 64]) {{
{}  ret {}
}}
)",
                                       body, returned);
  Parsed out;
  auto module = ir::parse(text);
  EXPECT_TRUE(module.ok()) << (module.ok() ? "" : module.error().message());
  if (!module.ok()) return out;
  auto valid = ir::verify(**module);
  EXPECT_TRUE(valid.ok()) << (valid.ok() ? "" : valid.error().message());
  out.module = std::move(*module);
  for (ir::Node* node : out.module->functions().front()->body().nodes())
    if (node->op() == ir::Op::group) {
      out.group = node;
      break;
    }
  return out;
}

plan::KernelSpec spec(const Parsed& parsed) {
  auto result = spec_of(*parsed.group);
  if (auto* refusal = std::get_if<Refusal>(&result)) ADD_FAILURE() << refusal->node->info().name << ": " << refusal->reason;
  return std::get<SpecOfGroup>(result).spec;
}

std::string refusal(const Parsed& parsed) {
  auto result = spec_of(*parsed.group);
  auto* refused = std::get_if<Refusal>(&result);
  return refused ? fmt::format("{}: {}", refused->node->info().name, refused->reason) : "not refused";
}

TEST(Spec, QkvIsOneProductOfThreePartsWithTheCacheStoresSplit) {
  auto parsed = parse(R"(  %q, %kv1 = group "qkv" {
    %n = rms_norm %x, @g {eps=1e-05}
    %a = quantize %n {format="q8_1"}
    %mq = matmul @wq, %a
    %mk = matmul @wk, %a
    %mv = matmul @wv, %a
    %qr = rope %mq, %pos {head_dim=64, dims=64, theta=10000, pairing="adjacent"}
    %kr = rope %mk, %pos {head_dim=64, dims=64, theta=10000, pairing="adjacent"}
    %s = kv_store %kv, %kr, %mv, %slot, %pos
    yield %qr, %s
  }
)",
                      "%q, %kv1");
  const auto s = spec(parsed);
  ASSERT_TRUE(s.gemm());
  EXPECT_EQ(s.gemm()->k, 256);
  EXPECT_EQ(s.gemm()->activations, DType::q8_1);
  ASSERT_EQ(s.parts.size(), 3u);
  EXPECT_EQ(s.parts[0].granule, 64);
  EXPECT_EQ(s.parts[2].granule, 1);
  ASSERT_EQ(s.parts[1].epilogue.stores.size(), 1u);
  EXPECT_EQ(s.parts[1].epilogue.stores[0].kind, plan::StoreKind::cache_key);
  EXPECT_EQ(s.parts[2].epilogue.stores[0].kind, plan::StoreKind::cache_value);
  EXPECT_EQ(s.gemm()->prologue.instrs.size(), 2u);
  // x, g, then rms_norm, then quantize: value 3 is what the loop multiplies
  EXPECT_EQ(s.gemm()->activation, 3u);
  EXPECT_GE(s.positions_arg, 0);
  EXPECT_GE(s.slots_arg, 0);
  EXPECT_EQ(s.name, "rms_norm_quantize__gemv_q4_K_256x256_q4_K_128x256_q6_K_128x256__rope__rope_store__store");
}

/// The first group of a prompt of four rows.
Parsed parse_prompt(const std::string& body, const std::string& returned) {
  Parsed out;
  auto module = ir::parse(fmt::format("heddle-ir 1\nweight @wq : q4_K[256, 256]\nfunc @prompt_4 prompt rows=4 (%tokens: i32[4], %slot: i32[4], "
                                      "%pos: i32[4], %last: i32[1], %x: f32[4, 256], %one: f32[1, 256], %kv: state f32[2, 2, 64]) {{\n{}  ret {}, "
                                      "%kv\n}}\n",
                                      body, returned));
  EXPECT_TRUE(module.ok()) << (module.ok() ? "" : module.error().message());
  if (!module.ok()) return out;
  out.module = std::move(*module);
  for (ir::Node* node : out.module->functions().front()->body().nodes())
    if (!out.group && node->op() == ir::Op::group) out.group = node;
  return out;
}

TEST(Spec, ARowOfAPromptWithItsSlotAndPosition) {
  const auto s = spec(parse_prompt("  %y, %s, %p = group \"select\" {\n    %1 = select_rows %x, %last\n    %2 = select_rows %slot, %last\n"
                                   "    %3 = select_rows %pos, %last\n    yield %1, %2, %3\n  }\n",
                                   "%y, %s, %p"));
  ASSERT_TRUE(s.gather_rows());
  EXPECT_EQ(s.rows, 1);
  EXPECT_EQ(s.gather_rows()->rows, 4);
  EXPECT_EQ(s.args[s.gather_rows()->index].role, plan::ArgRole::last);
  ASSERT_EQ(s.gather_rows()->pairs.size(), 3u);
  const plan::ArgRole roles[] = {plan::ArgRole::buffer, plan::ArgRole::slots, plan::ArgRole::positions};
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_EQ(s.args[s.gather_rows()->pairs[i].from].role, roles[i]);
    EXPECT_EQ(s.args[s.gather_rows()->pairs[i].to].role, roles[i]);
    EXPECT_TRUE(s.args[s.gather_rows()->pairs[i].to].written);
  }
  EXPECT_EQ(s.args[s.gather_rows()->pairs[0].from].shape, (std::vector<std::int64_t>{4, 256}));
  EXPECT_EQ(s.args[s.gather_rows()->pairs[0].to].shape, (std::vector<std::int64_t>{1, 256}));
  EXPECT_EQ(s.name, "select_1of4_256_slots_positions");
  EXPECT_EQ(min_bytes(s), 2 * 1024 + 2 * 4 + 2 * 4 + 4);
}

TEST(Spec, WhatFollowsASelectHasItsRows) {
  const auto one = spec(parse_prompt("  %y = group \"matmul\" {\n    %m = matmul @wq, %one\n    yield %m\n  }\n", "%y"));
  EXPECT_EQ(one.rows, 1);
  const std::string attention =
      "  %a = group \"attention\" {{\n    %1 = attention {}, %kv, {}, {} {{heads=4, kv_heads=2, head_dim=64, scale=1, window=0, softcap=0}}\n"
      "    yield %1\n  }}\n";
  const std::string selects = "  %s = select_rows %slot, %last\n  %p = select_rows %pos, %last\n";
  EXPECT_FALSE(spec(parse_prompt(fmt::format(fmt::runtime(attention), "%x", "%slot", "%pos"), "%a")).attention()->selected);
  const auto selected = spec(parse_prompt(selects + fmt::format(fmt::runtime(attention), "%one", "%s", "%p"), "%a"));
  EXPECT_TRUE(selected.attention()->selected);
  EXPECT_EQ(selected.rows, 1);
  EXPECT_EQ(selected.name, "attention_1x4_2x64_f32_selected");
}

TEST(Spec, RefusesToSelectWithAnythingElse) {
  EXPECT_EQ(refusal(parse_prompt("  %y = group \"g\" {\n    %1 = select_rows %x, %last\n    %2 = silu %1\n    yield %2\n  }\n", "%y")),
            "silu: it stands with the taking of rows, which computes nothing");
  EXPECT_EQ(refusal(parse_prompt("  %y, %z = group \"g\" {\n    %1 = silu %x\n    %2 = select_rows %x, %last\n    yield %1, %2\n  }\n", "%y, %z")),
            "select_rows: it has 1 rows, what stands before it 4");
  EXPECT_EQ(refusal(parse_prompt("  %y = group \"g\" {\n    %1 = select_rows %tokens, %last\n    yield %1\n  }\n", "%y")),
            "select_rows: of integers it takes slots and positions, not %tokens");
  EXPECT_EQ(refusal(parse_prompt("  %y = group \"g\" {\n    %1 = select_rows %x, %pos\n    yield %1\n  }\n", "%y")),
            "select_rows: rows are taken by %last alone, not by %pos");
  EXPECT_EQ(refusal(parse_prompt("  %y, %z = group \"g\" {\n    %1 = matmul @wq, %x\n    %2 = matmul @wq, %one\n    yield %1, %2\n  }\n", "%y, %z")),
            "matmul: it has 1 rows, what stands before it 4");
}

TEST(Spec, GateAndUpShareAPart) {
  auto parsed = parse(R"(  %y = group "gate_up" {
    %mg = matmul @wq, %x
    %mu = matmul @wu, %x
    %sg = silu %mg
    %p = mul %sg, %mu
    yield %p
  }
)",
                      "%y, %kv");
  const auto s = spec(parsed);
  ASSERT_EQ(s.parts.size(), 1u);
  EXPECT_EQ(s.parts[0].segments.size(), 2u);
  EXPECT_EQ(s.parts[0].epilogue.inputs.size(), 2u);
  EXPECT_EQ(s.parts[0].epilogue.instrs[1].operands, (std::vector<std::uint32_t>{2, 1}));
  EXPECT_EQ(s.name, "gemv_q4_K_256x256_q4_K_256x256__silu_mul");
}

TEST(Spec, RowScaleIsComputedBeforeAndMultipliedAfter) {
  auto parsed = parse(R"(  %y = group "deferred" {
    %r = rms_scale %x {eps=1e-05}
    %xg = mul %x, @g
    %m = matmul @wq, %xg
    %p = mul %m, %r
    yield %p
  }
)",
                      "%y, %kv");
  const auto s = spec(parsed);
  ASSERT_EQ(s.parts.size(), 1u);
  const auto& inputs = s.parts[0].epilogue.inputs;
  ASSERT_EQ(inputs.size(), 2u);
  EXPECT_EQ(inputs[1].kind, plan::InputKind::row_scalar);
  EXPECT_EQ(name(s.gemm()->prologue.instrs[inputs[1].index - s.gemm()->prologue.inputs.size()].op), "rms_scale");
}

TEST(Spec, EqualGroupsOfTwoLayersHaveEqualSpecs) {
  auto parsed = parse(R"(  %y = group "a" {
    %m = matmul @wq, %x
    %s = add %m, %x
    yield %s
  }
  %z = group "b" {
    %m2 = matmul @wu, %y
    %s2 = add %m2, %y
    yield %s2
  }
)",
                      "%z, %kv");
  auto* second = parsed.module->functions().front()->body().nodes()[1];
  auto first = spec(parsed);
  parsed.group = second;
  auto other = spec(parsed);
  EXPECT_EQ(first, other);
  EXPECT_EQ(plan::key_of(first), plan::key_of(other));
}

TEST(Spec, AttentionMayQuantiseItsResultByWholeHeads) {
  auto parsed = parse(R"(  %a = group "attention" {
    %o = attention %x, %kv, %slot, %pos {heads=4, kv_heads=2, head_dim=64, scale=0.125, window=0, softcap=0}
    %q = quantize %o {format="q8_1"}
    yield %q
  }
)",
                      "%a, %kv");
  const auto s = spec(parsed);
  ASSERT_TRUE(s.attention());
  EXPECT_EQ(s.parts[0].granule, 64);
  EXPECT_EQ(s.args[s.parts[0].epilogue.stores[0].index].dtype, DType::q8_1);
}

struct RefusalCase {
  const char *name, *body, *returned, *wanted;
};
class SpecRefusal : public ::testing::TestWithParam<RefusalCase> {};

TEST_P(SpecRefusal, NamesTheNodeAndTheReason) { EXPECT_EQ(refusal(parse(GetParam().body, GetParam().returned)), GetParam().wanted); }

INSTANTIATE_TEST_SUITE_P(
    Cases, SpecRefusal,
    ::testing::Values(
        RefusalCase{"norm_after_loop", R"(  %y = group "g" {
    %m = matmul @wq, %x
    %n = rms_norm %m, @g {eps=1e-05}
    yield %n
  }
)",
                    "%y, %kv", "rms_norm: rms_norm after the loop needs whole rows"},
        RefusalCase{"two_loops", R"(  %y = group "g" {
    %m = matmul @wq, %x
    %n = matmul @wu, %m
    yield %n
  }
)",
                    "%y, %kv", "matmul: it reads the result of another loop in the same kernel"},
        RefusalCase{"two_activations", R"(  %y, %z = group "g" {
    %m = matmul @wq, %x
    %s = silu %x
    %n = matmul @wu, %s
    yield %m, %n
  }
)",
                    "%y, %z, %kv", "matmul: it multiplies another activation than the first product"},
        RefusalCase{"prologue_leaves", R"(  %y, %z = group "g" {
    %n = rms_norm %x, @g {eps=1e-05}
    %m = matmul @wq, %n
    yield %m, %n
  }
)",
                    "%y, %z, %kv", "rms_norm: it is computed before the loop and read outside"},
        RefusalCase{"before_attention", R"(  %a = group "g" {
    %s = silu %x
    %o = attention %s, %kv, %slot, %pos {heads=4, kv_heads=2, head_dim=64, scale=0.125, window=0, softcap=0}
    yield %o
  }
)",
                    "%a, %kv", "silu: nothing can stand before attention"}),
    [](const auto& info) { return info.param.name; });

TEST(Spec, MinBytesCountsWeightsBuffersAndOnlyTheRowsOfATable) {
  auto parsed = parse(R"(  %y = group "g" {
    %m = matmul @wq, %x
    %s = add %m, %x
    yield %s
  }
)",
                      "%y, %kv");
  EXPECT_EQ(min_bytes(spec(parsed)), 256 * 144 + 256 * 4 + 256 * 4);
  auto embed = parse(R"(  %e = group "g" {
    %t = embed @table, %tokens
    yield %t
  }
)",
                     "%e, %kv");
  EXPECT_EQ(min_bytes(spec(embed)), 210 + 4 + 256 * 4);
}

}  // namespace
}  // namespace heddle::codegen
