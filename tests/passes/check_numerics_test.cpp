#include "ir/interp/check_numerics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "ir/text/text.h"

namespace heddle {
namespace {

using ::testing::StartsWith;

std::unique_ptr<ir::Module> module_of(const std::string& nodes) {
  auto parsed = ir::parse(R"(heddle-ir 1
module "m"
weight @w : q4_0[32, 32]
weight @k5 : q5_K[4, 256]
weight @k6 : q6_K[4, 256]
weight @table : f16[48, 32]
func @f decode rows=3 (%x: f32[3, 32], %y: f32[3, 256], %tokens: i32[3], %slot: i32[3], %pos: i32[3], %kv: state f16[2, 1, 32]) {
)" + nodes + "\n}");
  HEDDLE_CHECK(parsed.ok(), "{}", parsed.error().message());
  return std::move(*parsed);
}

ir::interp::Difference difference(const std::string& before, const std::string& after, std::uint64_t seed = 1) {
  auto found = ir::interp::check_numerics(*module_of(before), *module_of(after), seed);
  HEDDLE_CHECK(found.ok(), "{}", found.error().message());
  return *found;
}

TEST(CheckNumerics, EqualProgramsAreIdentical) {
  const std::string sum = "%a = matmul @w, %x\n %b = add %a, %x\n ret %b, %kv",
                    swapped = "%a = matmul @w, %x\n %b = add %x, %a\n ret %b, %kv";
  EXPECT_TRUE(difference(sum, swapped).identical());
  EXPECT_EQ(difference(sum, swapped).largest, 0);
}

TEST(CheckNumerics, NamesTheLargestDifferenceOfAResult) {
  const auto found = difference("%a = silu %x\n ret %a, %kv", "%a = relu %x\n ret %a, %kv");
  EXPECT_FALSE(found.identical());
  EXPECT_THAT(found.where, StartsWith("@f: returned value 0["));
  EXPECT_GT(found.largest, 0.1);
  EXPECT_LT(found.largest, 0.3);  // silu is at least -0.2785, and close to relu elsewhere
}

TEST(CheckNumerics, SeesRoundingInEveryWeightFormat) {
  for (const char* weight : {"@k5", "@k6"}) {
    const std::string exact = fmt::format("%a = matmul {}, %y\n ret %a, %kv", weight);
    const auto found = difference(exact, fmt::format("%q = quantize %y {{format=\"q8_1\"}}\n %a = matmul {}, %q\n ret %a, %kv", weight));
    EXPECT_FALSE(found.identical()) << weight;
    EXPECT_LT(found.largest, 0.5) << weight;
  }
}

TEST(CheckNumerics, ComparesCaches) {
  const auto found = difference("%kv.1 = kv_store %kv, %x, %x, %slot, %pos\n ret %kv.1",
                                "%s = silu %x\n %kv.1 = kv_store %kv, %x, %s, %slot, %pos\n ret %kv.1");
  EXPECT_THAT(found.where, StartsWith("@f: cache %kv["));
}

TEST(CheckNumerics, AttendsToWhatWasInTheCache) {
  const std::string attention =
      "attention %x, {}, %slot, %pos {{heads=1, kv_heads=1, head_dim=32, scale=0.2, window={}, softcap=0}}\n ret %a, %kv.1";
  const std::string store = "%kv.1 = kv_store %kv, %x, %x, %slot, %pos\n %a = ";
  EXPECT_FALSE(
      difference(store + fmt::format(fmt::runtime(attention), "%kv.1", 0), store + fmt::format(fmt::runtime(attention), "%kv.1", 4))
          .identical());
}

TEST(CheckNumerics, OtherSeedsGiveOtherNumbers) {
  const std::string one = "%e = embed @table, %tokens\n ret %e, %kv", two = "%e = embed @table, %tokens\n %f = add %e, %x\n ret %f, %kv";
  EXPECT_NE(difference(one, two, 1).largest, difference(one, two, 2).largest);
}

TEST(CheckNumerics, ANumberAgainstInfinityIsInfinitelyFar) {
  const auto found = difference("%a = sub %x, %x\n ret %a, %kv", "%a = sub %x, %x\n %b = div %x, %a\n ret %b, %kv");
  EXPECT_EQ(found.largest, std::numeric_limits<double>::infinity());
}

TEST(CheckNumerics, RefusesProgramsThatCannotBeCompared) {
  auto one = module_of("ret %x, %kv"), two = module_of("ret %x, %y, %kv"), other = module_of("ret %y, %kv");
  EXPECT_EQ(ir::interp::check_numerics(*one, *two, 1).error().message(), "@f: returns 1 tensors before, 2 after");
  EXPECT_EQ(ir::interp::check_numerics(*one, *other, 1).error().message(), "@f: returned value 0 is f32[3, 32] before, f32[3, 256] after");
  two->functions()[0]->name = "g";
  EXPECT_EQ(ir::interp::check_numerics(*one, *two, 1).error().message(), "@f: there is no such function after");
  two->add_function("f", EntryKind::decode, 1);
  EXPECT_EQ(ir::interp::check_numerics(*one, *two, 1).error().message(), "1 functions before, 2 after");
}

}  // namespace
}  // namespace heddle
