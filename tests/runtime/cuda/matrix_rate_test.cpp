#include "runtime/cuda/measure/matrix_rate.h"

#include <gtest/gtest.h>

#include "fake_driver.h"

namespace heddle::testing {
namespace {

/// As codegen/cuda/measure/matrix_peak.h describes it.
plan::Plan multiply_plan(const std::string& target = "cuda:sm_90") {
  plan::Plan plan;
  plan.target = target, plan.backend = *backend_of(target);
  auto& kernel = plan.kernels.emplace_back();
  kernel.spec.name = "multiply";
  kernel.cuda.emplace();
  kernel.cuda->entry = "multiply";
  const std::string_view image = "cubin 90 multiply:8,8";
  kernel.cuda->cubin.assign(image.begin(), image.end());
  kernel.cuda->cubin.push_back(0);
  kernel.cuda->grid = {1, 1, 1}, kernel.cuda->block = {256, 1, 1};
  kernel.cuda->grid_per_sm = 2, kernel.cuda->dynamic_shared_bytes = 4096;
  plan.entries.emplace_back().nodes.emplace_back();
  return plan;
}

/// Every launch takes a millisecond by the fake's clock.
TEST(MatrixRate, IsTheOperationsOfAllBlocksInTheTimeOfALaunch) {
  FakeDriver fake;
  const plan::Plan plan = multiply_plan();
  {
    const auto rate = runtime::matrix_rate(0, plan, 1000, &fake.api());
    ASSERT_TRUE(rate.ok()) << rate.error().message();
    ASSERT_EQ(fake.ran.size(), 2u + 100 + 25);  // loads the code, finds the number of rounds, warms up for 100 ms, measures
    const FakeDriver::Kernel& last = fake.ran.back();
    EXPECT_EQ(last.grid[0], 2u * 132);
    EXPECT_EQ(last.shared_bytes, 4096u);
    EXPECT_EQ(last.parameter<std::uint64_t>(1), 2000u);  // two milliseconds, where 1000 took one
    EXPECT_NEAR(*rate, 2 * 132 * 1000.0 * 2000 / 1e-3, 1);
    for (const FakeDriver::Kernel& kernel : fake.ran) EXPECT_EQ(kernel.pointer(0), last.pointer(0));
  }
  EXPECT_EQ(fake.live(), "");
}

TEST(MatrixRate, SaysWhatIsMissing) {
  FakeDriver fake;
  const auto message = [&](const plan::Plan& plan) {
    const auto rate = runtime::matrix_rate(0, plan, 1000, &fake.api());
    return rate.ok() ? "" : rate.error().message();
  };
  EXPECT_EQ(message(multiply_plan("cuda:sm_100")),
            "the plan is for sm_100, GPU 0 (Fake H100) is sm_90: compile it with --target cuda:sm_90");
  for (int call = 0; call < 40; ++call) {
    fake.fail_at(fake.calls() + call);
    EXPECT_NE(message(multiply_plan()), "") << call;
    EXPECT_EQ(fake.live(), "") << call;
  }
  fake.gpus = 0;
  EXPECT_NE(message(multiply_plan()).find("one is needed to run target 'cuda:sm_90'"), std::string::npos);
}

}  // namespace
}  // namespace heddle::testing
