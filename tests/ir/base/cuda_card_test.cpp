#include "ir/base/cuda_card.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "ir/base/target_name.h"

namespace heddle {
namespace {

TEST(CudaCards, AGpuIsNamedByItsCardWhereItIsAWholeOne) {
  EXPECT_EQ(cuda_target_of("NVIDIA H200", 90, 132), "cuda:h200");
  EXPECT_EQ(cuda_target_of("NVIDIA H100 80GB HBM3", 90, 132), "cuda:h100");
  EXPECT_EQ(cuda_target_of("NVIDIA A100-SXM4-40GB", 80, 108), "cuda:a100");
  EXPECT_EQ(cuda_target_of("NVIDIA GeForce RTX 4090", 89, 128), "cuda:rtx4090");
  EXPECT_EQ(cuda_target_of("NVIDIA H100 PCIe", 90, 114), "cuda:sm_90") << "a smaller board";
  EXPECT_EQ(cuda_target_of("NVIDIA H200 MIG 1g.18gb", 90, 16), "cuda:sm_90") << "a slice";
  EXPECT_EQ(cuda_target_of("NVIDIA GH200 480GB", 90, 132), "cuda:sm_90") << "another card whose name ends alike";
  EXPECT_EQ(cuda_target_of("NVIDIA H2000", 90, 132), "cuda:sm_90") << "another card whose name begins alike";
  EXPECT_EQ(cuda_target_of("Tesla V100", 70, 80), "cuda:sm_70");
}

TEST(CudaCards, TheArchitectureIsAPropertyOfTheCard) {
  EXPECT_EQ(cuda_architecture("cuda:sm_90"), 90);
  EXPECT_EQ(cuda_architecture("cuda:h200"), 90);
  EXPECT_EQ(cuda_architecture("cuda:sm_75"), 75) << "whether plans are compiled for it is another question";
  for (const char* name : {"cpu", "cuda", "cuda:", "cuda:sm_", "cuda:sm_90a", "cuda:sm_-9", "cuda:sm_99999999999", "cuda:h2000", "h200", "cudah:h200"})
    EXPECT_EQ(cuda_architecture(name), std::nullopt) << name;
}

TEST(CudaCards, AnArchitectureStandsForItsFirstCard) {
  EXPECT_TRUE(std::ranges::is_sorted(cuda_cards(), {}, &CudaCard::architecture));
  ASSERT_TRUE(cuda_card_of("cuda:sm_90") && cuda_card_of("cuda:h200"));
  EXPECT_EQ(cuda_card_of("cuda:sm_90")->name, "h100");
  EXPECT_EQ(cuda_card_of("cuda:h200")->name, "h200");
  EXPECT_EQ(cuda_card_of("cuda:sm_75"), nullptr);
  EXPECT_EQ(cuda_card_of("cpu"), nullptr);
}

TEST(TargetNames, WhatStandsInFrontOfTheColonIsTheBackend) {
  EXPECT_EQ(backend_of("cpu"), BackendKind::cpu);
  EXPECT_EQ(backend_of("cuda:h200"), BackendKind::cuda);
  EXPECT_EQ(backend_of("cuda:anything"), BackendKind::cuda);
  for (const char* name : {"", "cp", "cpus", "cudas:h200", "tpu"}) EXPECT_EQ(backend_of(name), std::nullopt) << name;
}

}  // namespace
}  // namespace heddle
