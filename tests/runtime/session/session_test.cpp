#include "runtime/session/session.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "runtime/device/fake_device.h"
#include "tests/support/tiny_plan.h"

namespace heddle::runtime {
namespace {
using ::testing::ElementsAre;

std::vector<std::int32_t> ids(std::int32_t first, std::size_t count) {
  std::vector<std::int32_t> out(count);
  std::iota(out.begin(), out.end(), first);
  return out;
}

/// A session over a fake device, whose log begins after the load.
struct Bench {
  FakeDevice* device = nullptr;
  std::optional<Session> session;

  explicit Bench(std::int64_t context, plan::Plan plan = testing::tiny_plan()) {
    auto fake = std::make_unique<FakeDevice>();
    device = fake.get();
    auto opened = Session::open(std::move(fake), std::make_shared<plan::Plan>(std::move(plan)), context);
    HEDDLE_CHECK(opened.ok(), "{}", opened.error().message());
    session = std::move(*opened);
    device->clear_log();
  }
  /// The token that the fake expects next, or the error.
  std::string feed(std::vector<std::int32_t> tokens) {
    auto logits = session->feed(tokens);
    if (!logits.ok()) return logits.error().message();
    return std::to_string(std::ranges::max_element(*logits) - logits->begin());
  }
  std::string log() {
    std::string text = device->log();
    device->clear_log();
    return text;
  }
};

/// The tiny plan with prefill entry points of these numbers of rows only.
plan::Plan plan_with_prefill(const std::vector<std::uint32_t>& rows) {
  plan::Plan plan = testing::tiny_plan();
  const plan::EntryPoint prefill = plan.entries[2];
  plan.entries.pop_back();
  for (const std::uint32_t n : rows) {
    auto& entry = plan.entries.emplace_back(plan::EntryPoint(prefill));
    entry.name = fmt::format("prefill_{}", n), entry.rows = n;
  }
  return plan;
}

/// The tiny plan with prefill and prompt entry points of these numbers of rows.
plan::Plan plan_with_prompts(const std::vector<std::uint32_t>& rows) {
  plan::Plan plan = testing::tiny_plan_with_prompt();
  const plan::EntryPoint prefill = plan.entries[2], prompt = plan.entries[3];
  plan.entries.resize(2);
  for (const plan::EntryPoint* like : {&prefill, &prompt})
    for (const std::uint32_t n : rows) {
      auto& entry = plan.entries.emplace_back(plan::EntryPoint(*like));
      entry.name = fmt::format("{}_{}", entry.kind, n), entry.rows = n;
    }
  return plan;
}

/// "prefill_32 32" for every step: entry point and rows that hold a token.
std::vector<std::string> steps(const std::string& log) {
  std::vector<std::string> out;
  for (std::size_t at = log.find("run "); at != std::string::npos; at = log.find("run ", at + 1)) {
    const std::string step = log.substr(at + 4, log.find(']', at) - at - 4);
    out.push_back(fmt::format("{} {}", step.substr(0, step.find(' ')), std::ranges::count(step, '@')));
  }
  return out;
}

TEST(Session, OpensWithRoomForOneSequence) {
  FakeDevice* device = nullptr;
  auto fake = std::make_unique<FakeDevice>();
  device = fake.get();
  double progress = 0;
  auto session =
      Session::open(std::move(fake), std::make_shared<plan::Plan>(testing::tiny_plan()), 64, [&](double done) { progress = done; });
  ASSERT_TRUE(session.ok());
  EXPECT_EQ(device->log(), "load slots=1 context=64");
  EXPECT_EQ(progress, 1);
  EXPECT_EQ(session->context(), 64);
  EXPECT_EQ(session->position(), 0);
  EXPECT_EQ(&session->device(), device);
  EXPECT_EQ(session->plan().model.name, "tiny");
}

TEST(Session, RefusesToOpen) {
  const auto refusal = [](plan::Plan plan, std::int64_t context, bool device_fails = false) {
    auto device = std::make_unique<FakeDevice>();
    if (device_fails) device->fail_at(0, "needs 5.1 GB, 3.2 GB are free");
    return Session::open(std::move(device), std::make_shared<plan::Plan>(std::move(plan)), context).error().message();
  };
  EXPECT_EQ(refusal(testing::tiny_plan(), 0), "context is 0, wanted 1 to 2147483647");
  EXPECT_EQ(refusal(testing::tiny_plan(), std::int64_t(1) << 40), "context is 1099511627776, wanted 1 to 2147483647");
  EXPECT_EQ(refusal(testing::tiny_plan(), 8, true), "needs 5.1 GB, 3.2 GB are free");
  plan::Plan plan = testing::tiny_plan();
  plan.entries.erase(plan.entries.begin());
  EXPECT_EQ(refusal(std::move(plan), 8), "the plan has no decode entry point of one row");
}

TEST(Session, OneTokenIsADecodeStep) {
  Bench b(8);
  EXPECT_EQ(b.feed({7}), "8");
  EXPECT_EQ(b.feed({8}), "9");
  EXPECT_EQ(b.log(), "run decode_1 [7@0:0]; logits decode_1 row 0; run decode_1 [8@0:1]; logits decode_1 row 0");
  EXPECT_EQ(b.session->position(), 2);
}

TEST(Session, APromptIsFedInChunksAndTheLastTokenAlone) {
  Bench b(16);
  EXPECT_EQ(b.feed(ids(10, 9)), "19");
  EXPECT_EQ(b.log(),
            "run prefill_4 [10@0:0 11@0:1 12@0:2 13@0:3]; run prefill_4 [14@0:4 15@0:5 16@0:6 17@0:7]; run decode_1 [18@0:8]; "
            "logits decode_1 row 0");
  EXPECT_EQ(b.session->position(), 9);
}

TEST(Session, SpareRowsIdle) {
  Bench b(16);
  EXPECT_EQ(b.feed({5}), "6");
  b.log();
  EXPECT_EQ(b.feed(ids(10, 4)), "14");
  EXPECT_EQ(b.log(), "run prefill_4 [10@0:1 11@0:2 12@0:3 -]; run decode_1 [13@0:4]; logits decode_1 row 0");
}

TEST(Session, AChunkThatWouldBeMostlyIdleIsSingleSteps) {
  Bench b(16);
  EXPECT_EQ(b.feed(ids(10, 2)), "12");
  EXPECT_EQ(b.log(), "run decode_1 [10@0:0]; run decode_1 [11@0:1]; logits decode_1 row 0");
}

TEST(Session, TheChunkIsTheLargestThatIsNotWasteful) {
  const auto feed = [](std::vector<std::uint32_t> prefill, std::size_t tokens) {
    Bench b(2000, plan_with_prefill(prefill));
    EXPECT_EQ(b.feed(std::vector<std::int32_t>(tokens, 3)), "4");
    return steps(b.log());
  };
  EXPECT_THAT(feed({32, 128, 512}, 1 + 512 + 128 + 32), ElementsAre("prefill_512 512", "prefill_128 128", "prefill_32 32", "decode_1 1"));
  EXPECT_THAT(feed({128, 32}, 1 + 120), ElementsAre("prefill_128 120", "decode_1 1"));
  EXPECT_THAT(feed({128, 32}, 1 + 40), ElementsAre("prefill_32 32", "prefill_32 8", "decode_1 1"));
  EXPECT_THAT(feed({128, 32}, 1 + 3), ElementsAre("decode_1 1", "decode_1 1", "decode_1 1", "decode_1 1"));
  EXPECT_THAT(feed({}, 3), ElementsAre("decode_1 1", "decode_1 1", "decode_1 1"));
}

TEST(Session, AChunkThatEndsAPromptGivesItsLogits) {
  Bench b(32, testing::tiny_plan_with_prompt());
  EXPECT_EQ(b.feed(ids(10, 7)), "17");
  EXPECT_EQ(b.log(), "run prefill_4 [10@0:0 11@0:1 12@0:2 13@0:3]; run prompt_4 [14@0:4 15@0:5 16@0:6 -]; logits prompt_4 row 0");
  EXPECT_EQ(b.feed(ids(20, 4)), "24");
  EXPECT_EQ(b.log(), "run prompt_4 [20@0:7 21@0:8 22@0:9 23@0:10]; logits prompt_4 row 0");
  EXPECT_EQ(b.session->position(), 11);
  EXPECT_EQ(b.feed({7}), "8");  // a single token is a decode step
  EXPECT_EQ(b.log(), "run decode_1 [7@0:11]; logits decode_1 row 0");
  ASSERT_TRUE(b.session->feed_all_but_last(ids(10, 5)).ok());
  EXPECT_EQ(b.log(), "run prefill_4 [10@0:12 11@0:13 12@0:14 13@0:15]");  // no logits are wanted
}

TEST(Session, ThePromptThatEndsAFeedHasRoomForTheRest) {
  const auto feed = [](std::vector<std::uint32_t> rows, std::size_t tokens) {
    Bench b(2000, plan_with_prompts(rows));
    EXPECT_EQ(b.feed(std::vector<std::int32_t>(tokens, 3)), "4");
    return steps(b.log());
  };
  EXPECT_THAT(feed({32, 128, 512}, 512), ElementsAre("prompt_512 512"));
  EXPECT_THAT(feed({32, 128, 512}, 512 + 100), ElementsAre("prefill_512 512", "prompt_128 100"));
  EXPECT_THAT(feed({32, 128}, 128 + 1), ElementsAre("prefill_128 128", "decode_1 1"));
  EXPECT_THAT(feed({128, 32}, 40), ElementsAre("prefill_32 32", "prompt_32 8"));
  EXPECT_THAT(feed({32}, 2), ElementsAre("decode_1 1", "decode_1 1"));
}

/// The steps of a prompt by given microseconds, "prefill_32 32" each.
std::vector<std::string> steps_by(const std::vector<std::pair<std::string, float>>& microseconds, std::size_t tokens, bool logits = true) {
  plan::Plan plan = plan_with_prompts({32, 128, 512});
  for (auto& entry : plan.entries) {
    const auto found = std::ranges::find(microseconds, entry.name, &std::pair<std::string, float>::first);
    if (found != microseconds.end()) entry.microseconds = found->second;
  }
  Bench b(1 << 20, std::move(plan));
  const std::vector<std::int32_t> prompt(tokens, 3);
  if (logits) EXPECT_EQ(b.feed(prompt), "4");
  else EXPECT_TRUE(b.session->feed_all_but_last(prompt).ok());
  return steps(b.log());
}

TEST(Session, TheStepsOfAPromptAreThoseOfTheLeastTime) {
  using Times = std::vector<std::pair<std::string, float>>;
  // Wide steps cost hardly more than narrow ones: one that idles beats two.
  const Times flat = {{"decode_1", 100},    {"prefill_32", 150}, {"prefill_128", 180}, {"prefill_512", 300},
                      {"prompt_32", 160},   {"prompt_128", 190}, {"prompt_512", 310}};
  EXPECT_THAT(steps_by(flat, 1), ElementsAre("decode_1 1"));
  EXPECT_THAT(steps_by(flat, 2), ElementsAre("prompt_32 2"));
  EXPECT_THAT(steps_by(flat, 33), ElementsAre("prompt_128 33"));
  EXPECT_THAT(steps_by(flat, 160), ElementsAre("prompt_512 160"));
  EXPECT_THAT(steps_by(flat, 512), ElementsAre("prompt_512 512"));
  EXPECT_THAT(steps_by(flat, 513), ElementsAre("prefill_512 512", "decode_1 1"));
  EXPECT_THAT(steps_by(flat, 600), ElementsAre("prefill_512 512", "prompt_128 88"));
  EXPECT_THAT(steps_by(flat, 513, false), ElementsAre("prefill_512 512"));
  EXPECT_THAT(steps_by(flat, 34, false), ElementsAre("prefill_128 33"));
  // By rows: nothing that idles.
  const Times steep = {{"decode_1", 10},   {"prefill_32", 100}, {"prefill_128", 360}, {"prefill_512", 1400},
                       {"prompt_32", 106}, {"prompt_128", 366}, {"prompt_512", 1406}};
  EXPECT_THAT(steps_by(steep, 4), ElementsAre("decode_1 1", "decode_1 1", "decode_1 1", "decode_1 1"));
  EXPECT_THAT(steps_by(steep, 160), ElementsAre("prefill_128 128", "prompt_32 32"));
  EXPECT_THAT(steps_by(steep, 161), ElementsAre("prefill_128 128", "prefill_32 32", "decode_1 1"));
  EXPECT_THAT(steps_by(steep, 600), ElementsAre("prefill_512 512", "prefill_32 32", "prefill_32 32", "prompt_32 24"));
  // A prompt that takes longer than a prefill and a decode step is not used.
  Times slow = flat;
  slow[5].second = 300;
  EXPECT_THAT(steps_by(slow, 100), ElementsAre("prefill_128 99", "decode_1 1"));
  // The widest is not the best of a long prompt.
  Times best_128 = steep;
  best_128[2].second = 200;
  const auto found = steps_by(best_128, 5000);
  EXPECT_EQ(std::ranges::count(found, "prefill_128 128"), 39);
  EXPECT_EQ(found.back(), "decode_1 1") << "39 * 128 + 8";
}

TEST(Session, KeysOfEarlierStepsCount) {
  // Four steps of 32 rows take 40 us and one of 128 takes 45; but its own keys are in that figure, and those of earlier steps are not.
  const auto steps_with = [](float key_us) {
    plan::Plan plan = plan_with_prompts({32, 128});
    for (auto& entry : plan.entries) {
      entry.microseconds = entry.kind == EntryKind::decode ? 1000 : entry.rows == 32 ? 10 : 45;
      entry.key_microseconds = key_us;
    }
    Bench b(1 << 10, std::move(plan));
    EXPECT_EQ(b.feed(std::vector<std::int32_t>(128, 3)), "4");
    return steps(b.log());
  };
  EXPECT_THAT(steps_with(4e-5f), ElementsAre("prefill_32 32", "prefill_32 32", "prefill_32 32", "prompt_32 32"));
  EXPECT_THAT(steps_with(1.3e-3f), ElementsAre("prompt_128 128")) << "6144 pairs of a row and a key, 1.3 ns each";
}

TEST(Session, OneUnknownTimeMakesAllUnknown) {
  EXPECT_THAT(steps_by({{"decode_1", 1}}, 40), ElementsAre("prefill_32 32", "prompt_32 8"));
}

TEST(Session, OfALongPromptOnlyTheEndIsLaidOut) {
  Bench b(1 << 20, plan_with_prompts({32, 128, 512}));
  EXPECT_EQ(b.feed(std::vector<std::int32_t>(100'000, 3)), "4");
  const std::vector<std::string> found = steps(b.log());
  ASSERT_EQ(found.size(), 195u + 2);  // 195 * 512 + 128 + 32
  EXPECT_EQ(found[195], "prefill_128 128");
  EXPECT_EQ(found[196], "prompt_32 32");
  EXPECT_EQ(std::ranges::count(found, "prefill_512 512"), 195);
  Bench alone(1 << 20, plan_with_prompts({}));
  EXPECT_EQ(alone.feed(std::vector<std::int32_t>(5000, 3)), "4");
  EXPECT_EQ(steps(alone.log()), std::vector<std::string>(5000, "decode_1 1"));
}

TEST(Session, APromptThatIsOneChunkHearsTheQuestionToo) {
  Bench b(32, testing::tiny_plan_with_prompt());
  b.session->stop_when([] { return true; });
  EXPECT_EQ(b.feed(ids(10, 4)), "interrupted");
  EXPECT_EQ(b.log(), "");
  EXPECT_EQ(b.feed({7}), "8");
}

TEST(FakePrompt, HasTheLogitsOfItsLastRowAlone) {
  Bench b(32, testing::tiny_plan_with_prompt());
  ASSERT_TRUE(b.device->run(3, std::vector<StepRow>{{5, 0, 0}, {6, 0, 1}, {}, {}}).ok());
  const auto logits = b.device->logits(3, 0);
  ASSERT_TRUE(logits.ok());
  EXPECT_EQ((*logits)[7], 1);
  EXPECT_EQ(b.device->logits(3, 1).error().message(), "fake: prompt_4 has no logits of row 1");
}

TEST(Session, AFullContextIsRefusedBeforeAnythingIsFed) {
  Bench b(8);
  EXPECT_EQ(b.feed(ids(10, 6)), "16");
  b.log();
  EXPECT_EQ(b.feed(ids(20, 3)), "context is full: 8 positions, 9 wanted");
  EXPECT_EQ(b.log(), "");
  EXPECT_EQ(b.session->position(), 6);
  EXPECT_EQ(b.feed(ids(20, 2)), "22");
  EXPECT_EQ(b.feed({22}), "context is full: 8 positions, 9 wanted");
  EXPECT_EQ(b.session->position(), 8);
}

TEST(Session, ForeignTokensAreRefusedBeforeAnythingIsFed) {
  Bench b(8);
  EXPECT_EQ(b.feed({1, 2, 48}), "token at position 2 is 48, the vocabulary has 48");
  EXPECT_EQ(b.feed({-1}), "token at position 0 is -1, the vocabulary has 48");
  EXPECT_EQ(b.feed({}), "no tokens to feed, at least one is wanted");
  EXPECT_EQ(b.log(), "");
  EXPECT_EQ(b.session->position(), 0);
}

TEST(Session, AFailureInAPromptLeavesThePositionWhereItCame) {
  Bench b(16);
  b.device->fail_at(2, "device lost");  // load and the first chunk went well
  EXPECT_EQ(b.feed(ids(10, 9)), "device lost");
  EXPECT_EQ(b.session->position(), 4);
  b.log();
  EXPECT_EQ(b.feed(ids(14, 5)), "19");  // the rest
  EXPECT_EQ(b.log(), "run prefill_4 [14@0:4 15@0:5 16@0:6 17@0:7]; run decode_1 [18@0:8]; logits decode_1 row 0");
  EXPECT_EQ(b.session->position(), 9);
}

TEST(Session, APromptStopsBetweenChunksWhenAsked) {
  Bench bench(64, plan_with_prefill({4}));
  int calls = 0;
  bench.session->stop_when([&] { return ++calls > 2; });
  EXPECT_EQ(bench.feed(ids(1, 20)), "interrupted");
  EXPECT_THAT(steps(bench.log()), ElementsAre("prefill_4 4", "prefill_4 4"));
  EXPECT_EQ(bench.session->position(), 8);
  bench.session->stop_when({});
  bench.feed(ids(9, 12));
  EXPECT_EQ(bench.session->position(), 20);
}

TEST(Session, AFailureOfTheLogitsLeavesTheTokenInTheCache) {
  Bench b(16);
  b.device->fail_at(2, "device lost");
  EXPECT_EQ(b.feed({7}), "device lost");
  EXPECT_EQ(b.session->position(), 1);
  EXPECT_EQ(b.feed({8}), "9");
}

TEST(Session, RewindForgets) {
  Bench b(8);
  EXPECT_EQ(b.feed(ids(10, 6)), "16");
  b.session->rewind(4);
  EXPECT_EQ(b.session->position(), 4);
  b.log();
  EXPECT_EQ(b.feed({30}), "31");
  EXPECT_EQ(b.log(), "run decode_1 [30@0:4]; logits decode_1 row 0");
  b.session->rewind(0);
  EXPECT_EQ(b.feed(ids(10, 8)), "18");
}

TEST(SessionDeathTest, RewindForwardIsABug) {
  Bench b(8);
  EXPECT_DEATH(b.session->rewind(1), "rewind to 1, 0 positions are filled");
}

TEST(Session, LogitsOfEveryTokenThroughTheWidestDecodeStep) {
  Bench b(8);
  EXPECT_EQ(b.feed({5}), "6");
  b.log();
  std::vector<std::string> seen;
  const auto fed = b.session->feed_all_logits(ids(10, 3), [&](std::size_t i, std::span<const float> logits) -> Result<void> {
    seen.push_back(fmt::format("{}: {}", i, std::ranges::max_element(logits) - logits.begin()));
    return {};
  });
  EXPECT_TRUE(fed.ok());
  EXPECT_THAT(seen, ElementsAre("0: 11", "1: 12", "2: 13"));
  EXPECT_EQ(b.log(),
            "run decode_2 [10@0:1 11@0:2]; logits decode_2 row 0; logits decode_2 row 1; run decode_2 [12@0:3 -]; logits decode_2 row 0");
  EXPECT_EQ(b.session->position(), 4);
}

TEST(Session, LogitsOfEveryTokenStopAtAnError) {
  Bench b(8);
  const auto fed = b.session->feed_all_logits(ids(10, 6), [&](std::size_t i, std::span<const float>) -> Result<void> {
    if (i == 2) return error("logit of token 1 is nan");
    return {};
  });
  EXPECT_EQ(fed.error().message(), "logit of token 1 is nan");
  EXPECT_EQ(b.session->position(), 4);  // the chunk is in the cache
  const auto full = b.session->feed_all_logits(ids(10, 5), {});
  EXPECT_EQ(full.error().message(), "context is full: 8 positions, 9 wanted");
}

/// Sessions of one fake device, each fed a prompt of its own.
struct Together {
  FakeDevice* device = nullptr;
  std::vector<Session> sessions;
  std::vector<std::vector<std::int32_t>> histories;

  explicit Together(std::size_t count, std::int64_t context = 16) {
    auto fake = std::make_unique<FakeDevice>();
    device = fake.get();
    auto opened = Session::open_several(std::move(fake), std::make_shared<plan::Plan>(testing::tiny_plan()), count, context);
    HEDDLE_CHECK(opened.ok(), "{}", opened.error().message());
    sessions = std::move(*opened);
    for (std::size_t i = 0; i < count; ++i) {
      histories.push_back(ids(std::int32_t(10 * i), i + 1));
      HEDDLE_CHECK(sessions[i].feed_all_but_last(histories[i]).ok(), "feed");
    }
    device->clear_log();
  }
  Result<std::vector<std::vector<std::int32_t>>> draw(std::int64_t count) {
    SamplingOptions greedy;
    greedy.temperature = 0;
    return Session::draw_together(sessions, histories, greedy, count);
  }
};

TEST(DrawTogether, EverySequenceGoesOnInItsSlot) {
  Together t(2);
  const auto drawn = t.draw(2);
  ASSERT_TRUE(drawn.ok()) << drawn.error().message();
  EXPECT_EQ(*drawn, (std::vector<std::vector<std::int32_t>>{{1, 2}, {12, 13}}));
  EXPECT_EQ(t.device->log(),
            "run decode_2 [0@0:0 11@1:1]; logits decode_2 row 0; logits decode_2 row 1; "
            "run decode_2 [1@0:1 12@1:2]; logits decode_2 row 0; logits decode_2 row 1");
  EXPECT_EQ(t.sessions[0].position(), 2);
  EXPECT_EQ(t.sessions[1].position(), 3);
}

TEST(DrawTogether, StopsBetweenStepsWhenAsked) {
  Together t(2);
  int calls = 0;
  t.sessions[0].stop_when([&] { return ++calls > 1; });
  EXPECT_EQ(t.draw(2).error().message(), "interrupted");
  EXPECT_EQ(t.device->log(), "run decode_2 [0@0:0 11@1:1]; logits decode_2 row 0; logits decode_2 row 1");
}

TEST(DrawTogether, Refuses) {
  EXPECT_EQ(Together(3).draw(1).error().message(), "3 sequences together, the widest decode entry point has 2 rows");
  Together t(2, 4);
  EXPECT_EQ(t.draw(4).error().message(), "context is full: 4 positions, 5 wanted");
  EXPECT_EQ(t.device->log(), "");
  auto plan = std::make_shared<plan::Plan>(testing::tiny_plan());
  EXPECT_EQ(Session::open_several(std::make_unique<FakeDevice>(), plan, 0, 8).error().message(), "0 sequences, wanted 1 to 1024");
}

}  // namespace
}  // namespace heddle::runtime
