#include <gtest/gtest.h>

#include <chrono>
#include <cmath>

#include "tests/support/small_vocabularies.h"

namespace heddle::text {
namespace {

const std::string blank = "\xe2\x96\x81";

TEST(Spm, MergesThePairWithTheBestScore) {
  auto v = small_spm({{"a"}, {"b"}, {"c"}, {"ab", -2}, {"bc", -1}});
  v.add_space_prefix = false;
  EXPECT_EQ(open(v)->encode("abc", {}), (Ids{3, 7}));
}

TEST(Spm, MergesTheLeftmostOfEqualPairs) {
  auto v = small_spm({{"a"}, {"b"}, {"c"}, {"ab", -1}, {"bc", -1}, {"aa", -1}});
  v.add_space_prefix = false;
  const auto t = open(v);
  EXPECT_EQ(t->encode("abc", {}), (Ids{6, 5}));
  EXPECT_EQ(t->encode("aaaaa", {}), (Ids{8, 8, 3}));
}

TEST(Spm, AMergedPairMergesOn) {
  auto v = small_spm({{"a"}, {"b"}, {"c"}, {"d"}, {"bc", -1}, {"abc", -5}, {"abcd", -9}});
  v.add_space_prefix = false;
  const auto t = open(v);
  EXPECT_EQ(t->encode("abcd", {}), (Ids{9}));
  EXPECT_EQ(t->encode("aabcdd", {}), (Ids{3, 9, 6}));
}

TEST(Spm, PutsOneBlankInFrontUnlessToldOtherwise) {
  auto v = small_spm({{blank}, {"a"}, {blank + "a", -1}, {blank + blank, -2}});
  EXPECT_EQ(open(v)->encode("a", {}), (Ids{5}));
  EXPECT_EQ(open(v)->encode(" a", {}), (Ids{3, 5}));
  EXPECT_EQ(open(v)->encode(" ", {}), (Ids{6}));
  EXPECT_EQ(open(v)->encode("", {}), Ids{});
  v.add_space_prefix = false;
  EXPECT_EQ(open(v)->encode("a", {}), (Ids{4}));
}

TEST(Spm, TokensMayHoldBlanksAnywhere) {
  auto v = small_spm({{blank}, {"a"}, {blank + blank, -1}, {blank + "a", -2}});
  EXPECT_EQ(open(v)->encode("a  a a", {}), (Ids{6, 5, 4, 6}));
  add(v, {"a" + blank, -1.5});
  EXPECT_EQ(open(v)->encode("a  a a", {}), (Ids{6, 5, 7, 4}));
}

TEST(Spm, BosOnlyWhereAskedForAndWanted) {
  auto v = small_spm({{blank}, {"a"}});
  EXPECT_EQ(open(v)->encode("a", {.bos = true}), (Ids{1, 3, 4}));
  EXPECT_EQ(open(v)->encode("", {.bos = true}), (Ids{1}));
  EXPECT_EQ(open(v)->encode("a", {}), (Ids{3, 4}));
  v.add_bos = false;
  EXPECT_EQ(open(v)->encode("a", {.bos = true}), (Ids{3, 4}));
}

TEST(Spm, CharactersThatAreNoTokensBecomeBytes) {
  auto v = small_spm({{"a"}});
  const std::int32_t b = add_byte_tokens(v);
  v.add_space_prefix = false;
  const auto t = open(v);
  EXPECT_EQ(t->encode("a\xc3\xa4"
                      "a",
                      {}),
            (Ids{3, b + 0xc3, b + 0xa4, 3}));
  EXPECT_EQ(t->encode("\xf0\x9f\x98\x80", {}), (Ids{b + 0xf0, b + 0x9f, b + 0x98, b + 0x80}));
}

TEST(Spm, WithoutByteTokensACharacterIsUnknownOnce) {
  auto v = small_spm({{"a"}, {"<0xC3>", 0, TokenType::byte}});
  v.add_space_prefix = false;
  EXPECT_EQ(open(v)->encode("a\xc3\xa4"
                            "a",
                            {}),
            (Ids{3, 0, 3}));
  v.unknown = -1;
  EXPECT_EQ(open(v)->encode("a\xc3\xa4"
                            "a",
                            {}),
            (Ids{3, 3}));
}

TEST(Spm, WhatIsNotUtf8BecomesBytesAndComesBack) {
  auto v = small_spm({{"a"}, {blank}});
  const std::int32_t b = add_byte_tokens(v);
  const auto t = open(v);
  const std::string text =
      "a\xe2\x96"
      "a\xff\x80";
  const Ids ids = t->encode(text, {});
  EXPECT_EQ(ids, (Ids{4, 3, b + 0xe2, b + 0x96, 3, b + 0xff, b + 0x80}));
  std::string bytes;
  for (std::size_t i = 0; i < ids.size(); ++i) bytes += t->piece(ids[i], i == 0);
  EXPECT_EQ(bytes, text);
}

TEST(Spm, SpecialTokensAreCutOutAndABlankFollowsThem) {
  auto v = small_spm({{blank}, {"a"}, {"<"}, {"s"}, {">"}});
  const auto t = open(v);
  EXPECT_EQ(t->encode("a<s>a", {.special = true}), (Ids{3, 4, 1, 3, 4}));
  EXPECT_EQ(t->encode("a<s>a", {}), (Ids{3, 4, 5, 6, 7, 4}));
  EXPECT_EQ(t->encode("<s>", {.bos = true, .special = true}), (Ids{1, 1}));
}

TEST(Spm, Pieces) {
  auto v = small_spm({{blank + "a" + blank + "b"}, {"X" + blank, 0, TokenType::user_defined}, {"z", 0, TokenType::unused}, {blank}});
  const std::int32_t b = add_byte_tokens(v);
  const auto t = open(v);
  EXPECT_EQ(t->piece(3, true), "a b");
  EXPECT_EQ(t->piece(3, false), " a b");
  EXPECT_EQ(t->piece(4, false), "X" + blank);  // as it stands in the vocabulary
  EXPECT_EQ(t->piece(5, false), "");
  EXPECT_EQ(t->piece(6, true), "");
  EXPECT_EQ(t->piece(1, false), "");
  EXPECT_EQ(t->piece(1, false, true), "<s>");
  EXPECT_EQ(t->piece(0, false), "");
  EXPECT_EQ(t->piece(0, false, true), "<unk>");
  EXPECT_EQ(t->piece(b + 0xfe, false), "\xfe");
  EXPECT_EQ(t->piece(-1, false), "");
  EXPECT_EQ(t->piece(t->size(), false), "");
  v.add_space_prefix = false;
  EXPECT_EQ(t->piece(3, true), " a b");
}

TEST(Spm, TimeGrowsWithTheTextOnly) {
  auto v = small_spm({{"a"}, {"aa", -1}, {"aaaa", -2}, {"aaaaaaaa", -3}});
  v.add_space_prefix = false;
  const auto t = open(v);
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(t->encode(std::string(1 << 20, 'a'), {}), Ids((1 << 20) / 8, 6));
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), 20);
}

TEST(Tokenizer, RefusesWhatItCannotUse) {
  plan::Vocabulary v;
  v.kind = "none";
  EXPECT_EQ(error_of(v), "vocabulary kind 'none': the model has no tokenizer; give ids");
  v.kind = "wpm";
  EXPECT_EQ(error_of(v), "vocabulary kind 'wpm' is not supported (supported: bpe, spm)");
  v.kind = "spm";
  EXPECT_EQ(error_of(v), "vocabulary: no tokens");
  v = small_spm({{"a", NAN}});
  EXPECT_EQ(error_of(v), "vocabulary: score of token 3 is nan");
  v = small_spm({});
  v.bos = 3;
  EXPECT_EQ(error_of(v), "vocabulary: bos token is 3, there are 3 tokens");
  v = small_spm({});
  v.eos = -2;
  EXPECT_EQ(error_of(v), "vocabulary: eos token is -2, there are 3 tokens");
  v = small_spm({});
  v.unknown = 99;
  EXPECT_EQ(error_of(v), "vocabulary: unknown token is 99, there are 3 tokens");
  v = small_spm({});
  v.end_tokens = {2, -1};
  EXPECT_EQ(error_of(v), "vocabulary: end token is -1, there are 3 tokens");
}

TEST(Tokenizer, EndTokens) {
  auto v = small_spm({{"a"}});
  v.end_tokens = {2, 3};
  const auto t = open(v);
  EXPECT_TRUE(t->is_end(2));
  EXPECT_TRUE(t->is_end(3));
  EXPECT_FALSE(t->is_end(1));
  EXPECT_EQ(t->piece(3, false), "");  // ends a text, so it is no text
}

}  // namespace
}  // namespace heddle::text
