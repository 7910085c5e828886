#include "runtime/session/generate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "tests/support/small_vocabularies.h"

namespace heddle::runtime {
namespace {

using ::testing::ElementsAre;
using text::Ids;

/// Gives the token that the script has for a position logit 5, the one after it 4, all others 0. It may draw tokens itself.
class ScriptedDevice final : public Device {
 public:
  ScriptedDevice(std::vector<std::int32_t> script, Ids* fed, bool draws) : script_(std::move(script)), fed_(fed), can_draw_(draws) {}
  std::string description() const override { return "script"; }
  Result<void> load(std::shared_ptr<const plan::Plan> plan, const Capacity& capacity, const Progress&) override {
    context_ = capacity.context;
    logits_.assign(plan->model.vocabulary, 0);
    return {};
  }
  Result<void> run(std::size_t, std::span<const StepRow> rows) override {
    std::fill(logits_.begin(), logits_.end(), 0.0f);
    const StepRow& last = rows[std::size_t(last_row(rows))];
    for (const StepRow& row : rows.first(std::size_t(&last - rows.data()) + 1)) fed_->push_back(row.token);
    const std::size_t next = std::size_t(last.position) + 1;
    const std::int32_t token = next < script_.size() ? script_[next] : 0;
    if (token >= 0) {
      logits_[token] = 5;
      logits_[(token + 1) % logits_.size()] = 4;
    } else {
      logits_[3] = NAN;
    }
    return {};
  }
  Result<std::span<const float>> logits(std::size_t, std::size_t) override { return std::span<const float>(logits_); }

  bool can_generate(std::size_t, const SamplingOptions&) const override { return can_draw_; }
  Result<void> begin_generation(std::size_t, std::span<const GenerationRow> rows, std::span<const std::int32_t> end_tokens) override {
    ++generations;
    row_ = rows[0];
    history_.assign(row_.history.begin(), row_.history.end());
    end_tokens_.assign(end_tokens.begin(), end_tokens.end());
    row_.max_tokens = std::min(row_.max_tokens, context_ - row_.first.position);
    return {};
  }
  Result<std::span<const Draw>> next_draws() override {
    HEDDLE_TRY(run(0, {&row_.first, 1}));
    HEDDLE_ASSIGN(draw_.token, sample(logits_, row_.sampling, history_, std::uint64_t(row_.first.position) + 1));
    const bool end = std::find(end_tokens_.begin(), end_tokens_.end(), draw_.token) != end_tokens_.end();
    draw_.kind = end ? Draw::end_token : --row_.max_tokens == 0 ? Draw::last : Draw::more;
    history_.push_back(draw_.token);
    row_.first = {draw_.token, 0, row_.first.position + 1};
    return std::span<const Draw>(&draw_, 1);
  }

  int generations = 0;  // begun

 private:
  std::vector<std::int32_t> script_;
  Ids* fed_;
  bool can_draw_;
  std::int64_t context_ = 0;
  std::vector<float> logits_;
  GenerationRow row_;
  Ids history_, end_tokens_;
  Draw draw_;
};

// Tokens: 0 <unk>, 1 <s>, 2 </s>, 3 "▁Hi", 4 "a", 5 "b", 6 "ST", 7 "OP", 8 "O", 9 "P", then the 256 bytes.
constexpr int hi = 3, a = 4, b = 5, st = 6, op = 7, o = 8;

/// With logits that the host samples and with draws of the device: nobody can tell them apart.
class Generate : public ::testing::TestWithParam<bool> {
 protected:
  Generate() {
    vocabulary_ = text::small_spm({{"\xe2\x96\x81Hi"}, {"a"}, {"b"}, {"ST"}, {"OP"}, {"O"}, {"P"}});
    bytes_ = text::add_byte_tokens(vocabulary_);
    tokenizer_ = text::open(vocabulary_);
    options_.sampling.temperature = 0;
  }

  /// `script[i]` is the token at position i; those of the prompt are not looked at.
  Session open(Ids script, std::int64_t context = 100) {
    auto plan = std::make_shared<plan::Plan>();
    plan->model.vocabulary = std::uint32_t(vocabulary_.tokens.size());
    plan->vocabulary = vocabulary_;
    for (const auto& [kind, rows] : {std::pair(EntryKind::decode, 1), std::pair(EntryKind::prompt, prompt_rows_)}) {
      if (rows == 0) continue;
      auto& entry = plan->entries.emplace_back();
      entry.name = fmt::format("{}_{}", kind, rows), entry.kind = kind, entry.rows = std::uint32_t(rows);
    }
    auto made = std::make_unique<ScriptedDevice>(std::move(script), &fed_, GetParam());
    device_ = made.get();
    auto session = Session::open(std::move(made), std::move(plan), context);
    HEDDLE_CHECK(session.ok(), "{}", session.error().message());
    return std::move(*session);
  }

  GenerateResult generate(Session& session, const Ids& prompt, bool with_text = true) {
    auto result = runtime::generate(
        session, with_text ? tokenizer_.get() : nullptr, prompt, options_, [this](std::string_view t) { texts_.emplace_back(t); },
        [this](std::int32_t id) {
          tokens_.push_back(id);
          return id != cancel_at_;
        });
    HEDDLE_CHECK(result.ok(), "{}", result.error().message());
    return *result;
  }
  GenerateResult generate(const Ids& script, const Ids& prompt) {
    Session session = open(script);
    return generate(session, prompt);
  }

  std::string text() const {
    std::string out;
    for (const auto& t : texts_) out += t;
    return out;
  }

  plan::Vocabulary vocabulary_;
  std::int32_t bytes_ = 0, cancel_at_ = -1;
  int prompt_rows_ = 0;  // of a prompt entry point; 0: there is none
  ScriptedDevice* device_ = nullptr;  // of the session that was opened last
  std::unique_ptr<text::Tokenizer> tokenizer_;
  GenerateOptions options_;
  Ids fed_, tokens_;
  std::vector<std::string> texts_;
};

TEST_P(Generate, StopsAtAnEndToken) {
  const auto result = generate({1, hi, a, b, 2}, {1, hi});
  EXPECT_EQ(result.reason, StopReason::end);
  EXPECT_EQ(result.tokens, (Ids{a, b}));
  EXPECT_EQ(tokens_, result.tokens);
  EXPECT_EQ(result.prompt_tokens, 2);
  EXPECT_THAT(texts_, ElementsAre("a", "b"));
  EXPECT_EQ(fed_, (Ids{1, hi, a, b}));
  EXPECT_GE(result.prefill_seconds, 0);
  EXPECT_GE(result.decode_seconds, 0);
  EXPECT_EQ(result.drawn_on_device, GetParam());
}

TEST_P(Generate, GoesPastAnEndTokenWhenTold) {
  options_.ignore_end = true;
  options_.max_tokens = 3;
  const auto result = generate({1, a, 2, b}, {1});
  EXPECT_EQ(result.tokens, (Ids{a, 2, b}));
  EXPECT_EQ(result.reason, StopReason::length);
  EXPECT_EQ(text(), "ab");
}

TEST_P(Generate, StopsAtTheLengthWithoutAStepTooMany) {
  options_.max_tokens = 2;
  const auto result = generate({1, a, b, a, a}, {1});
  EXPECT_EQ(result.reason, StopReason::length);
  EXPECT_EQ(result.tokens, (Ids{a, b}));
  EXPECT_EQ(fed_, (Ids{1, a}));
  options_.max_tokens = 0;
  EXPECT_EQ(generate({1, a}, {1}).tokens, Ids{});
  EXPECT_EQ(name(StopReason::length), "length");
}

TEST_P(Generate, TheFirstTokenIsDrawnFromThePromptsOwnLogits) {
  prompt_rows_ = 4;
  Session session = open({1, a, b, a, hi, 2});
  const auto result = generate(session, {1, a, b});
  EXPECT_EQ(result.tokens, (Ids{a, hi}));
  EXPECT_EQ(result.reason, StopReason::end);
  EXPECT_EQ(fed_, (Ids{1, a, b, a, hi}));  // each once
  EXPECT_EQ(session.position(), 5);
  EXPECT_EQ(device_->generations, GetParam() ? 1 : 0);
}

TEST_P(Generate, NothingIsDrawnOnTheDeviceBehindAFirstTokenThatEnds) {
  const auto generations = [&](Ids script, std::int64_t context = 100) {
    Session session = open(std::move(script), context);
    generate(session, {1, a});
    return device_->generations;
  };
  EXPECT_EQ(generations({1, a, 2}), 0);  // an end token
  EXPECT_EQ(generations({1, a, b}, 2), 0);  // a full cache
  options_.max_tokens = 1;
  EXPECT_EQ(generations({1, a, b, b}), 0);
  options_.max_tokens = -1;
  options_.stop = {"b"};
  EXPECT_EQ(generations({1, a, b, b}), 0);
  options_.stop = {};
  cancel_at_ = b;
  EXPECT_EQ(generations({1, a, b, b}), 0);
}

TEST_P(Generate, OfNoTokensThePromptIsFedAllButItsLast) {
  options_.max_tokens = 0;
  Session session = open({1, a, b, a});
  EXPECT_EQ(generate(session, {1, a, b}).reason, StopReason::length);
  EXPECT_EQ(fed_, (Ids{1, a}));
  EXPECT_EQ(session.position(), 2);
}

TEST_P(Generate, StopsWhenTheContextIsFull) {
  Session session = open({1, a, a, a, a, a, a}, 4);
  const auto result = generate(session, {1, a});
  EXPECT_EQ(result.reason, StopReason::context_full);
  EXPECT_EQ(result.tokens, (Ids{a, a, a}));  // the last one needs no place
  EXPECT_EQ(session.position(), 4);
}

TEST_P(Generate, RefusesAPromptThatDoesNotFitOrIsEmpty) {
  Session session = open({}, 2);
  EXPECT_EQ(runtime::generate(session, nullptr, Ids{1, a, a}, options_, {}).error().message(), "context is full: 2 positions, 3 wanted");
  EXPECT_EQ(runtime::generate(session, nullptr, Ids{}, options_, {}).error().message(), "no tokens to feed, at least one is wanted");
  EXPECT_EQ(fed_, Ids{});
}

TEST_P(Generate, IsCancelledByTheTokenCallback) {
  cancel_at_ = b;
  const auto result = generate({1, a, b, a}, {1});
  EXPECT_EQ(result.reason, StopReason::cancelled);
  EXPECT_EQ(result.tokens, (Ids{a, b}));
  EXPECT_EQ(text(), "ab");
  EXPECT_EQ(fed_, (Ids{1, a}));
}

TEST_P(Generate, StopTextOverTwoTokensIsNotPartOfTheOutput) {
  options_.stop = {"STOP"};
  const auto result = generate({1, a, st, op, b}, {1});
  EXPECT_EQ(result.reason, StopReason::stop_text);
  EXPECT_EQ(result.tokens, (Ids{a, st, op}));
  EXPECT_THAT(texts_, ElementsAre("a"));
}

TEST_P(Generate, WhatTurnsOutToBeNoStopTextComesLater) {
  options_.stop = {"STOP", ""};
  const auto result = generate({1, st, o, b, st, 2}, {1});
  EXPECT_EQ(result.reason, StopReason::end);
  EXPECT_THAT(texts_, ElementsAre("STOb", "ST"));
}

TEST_P(Generate, AStopTextInsideAToken) {
  options_.stop = {"T", "TO"};
  const auto result = generate({1, a, st, op}, {1});
  EXPECT_EQ(result.reason, StopReason::stop_text);
  EXPECT_EQ(text(), "aS");
}

TEST_P(Generate, TheFirstOfSeveralStopTexts) {
  options_.stop = {"bab", "a"};
  EXPECT_EQ(generate({1, b, a, b}, {1}).reason, StopReason::stop_text);
  EXPECT_EQ(text(), "b");
  texts_.clear();
  options_.stop = {"OPa", "Pb", "aa"};
  EXPECT_EQ(generate({1, op, b}, {1}).reason, StopReason::stop_text);  // held for the first one, stopped by the second
  EXPECT_EQ(text(), "O");
}

TEST_P(Generate, AStopTextThatOverlapsItself) {
  options_.stop = {"aab"};
  EXPECT_EQ(generate({1, a, a, a, b, a}, {1}).reason, StopReason::stop_text);
  EXPECT_THAT(texts_, ElementsAre("a"));
}

TEST_P(Generate, StopTextOfACharacterInBytes) {
  options_.stop = {"\xe2\x82\xac"};
  EXPECT_EQ(generate({1, a, bytes_ + 0xe2, bytes_ + 0x82, bytes_ + 0xac, b}, {1}).reason, StopReason::stop_text);
  EXPECT_EQ(text(), "a");
}

TEST_P(Generate, AStopTextThatIsNoUtf8CutsNoCharacter) {
  options_.stop = {"\xac"};
  EXPECT_EQ(generate({1, bytes_ + 0xe2, bytes_ + 0x82, bytes_ + 0xac, b, 2}, {1}).reason, StopReason::end);
  EXPECT_THAT(texts_, ElementsAre("\xe2\x82\xac", "b"));
}

TEST_P(Generate, GivesWholeCharacters) {
  const auto result = generate({1, bytes_ + 0xc3, bytes_ + 0xa4, bytes_ + 0xc3, 2}, {1});
  EXPECT_EQ(result.tokens.size(), 3u);
  EXPECT_THAT(texts_, ElementsAre("\xc3\xa4", "\xef\xbf\xbd"));
}

TEST_P(Generate, DropsTheBlankInFrontOnlyAtTheStartOfTheText) {
  generate({1, hi, 2}, {1});
  EXPECT_EQ(text(), "Hi");
  texts_.clear();
  generate({1, a, hi, 2}, {1, a});
  EXPECT_EQ(text(), " Hi");
  texts_.clear();
  Session session = open({1, a, 1, hi, 2});
  ASSERT_TRUE(session.feed(Ids{1, a}).ok());
  generate(session, {1});
  EXPECT_EQ(text(), " Hi");
}

TEST_P(Generate, WorksWithoutATokenizer) {
  options_.stop = {"a"};
  Session session = open({1, a, b, 2});
  const auto result = generate(session, {1}, false);
  EXPECT_EQ(result.tokens, (Ids{a, b}));
  EXPECT_EQ(result.reason, StopReason::end);  // the plan's vocabulary knows its end tokens
  EXPECT_TRUE(texts_.empty());
}

TEST_P(Generate, ThePenaltySeesPromptAndOutput) {
  options_.sampling.repeat_penalty = 2;
  options_.max_tokens = 2;
  EXPECT_EQ(generate({1, a, a, b}, {1, a}).tokens, (Ids{b, st}));  // 2.5 against 4: for a as seen in the prompt, for b in the output
  EXPECT_EQ(generate({1, b, a, b}, {1, b}).tokens, (Ids{a, st}));
}

TEST_P(Generate, DrawsBySeedAndPosition) {
  options_.sampling = {.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0, .seed = 7};
  options_.max_tokens = 10;
  options_.ignore_end = true;
  const Ids flat(20, 0);
  const auto first = generate(flat, {1}).tokens, second = generate(flat, {1}).tokens;
  EXPECT_EQ(first, second);
  options_.sampling.seed = 8;
  EXPECT_NE(generate(flat, {1}).tokens, first);
  std::vector<float> logits(vocabulary_.tokens.size());
  logits[0] = 5;
  logits[1] = 4;
  EXPECT_EQ(first[0], *sample(logits, {.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0, .seed = 7}, {}, 1));
}

TEST_P(Generate, StopsByNameOnLogitsThatAreNotFinite) {
  Session session = open({1, a, -1});
  EXPECT_EQ(runtime::generate(session, nullptr, Ids{1}, options_, {}).error().message(), "logit of token 3 at position 2 is nan");
}

INSTANTIATE_TEST_SUITE_P(Source, Generate, ::testing::Bool(), [](const auto& info) { return info.param ? "device" : "host"; });

TEST(StopReasons, Names) {
  EXPECT_EQ(name(StopReason::end), "end");
  EXPECT_EQ(name(StopReason::stop_text), "stop");
  EXPECT_EQ(name(StopReason::context_full), "context full");
  EXPECT_EQ(name(StopReason::cancelled), "cancelled");
}

}  // namespace
}  // namespace heddle::runtime
