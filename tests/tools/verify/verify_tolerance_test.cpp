#include "tools/verify/verify_tolerance.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "codegen/backend.h"

namespace heddle::tools {
namespace {

constexpr float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();

Worst worst(DType type, std::int64_t width, std::vector<float> got, std::vector<float> wanted, std::vector<float> slack = {},
            std::vector<bool> live = {}) {
  live.resize(got.size() / std::size_t(width), live.empty());
  return compare(type, width, got, {wanted, slack}, live);
}

TEST(Compare, FloatsAreMeasuredByThemselvesAndTheMeanOfTheirRow) {
  const Worst found = worst(DType::f32, 4, {1, 1, 1.1f, 1}, {1, 1, 1, 1});
  EXPECT_NEAR(found.error, 0.1 / 2, 1e-6);
  EXPECT_EQ(found.row, 0);
  EXPECT_EQ(found.column, 2);
  EXPECT_EQ(found.got, 1.1f);
  EXPECT_EQ(found.wanted, 1);
}

TEST(Compare, ALargeElementHidesNothing) {
  std::vector<float> wanted(1000, 1), got = wanted;
  wanted[0] = got[0] = 300, got[7] = 1.1f;
  EXPECT_GT(worst(DType::f32, 1000, got, wanted).error, 0.04);
}

TEST(Compare, EightBitValuesAreMeasuredByTheirBlock) {
  std::vector<float> wanted(32, 0), got;
  wanted[0] = 127, wanted[16] = 1.27f;  // two blocks of q8_16
  got = wanted;
  got[1] = 1, got[17] = 0.01f;  // one step of each
  EXPECT_NEAR(worst(DType::q8_16, 32, got, wanted).error, 1.0 / 127, 1e-6);
  got[17] = 0.02f;
  EXPECT_NEAR(worst(DType::q8_16, 32, got, wanted).error, 2.0 / 127, 1e-6);
  EXPECT_GT(worst(DType::q8_16, 32, got, wanted).error, tolerance_of(DType::q8_16)) << "two steps";
}

TEST(Compare, SlackIsAllowedOnTopAndIdleRowsDoNotCount) {
  EXPECT_EQ(worst(DType::f32, 2, {1, 2}, {1, 1}, {0, 1}).error, 0);
  EXPECT_NEAR(worst(DType::f32, 2, {1, 2}, {1, 1}, {0, 0.5f}).error, 0.25, 1e-6);
  EXPECT_EQ(worst(DType::f32, 1, {1, 9, 1}, {1, 1, 1}, {}, {true, false, true}).error, 0);
  EXPECT_EQ(worst(DType::f32, 1, {1, 1, 9}, {1, 1, 1}, {}, {true, false, true}).row, 2);
}

TEST(Compare, WhatIsNoNumberIsOut) {
  EXPECT_EQ(worst(DType::f32, 2, {nan, 1}, {1, 1}).error, inf);
  EXPECT_EQ(worst(DType::f32, 2, {1, 1}, {nan, 1}).error, inf);
  EXPECT_EQ(worst(DType::f32, 2, {inf, 1}, {-inf, 1}).error, inf);
  EXPECT_EQ(worst(DType::f32, 2, {nan, inf}, {nan, inf}).error, 0);
  EXPECT_EQ(worst(DType::f32, 2, {nan, 1}, {1, 1}, {inf, 0}).error, inf);
  EXPECT_EQ(worst(DType::f32, 2, {0, 1e-30f}, {0, 0}).error, inf) << "zeros are zeros";
}

TEST(Tolerances, EveryTypeThatANodeWritesHasOneAndAReason) {
  for (const DType type : {DType::f32, DType::f16, DType::q8_1, DType::q8_16}) EXPECT_GT(tolerance_of(type), 0) << name(type);
  for (const Tolerance& row : tolerances()) EXPECT_FALSE(row.reason.empty());
}

TEST(Tolerances, KernelsThatMultiplyHalvesMayBeFurtherOff) {
  EXPECT_EQ(tolerance_of(DType::f32, true), tolerance_of(DType::f32) + halves_tolerance);
  plan::KernelSpec spec;
  spec.rows = 64;
  spec.loop = plan::Gemm{};
  spec.gemm()->activations = DType::f16_128;
  const codegen::Backend& cuda = codegen::backend(BackendKind::cuda);
  EXPECT_TRUE(cuda.multiplies_halves(spec));
  EXPECT_FALSE(codegen::backend(BackendKind::cpu).multiplies_halves(spec));
  spec.gemm()->activations = DType::q8_16;
  EXPECT_FALSE(cuda.multiplies_halves(spec));
  spec.loop = plan::Rowwise{};
  EXPECT_FALSE(cuda.multiplies_halves(spec));
}

}  // namespace
}  // namespace heddle::tools
