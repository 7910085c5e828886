#include "runtime/text/pre_tokenizers.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <random>

#include "runtime/text/utf8.h"
#include "tests/support/small_vocabularies.h"

namespace heddle::text {
namespace {

using ::testing::ElementsAre;

PreTokenizer make(std::string_view name) {
  auto made = PreTokenizer::create(name);
  HEDDLE_CHECK(made.ok(), "{}", made.error().message());
  return std::move(*made);
}

std::vector<std::string> split(std::string_view name, std::string_view text) {
  std::vector<std::string> out;
  for (std::string_view word : make(name).split(text)) out.emplace_back(word);
  return out;
}

std::vector<std::string> all_names() {
  const std::string message = PreTokenizer::create("?").error().message(), start = "(supported: ";
  std::string list = message.substr(message.find(start) + start.size());
  list.pop_back();
  std::vector<std::string> names;
  for (std::size_t at; (at = list.find(", ")) != list.npos; list.erase(0, at + 2)) names.push_back(list.substr(0, at));
  names.push_back(list);
  return names;
}

TEST(PreTokenizer, RefusesAnUnknownName) {
  EXPECT_EQ(
      PreTokenizer::create("foo").error().message(),
      "pre-tokenizer 'foo' is not supported (supported: bailingmoe, bailingmoe2, bloom, chatglm-bpe, codeshell, command-r, dbrx, "
      "deepseek-coder, deepseek-llm, deepseek-r1-qwen, deepseek-v3, default, exaone, exaone4, falcon, falcon-h1, falcon3, gigachat, "
      "glm4, gpt-2, gpt-4o, gpt3-finnish, granite-docling, grok-2, hunyuan, hunyuan-dense, jais, kanana2, lfm2, llama-bpe, llama-v3, "
      "llama3, llama4, megrez, mellum, midm-2.0, minerva-7b, mpt, olmo, phi-2, pixtral, poro-chat, qwen2, qwen35, refact, seed-coder, "
      "smaug-bpe, smollm, stablelm2, starcoder, tekken, trillion, viking)");
  EXPECT_EQ(error_of(small_bpe({{"a"}}, {}, "foo")), PreTokenizer::create("foo").error().message());
}

TEST(PreTokenizer, Gpt2) {
  EXPECT_THAT(split("gpt-2", "Hello world, it's 2024!"), ElementsAre("Hello", " world", ",", " it", "'s", " 2024", "!"));
  EXPECT_THAT(split("gpt-2", "a  b\n\n c "), ElementsAre("a", " ", " b", "\n\n", " c", " "));
  EXPECT_THAT(split("gpt-2", "IT'S"), ElementsAre("IT", "'", "S"));  // contractions in lower case only
  EXPECT_THAT(split("gpt-2", "x\u00b2 \u0645\u0631"), ElementsAre("x", "\u00b2", " \u0645\u0631"));
}

TEST(PreTokenizer, Llama3) {
  EXPECT_THAT(split("llama-bpe", "I'LL (be) 12345 \tx\r\n\n y"),
              ElementsAre("I", "'LL", " (", "be", ")", " ", "123", "45", " ", "\tx", "\r\n\n", " y"));
  EXPECT_THAT(split("llama-bpe", "a!\n\nb"), ElementsAre("a", "!\n\n", "b"));
  EXPECT_THAT(split("llama-bpe", "'\u017fa"), ElementsAre("'\u017fa"));
  EXPECT_TRUE(make("llama-bpe").ignore_merges());
  EXPECT_FALSE(make("dbrx").ignore_merges());
}

TEST(PreTokenizer, Qwen2SplitsDigits) {
  EXPECT_THAT(split("qwen2", "a 123.5"), ElementsAre("a", " ", "1", "2", "3", ".", "5"));
  EXPECT_FALSE(make("qwen2").ignore_merges());
}

TEST(PreTokenizer, Qwen35KeepsMarksWithTheirLetters) {
  EXPECT_THAT(split("qwen35", "e\u0301a x"), ElementsAre("e\u0301a", " x"));
  EXPECT_THAT(split("qwen2", "e\u0301a x"), ElementsAre("e", "\u0301a", " x"));
}

TEST(PreTokenizer, Default) {
  EXPECT_THAT(split("default", "a+b (c) 12345"), ElementsAre("a", "+", "b", " ", "(", "c", ")", " ", "123", "45"));
  EXPECT_THAT(split("", "a+b"), ElementsAre("a", "+", "b"));
}

TEST(PreTokenizer, FalconTakesTheBacktickForPunctuation) {
  EXPECT_THAT(split("falcon", "a `b` 1234"), ElementsAre("a", " ", "`", "b", "`", " ", "123", "4"));
  EXPECT_THAT(split("default", "a `b`"), ElementsAre("a", " `", "b", "`"));
}

TEST(PreTokenizer, StarcoderSplitsDigitsFirst) {
  EXPECT_THAT(split("starcoder", "ab 12 c"), ElementsAre("ab", " ", "1", "2", " c"));
  EXPECT_EQ(split("starcoder", "x 10's"), split("smollm", "x 10's"));
}

TEST(PreTokenizer, DeepseekLlm) {
  EXPECT_THAT(split("deepseek-llm", "Hi, 123\n\u4f60\u597d  "), ElementsAre("Hi", ",", " ", "123", "\n", "\u4f60\u597d", "  "));
  EXPECT_THAT(split("deepseek-llm", " \u00e9\u00e9 \u0416 \u01bb"), ElementsAre(" \u00e9\u00e9", " \u0416", " \u01bb"));
  EXPECT_THAT(split("deepseek-llm", " \u00e9t\u00e9"), ElementsAre(" \u00e9", "t", "\u00e9"));  // [:-~] holds the Latin letters
}

TEST(PreTokenizer, DeepseekCoder) {
  EXPECT_THAT(split("deepseek-coder", "int x=12;\n"), ElementsAre("int", " x", "=", "1", "2", ";", "\n"));
}

TEST(PreTokenizer, DeepseekV3) {
  EXPECT_THAT(split("deepseek-v3", "x 1234 \u4f60\u3042!foo ."), ElementsAre("x", " ", "123", "4", " ", "\u4f60\u3042", "!foo", " ."));
}

TEST(PreTokenizer, TekkenAndGpt4oSplitWordsAtCapitals) {
  EXPECT_THAT(split("tekken", "helloWorld HTTPServer 123"), ElementsAre("hello", "World", " HTTPServer", " ", "1", "2", "3"));
  EXPECT_THAT(split("gpt-4o", "don't 1234 a/\n"), ElementsAre("don't", " ", "123", "4", " a", "/\n"));
  EXPECT_TRUE(make("tekken").ignore_merges());
}

TEST(PreTokenizer, BloomAndViking) {
  EXPECT_THAT(split("bloom", "ab c12, d"), ElementsAre("ab", " c12", ",", " d"));
  EXPECT_THAT(split("viking", "ab c12, d"), ElementsAre("ab", " c", "1", "2", ",", " d"));
}

TEST(PreTokenizer, SeedCoderLeavesLineEndsAlone) {
  EXPECT_THAT(split("seed-coder", "a;\n1"), ElementsAre("a", ";", "\n", "1"));
  EXPECT_THAT(split("bailingmoe", "a;\n\n"), ElementsAre("a", ";\n\n"));
}

TEST(PreTokenizer, WhiteSpaceIsUnicodes) {
  EXPECT_THAT(split("gpt-2", "a\u3000\u3000b"), ElementsAre("a", "\u3000", "\u3000", "b"));
  EXPECT_THAT(split("gpt-2", "\u180e\u180e"), ElementsAre("\u180e\u180e"));  // no white space: one run of other characters
  EXPECT_THAT(split("gpt-2", ".\u180e"), ElementsAre(".\u180e"));
}

TEST(PreTokenizer, WordsJoinToTheTextForEveryName) {
  std::mt19937 random(7);
  const char32_t some[] = {U' ', U' ', U'\n', U'\r', U'\t', U'a',  U'Z',   U'\'',  U's',    U'1',
                           U'9', U'.', U'(',  U'_',  0xe9,  0x301, 0x4f60, 0x3000, 0x1f600, 0x85};
  const auto names = all_names();
  EXPECT_GT(names.size(), 50u);
  for (const std::string& name : names) {
    const PreTokenizer pre = make(name);
    EXPECT_TRUE(pre.split("").empty());
    for (int i = 0; i < 100; ++i) {
      std::string text, joined;
      for (int n = random() % 30; n > 0; --n) {
        char32_t c = some[random() % std::size(some)];
        if (random() % 8 == 0) do
            c = random() % 0x110000;
          while (c >= 0xd800 && c < 0xe000);
        text += to_utf8(c);
      }
      for (std::string_view word : pre.split(text)) {
        EXPECT_FALSE(word.empty());
        joined += word;
      }
      EXPECT_EQ(joined, text) << name;
    }
  }
}

TEST(PreTokenizer, LongRunsOfOneKind) {
  const auto start = std::chrono::steady_clock::now();
  for (const std::string& name : all_names()) {
    const PreTokenizer pre = make(name);
    for (const char* unit : {"a", "A", " ", "\n", "!", "\u4f60", "aA", "a ", "\u0301"}) {
      std::string text;
      while (text.size() < 100000) text += unit;
      std::size_t length = 0;
      for (std::string_view word : pre.split(text)) length += word.size();
      EXPECT_EQ(length, text.size()) << name << " " << unit;
    }
  }
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), 60);
}

}  // namespace
}  // namespace heddle::text
