#include "codegen/backend.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace heddle::codegen {
namespace {

TEST(Backends, EveryTargetOfABackendIsItsOwn) {
  for (const BackendKind kind : {BackendKind::cpu, BackendKind::cuda}) {
    const Backend& one = backend(kind);
    ASSERT_FALSE(one.target_names().empty());
    for (const std::string& name : one.target_names()) {
      EXPECT_EQ(backend_of(name), kind) << name;
      for (const DType activations : {DType::f32, one.eight_bit_activations()}) {
        const auto target = one.target_named(name, activations);
        ASSERT_TRUE(target.ok()) << target.error().message();
        EXPECT_EQ(target->name, name);
        EXPECT_EQ(target->activations, activations);
        EXPECT_EQ(&backend(*target), &one);
        EXPECT_TRUE(one.questions(*target));
        EXPECT_EQ(one.default_entries(*target).front().rows, 1) << "generation draws with a decode step of one row";
      }
    }
  }
}

TEST(Backends, KnownTargetsAreThoseOfAll) {
  const auto known = known_targets();
  for (const char* name : {"cpu", "cuda:h200", "cuda:sm_90"}) EXPECT_TRUE(std::ranges::count(known, name) == 1) << name;
  EXPECT_EQ(backend(BackendKind::cpu).target_named("cuda:h200", DType::f32).error().message(), "target 'cuda:h200' is not known (known: cpu)");
}

TEST(Backends, TextThatNamesNoKnownMachineIsTheCpus) {
  ir::Target target;
  target.name = "tpu";
  EXPECT_EQ(&backend(target), &backend(BackendKind::cpu));
}

TEST(Backends, WhatDiffersIsData) {
  const Backend &cpu = backend(BackendKind::cpu), &cuda = backend(BackendKind::cuda);
  EXPECT_EQ(cpu.eight_bit_activations(), DType::q8_1);
  EXPECT_EQ(cuda.eight_bit_activations(), DType::q8_16);
  const auto gpu = *cuda.target_named("cuda:h200", DType::q8_16), exact = *cuda.target_named("cuda:h200", DType::f32);
  EXPECT_EQ(cuda.cache_type(gpu), DType::f16);
  EXPECT_EQ(cuda.cache_type(exact), DType::f32);
  EXPECT_EQ(cpu.cache_type(*cpu.target_named("cpu", DType::q8_1)), DType::f32);
  EXPECT_TRUE(cpu.extra_passes().empty() && cpu.knobs().empty() && cpu.shipped_tuning(*cpu.target_named("cpu", DType::q8_1)).target.empty());
  EXPECT_EQ(*cpu.kernel_compiler(), "");
  EXPECT_EQ(cuda.card_of("cuda:sm_90"), "cuda:h100");
  EXPECT_EQ(cpu.card_of("cpu"), "cpu");
  EXPECT_EQ(cuda.remarks(*cuda.target_named("cuda:sm_90", DType::f32)).size(), 1u);
  EXPECT_TRUE(cuda.remarks(gpu).empty());
}

}  // namespace
}  // namespace heddle::codegen
