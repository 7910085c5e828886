#include "runtime/text/text_steps.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/small_vocabularies.h"

namespace heddle::text {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

struct Step {
  std::string op, pattern = "", text = "";
  bool first = false, invert = false;
};

std::vector<plan::TextStep> record(const std::vector<Step>& steps) {
  std::vector<plan::TextStep> out;
  for (const Step& step : steps) out.push_back({step.op, step.pattern, step.text, step.first, step.invert});
  return out;
}

std::vector<std::string> run(const std::vector<Step>& steps, std::string_view text, bool at_start = true) {
  const auto entries = record(steps);
  const auto made = TextSteps::create(entries);
  HEDDLE_CHECK(made.ok(), "{}", made.error().message());
  Pieces pieces;
  pieces.texts.push_back(text);
  pieces.at_start = at_start;
  made->run(pieces);
  return {pieces.texts.begin(), pieces.texts.end()};
}

std::string error_of_step(const Step& step) {
  const auto entries = record({{"nfc"}, step});
  const auto made = TextSteps::create(entries);
  return made.ok() ? "no error" : made.error().message();
}

// What becomes of matches: the cases of the tokenizers library's own documentation, "the-final--countdown" cut at "-".
TEST(TextSteps, Cuts) {
  const std::string text = "the-final--countdown";
  EXPECT_THAT(run({{"removed", "-"}}, text), ElementsAre("the", "final", "countdown"));
  EXPECT_THAT(run({{"isolated", "-"}}, text), ElementsAre("the", "-", "final", "-", "-", "countdown"));
  EXPECT_THAT(run({{"merged_with_previous", "-"}}, text), ElementsAre("the-", "final-", "-", "countdown"));
  EXPECT_THAT(run({{"merged_with_next", "-"}}, text), ElementsAre("the", "-final", "-", "-countdown"));
  EXPECT_THAT(run({{"contiguous", "-"}}, text), ElementsAre("the", "-", "final", "--", "countdown"));
  EXPECT_THAT(run({{.op = "removed", .pattern = "[a-z]+", .invert = true}}, text), ElementsAre("the", "final", "countdown"));
  EXPECT_THAT(run({{"removed", "."}}, text), IsEmpty());
}

TEST(TextSteps, EachPieceGoesOnByItself) {
  EXPECT_THAT(run({{"isolated", "b"}, {"isolated", "c$"}}, "acbc"), ElementsAre("a", "c", "b", "c"));
  EXPECT_THAT(run({{"removed", "b"}, {"prepend", "", "-"}}, "abc"), ElementsAre("-a", "-c"));
}

TEST(TextSteps, Rewrites) {
  EXPECT_THAT(run({{"nfc"}}, "e\u0301\u212b"), ElementsAre("\u00e9\u00c5"));
  EXPECT_THAT(run({{"nfd"}}, "\u00e9"), ElementsAre("e\u0301"));
  EXPECT_THAT(run({{"nfkc"}}, "\ufb01\u00bd"), ElementsAre("fi1\u20442"));
  EXPECT_THAT(run({{"replace", " ", "\u2581"}}, " a  b"), ElementsAre("\u2581a\u2581\u2581b"));
  EXPECT_THAT(run({{"replace", "a", ""}}, "aa"), IsEmpty());
  EXPECT_THAT(run({{"prepend", "", "x"}}, "xa"), ElementsAre("xxa"));
  EXPECT_THAT(run({{"prepend_once", "", "x"}}, "xa"), ElementsAre("xa"));
  EXPECT_THAT(run({{"prepend_once", "", "x"}}, "a", false), ElementsAre("xa"));
  EXPECT_THAT(run({{.op = "prepend_once", .text = "x", .first = true}}, "a", false), ElementsAre("a"));
  EXPECT_THAT(run({{"isolated", "b"}, {.op = "prepend_once", .text = "x", .first = true}}, "aba"), ElementsAre("xa", "b", "a"));
}

TEST(TextSteps, PatternsOfOtherEngines) {
  EXPECT_THAT(run({{"isolated", R"(\s)"}}, "a\u180eb c"), ElementsAre("a\u180eb", " ", "c"));
  EXPECT_THAT(run({{"removed", "\\u4e00"}}, "\u4e00a"), ElementsAre("a"));
  EXPECT_THAT(run({{"removed", R"(b$)"}}, "b\nab"), ElementsAre("\na"));  // the end of each line
}

TEST(TextSteps, Refusals) {
  EXPECT_EQ(error_of_step({"lowercase"}), "step 1: 'lowercase' is not supported");
  EXPECT_EQ(error_of_step({"isolated", "(a"}), "step 1: expression '(a': missing closing parenthesis at 2");
}

// BPE over characters, as the tokenizers of Llama 2 and Gemma are written down.
plan::Vocabulary characters() {
  plan::Vocabulary v = small_bpe({{"<unk>", 0, TokenType::unknown},
                                   {"\u2581"},
                                   {"a"},
                                   {"b"},
                                   {"ab"},
                                   {"\u2581ab"},
                                   {"<0xC3>", 0, TokenType::byte},
                                   {"<0xA4>", 0, TokenType::byte}},
                                  {"a b", "\u2581 ab"}, "steps");
  v.characters = true;
  v.unknown = 0;
  v.add_space_prefix = true;
  v.normalizers = record({{"prepend", "", "\u2581"}, {"replace", " ", "\u2581"}});
  return v;
}

TEST(CharacterBpe, MergesCharactersAndFallsBackToBytes) {
  const plan::Vocabulary v = characters();
  const auto tokenizer = open(v);
  EXPECT_EQ(tokenizer->encode("ab ab", {}), (Ids{5, 5}));
  EXPECT_EQ(tokenizer->encode("ba", {}), (Ids{1, 3, 2}));
  EXPECT_EQ(tokenizer->encode("\u00e4", {}), (Ids{1, 6, 7}));
  EXPECT_EQ(tokenizer->encode("\u00e9a", {}), (Ids{1, 0, 2})) << "a byte without a token: the whole character is unknown";
  EXPECT_EQ(tokenizer->encode("xyb", {}), (Ids{1, 0, 0, 3}));
  EXPECT_EQ(tokenizer->decode(Ids{5, 5}), "ab ab");
  EXPECT_EQ(tokenizer->decode(Ids{1, 6, 7}), "\u00e4");
  EXPECT_EQ(tokenizer->encode("", {}), Ids{});
  EXPECT_EQ(tokenizer->encode("\xff"
                              "ab",
                              {}),
            (Ids{0, 5}))
      << "what is no UTF-8 is unknown";
}

TEST(CharacterBpe, NeighboursThatAreUnknownCanBeOne) {
  plan::Vocabulary v = characters();
  v.fuse_unknown = true;
  EXPECT_EQ(open(v)->encode("xyb", {}), (Ids{1, 0, 3}));
  EXPECT_EQ(open(v)->encode("xby", {}), (Ids{1, 0, 3, 0}));
}

TEST(CharacterBpe, AWordThatIsATokenCanBeTakenWhole) {
  plan::Vocabulary v = characters();
  v.merges = {};
  EXPECT_EQ(open(v)->encode("ab", {}), (Ids{1, 2, 3}));
  v.ignore_merges = true;
  EXPECT_EQ(open(v)->encode("ab", {}), Ids{5});
}

// Added tokens with their flags: 8 takes the white space beside it, 9 counts only as a word, 10 is looked for in the rewritten text.
plan::Vocabulary with_added() {
  plan::Vocabulary v = characters();
  add(v, {"<w>", 0, TokenType::user_defined});
  v.tokens.back().match = plan::TokenMatch::take_left | plan::TokenMatch::take_right;
  add(v, {"bb", 0, TokenType::user_defined});
  v.tokens.back().match = plan::TokenMatch::single_word;
  add(v, {"a a", 0, TokenType::user_defined});
  v.tokens.back().match = plan::TokenMatch::rewritten;
  return v;
}

TEST(AddedTokens, TakeWhiteSpace) {
  const plan::Vocabulary v = with_added();
  EXPECT_EQ(open(v)->encode("ab \t<w>\u2003 ab", {}), (Ids{5, 8, 5}));
  EXPECT_EQ(open(v)->encode(" <w> <w> ", {}), (Ids{8, 8}));
}

TEST(AddedTokens, AsWordsOnly) {
  const plan::Vocabulary v = with_added();
  EXPECT_EQ(open(v)->encode("bb", {}), Ids{9});
  EXPECT_EQ(open(v)->encode("bbb", {}), (Ids{1, 3, 3, 3}));
  EXPECT_EQ(open(v)->encode("(bb", {}), (Ids{1, 0, 9}));
  EXPECT_EQ(open(v)->encode("bb\u00e4", {}), (Ids{1, 3, 3, 6, 7}));
}

TEST(AddedTokens, InTheRewrittenText) {
  const plan::Vocabulary v = with_added();
  EXPECT_EQ(open(v)->encode("a a", {}), Ids{10}) << "with the blank in front that the normalizer puts there, as its own text has";
  EXPECT_EQ(open(v)->encode("ba a", {}), (Ids{1, 3, 2, 1, 2}));
}

}  // namespace
}  // namespace heddle::text
