#include "runtime/text/special_tokens.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/small_vocabularies.h"

namespace heddle::text {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> cut(const plan::Vocabulary& v, std::string_view text, bool special) {
  std::vector<std::string> out;
  for (const Fragment& f : SpecialTokens(v).split(text, special)) {
    out.push_back(f.token < 0 ? std::string(f.text) : fmt::format("[{}]", f.token));
    if (f.token >= 0) {
      EXPECT_EQ(f.text, v.tokens[f.token].text);
    }
  }
  return out;
}

TEST(SpecialTokens, UserDefinedAlwaysControlAndUnknownOnlyWhenAsked) {
  const auto v = small_spm({{"<u>", 0, TokenType::user_defined}, {"n"}, {"<0x41>", 0, TokenType::byte}, {"x", 0, TokenType::unused}});
  EXPECT_THAT(cut(v, "a<s><u>n<unk>x<0x41>", false), ElementsAre("a<s>", "[3]", "n<unk>x<0x41>"));
  EXPECT_THAT(cut(v, "a<s><u>n<unk>x<0x41>", true), ElementsAre("a", "[1]", "[3]", "n", "[0]", "x<0x41>"));
}

TEST(SpecialTokens, ATokenThatEndsATextIsControlWhateverItsType) {
  auto v = small_spm({{"<end>", 0, TokenType::user_defined}, {"<turn>"}});
  v.end_tokens = {2, 3, 4};
  EXPECT_THAT(cut(v, "a<end>b<turn>", false), ElementsAre("a<end>b<turn>"));
  EXPECT_THAT(cut(v, "a<end>b<turn>", true), ElementsAre("a", "[3]", "b", "[4]"));
}

TEST(SpecialTokens, LongestAtEachPlaceFromLeftToRight) {
  const auto v = small_spm({{"<a", 0, TokenType::user_defined},
                            {"<ab", 0, TokenType::user_defined},
                            {"<abcd>", 0, TokenType::user_defined},
                            {"bcde", 0, TokenType::user_defined}});
  EXPECT_THAT(cut(v, "<abcd>", false), ElementsAre("[5]"));
  EXPECT_THAT(cut(v, "<abcde", false), ElementsAre("[4]", "cde"));
  EXPECT_THAT(cut(v, "<a<ab<", false), ElementsAre("[3]", "[4]", "<"));
  EXPECT_THAT(cut(v, "xbcde", false), ElementsAre("x", "[6]"));
}

TEST(SpecialTokens, RunsOfBlanks) {
  const auto v = small_spm({{"  ", 0, TokenType::user_defined}, {"    ", 0, TokenType::user_defined}});
  EXPECT_THAT(cut(v, "a       b", false), ElementsAre("a", "[4]", "[3]", " b"));
}

TEST(SpecialTokens, NothingToCut) {
  const auto v = small_spm({});
  EXPECT_THAT(cut(v, "", true), ElementsAre());
  EXPECT_THAT(cut(v, "ab<", true), ElementsAre("ab<"));
  EXPECT_THAT(cut(v, "<s", true), ElementsAre("<s"));
}

TEST(SpecialTokens, AnySplitJoinsToTheText) {
  const auto v = small_spm({{"\xff\xfe", 0, TokenType::user_defined}, {"a\xc3", 0, TokenType::user_defined}});
  const std::string text =
      "\xc3\xa4"
      "a\xc3\xa4\xff\xfe\xff<s>";
  std::string joined;
  for (const Fragment& f : SpecialTokens(v).split(text, true)) joined += f.text;
  EXPECT_EQ(joined, text);
}

}  // namespace
}  // namespace heddle::text
