#include "runtime/session/conversation.h"

#include <gtest/gtest.h>

#include "runtime/device/fake_device.h"
#include "tests/support/small_vocabularies.h"

namespace heddle::runtime {
namespace {

using text::Ids;

// Tokens: 0 <|u|>, 1 <|a|>, 2 <|e|> (ends a turn), 3 h, 4 i, 5 x, 6 y.
constexpr const char* turns =
    "{% for m in messages %}{{ '<|a|>' if m.role == 'assistant' else '<|u|>' }}{{ m.content }}<|e|>{% endfor %}<|a|>";

/// Answers "xy" to everything. The log of what the device was asked begins after the load.
class ConversationTest : public ::testing::Test {
 protected:
  void open(std::int64_t context, std::string source = turns) {
    vocabulary_ = text::small_bpe({{"<|u|>", 0, text::TokenType::control},
                                   {"<|a|>", 0, text::TokenType::control},
                                   {"<|e|>", 0, text::TokenType::control},
                                   {"h"},
                                   {"i"},
                                   {"x"},
                                   {"y"}},
                                  {});
    vocabulary_.end_tokens = {2};
    tokenizer_ = text::open(vocabulary_);
    template_.emplace(std::move(*chat::Template::parse(source)));
    auto plan = std::make_shared<plan::Plan>();
    plan->model.vocabulary = std::uint32_t(vocabulary_.tokens.size());
    plan->vocabulary = vocabulary_;
    for (const std::uint32_t rows : {1u, 4u}) {
      plan::EntryPoint entry;
      entry.kind = rows == 1 ? EntryKind::decode : EntryKind::prefill;
      entry.name = fmt::format("{}_{}", entry.kind, rows);
      entry.rows = rows;
      plan->entries.push_back(std::move(entry));
    }
    auto device = std::make_unique<FakeDevice>([](std::int32_t token, std::int32_t) {
      std::vector<float> logits(7, 0.0f);
      logits[token == 1 ? 5 : token == 5 ? 6 : 2] = 1;
      return logits;
    });
    device_ = device.get();
    session_.emplace(std::move(*Session::open(std::move(device), std::move(plan), context)));
    conversation_.emplace(*session_, *tokenizer_, *template_);
    device_->clear_log();
    options_.sampling.temperature = 0;
  }

  /// "7 kept of 12: xy", or the error.
  std::string say(const std::string& text) {
    std::string streamed;
    auto turn = conversation_->say(
        text, options_, [&](std::string_view piece) { streamed += piece; }, [this](std::int32_t id) { return id != cancel_at_; });
    if (!turn.ok()) return turn.error().message();
    EXPECT_EQ(streamed, turn->text);
    return fmt::format("{} kept of {}: {}{}", turn->kept_tokens, turn->prompt_tokens, turn->text,
                       turn->result.reason == StopReason::end ? "" : fmt::format(" ({})", name(turn->result.reason)));
  }
  /// The tokens that the device was fed, in order.
  Ids fed() {
    Ids out;
    const std::string log = device_->log();
    for (std::size_t at = log.find('@'); at != log.npos; at = log.find('@', at + 1)) {
      const std::size_t begin = log.find_last_of("[ ", at) + 1;
      out.push_back(std::stoi(log.substr(begin, at - begin)));
    }
    device_->clear_log();
    return out;
  }

  plan::Vocabulary vocabulary_;
  std::unique_ptr<text::Tokenizer> tokenizer_;
  std::optional<chat::Template> template_;
  FakeDevice* device_ = nullptr;
  std::optional<Session> session_;
  std::optional<Conversation> conversation_;
  GenerateOptions options_;
  std::int32_t cancel_at_ = -1;
};

TEST_F(ConversationTest, ALaterTurnFeedsOnlyWhatIsNew) {
  open(100);
  EXPECT_EQ(say("hi"), "0 kept of 5: xy");
  EXPECT_EQ(fed(), (Ids{0, 3, 4, 2, 1, 5, 6}));
  EXPECT_EQ(say("h"), "7 kept of 12: xy");
  EXPECT_EQ(fed(), (Ids{2, 0, 3, 2, 1, 5, 6}));
  EXPECT_EQ(say("h"), "14 kept of 19: xy");
  EXPECT_EQ(fed(), (Ids{2, 0, 3, 2, 1, 5, 6}));
  EXPECT_EQ(session_->position(), 21);
  EXPECT_EQ(conversation_->messages().size(), 6u);
}

TEST_F(ConversationTest, ANewConversationKeepsTheCommonBeginning) {
  open(100);
  conversation_->begin("ii");
  EXPECT_EQ(say("hi"), "0 kept of 9: xy");
  conversation_->begin("ii");
  fed();
  EXPECT_EQ(say("hi"), "8 kept of 9: xy");  // the last token is fed again: its logits are wanted
  EXPECT_EQ(fed(), (Ids{1, 5, 6}));
  conversation_->begin("ih");
  EXPECT_EQ(say("hi"), "2 kept of 9: xy");
  conversation_->begin("");
  EXPECT_EQ(say("i"), "2 kept of 4: xy");
}

TEST_F(ConversationTest, ATemplateThatRewritesAnAnswerIsFedFromThere) {
  open(
      100,
      "{% for m in messages %}{{ '<|a|>' if m.role == 'assistant' else '<|u|>' }}{{ m.content | replace('x', '') }}<|e|>{% endfor %}<|a|>");
  EXPECT_EQ(say("hi"), "0 kept of 5: xy");
  fed();
  EXPECT_EQ(say("h"), "5 kept of 11: xy");
  EXPECT_EQ(fed(), (Ids{6, 2, 0, 3, 2, 1, 5, 6}));
}

TEST_F(ConversationTest, WhatWasSaidOfACancelledAnswerIsKept) {
  open(100);
  cancel_at_ = 5;
  EXPECT_EQ(say("hi"), "0 kept of 5: x (cancelled)");
  cancel_at_ = -1;
  fed();
  EXPECT_EQ(say("h"), "5 kept of 11: xy");
  EXPECT_EQ(fed(), (Ids{5, 2, 0, 3, 2, 1, 5, 6}));
  EXPECT_EQ(conversation_->messages()[1].content, "x");
}

TEST_F(ConversationTest, AFullContextCutsTheAnswerOffAndThenRefuses) {
  open(6);
  EXPECT_EQ(say("hi"), "0 kept of 5: xy (context full)");
  EXPECT_EQ(say("h"), "context is full: 6 positions, 12 wanted");
  EXPECT_EQ(conversation_->messages().size(), 2u);
  conversation_->begin("");
  EXPECT_EQ(say("hh"), "2 kept of 5: xy (context full)");
}

TEST_F(ConversationTest, AfterAnErrorItGoesOn) {
  open(100);
  EXPECT_EQ(say("hi"), "0 kept of 5: xy");
  std::size_t calls = 0;
  for (const char c : device_->log()) calls += c == ';';
  device_->fail_at(calls + 3, "the device is gone");  // load, the first turn's calls, and two of the next one's
  EXPECT_EQ(say("h"), "the device is gone");
  EXPECT_EQ(conversation_->messages().size(), 2u);
  EXPECT_EQ(say("i").substr(2), "kept of 12: xy");
}

TEST_F(ConversationTest, RefusalsOfTheTemplate) {
  open(100,
       "{% if messages[0].role == 'system' %}{{ raise_exception('no system messages') }}{% endif %}{% if messages | length == 3 %}h{% "
       "endif %}");
  EXPECT_EQ(say("h"), "the template makes no text of the messages");
  conversation_->begin("i");
  EXPECT_EQ(say("h"), "chat template: line 1: no system messages");
}

}  // namespace
}  // namespace heddle::runtime
