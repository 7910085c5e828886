#include "codegen/cuda/kernel_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "codegen/cuda/target.h"
#include "tests/support/cases/kernel_case.h"
#include "tests/support/paths.h"

namespace heddle::codegen::cuda {
namespace {

Compiled sample() { return {.cubin = {1, 2, 3}, .ptx = "ptx", .registers = 40, .shared_bytes = 8, .spill_bytes = 1, .log = "not kept"}; }

std::string contents(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
void put(const std::string& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

TEST(KernelCacheTest, GivesBackWhatWasAdded) {
  const testing::TempDir dir;
  const KernelCache cache(dir.path());
  EXPECT_FALSE(cache.find("text", "sm_90", "13.0"));
  ASSERT_TRUE(cache.add("text", "sm_90", "13.0", sample()).ok());
  auto found = cache.find("text", "sm_90", "13.0");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->cubin, sample().cubin);
  EXPECT_EQ(found->ptx, "ptx");
  EXPECT_EQ(found->registers, 40);
  EXPECT_EQ(found->shared_bytes, 8);
  EXPECT_EQ(found->spill_bytes, 1);
}

TEST(KernelCacheTest, TextArchitectureAndVersionTellEntriesApart) {
  const testing::TempDir dir;
  const KernelCache cache(dir.path());
  ASSERT_TRUE(cache.add("text", "sm_90", "13.0", sample()).ok());
  EXPECT_FALSE(cache.find("text ", "sm_90", "13.0"));
  EXPECT_FALSE(cache.find("text", "sm_89", "13.0"));
  EXPECT_FALSE(cache.find("text", "sm_90", "12.9"));
}

TEST(KernelCacheTest, ADamagedEntryIsAsGoodAsNone) {
  const testing::TempDir dir;
  const KernelCache cache(dir.path());
  ASSERT_TRUE(cache.add("text", "sm_90", "13.0", sample()).ok());
  const std::string path = cache.path_for("text", "sm_90", "13.0"), good = contents(path);
  for (std::size_t length = 0; length < good.size(); length += 5) {
    put(path, good.substr(0, length));
    EXPECT_FALSE(cache.find("text", "sm_90", "13.0")) << length;
  }
  for (std::size_t i = 0; i < good.size(); ++i) {
    std::string bad = good;
    bad[i] = char(bad[i] ^ 0x10);
    put(path, bad);
    EXPECT_FALSE(cache.find("text", "sm_90", "13.0")) << i;
  }
  // Another kernel's entry under this name.
  ASSERT_TRUE(cache.add("other", "sm_90", "13.0", sample()).ok());
  put(path, contents(cache.path_for("other", "sm_90", "13.0")));
  EXPECT_FALSE(cache.find("text", "sm_90", "13.0"));
  put(path, good);
  EXPECT_TRUE(cache.find("text", "sm_90", "13.0"));
}

TEST(KernelCacheTest, WithoutAFolderNothingIsKept) {
  const KernelCache cache("");
  EXPECT_TRUE(cache.add("text", "sm_90", "13.0", sample()).ok());
  EXPECT_FALSE(cache.find("text", "sm_90", "13.0"));
}

class CompileKernels : public ::testing::Test {
 protected:
  void SetUp() override {
    auto nvrtc = Nvrtc::open();
    if (!nvrtc.ok()) GTEST_SKIP() << nvrtc.error().message();
    const auto cases = testing::kernel_cases();
    const auto test = std::ranges::find(cases, "layer_stories", &testing::KernelCase::name);
    auto prepared = testing::prepare(*test, "cuda:sm_90");
    ASSERT_TRUE(prepared.ok()) << prepared.error().message();
    prepared_ = std::move(*prepared);
  }
  testing::PreparedCase prepared_;
  ir::Target target_ = *target_named("cuda:sm_90");
};

TEST_F(CompileKernels, FillsThePlanOnceAndThenFromTheCache) {
  const testing::TempDir dir;
  plan::Plan first = prepared_.plan, second = prepared_.plan;
  auto cold = compile_kernels(first, target_, dir.path(), 2);
  ASSERT_TRUE(cold.ok()) << cold.error().message();
  EXPECT_EQ(cold->kernels, 6);
  EXPECT_EQ(cold->compiled, 6);
  EXPECT_TRUE(cold->remarks.empty());
  auto warm = compile_kernels(second, target_, dir.path(), 2);
  ASSERT_TRUE(warm.ok()) << warm.error().message();
  EXPECT_EQ(warm->compiled, 0);
  for (std::size_t i = 0; i < first.kernels.size(); ++i) {
    const plan::CudaCode &a = *first.kernels[i].cuda, &b = *second.kernels[i].cuda;
    EXPECT_EQ(a.entry, first.kernels[i].spec.name);
    EXPECT_FALSE(a.cubin.empty());
    EXPECT_NE(a.ptx.find(a.entry), std::string::npos);
    EXPECT_EQ(a.text, b.text);
    EXPECT_EQ(a.cubin, b.cubin);
    EXPECT_EQ(a.registers, b.registers);
    EXPECT_EQ(a.grid_per_sm, b.grid_per_sm);
    EXPECT_TRUE(a.programmatic);
  }
  // One entry damaged: that one is compiled again, and written again.
  std::size_t files = 0;
  for (const auto& file : std::filesystem::directory_iterator(dir.path() + "/kernels")) {
    if (files++ == 2) put(file.path(), "heddle-kernel 1\nrubbish");
  }
  EXPECT_EQ(files, 6u);
  plan::Plan third = prepared_.plan, fourth = prepared_.plan;
  EXPECT_EQ(compile_kernels(third, target_, dir.path(), 1)->compiled, 1);
  EXPECT_EQ(compile_kernels(fourth, target_, dir.path(), 1)->compiled, 0);
}

TEST_F(CompileKernels, KernelsOfOneTextAreCompiledOnce) {
  plan::Plan plan = prepared_.plan;
  plan.kernels.resize(2);
  plan.kernels.push_back(plan.kernels[0]);
  auto report = compile_kernels(plan, target_, "", 2);
  ASSERT_TRUE(report.ok()) << report.error().message();
  EXPECT_EQ(report->kernels, 3);
  EXPECT_EQ(report->compiled, 2);
  EXPECT_EQ(plan.kernels[0].cuda->cubin, plan.kernels[2].cuda->cubin);
  EXPECT_NE(plan.kernels[0].cuda->cubin, plan.kernels[1].cuda->cubin);
}

TEST_F(CompileKernels, WhatOnlyOneArchitectureHasComesWithoutPtx) {
  const auto cases = testing::kernel_cases();
  const auto test = std::ranges::find(cases, "tiles_q8_0_70x512_16rows", &testing::KernelCase::name);
  auto prepared = testing::prepare(*test, "cuda:sm_90");
  ASSERT_TRUE(prepared.ok()) << prepared.error().message();
  auto report = compile_kernels(prepared->plan, target_, "", 2);
  ASSERT_TRUE(report.ok()) << report.error().message();
  const plan::CudaCode& code = *prepared->plan.kernels.back().cuda;
  EXPECT_FALSE(code.cubin.empty());
  EXPECT_TRUE(code.ptx.empty());
}

TEST_F(CompileKernels, ACacheThatCannotBeWrittenIsARemark) {
  const testing::TempDir dir;
  put(dir.file("taken"), "a file where the folder should be");
  plan::Plan plan = prepared_.plan;
  plan.kernels.resize(1);
  auto report = compile_kernels(plan, target_, dir.file("taken"), 1);
  ASSERT_TRUE(report.ok()) << report.error().message();
  ASSERT_EQ(report->remarks.size(), 1u);
  EXPECT_NE(report->remarks[0].find("taken"), std::string::npos);
}

TEST_F(CompileKernels, WhatCannotBeEmittedIsTheKernelsError) {
  plan::Plan plan = prepared_.plan;
  plan.kernels[2].spec.gemm() ? plan.kernels[2].spec.gemm()->activations = DType::q8_1 : plan.kernels[1].spec.gemm()->activations = DType::q8_1;
  auto report = compile_kernels(plan, target_, "", 2);
  ASSERT_FALSE(report.ok());
  EXPECT_NE(report.error().message().find("matmul: activations in q8_1 are not of this target"), std::string::npos)
      << report.error().message();
}

}  // namespace
}  // namespace heddle::codegen::cuda
