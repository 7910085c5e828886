#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "runtime/text/utf8.h"
#include "tests/support/small_vocabularies.h"

namespace heddle::text {
namespace {

using ::testing::ElementsAre;

const std::string blank = "\xe2\x96\x81", fffd = "\xef\xbf\xbd";

std::string cleaned(std::string text, std::string* held = nullptr) {
  std::string out = take_characters(text);
  if (held) *held = text;
  return out;
}

TEST(Utf8, BrokenBytesBecomeOneReplacementPerStep) {
  EXPECT_EQ(cleaned("a\x80"
                    "b"),
            "a" + fffd + "b");
  EXPECT_EQ(cleaned("\xc0\xaf"), fffd + fffd);                        // overlong
  EXPECT_EQ(cleaned("\xe0\x80\x80"), fffd + fffd + fffd);             // overlong
  EXPECT_EQ(cleaned("\xed\xa0\x80"), fffd + fffd + fffd);             // surrogate
  EXPECT_EQ(cleaned("\xf4\x90\x80\x80"), fffd + fffd + fffd + fffd);  // above U+10FFFF
  EXPECT_EQ(cleaned("\xf5\xff"), fffd + fffd);
  EXPECT_EQ(cleaned("\xe2\x82"
                    "a"),
            fffd + "a");  // the start of a character counts once
  EXPECT_EQ(cleaned("\xf0\x9f\x98"
                    "a"),
            fffd + "a");
}

TEST(Utf8, AnUnfinishedCharacterIsHeld) {
  for (const std::string character : {"\xc3\xa4", "\xe2\x82\xac", "\xf0\x9f\x98\x80"}) {
    for (std::size_t n = 1; n < character.size(); ++n) {
      std::string held;
      EXPECT_EQ(cleaned("x" + character.substr(0, n), &held), "x");
      EXPECT_EQ(held, character.substr(0, n));
    }
    EXPECT_EQ(cleaned(character), character);
  }
}

TEST(Utf8, EveryCharacterIsOneStep) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c >= 0xd800 && c < 0xe000) continue;
    const std::string text = to_utf8(c);
    const Utf8Step step = utf8_step(text);
    ASSERT_EQ(step.state, Utf8Step::whole) << std::uint32_t(c);
    ASSERT_EQ(step.length, text.size());
    ASSERT_EQ(utf8_prefix("12345678" + text + "\xff"), 8 + text.size());
  }
}

struct Streamed {
  plan::Vocabulary vocabulary = small_spm({{blank + "Hi"}, {blank}, {"a"}});
  std::int32_t bytes = add_byte_tokens(vocabulary);
  std::unique_ptr<Tokenizer> tokenizer = open(vocabulary);
};

TEST(Detokenizer, NeverGivesHalfACharacter) {
  Streamed s;
  Detokenizer d(*s.tokenizer);
  std::vector<std::string> out;
  for (int b : {0xf0, 0x9f, 0x98, 0x80, 0xc3}) out.push_back(d.add(s.bytes + b));
  out.push_back(d.add(5));
  out.push_back(d.add(s.bytes + 0xe2));
  out.push_back(d.finish());
  out.push_back(d.finish());
  EXPECT_THAT(out, ElementsAre("", "", "", "\xf0\x9f\x98\x80", "", fffd + "a", "", fffd, ""));
}

TEST(Detokenizer, DropsTheBlankInFrontAtTheStartOnly) {
  Streamed s;
  EXPECT_EQ(s.tokenizer->decode(Ids{3, 3}), "Hi Hi");
  EXPECT_EQ(s.tokenizer->decode(Ids{1, 3, 3}), "Hi Hi");  // BOS is no text
  EXPECT_EQ(s.tokenizer->decode(Ids{4, 3}), " Hi");       // the first blank was the one in front
  EXPECT_EQ(s.tokenizer->decode(Ids{1, 3}, true), "<s>Hi");
  Detokenizer middle(*s.tokenizer, false);
  EXPECT_EQ(middle.add(3), " Hi");
}

TEST(Detokenizer, IdsOutsideTheVocabularyAreNoText) {
  Streamed s;
  EXPECT_EQ(s.tokenizer->decode(Ids{3, -1, 100000, 5}), "Hia");
}

TEST(Detokenizer, StreamedTextIsTheWholeText) {
  Streamed s;
  std::mt19937 random(3);
  for (int i = 0; i < 300; ++i) {
    Ids ids;
    for (int n = random() % 20; n > 0; --n) ids.push_back(random() % s.tokenizer->size());
    Detokenizer d(*s.tokenizer);
    std::string streamed;
    for (std::int32_t id : ids) {
      const std::string text = d.add(id);
      EXPECT_EQ(utf8_prefix(text), text.size());
      streamed += text;
    }
    EXPECT_EQ(streamed + d.finish(), s.tokenizer->decode(ids));
  }
}

}  // namespace
}  // namespace heddle::text
