#include "runtime/device/device.h"

#include <gtest/gtest.h>

#include "runtime/device/fake_device.h"
#include "tests/support/tiny_plan.h"

namespace heddle::runtime {
namespace {

TEST(LastRow, IsTheLastThatIsNotIdle) {
  EXPECT_EQ(last_row(std::vector<StepRow>{{1, 0, 0}, {2, 0, 1}}), 1);
  EXPECT_EQ(last_row(std::vector<StepRow>{{1, 0, 0}, {2, 3, 1}, {}, {}}), 1);
  EXPECT_EQ(last_row(std::vector<StepRow>{{}, {2, 0, 1}, {}}), 1);
  EXPECT_EQ(last_row(std::vector<StepRow>{{1, 0, 0}, {}, {}}), 0);
  EXPECT_EQ(last_row(std::vector<StepRow>{{}, {}}), 0);
  EXPECT_EQ(last_row({}), 0);
}

TEST(MemoryUse, IsNamedByPart) {
  const plan::Plan plan = testing::tiny_plan();
  const MemoryUse use = memory_use(plan, {2, 100});
  EXPECT_EQ(use.weights, plan.files[0].bytes - 256);  // all that the file holds behind its header
  EXPECT_EQ(use.cache, 2u * 16u * 4u * 2u * 100u);     // planes, head_dim, f32, slots, positions
  EXPECT_EQ(use.arena, 5u * 4u * 32u * 4u);            // the buffers of prefill_4
  EXPECT_EQ(use.total(), use.weights + use.cache + use.arena);
}

TEST(MemoryUse, WeightsAreAsTheirLayoutStoresThem) {
  plan::Plan plan = testing::tiny_plan();
  plan.weights.resize(1);
  plan.weights[0].shape = {4, 32};  // q8_0
  EXPECT_EQ(memory_use(plan, {1, 1}).weights, 4u * 34u);
  plan.weights[0].layout = Layout::planes;
  EXPECT_EQ(memory_use(plan, {1, 1}).weights, 256u + 4u * 2u);  // the second plane begins at a multiple of 256
}

TEST(MemoryUse, TheArenaIsTheLargestOfTheEntryPoints) {
  plan::Plan plan = testing::tiny_plan();
  plan.entries[0].arena_bytes = 10, plan.entries[1].arena_bytes = 3000, plan.entries[2].arena_bytes = 20;
  EXPECT_EQ(memory_use(plan, {1, 1}).arena, 3000u);
}

TEST(MemoryUse, AbsurdContextsDoNotWrapRound) {
  const MemoryUse use = memory_use(testing::tiny_plan(), {INT64_MAX, INT64_MAX});
  EXPECT_GE(use.cache, std::uint64_t(1) << 61);
  EXPECT_GE(use.total(), use.cache);
}

class Fake : public ::testing::Test {
 protected:
  void SetUp() override { ASSERT_TRUE(device.load(std::make_shared<plan::Plan>(testing::tiny_plan()), {2, 8}, {}).ok()); }
  std::string run(std::size_t entry, std::vector<StepRow> rows) {
    auto result = device.run(entry, rows);
    return result.ok() ? "" : result.error().message();
  }
  FakeDevice device;
};

TEST_F(Fake, WritesDownEveryCall) {
  EXPECT_EQ(run(2, {{7, 0, 0}, {8, 1, 0}, {}, {}}), "");
  EXPECT_EQ(run(0, {{9, 0, 1}}), "");
  EXPECT_TRUE(device.logits(0, 0).ok());
  EXPECT_EQ(device.log(), "load slots=2 context=8; run prefill_4 [7@0:0 8@1:0 - -]; run decode_1 [9@0:1]; logits decode_1 row 0");
}

TEST_F(Fake, RefusesWhatASessionMustNotAsk) {
  EXPECT_EQ(run(1, {{7, 0, 0}}), "fake: 1 rows, decode_2 has 2");
  EXPECT_EQ(run(0, {{7, 2, 0}}), "fake: row at slot 2, position 0 is outside the cache");
  EXPECT_EQ(run(0, {{7, 0, 8}}), "fake: row at slot 0, position 8 is outside the cache");
  EXPECT_EQ(run(0, {{7, 0, 1}}), "fake: row at position 1, only 0 are filled");
  EXPECT_EQ(run(1, {{7, 0, 0}, {}}), "");
  EXPECT_EQ(device.logits(1, 1).error().message(), "fake: decode_2 has no logits of row 1");
  EXPECT_EQ(device.logits(0, 0).error().message(), "fake: decode_1 has no logits of row 0");
}

TEST_F(Fake, AnswersByScript) {
  EXPECT_EQ(run(0, {{7, 0, 0}}), "");
  auto logits = *device.logits(0, 0);
  ASSERT_EQ(logits.size(), 48u);
  EXPECT_EQ(std::ranges::max_element(logits) - logits.begin(), 8);
  FakeDevice scripted([](std::int32_t token, std::int32_t position) { return std::vector<float>{float(token), float(position)}; });
  ASSERT_TRUE(scripted.load(std::make_shared<plan::Plan>(testing::tiny_plan()), {1, 8}, {}).ok());
  scripted.fail_at(2, "out of memory");
  ASSERT_TRUE(scripted.run(0, std::vector<StepRow>{{7, 0, 0}}).ok());
  EXPECT_EQ(scripted.logits(0, 0).error().message(), "out of memory");
  logits = *scripted.logits(0, 0);
  EXPECT_EQ(std::vector(logits.begin(), logits.end()), (std::vector<float>{7, 0}));
}

}  // namespace
}  // namespace heddle::runtime
