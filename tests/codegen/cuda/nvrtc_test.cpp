#include "codegen/cuda/nvrtc.h"

#include <gtest/gtest.h>

#include <thread>

namespace heddle::codegen::cuda {
namespace {

TEST(NvrtcTest, AMissingLibraryIsNamedWithWhatItIsFor) {
  auto none = Nvrtc::open({"/nowhere/libnvrtc.so.13", "/nowhere/libnvrtc.so.12"});
  ASSERT_FALSE(none.ok());
  EXPECT_EQ(
      none.error().message(),
      "libnvrtc.so cannot be opened (/nowhere/libnvrtc.so.13: cannot open shared object file: No such file or directory): it is needed for "
      "--target cuda");
}

class WithNvrtc : public ::testing::Test {
 protected:
  void SetUp() override {
    auto nvrtc = Nvrtc::open();
    if (!nvrtc.ok()) GTEST_SKIP() << nvrtc.error().message();
    nvrtc_ = *nvrtc;
  }
  std::shared_ptr<const Nvrtc> nvrtc_;
};

TEST_F(WithNvrtc, GivesCubinPtxAndWhatTheKernelUses) {
  auto compiled = nvrtc_->compile("k",
                                  "extern \"C\" __global__ void k(float* x) { __shared__ float s[64]; s[threadIdx.x] = x[threadIdx.x]; "
                                  "__syncthreads(); x[threadIdx.x] = s[63 - threadIdx.x]; }",
                                  "sm_90");
  ASSERT_TRUE(compiled.ok()) << compiled.error().message();
  EXPECT_NE(compiled->ptx.find(".entry k("), std::string::npos);
  EXPECT_NE(compiled->ptx.find(".target sm_90"), std::string::npos);
  ASSERT_GT(compiled->cubin.size(), 4u);
  EXPECT_EQ(std::string(compiled->cubin.begin() + 1, compiled->cubin.begin() + 4), "ELF");
  EXPECT_GT(compiled->registers, 3);
  EXPECT_EQ(compiled->shared_bytes, 256);
  EXPECT_EQ(compiled->spill_bytes, 0);
}

TEST_F(WithNvrtc, SpillsAreSeen) {
  // 64 numbers that are all alive, in at most 32 registers a thread.
  auto compiled =
      nvrtc_->compile("k",
                      "extern \"C\" __global__ void __launch_bounds__(1024, 2) k(volatile float* x) { float s[64];\n#pragma unroll\n"
                      "for (int i = 0; i < 64; ++i) s[i] = x[i];\n#pragma unroll\nfor (int i = 63; i >= 0; --i) x[i] = s[i] * s[63 - i]; }",
                      "sm_90");
  ASSERT_TRUE(compiled.ok()) << compiled.error().message();
  EXPECT_GT(compiled->spill_bytes, 0);
}

TEST_F(WithNvrtc, AnErrorIsTheCompilersLog) {
  auto failed = nvrtc_->compile("wrong_kernel", "extern \"C\" __global__ void k() { undeclared = 1; }", "sm_80");
  ASSERT_FALSE(failed.ok());
  const std::string& message = failed.error().message();
  EXPECT_TRUE(message.starts_with("wrong_kernel: does not compile for sm_80 with NVRTC ")) << message;
  EXPECT_NE(message.find("identifier \"undeclared\" is undefined"), std::string::npos) << message;
  EXPECT_NE(message.find("wrong_kernel.cu(1)"), std::string::npos) << message;
}

TEST_F(WithNvrtc, KnowsItsArchitectures) {
  EXPECT_TRUE(nvrtc_->supports("sm_80"));
  EXPECT_TRUE(nvrtc_->supports("sm_90"));
  EXPECT_FALSE(nvrtc_->supports("sm_20"));
  EXPECT_FALSE(nvrtc_->version().empty());
}

TEST_F(WithNvrtc, ThreadsMayCompileAtOnce) {
  std::vector<std::thread> threads;
  std::atomic<int> good{0};
  for (int i = 0; i < 4; ++i)
    threads.emplace_back([&, i] {
      auto compiled = nvrtc_->compile("k", fmt::format("extern \"C\" __global__ void k_{}(int* x) {{ *x = {}; }}", i, i), "sm_90");
      good += compiled.ok() && compiled->ptx.find(fmt::format("k_{}", i)) != std::string::npos;
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(good, 4);
}

}  // namespace
}  // namespace heddle::codegen::cuda
