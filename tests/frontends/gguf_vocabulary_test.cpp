#include "malformed.h"

namespace heddle::testing {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

std::string key(const std::string& name) { return "tokenizer.ggml." + name; }

GgufWriter spm() {
  GgufWriter w;
  w.text("general.architecture", "llama").text(key("model"), "llama");
  w.texts(key("tokens"), {"<unk>", "<s>", "</s>", "<0x00>", "\xe2\x96\x81", "<|im_end|>", "a", "b"});
  w.f32s(key("scores"), {0, 0, 0, 0, -1, -2, -3, -4.5}).i32s(key("token_type"), {2, 3, 3, 6, 1, 4, 1, 5});
  return w;
}

GgufWriter bpe() {
  GgufWriter w;
  w.text("general.architecture", "llama").text(key("model"), "gpt2").text(key("pre"), "qwen2");
  w.texts(key("tokens"), {"a", "b", "ab", "<|im_end|>", "<|endoftext|>", "<|im_start|>", "<|eot_id|>"});
  w.i32s(key("token_type"), {1, 1, 1, 3, 3, 3, 1}).texts(key("merges"), {"a b", "  x"}).u32(key("eos_token_id"), 4);
  return w;
}

plan::Vocabulary vocabulary_of(const GgufWriter& w) {
  auto model = read(w.bytes());
  EXPECT_TRUE(model.ok()) << model.error().message();
  return std::move(model->vocabulary);
}

class MalformedSpm : public ::testing::TestWithParam<Malformed> {};
TEST_P(MalformedSpm, IsRefusedByName) {
  GgufWriter w = spm();
  ASSERT_TRUE(read(w.bytes()).ok());
  GetParam().spoil(w);
  EXPECT_EQ(message_of(w.bytes()), GetParam().message);
}
INSTANTIATE_TEST_SUITE_P(
    Vocabulary, MalformedSpm,
    ::testing::Values(
        Malformed{"OtherModel", [](GgufWriter& w) { w.text(key("model"), "bert"); },
                  "m.gguf: key 'tokenizer.ggml.model': tokenizer 'bert' is not supported (supported: llama, gpt2, no_vocab)"},
        Malformed{"NoTokens", [](GgufWriter& w) { w.erase(key("tokens")); }, "m.gguf: key 'tokenizer.ggml.tokens' is missing"},
        Malformed{"EmptyTokens", [](GgufWriter& w) { w.texts(key("tokens"), {}); },
                  "m.gguf: key 'tokenizer.ggml.tokens': found 0 tokens, wanted 1 to 2147483647"},
        Malformed{"TokensAsNumbers",
                  [](GgufWriter& w) {
                    w.i32s(key("tokens"), {1, 2});
                  },
                  "m.gguf: key 'tokenizer.ggml.tokens': found array of i32, wanted an array of strings"},
        Malformed{"TokensAsOneString", [](GgufWriter& w) { w.text(key("tokens"), "abc"); },
                  "m.gguf: key 'tokenizer.ggml.tokens': found string, wanted an array of strings"},
        Malformed{"NoScores", [](GgufWriter& w) { w.erase(key("scores")); }, "m.gguf: key 'tokenizer.ggml.scores' is missing"},
        Malformed{"FewScores",
                  [](GgufWriter& w) {
                    w.f32s(key("scores"), {1, 2});
                  },
                  "m.gguf: key 'tokenizer.ggml.scores': found 2 entries, wanted 8"},
        Malformed{"ScoresAsIntegers",
                  [](GgufWriter& w) {
                    w.i32s(key("scores"), {1, 2});
                  },
                  "m.gguf: key 'tokenizer.ggml.scores': found array of i32, wanted an array of floating-point numbers"},
        Malformed{"NoTypes", [](GgufWriter& w) { w.erase(key("token_type")); }, "m.gguf: key 'tokenizer.ggml.token_type' is missing"},
        Malformed{"ManyTypes",
                  [](GgufWriter& w) {
                    w.i32s(key("token_type"), {2, 3, 3, 6, 1, 4, 1, 5, 1});
                  },
                  "m.gguf: key 'tokenizer.ggml.token_type': found 9 entries, wanted 8"},
        Malformed{"TypeOf7",
                  [](GgufWriter& w) {
                    w.i32s(key("token_type"), {2, 3, 3, 6, 1, 4, 1, 7});
                  },
                  "m.gguf: key 'tokenizer.ggml.token_type': token 7 has type 7, wanted 1 to 6"},
        Malformed{"ByteTokenOfOtherText",
                  [](GgufWriter& w) {
                    w.i32s(key("token_type"), {2, 3, 3, 6, 6, 4, 1, 5});
                  },
                  "m.gguf: key 'tokenizer.ggml.tokens': token 4 is '\\xe2\\x96\\x81', a byte token is '<0x00>' to '<0xFF>'"},
        Malformed{"BosOutside", [](GgufWriter& w) { w.u32(key("bos_token_id"), 8); },
                  "m.gguf: key 'tokenizer.ggml.bos_token_id': 8 is no token of a vocabulary of 8"},
        Malformed{"EosNegative", [](GgufWriter& w) { w.i32(key("eos_token_id"), -1); },
                  "m.gguf: key 'tokenizer.ggml.eos_token_id': -1 is no token of a vocabulary of 8"},
        Malformed{"UnknownHuge", [](GgufWriter& w) { w.u32(key("unknown_token_id"), 0xffffffff); },
                  "m.gguf: key 'tokenizer.ggml.unknown_token_id': 4294967295 is no token of a vocabulary of 8"},
        Malformed{"EotOutside", [](GgufWriter& w) { w.u32(key("eot_token_id"), 100); },
                  "m.gguf: key 'tokenizer.ggml.eot_token_id': 100 is no token of a vocabulary of 8"},
        Malformed{"BosAsString", [](GgufWriter& w) { w.text(key("bos_token_id"), "<s>"); },
                  "m.gguf: key 'tokenizer.ggml.bos_token_id': found string, wanted an integer"},
        Malformed{"AddBosAsNumber", [](GgufWriter& w) { w.u32(key("add_bos_token"), 1); },
                  "m.gguf: key 'tokenizer.ggml.add_bos_token': found u32, wanted a bool"},
        Malformed{"TemplateAsNumber", [](GgufWriter& w) { w.u32("tokenizer.chat_template", 1); },
                  "m.gguf: key 'tokenizer.chat_template': found u32, wanted a string"}),
    name_of);

class MalformedBpe : public ::testing::TestWithParam<Malformed> {};
TEST_P(MalformedBpe, IsRefusedByName) {
  GgufWriter w = bpe();
  ASSERT_TRUE(read(w.bytes()).ok());
  GetParam().spoil(w);
  EXPECT_EQ(message_of(w.bytes()), GetParam().message);
}
INSTANTIATE_TEST_SUITE_P(
    Vocabulary, MalformedBpe,
    ::testing::Values(Malformed{"NoMerges", [](GgufWriter& w) { w.erase(key("merges")); },
                                "m.gguf: key 'tokenizer.ggml.merges' is missing"},
                      Malformed{"MergeOfOnePart",
                                [](GgufWriter& w) {
                                  w.texts(key("merges"), {"a b", "ab"});
                                },
                                "m.gguf: key 'tokenizer.ggml.merges': merge 1 is 'ab', wanted two parts with a blank between them"},
                      Malformed{"MergeWithoutRightPart", [](GgufWriter& w) { w.texts(key("merges"), {"a "}); },
                                "m.gguf: key 'tokenizer.ggml.merges': merge 0 is 'a ', wanted two parts with a blank between them"},
                      Malformed{"EmptyMerge", [](GgufWriter& w) { w.texts(key("merges"), {""}); },
                                "m.gguf: key 'tokenizer.ggml.merges': merge 0 is '', wanted two parts with a blank between them"},
                      Malformed{"BosWantedButUnnamed", [](GgufWriter& w) { w.flag(key("add_bos_token"), true); },
                                "m.gguf: key 'tokenizer.ggml.bos_token_id' is missing"},
                      Malformed{"EosWantedButUnnamed", [](GgufWriter& w) { w.erase(key("eos_token_id")).flag(key("add_eos_token"), true); },
                                "m.gguf: key 'tokenizer.ggml.eos_token_id' is missing"}),
    name_of);

TEST(Vocabulary, SpmIsReadWithItsDefaults) {
  const auto v = vocabulary_of(spm());
  EXPECT_EQ(v.kind, "spm");
  EXPECT_EQ(v.pre, "");
  ASSERT_EQ(v.tokens.size(), 8u);
  EXPECT_EQ(v.tokens[4].text, "\xe2\x96\x81");
  EXPECT_EQ(v.tokens[7].score, -4.5f);
  EXPECT_EQ(v.tokens[7].type, 5);
  EXPECT_EQ(v.unknown, 0);
  EXPECT_EQ(v.bos, 1);
  EXPECT_EQ(v.eos, 2);
  EXPECT_TRUE(v.add_bos);
  EXPECT_FALSE(v.add_eos);
  EXPECT_TRUE(v.add_space_prefix);
  EXPECT_THAT(v.end_tokens, ElementsAre(2));  // <|im_end|> is a user-defined token here
}

TEST(Vocabulary, WhatTheFileSaysGoesBeforeDefaults) {
  GgufWriter w = spm();
  w.u32(key("bos_token_id"), 2).u32(key("eos_token_id"), 1).u32(key("unknown_token_id"), 4).u32(key("eot_token_id"), 5);
  w.u32(key("eom_token_id"), 6).flag(key("add_bos_token"), false).flag(key("add_eos_token"), true).flag(key("add_space_prefix"), false);
  const auto v = vocabulary_of(w);
  EXPECT_EQ(v.bos, 2);
  EXPECT_EQ(v.eos, 1);
  EXPECT_EQ(v.unknown, 4);
  EXPECT_FALSE(v.add_bos);
  EXPECT_TRUE(v.add_eos);
  EXPECT_FALSE(v.add_space_prefix);
  EXPECT_THAT(v.end_tokens, ElementsAre(1, 5, 6, 2));  // </s> by its text
}

TEST(Vocabulary, BpeIsReadWithItsDefaults) {
  const auto v = vocabulary_of(bpe());
  EXPECT_EQ(v.kind, "bpe");
  EXPECT_EQ(v.pre, "qwen2");
  EXPECT_EQ(v.tokens.size(), 7u);
  EXPECT_THAT(v.merges, ElementsAre("a b", "  x"));
  EXPECT_EQ(v.bos, -1);
  EXPECT_EQ(v.eos, 4);
  EXPECT_EQ(v.unknown, -1);
  EXPECT_FALSE(v.add_bos);
  EXPECT_FALSE(v.add_space_prefix);
  EXPECT_THAT(v.end_tokens, ElementsAre(4, 3));  // <|eot_id|> is no control token here
}

TEST(Vocabulary, BosInFrontDependsOnThePreTokenizer) {
  GgufWriter w = bpe();
  w.u32(key("bos_token_id"), 5);
  EXPECT_FALSE(vocabulary_of(w).add_bos);
  EXPECT_TRUE(vocabulary_of(w.text(key("pre"), "llama-bpe")).add_bos);
  EXPECT_FALSE(vocabulary_of(w.flag(key("add_bos_token"), false)).add_bos);
  EXPECT_FALSE(vocabulary_of(bpe().text(key("pre"), "llama-bpe")).add_bos);  // there is none to put in front
  EXPECT_EQ(vocabulary_of(bpe().erase(key("pre"))).pre, "default");
}

TEST(Vocabulary, NoneIsAKind) {
  for (const std::string name : {"", "no_vocab", "none"}) {
    GgufWriter w = tiny_model();
    if (!name.empty()) w.text(key("model"), name);
    const auto v = vocabulary_of(w);
    EXPECT_EQ(v.kind, "none");
    EXPECT_THAT(v.tokens, IsEmpty());
    EXPECT_THAT(v.end_tokens, IsEmpty());
    EXPECT_FALSE(v.add_bos);
  }
}

TEST(Vocabulary, MustHaveTheRowsOfTheEmbedding) {
  GgufWriter w = tiny_model();
  w.text(key("model"), "gpt2").texts(key("tokens"), {"a", "b"}).texts(key("merges"), {});
  EXPECT_EQ(message_of(w.bytes()), "m.gguf: tensor 'token_embd.weight': shape is [48, 32], the config needs [2, 32]");
}

}  // namespace
}  // namespace heddle::testing
