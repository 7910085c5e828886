#include "runtime/device/factory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/tiny_plan.h"

namespace heddle::runtime {
namespace {

TEST(DeviceFactory, MakesWhatThePlanWasCompiledFor) {
  const plan::Plan plan = testing::tiny_plan();
  auto device = make_device(plan, {.threads = 2});
  ASSERT_TRUE(device.ok()) << device.error().message();
  EXPECT_THAT((*device)->description(), ::testing::StartsWith("cpu, 2 threads"));
  EXPECT_EQ(*device_factory(BackendKind::cpu).target_here(), "cpu");
  EXPECT_EQ(device_factory(BackendKind::cpu).memory_use(plan, {1, 64}).total(), memory_use(plan, {1, 64}).total());
}

TEST(DeviceFactory, APlanForAnotherKindOfMachineIsRefused) {
  plan::Plan plan = testing::tiny_plan();
  plan.target = "tpu";
  EXPECT_EQ(make_device(plan, {}).error().message(),
            "the plan is for target 'tpu', which this program cannot run (it runs: cpu, cuda:sm_NN)");
}

}  // namespace
}  // namespace heddle::runtime
