#include "codegen/cuda/tuning.h"

#include <gtest/gtest.h>

#include "codegen/cuda/emit.h"
#include "codegen/cuda/target.h"
#include "tests/support/cases/kernel_case.h"

namespace heddle::testing {
namespace {

using codegen::Tuning;

Result<Tuning> parse_tuning(std::string_view text, std::string_view place) {
  return codegen::parse_tuning(text, place, codegen::cuda::knob_names());
}

plan::Knob knob(const std::string& name, int value) {
  plan::Knob out;
  out.name = name, out.value = value;
  return out;
}

Tuning example() {
  Tuning tuning;
  tuning.gpu = "a GPU", tuning.target = "cuda:sm_90";
  tuning.kernels = {{"gemv_q4_K_64x256", {knob("warps", 16)}, 10.5, 9.5}, {"gemv_f32_8x8", {knob("stages", 2), knob("warps", 24)}, 10.5, 10}};
  tuning.passes = {{"llama", "fuse_residual", 12, 11}};
  tuning.entries = {{"llama", "decode_1", 11}, {"llama", "prompt_512", 900.5}};
  return tuning;
}

TEST(Tuning, PrintsAndParsesBackToTheSame) {
  const std::string text = print_tuning(example());
  const auto parsed = parse_tuning(text, "t.json");
  ASSERT_TRUE(parsed.ok()) << parsed.error().message();
  EXPECT_EQ(print_tuning(*parsed), text);
  EXPECT_EQ(parsed->target, "cuda:sm_90");
  ASSERT_NE(parsed->kernel("gemv_f32_8x8"), nullptr);
  EXPECT_EQ(parsed->kernel("gemv_f32_8x8")->knobs.size(), 2u);
  EXPECT_EQ(parsed->kernel("gemv_f32_8x9"), nullptr);
  EXPECT_EQ(parsed->entry_us("llama", "prompt_512"), 900.5);
  EXPECT_EQ(parsed->entry_us("llama", "prompt_256"), 0);
  EXPECT_EQ(parsed->entry_us("qwen2", "prompt_512"), 0);
  Tuning without = example();
  without.entries.clear();
  EXPECT_EQ(print_tuning(without).find("entries"), std::string::npos);
  EXPECT_TRUE(parse_tuning(print_tuning(without), "t.json").ok());
}

TEST(Tuning, RefusesByPlace) {
  const auto refusal = [](const std::string& from, const std::string& to) {
    std::string text = print_tuning(example());
    const auto at = text.find(from);
    HEDDLE_CHECK(at != text.npos, "{}", from);
    return parse_tuning(text.replace(at, from.size(), to), "t.json").error().message();
  };
  EXPECT_EQ(parse_tuning("{", "t.json").error().message(), "t.json: is no JSON");
  EXPECT_EQ(parse_tuning("[]", "t.json").error().message(), "t.json: 'gpu' is missing");
  EXPECT_EQ(refusal("\"target\": \"cuda:sm_90\"", "\"target\": 90"), "t.json: 'target' is 90");
  EXPECT_EQ(refusal("\"warps\": 16", "\"warp\": 16"), "t.json: kernels[0]: knob 'warp' is not known (known: rounds, stages, warps)");
  EXPECT_EQ(refusal("\"warps\": 16", "\"warps\": 1.5"), "t.json: kernels[0]: knob 'warps' is 1.5, wanted an integer");
  EXPECT_EQ(refusal("\"stages\": 2", "\"stages\": \"2\""), "t.json: kernels[1]: knob 'stages' is \"2\", wanted an integer");
  EXPECT_EQ(refusal("\"pass\":", "\"passed\":"), "t.json: passes[0]: 'pass' is missing");
  EXPECT_EQ(refusal("900.5", "-1"), "t.json: entries[1]: 'us' is -1, wanted a number above 0");
  EXPECT_EQ(refusal("900.5", "\"x\""), "t.json: entries[1]: 'us' is \"x\"");
}

TEST(Tuning, TheNewerChoiceStands) {
  Tuning tuning = example(), newer;
  newer.kernels = {{"gemv_f32_8x8", {knob("warps", 32)}, 8, 7}, {"other", {knob("warps", 8)}, 8, 7}};
  newer.passes = {{"llama", "fuse_residual", 5, 4}, {"qwen2", "fuse_residual", 5, 4}};
  newer.entries = {{"qwen2", "decode_1", 4}, {"llama", "decode_1", 10}};
  tuning.merge(newer);
  EXPECT_EQ(tuning.gpu, "a GPU");
  ASSERT_EQ(tuning.kernels.size(), 3u);
  EXPECT_EQ(tuning.kernel("gemv_f32_8x8")->us, 7);
  ASSERT_EQ(tuning.passes.size(), 2u);
  EXPECT_EQ(tuning.passes[0].with_us, 5);
  ASSERT_EQ(tuning.entries.size(), 3u);
  EXPECT_EQ(tuning.entry_us("llama", "decode_1"), 10);
  EXPECT_EQ(tuning.entry_us("llama", "prompt_512"), 900.5);
}

TEST(Tuning, WhatIsShippedIsForItsTarget) {
  const auto shipped_for = [](std::string_view target) { return codegen::cuda::shipped_tuning(*codegen::cuda::target_named(target)); };
  EXPECT_EQ(shipped_for("cuda:h100").target, "cuda:h100");
  EXPECT_EQ(shipped_for("cuda:sm_90").target, "cuda:h100");
  // Its own, or that of the same architecture, which says whose it is.
  EXPECT_EQ(codegen::cuda::architecture_of(*codegen::cuda::target_named(shipped_for("cuda:h200").target)), "sm_90");
  EXPECT_FALSE(shipped_for("cuda:h200").kernels.empty());
  EXPECT_TRUE(shipped_for("cuda:sm_80").kernels.empty());
}

/// A knob changes the text of its kernel, and of no other.
TEST(Tuning, AppliesToTheKernelOfThatName) {
  for (const KernelCase& test : kernel_cases()) {
    if (test.name != "layer_deferred") continue;
    auto prepared = prepare(test, "cuda:sm_90");
    ASSERT_TRUE(prepared.ok()) << prepared.error().message();
    const auto target = *codegen::cuda::target_named("cuda:sm_90");
    const auto texts = [&] {
      std::vector<std::string> out;
      for (const auto& kernel : prepared->plan.kernels) {
        auto text = codegen::cuda::emit(kernel.spec, target);
        out.push_back(text.ok() ? text->text : text.error().message());
      }
      return out;
    };
    const auto before = texts();
    std::size_t tuned = prepared->plan.kernels.size();
    for (std::size_t i = 0; i < prepared->plan.kernels.size(); ++i)
      if (prepared->plan.kernels[i].spec.gemm()) tuned = i;
    ASSERT_LT(tuned, before.size());
    EXPECT_FALSE(codegen::cuda::candidates(prepared->plan.kernels[tuned].spec).empty());
    Tuning tuning;
    tuning.kernels = {{prepared->plan.kernels[tuned].spec.name, {knob("warps", 8)}, 2, 1}};
    apply(tuning, prepared->plan);
    const auto after = texts();
    for (std::size_t i = 0; i < before.size(); ++i) EXPECT_EQ(before[i] == after[i], i != tuned) << prepared->plan.kernels[i].spec.name;
    return;
  }
  FAIL() << "no such case";
}

}  // namespace
}  // namespace heddle::testing
