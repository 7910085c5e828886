#include "codegen/cuda/target.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "ir/base/cuda_card.h"

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

TEST(Targets, EveryCardHasFiguresAndAnArchitectureThatIsKnown) {
  ASSERT_EQ(card_names().size(), cuda_cards().size());
  for (const CudaCard& card : cuda_cards()) {
    const auto target = target_named(fmt::format("cuda:{}", card.name));
    ASSERT_TRUE(target.ok()) << card.name;
    EXPECT_EQ(architecture_of(*target), fmt::format("sm_{}", card.architecture));
    EXPECT_EQ(target->workers, card.multiprocessors) << card.name;
    EXPECT_EQ(card_of(target->name), target->name);
    EXPECT_EQ(figures_remark(*target), "");
  }
}

TEST(Targets, AnArchitectureStandsForItsFirstCard) {
  ir::Target generic = *target_named("cuda:sm_90"), card = *target_named("cuda:h100"), newer = *target_named("cuda:h200");
  EXPECT_EQ(figures_remark(generic), "the figures of cuda:sm_90 are those of cuda:h100, the first card of that architecture");
  EXPECT_GT(newer.memory_gbps, card.memory_gbps);
  EXPECT_EQ(architecture_of(newer), "sm_90");
  generic.name = card.name;
  EXPECT_EQ(generic, card);
}

TEST(Targets, AnArchitectureWithoutFiguresTakesTheNearestOfItsGeneration) {
  const auto orin = target_named("cuda:sm_87");
  ASSERT_TRUE(orin.ok());
  EXPECT_EQ(architecture_of(*orin), "sm_87");
  EXPECT_EQ(figures_remark(*orin), "cuda:sm_87 has no figures: those of cuda:rtx3090 are taken, the nearest of its generation");
  EXPECT_EQ(limits_of(*orin).shared_bytes, limits_of(*target_named("cuda:sm_86")).shared_bytes);
  EXPECT_EQ(card_of("cuda:sm_103"), "cuda:b200");
  EXPECT_FALSE(target_named("cuda:sm_91")->has("warpgroups")) << "they are sm_90's own";
}

TEST(Targets, UnknownOnesAreNamedWithThoseThereAre) {
  auto unknown = target_named("cuda:sm_70");
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().message(),
            "target 'cuda:sm_70' is not known (known: cuda:a100, cuda:rtx3090, cuda:rtx4090, cuda:h100, cuda:h200, cuda:b200, cuda:rtx5090, "
            "cuda:sm_80, cuda:sm_86, cuda:sm_89, cuda:sm_90, cuda:sm_100, cuda:sm_120)");
  for (const char* name : {"cuda:sm_9", "sm_90", "h200", "cuda:", "cuda:sm_", "cuda:sm_-90", "cuda:sm_90a", "cuda:h20"}) EXPECT_FALSE(target_named(name).ok()) << name;
  EXPECT_EQ(target_named("cuda:sm_90", DType::q8_1).error().message(), "target 'cuda:sm_90': activations are q8_1, wanted q8_16 or f32");
}

}  // namespace
}  // namespace heddle::codegen::cuda
