#include "codegen/cuda/target.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace heddle::codegen::cuda {
namespace {

TEST(Targets, OnlyHopperAndLaterHaveProgrammaticLaunches) {
  for (const std::string& name : target_names()) {
    auto target = target_named(name);
    ASSERT_TRUE(target.ok());
    EXPECT_EQ(target->name, name);
    EXPECT_TRUE(target->has("async_copy")) << name;
    EXPECT_EQ(target->has("programmatic_launch"), name == "cuda:sm_90" || name == "cuda:sm_100" || name == "cuda:sm_120") << name;
    EXPECT_TRUE(std::ranges::is_sorted(target->features)) << name;
    EXPECT_EQ("cuda:" + architecture_of(*target), name);
  }
  EXPECT_EQ(target_named("cuda:sm_90")->activations, DType::q8_16);
  EXPECT_EQ(target_named("cuda:sm_90", DType::f32)->activations, DType::f32);
}

TEST(Targets, UnknownOnesAreNamedWithThoseThereAre) {
  auto unknown = target_named("cuda:sm_70");
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().message(),
            "target 'cuda:sm_70' is not known (known: cuda:sm_80, cuda:sm_86, cuda:sm_89, cuda:sm_90, cuda:sm_100, cuda:sm_120)");
  EXPECT_FALSE(target_named("cuda:sm_9").ok());
  EXPECT_FALSE(target_named("sm_90").ok());
  EXPECT_EQ(target_named("cuda:sm_90", DType::q8_1).error().message(), "target 'cuda:sm_90': activations are q8_1, wanted q8_16 or f32");
}

}  // namespace
}  // namespace heddle::codegen::cuda
