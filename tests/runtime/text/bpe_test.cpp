#include <gtest/gtest.h>

#include <chrono>
#include <random>

#include "runtime/text/utf8.h"
#include "tests/support/small_vocabularies.h"

namespace heddle::text {
namespace {

const std::string g = "\xc4\xa0";  // U+0120, the blank in GPT-2's alphabet

TEST(Bpe, MergesByRank) {
  auto v = small_bpe({{"a"}, {"b"}, {"c"}, {"ab"}, {"bc"}, {"abc"}}, {"b c", "a b", "a bc"});
  EXPECT_EQ(open(v)->encode("abc", {}), (Ids{5}));
  v.merges = {"b c", "a b"};
  EXPECT_EQ(open(v)->encode("abc", {}), (Ids{0, 4}));
  v.merges = {"a b", "b c", "a bc"};
  EXPECT_EQ(open(v)->encode("abc", {}), (Ids{3, 2}));
}

TEST(Bpe, MergesTheLeftmostOfEqualPairs) {
  auto v = small_bpe({{"a"}, {"aa"}, {"aaaa"}}, {"a a", "aa aa"});
  EXPECT_EQ(open(v)->encode("aaaaaaa", {}), (Ids{2, 1, 0}));
}

TEST(Bpe, TheFirstOfTwoEqualMergesCounts) {
  auto v = small_bpe({{"a"}, {"b"}, {"c"}, {"ab"}, {"bc"}}, {"a b", "b c", "a b"});
  EXPECT_EQ(open(v)->encode("abc", {}), (Ids{3, 2}));
}

TEST(Bpe, WordsDoNotMergeAcrossTheirBorders) {
  auto v = small_bpe({{"a"}, {g}, {"a" + g}, {g + "a"}}, {"a " + g, g + " a"});
  EXPECT_EQ(open(v)->encode("a a", {}), (Ids{0, 3}));
}

TEST(Bpe, ASymbolThatIsNoTokenFallsApartIntoBytes) {
  // "ab" is merged and then merged no further; it is no token.
  auto v = small_bpe({{"a"}, {"b"}, {"c"}}, {"a b"});
  EXPECT_EQ(open(v)->encode("abc", {}), (Ids{0, 1, 2}));
  EXPECT_EQ(open(v)->encode("abxc", {}), (Ids{0, 1, 2}));  // a byte without token and without an unknown token is left out
  add(v, {"<unk>", 0, TokenType::unknown});
  v.unknown = 3;
  EXPECT_EQ(open(v)->encode("abx", {}), (Ids{0, 1, 3}));
}

TEST(Bpe, LlamaTakesAWordThatIsATokenWhole) {
  auto v = small_bpe({{"a"}, {"b"}, {"c"}, {"ab"}, {"abc"}, {g}, {g + "abc"}}, {"a b"}, "llama-bpe");
  EXPECT_EQ(open(v)->encode("abc abc abcc", {}), (Ids{4, 6, 5, 3, 2, 2}));
  v.pre = "gpt-2";
  EXPECT_EQ(open(v)->encode("abc", {}), (Ids{3, 2}));
}

TEST(Bpe, EveryByteHasItsCharacter) {
  // The alphabet as published with GPT-2: the printable bytes are themselves, the others follow from U+0100 in order.
  plan::Vocabulary v = small_bpe({}, {});
  char32_t next = 0x100;
  for (int b = 0; b < 256; ++b) {
    const bool printable = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || (b >= 0xae && b <= 0xff);
    add(v, {to_utf8(printable ? char32_t(b) : next++)});
  }
  const auto t = open(v);
  std::string all;
  Ids expected;
  for (int b = 0; b < 256; ++b) all += char(b), expected.push_back(b);
  EXPECT_EQ(t->encode(all, {}), expected);  // from 0x80 on no UTF-8: bytewise
  for (int b = 0; b < 256; ++b) EXPECT_EQ(t->piece(b, false), std::string(1, char(b)));
  EXPECT_EQ(t->encode("\xf0\x9f\x98\x80\xf0\x9f", {}), (Ids{0xf0, 0x9f, 0x98, 0x80, 0xf0, 0x9f}));

  std::mt19937 random(1);
  for (int i = 0; i < 200; ++i) {
    std::string text(random() % 40, 'x');
    for (char& c : text) c = char(random() % 3 ? random() % 256 : random() % 128);
    std::string back;
    for (std::int32_t id : t->encode(text, {})) back += t->piece(id, false);
    EXPECT_EQ(back, text);
  }
}

TEST(Bpe, Pieces) {
  auto v = small_bpe({{g + "a"}, {"<|x|>", 0, TokenType::control}, {g + "u", 0, TokenType::user_defined}, {"\xe2\x96\x81"}}, {});
  const auto t = open(v);
  EXPECT_EQ(t->piece(0, true), " a");
  EXPECT_EQ(t->piece(1, true), "");
  EXPECT_EQ(t->piece(1, true, true), "<|x|>");
  EXPECT_EQ(t->piece(2, true), g + "u");  // a user-defined token is no text over the alphabet
  EXPECT_EQ(t->piece(3, true), "\xe2\x96\x81");
  EXPECT_EQ(t->piece(4, true), "");
}

TEST(Bpe, BosOnlyWhereAskedForAndWanted) {
  auto v = small_bpe({{"a"}, {"<s>", 0, TokenType::control}}, {});
  v.bos = 1;
  EXPECT_EQ(open(v)->encode("a", {.bos = true}), (Ids{0}));
  v.add_bos = true;
  EXPECT_EQ(open(v)->encode("a", {.bos = true}), (Ids{1, 0}));
  EXPECT_EQ(open(v)->encode("a", {}), (Ids{0}));
}

TEST(Bpe, RefusesBadMerges) {
  EXPECT_EQ(error_of(small_bpe({{"a"}}, {"a a", "ab"})), "merge 1 is 'ab', wanted two symbols separated by a blank");
  EXPECT_EQ(error_of(small_bpe({{"a"}}, {"a "})), "merge 0 is 'a ', wanted two symbols separated by a blank");
}

TEST(Bpe, TimeGrowsWithTheTextOnly) {
  auto v = small_bpe({{"a"}, {"aa"}, {"aaaa"}, {g}, {g + g}}, {"a a", "aa aa", g + " " + g}, "llama-bpe");
  const auto t = open(v);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(t->encode(std::string(1 << 20, 'a'), {}), Ids((1 << 20) / 4, 2));
  EXPECT_EQ(t->encode(std::string(1 << 20, ' '), {}), Ids((1 << 20) / 2, 4));
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), 20);
}

}  // namespace
}  // namespace heddle::text
