// The text of the cases' kernels: what every text must have, and that NVRTC compiles it without spills, where it is there.
#include "codegen/cuda/emit.h"

#include <gtest/gtest.h>

#include <set>

#include "codegen/cuda/nvrtc.h"
#include "codegen/cuda/device/prelude.h"
#include "codegen/cuda/kernels/sample/sampler.h"
#include "codegen/cuda/target.h"
#include "codegen/spec.h"
#include "tests/support/cases/kernel_case.h"

namespace heddle::testing {
namespace {

using namespace codegen::cuda;

/// Distinct kernels of the cases for a target; of all but slow cases, or of those that are compiled for every architecture.
std::vector<CudaText> texts_for(const std::string& target, bool all) {
  std::vector<CudaText> out;
  std::set<std::string> seen;
  for (const KernelCase& test : kernel_cases()) {
    if (all ? test.slow : !test.compiled_for_all) continue;
    auto prepared = prepare(test, target);
    EXPECT_TRUE(prepared.ok()) << (prepared.ok() ? "" : prepared.error().message());
    if (!prepared.ok()) continue;
    for (const auto& kernel : prepared->plan.kernels) {
      auto text = emit(kernel.spec, prepared->module->target);
      EXPECT_TRUE(text.ok()) << (text.ok() ? "" : text.error().message());
      if (text.ok() && seen.insert(text->text).second) out.push_back(std::move(*text));
    }
  }
  for (int vocabulary : {48, 128256}) {
    auto text = emit(sample_spec(2, vocabulary), *target_named(target));
    EXPECT_TRUE(text.ok());
    if (text.ok()) out.push_back(std::move(*text));
  }
  return out;
}

class Compiles : public ::testing::TestWithParam<std::string> {};

TEST_P(Compiles, WithoutSpills) {
  auto nvrtc = Nvrtc::open();
  if (!nvrtc.ok()) GTEST_SKIP() << nvrtc.error().message();
  const std::string architecture = GetParam().substr(5);
  if (!(*nvrtc)->supports(architecture)) GTEST_SKIP() << "NVRTC " << (*nvrtc)->version() << " cannot compile for " << architecture;
  const Limits limits = limits_of(*target_named(GetParam()));
  for (const CudaText& text : texts_for(GetParam(), GetParam() == "cuda:sm_90")) {
    auto compiled = (*nvrtc)->compile(text.entry, text.text, architecture + (text.architecture_only ? "a" : ""));
    ASSERT_TRUE(compiled.ok()) << compiled.error().message() << "\n" << text.text;
    EXPECT_EQ(compiled->spill_bytes, 0) << text.entry;
    EXPECT_LE(compiled->registers * int(text.block[0]), 65536) << text.entry;
    EXPECT_LE(compiled->shared_bytes + int(text.dynamic_shared_bytes), limits.shared_bytes) << text.entry;
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, Compiles, ::testing::ValuesIn(target_names()), [](const auto& info) { return info.param.substr(5); });

TEST(Emit, OnlyThePreludeWaitsAndTriggersAndOnlyWhereTheTargetHasIt) {
  for (const std::string target : {"cuda:sm_89", "cuda:sm_90"}) {
    const bool has = target == "cuda:sm_90";
    for (const CudaText& text : texts_for(target, true)) {
      EXPECT_EQ(text.programmatic, has);
      const std::size_t end = text.text.find(end_of_prelude);
      ASSERT_NE(end, std::string::npos);
      const std::string prelude = text.text.substr(0, end), rest = text.text.substr(end);
      EXPECT_EQ(prelude.find("griddepcontrol") != std::string::npos, has);
      EXPECT_EQ(rest.find("asm"), std::string::npos) << text.entry;
      EXPECT_EQ(text.text.find("#include"), std::string::npos) << text.entry;
    }
  }
}

/// Before the wait come no returns, and no loads but those of weights: all others are __ldcg.
TEST(Emit, EveryKernelWaitsBeforeItReadsAnythingButWeights) {
  int selected_kernels = 0;
  for (const CudaText& text : texts_for("cuda:sm_90", true)) {
    const std::size_t kernel = text.text.find("extern \"C\" __global__");
    ASSERT_NE(kernel, std::string::npos);
    const std::string body = text.text.substr(kernel);
    const std::size_t wait = body.find("\n  wait();\n");
    ASSERT_NE(wait, std::string::npos) << text.entry;
    EXPECT_EQ(body.find("wait();", wait + 10), std::string::npos) << text.entry;
    EXPECT_LT(wait, body.find("trigger();")) << text.entry;
    // Before it stand loads of weights, and of what no kernel of the step writes: its slots and positions (int*), the cache's older
    // positions (copy16, from `old` on behind the wait). A block that leaves early has waited.
    std::string before = body.substr(0, wait);
    for (std::size_t at; (at = before.find("    wait();\n    return;")) != before.npos;) before.erase(at, 22);
    // Those that a kernel of the step selects it does write, and perhaps the cache before them.
    const bool selected = text.text.find(", of selected rows") != std::string::npos;
    EXPECT_EQ(selected, text.entry.ends_with("_selected"));
    selected_kernels += selected;
    for (const char* word : {"__ldcg(", "copy16("}) EXPECT_FALSE(selected && before.find(word) != std::string::npos) << text.entry << ": " << word;
    for (const char* word : {"_of_buffer", "return", "control->"})
      EXPECT_EQ(before.find(word), std::string::npos) << text.entry << ": " << word;
    for (std::size_t at = 0; (at = before.find("__ldcg(", at)) != before.npos; ++at) {
      const std::string argument = before.substr(at + 7, before.find(' ', at) - at - 7);
      EXPECT_NE(body.find("int* " + argument + (body.find("int* " + argument + ",") != body.npos ? "," : ")")), std::string::npos)
          << text.entry << " reads " << argument;
    }
  }
  EXPECT_GE(selected_kernels, 3);  // on matrix units with and without a window, and on lanes
}

TEST(Emit, TheHeaderRepeatsTheSpec) {
  const auto cases = kernel_cases();
  const auto test = std::ranges::find(cases, "layer_deferred", &KernelCase::name);
  auto prepared = prepare(*test, "cuda:sm_90");
  ASSERT_TRUE(prepared.ok()) << prepared.error().message();
  auto text = emit(prepared->plan.kernels[1].spec, prepared->module->target);
  ASSERT_TRUE(text.ok()) << text.error().message();
  const std::string wanted = R"(// rms_scale_mul_quantize__gemv_q4_K_256x256_q4_K_128x256_q6_K_128x256__mul_rope__mul_rope_store__mul_store
// gemm of 1 row, at least 85768 bytes
//   a0: buffer f32[1, 256]
//   a1: weight f32[256] in rows
//   a2: weight q4_K[256, 256] in planes
//   a3: weight q4_K[128, 256] in planes
//   a4: weight q6_K[128, 256] in planes
//   a5: positions i32[1]
//   a6: state f16[2, 2, 64], written
//   a7: slots i32[1]
//   a8: buffer f32[1, 256], written
// gemm: k 256, activations q8_16
// prologue, the product is of v4
//   v0 = rows a0
//   v1 = vector a1
//   v2 = rms_scale v0 {1e-05}
//   v3 = mul v0, v1
//   v4 = quantize v3 {q8_16}
// part 0: 256 columns, products with a2
//   v0 = loop 0
//   v1 = row_scalar v2 of the prologue
//   v2 = mul v0, v1
//   v3 = rope v2 {64, 64, 10000, adjacent}
//   buffer a8 = v3
)";
  EXPECT_EQ(text->text.substr(0, wanted.size()), wanted);
  EXPECT_NE(text->text.find("//   cache_key a6 = v3\n"), std::string::npos);
  EXPECT_EQ(text->grid_per_sm, 1u);
  EXPECT_EQ(text->scratch_bytes, 0u);
}

TEST(Emit, EqualSpecsGiveEqualTextAndOtherTargetsOtherText) {
  const auto cases = kernel_cases();
  const auto test = std::ranges::find(cases, "layer_8rows", &KernelCase::name);
  auto one = prepare(*test, "cuda:sm_90"), two = prepare(*test, "cuda:sm_90");
  ASSERT_TRUE(one.ok() && two.ok());
  for (std::size_t i = 0; i < one->plan.kernels.size(); ++i) {
    const auto &a = one->plan.kernels[i].spec, &b = two->plan.kernels[i].spec;
    EXPECT_EQ(emit(a, one->module->target)->text, emit(b, two->module->target)->text);
    EXPECT_NE(emit(a, one->module->target)->text, emit(a, *target_named("cuda:sm_89"))->text);
  }
}

TEST(Emit, TheScratchOfAttentionHoldsACounterForEachHeadAndRow) {
  const auto cases = kernel_cases();
  const auto test = std::ranges::find(cases, "layer_8rows", &KernelCase::name);
  auto prepared = prepare(*test, "cuda:sm_90");
  ASSERT_TRUE(prepared.ok());
  auto text = emit(prepared->plan.kernels[2].spec, prepared->module->target);
  ASSERT_TRUE(text.ok());
  // 8 rows, 2 key/value heads, 132 / 16 splits of 2 query heads of 64, maximum and sum
  EXPECT_EQ(text->grid, (std::array<std::uint32_t, 3>{8, 2, 8}));
  EXPECT_EQ(text->scratch_bytes, 256u + 8 * 2 * 8 * 2 * 66 * 4);
}

TEST(Emit, AFewRowsMoreThanSharedMemoryHoldsAreTakenInChunks) {
  const auto cases = kernel_cases();
  const auto test = std::ranges::find(cases, "product_f32_20x9216_8rows_f32", &KernelCase::name);
  auto prepared = prepare(*test, "cuda:sm_90");
  ASSERT_TRUE(prepared.ok());
  const plan::KernelSpec& spec = prepared->plan.kernels[1].spec;
  EXPECT_NE(emit(spec, prepared->module->target)->text.find("first_row += 4)"), std::string::npos);
  EXPECT_NE(emit(spec, *target_named("cuda:sm_86"))->text.find("first_row += 2)"), std::string::npos);
}

/// Kernels of tiles: rows are in the grid alone.
TEST(Emit, NumbersOfRowsMadeOfTheSameTilesHaveOneText) {
  const auto text_for = [](int rows, std::size_t kernel) {
    const auto cases = kernel_cases();
    KernelCase test = *std::ranges::find(cases, "layer_tiles_prompt_128rows", &KernelCase::name);
    std::string text = test.text;
    const auto replace_all = [&](const std::string& from, const std::string& to) {
      for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) text.replace(at, from.size(), to);
    };
    replace_all("i32[128]", fmt::format("i32[{}]", rows));
    replace_all("rows=128", fmt::format("rows={}", rows));
    test.text = text;
    auto prepared = prepare(test, "cuda:sm_90");
    EXPECT_TRUE(prepared.ok()) << (prepared.ok() ? "" : prepared.error().message());
    auto out = emit(prepared->plan.kernels[kernel].spec, prepared->module->target);
    EXPECT_TRUE(out.ok()) << (out.ok() ? "" : out.error().message());
    return *out;
  };
  for (const std::size_t kernel : {2u, 3u}) {  // products of q, k and v; attention
    const CudaText few = text_for(32768, kernel), many = text_for(65536, kernel);
    EXPECT_EQ(few.text, many.text);
    EXPECT_EQ(few.entry, many.entry);
    const std::size_t rows = kernel == 2 ? 0 : 1;  // of the grid
    EXPECT_EQ(2 * few.grid[rows], many.grid[rows]);
    EXPECT_EQ(few.grid[1 - rows], many.grid[1 - rows]);
  }
}

TEST(Emit, FewTilesOfManyColumnsAreSharedByClustersWhereThereAreAny) {
  const auto cases = kernel_cases();
  for (const char* name : {"tiles_bf16_520x4096_128rows", "tiles_f16_256x2048_256rows_gated", "layer_tiles_split"}) {
    const auto test = std::ranges::find(cases, name, &KernelCase::name);
    for (const std::string target : {"cuda:sm_80", "cuda:sm_90", "cuda:sm_100"}) {
      auto prepared = prepare(*test, target);
      ASSERT_TRUE(prepared.ok()) << prepared.error().message();
      int clusters = 0;
      for (const auto& kernel : prepared->plan.kernels) {
        auto text = emit(kernel.spec, prepared->module->target);
        ASSERT_TRUE(text.ok()) << text.error().message();
        const std::string dims = fmt::format("__cluster_dims__(1, 1, {})", text->grid[2]);
        EXPECT_EQ(text->text.find(dims) != std::string::npos, text->grid[2] > 1) << text->entry;
        clusters += text->grid[2] > 1;
      }
      EXPECT_EQ(clusters > 0, target == "cuda:sm_90") << name << " " << target;
    }
  }
}

plan::KernelSpec attention_spec(const std::string& name) {
  const auto cases = kernel_cases();
  auto prepared = prepare(*std::ranges::find(cases, name, &KernelCase::name), "cuda:sm_90");
  HEDDLE_CHECK(prepared.ok(), "{}", prepared.error().message());
  for (const auto& kernel : prepared->plan.kernels)
    if (kernel.spec.attention()) return kernel.spec;
  return {};
}

/// Blocks of 64 rows by heads, while heads are whole steps of 16 up to 256; stages of 32 keys where there is no room for 64.
TEST(Emit, AttentionOfManyRowsGoesInTiles) {
  plan::KernelSpec spec = attention_spec("layer_flash_head256");
  const auto text_for = [&](const char* target) { return *emit(spec, *target_named(target)); };
  for (const char* target : {"cuda:sm_80", "cuda:sm_86", "cuda:sm_90", "cuda:sm_100", "cuda:sm_120"}) {
    const CudaText text = text_for(target);
    EXPECT_EQ(text.grid, (std::array<std::uint32_t, 3>{2, 2, 1})) << target;
    EXPECT_EQ(text.block[0], 256u) << target;
    const bool small = limits_of(*target_named(target)).shared_bytes < 100 * 1024;
    EXPECT_NE(text.text.find(small ? " KEYS = 32;" : " KEYS = 64;"), std::string::npos) << target;
  }
  spec.attention()->heads = 1, spec.attention()->head_dim = 272;
  EXPECT_EQ(text_for("cuda:sm_90").grid[2], 128u) << "a block for each row";
  EXPECT_EQ(emit(attention_spec("layer_flash_prompt_f16"), *target_named("cuda:sm_90"))->block[0], 128u) << "heads of 128";
}

TEST(Emit, AttentionInTilesStoresWholePiecesOfHalves) {
  plan::KernelSpec spec = attention_spec("layer_flash_prompt_f16");
  spec.attention()->heads = 16, spec.attention()->head_dim = 16;
  const auto refused = cannot_emit(spec, *target_named("cuda:sm_90"));
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->op, "quantize");
  EXPECT_EQ(refused->reason, "it stores pieces of 32 columns, and a head has 16");
}

TEST(Emit, OnlyHopperHasProductsOfWarpgroups) {
  const auto cases = kernel_cases();
  const auto test = std::ranges::find(cases, "tiles_q4_K_130x256_64rows", &KernelCase::name);
  for (const std::string& target : target_names()) {
    auto prepared = prepare(*test, target);
    ASSERT_TRUE(prepared.ok()) << prepared.error().message();
    auto text = emit(prepared->plan.kernels[2].spec, prepared->module->target);
    ASSERT_TRUE(text.ok()) << text.error().message();
    EXPECT_EQ(text->architecture_only, target == "cuda:sm_90") << target;
    EXPECT_EQ(text->text.find("wgmma") != std::string::npos, target == "cuda:sm_90") << target;
  }
}

}  // namespace
}  // namespace heddle::testing
