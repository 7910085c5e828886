// The kernel that only multiplies: what it says it does is what its loop has, and nothing of it leaves the registers.
#include "codegen/cuda/measure/matrix_peak.h"

#include <gtest/gtest.h>

#include "codegen/cuda/nvrtc.h"
#include "codegen/cuda/target.h"

namespace heddle::codegen::cuda {
namespace {

int count(std::string_view text, std::string_view word) {
  int found = 0;
  for (std::size_t at = 0; (at = text.find(word, at)) != text.npos; at += word.size()) ++found;
  return found;
}

class Multiply : public ::testing::TestWithParam<std::string> {};

TEST_P(Multiply, CountsTheOperationsOfItsLoopAndDoesNotSpill) {
  const ir::Target target = *target_named(GetParam());
  const auto [text, operations] = multiply_text(target);
  const bool warpgroups = GetParam() == "cuda:sm_90";
  EXPECT_EQ(text.architecture_only, warpgroups);
  EXPECT_LE(int(text.dynamic_shared_bytes), limits_of(target).shared_bytes);

  auto nvrtc = Nvrtc::open();
  if (!nvrtc.ok()) GTEST_SKIP() << nvrtc.error().message();
  const std::string architecture = architecture_of(target);
  if (!(*nvrtc)->supports(architecture)) GTEST_SKIP() << "NVRTC " << (*nvrtc)->version() << " cannot compile for " << architecture;
  const auto compiled = (*nvrtc)->compile(text.entry, text.text, architecture + (warpgroups ? "a" : ""));
  ASSERT_TRUE(compiled.ok()) << compiled.error().message();
  EXPECT_EQ(compiled->spill_bytes, 0);
  EXPECT_LE(compiled->registers * int(text.block[0] * text.grid_per_sm), 65536);
  EXPECT_EQ(compiled->log.find("erialize"), std::string::npos) << compiled->log;  // "wgmma.mma_async instructions are serialized due to"
  // The loop over rounds is not unrolled, so what stands in the PTX is one round.
  const std::string& ptx = compiled->ptx;
  const double threads = text.block[0];
  const double found = warpgroups ? count(ptx, "wgmma.mma_async.sync.aligned.m64n256k16") * threads / 128 * 2 * 64 * 256 * 16
                                  : count(ptx, "mma.sync.aligned.m16n8k16") * threads / 32 * 2 * 16 * 8 * 16;
  EXPECT_EQ(operations, found);
  EXPECT_GT(operations, 0);
  EXPECT_NE(ptx.find("st.global"), std::string::npos) << "the sums are for nothing";
}

INSTANTIATE_TEST_SUITE_P(Targets, Multiply, ::testing::ValuesIn(target_names()), [](const auto& info) { return info.param.substr(5); });

TEST(MultiplyPlan, LoadsAsOneKernelForEveryMultiprocessor) {
  auto nvrtc = Nvrtc::open();
  if (!nvrtc.ok()) GTEST_SKIP() << nvrtc.error().message();
  const auto made = multiply_kernel(*target_named("cuda:sm_90"), "");
  ASSERT_TRUE(made.ok()) << made.error().message();
  ASSERT_EQ(made->plan->kernels.size(), 1u);
  const plan::CudaCode& code = *made->plan->kernels[0].cuda;
  EXPECT_EQ(code.grid_per_sm, 1u);
  EXPECT_EQ(code.block, (std::vector<std::uint32_t>{256, 1, 1}));
  EXPECT_FALSE(code.cubin.empty());
  EXPECT_TRUE(code.ptx.empty()) << "no newer GPU has these instructions";
  EXPECT_EQ(made->operations, multiply_text(*target_named("cuda:sm_90")).operations);
}

}  // namespace
}  // namespace heddle::codegen::cuda
