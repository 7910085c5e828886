#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "frontends/model.h"
#include "runtime/text/tokenizer.h"
#include "tests/support/paths.h"
#include "tests/support/safetensors_writer.h"

// tokenizer.json files of the forms that the supported families have, and refusals of what the vocabulary record cannot say.
namespace heddle::testing {
namespace {

using Ids = std::vector<std::int32_t>;

/// The parts of a tokenizer.json, each as JSON.
struct Parts {
  std::string normalizer = "null", pre_tokenizer = "null", post_processor = "null", decoder = "null", added = "[]";
  std::string model = R"({"type":"BPE","vocab":{"a":0,"b":1,"ab":2},"merges":["a b"]})";
  std::string config = "{}";  // tokenizer_config.json

  std::string json() const {
    return fmt::format(
        R"({{"version":"1.0","added_tokens":{},"normalizer":{},"pre_tokenizer":{},"post_processor":{},"decoder":{},"model":{}}})", added,
        normalizer, pre_tokenizer, post_processor, decoder, model);
  }
};

Result<frontends::Model> open(const Parts& parts, std::map<std::string, std::string> more = {}) {
  TempDir folder;
  FolderWriter writer = tiny_folder();
  writer.files = std::move(more);
  writer.files["tokenizer.json"] = parts.json();
  writer.files["tokenizer_config.json"] = parts.config;
  writer.write(folder.path());
  auto model = frontends::open_model(folder.path());
  if (model.ok()) return model;
  std::string message = model.error().message();
  for (std::size_t at; (at = message.find(folder.path())) != message.npos;) message.replace(at, folder.path().size(), "DIR");
  return Error(message);
}

plan::Vocabulary vocabulary(const Parts& parts, std::map<std::string, std::string> more = {}) {
  auto model = open(parts, std::move(more));
  HEDDLE_CHECK(model.ok(), "{}", model.error().message());
  return std::move(model->vocabulary);
}

Ids encode(const plan::Vocabulary& vocabulary, std::string_view text, bool bos = false) {
  const auto tokenizer = text::Tokenizer::create(vocabulary);
  HEDDLE_CHECK(tokenizer.ok(), "{}", tokenizer.error().message());
  return (*tokenizer)->encode(text, {.bos = bos, .special = true});
}

struct Refused {
  std::string name;
  Parts parts;
  std::string message;
};
void PrintTo(const Refused& refused, std::ostream* out) { *out << refused.name; }

class RefusedTokenizer : public ::testing::TestWithParam<Refused> {};

TEST_P(RefusedTokenizer, ByName) {
  const auto model = open(GetParam().parts);
  EXPECT_EQ(model.ok() ? "no error" : model.error().message(), "DIR/" + GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    All, RefusedTokenizer,
    ::testing::Values(
        Refused{"Unigram",
                {.model = R"({"type":"Unigram","vocab":[["a",0.0]]})"},
                "tokenizer.json: key 'model.type': tokenizer 'Unigram' is not supported (supported: BPE)"},
        Refused{"Dropout",
                {.model = R"({"type":"BPE","dropout":0.1,"vocab":{"a":0},"merges":[]})"},
                "tokenizer.json: key 'model.dropout': found 0.1, wanted none: merges by chance are not supported"},
        Refused{"Suffix",
                {.model = R"({"type":"BPE","end_of_word_suffix":"</w>","vocab":{"a":0},"merges":[]})"},
                "tokenizer.json: key 'model.end_of_word_suffix': found '</w>', wanted none"},
        Refused{"NegativeId",
                {.model = R"({"type":"BPE","vocab":{"a":-1},"merges":[]})"},
                "tokenizer.json: 'model.vocab': id of token 'a' is -1, wanted 0 to 16777215"},
        Refused{"FarId",
                {.model = R"({"type":"BPE","vocab":{"a":16000000},"merges":[]})"},
                "tokenizer.json: 'model.vocab': id of token 'a' is 16000000 in a list of 1"},
        Refused{"OneIdForTwo",
                {.model = R"({"type":"BPE","vocab":{"a":0,"b":0},"merges":[]})"},
                "tokenizer.json: 'model.vocab': tokens 'a' and 'b' both have id 0"},
        Refused{"TooManyTokens", {.added = R"([{"id":48,"content":"x"}])"}, "tokenizer.json: 49 tokens, the model has a vocabulary of 48"},
        Refused{"MergeOfThree",
                {.model = R"({"type":"BPE","vocab":{"a":0},"merges":["a b c"]})"},
                R"(tokenizer.json: key 'model.merges': merge 0 is '"a b c"', wanted two symbols)"},
        Refused{"MergeWithABlank",
                {.model = R"({"type":"BPE","vocab":{"a":0},"merges":[["a "," b"]]})"},
                "tokenizer.json: key 'model.merges': merge 0 of 'a ' and ' b': blanks in symbols are not supported"},
        Refused{"UnknownIsNoToken",
                {.model = R"({"type":"BPE","unk_token":"?","vocab":{"a":0},"merges":[]})"},
                "tokenizer.json: key 'model.unk_token': '?' is no token"},
        Refused{"Normalizer",
                {.normalizer = R"({"type":"Sequence","normalizers":[{"type":"BertNormalizer"}]})"},
                "tokenizer.json: key 'normalizer.normalizers[0].type': 'BertNormalizer' is not supported"},
        Refused{"PreTokenizer",
                {.pre_tokenizer = R"({"type":"BertPreTokenizer"})"},
                "tokenizer.json: key 'pre_tokenizer.type': 'BertPreTokenizer' is not supported"},
        Refused{"AfterByteLevel",
                {.pre_tokenizer = R"({"type":"Sequence","pretokenizers":[{"type":"ByteLevel"},{"type":"Digits"}]})"},
                "tokenizer.json: key 'pre_tokenizer.pretokenizers[1].type': 'Digits' after 'ByteLevel' is not supported"},
        Refused{"Behavior",
                {.pre_tokenizer = R"({"type":"Split","pattern":{"String":"a"},"behavior":"Eaten"})"},
                "tokenizer.json: key 'pre_tokenizer.behavior': 'Eaten' is not supported"},
        Refused{"PostProcessor",
                {.post_processor = R"({"type":"RobertaProcessing"})"},
                "tokenizer.json: key 'post_processor.type': 'RobertaProcessing' is not supported"},
        Refused{
            "TemplateOfTwo",
            {.post_processor =
                 R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"a"}},{"SpecialToken":{"id":"a"}}],"special_tokens":{"a":{"ids":[0]}}})"},
            "tokenizer.json: key 'post_processor.single': wanted at most one token before and one behind the text"},
        Refused{"TemplateIdOutside",
                {.post_processor =
                     R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"a"}}],"special_tokens":{"a":{"ids":[48]}}})"},
                "tokenizer.json: key 'post_processor.special_tokens.a.ids': wanted one id of a vocabulary of 48"},
        Refused{"Decoder", {.decoder = R"({"type":"WordPiece"})"}, "tokenizer.json: key 'decoder.type': 'WordPiece' is not supported"},
        Refused{"BosWithoutOne",
                {.config = R"({"add_bos_token":true})"},
                "tokenizer_config.json: key 'add_bos_token': found true, and there is no such token"}),
    [](const auto& info) { return info.param.name; });

TEST(TokenizerJson, WrongExpressionsAreToldWhenItIsUsed) {
  const auto v = vocabulary({.pre_tokenizer = R"({"type":"Split","pattern":{"Regex":"(a"},"behavior":"Isolated"})"});
  const auto tokenizer = text::Tokenizer::create(v);
  ASSERT_FALSE(tokenizer.ok());
  EXPECT_EQ(tokenizer.error().message(), "pre-tokenizer: step 0: expression '(a': missing closing parenthesis at 2");
}

TEST(TokenizerJson, TokensUpToTheModelsVocabularyStandForNothing) {
  const auto v = vocabulary({.added = R"([{"id":5,"content":"<x>","special":true},{"id":6,"content":"y"}])"});
  ASSERT_EQ(v.tokens.size(), 48u);
  EXPECT_EQ(v.tokens[2].text, "ab");
  EXPECT_EQ(int(v.tokens[2].type), 1);
  EXPECT_EQ(int(v.tokens[3].type), 5);
  EXPECT_EQ(int(v.tokens[5].type), 3);
  EXPECT_EQ(int(v.tokens[6].type), 4);
  EXPECT_EQ(int(v.tokens[47].type), 5);
  EXPECT_EQ(v.tokens[47].text, "");
  EXPECT_EQ(v.merges, std::vector<std::string>{"a b"});
}

// As Llama 2's: a blank in front, blanks as U+2581, bytes for the rest, BOS by a template.
const Parts llama_2 = {
    .normalizer =
        R"({"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},{"type":"Replace","pattern":{"String":" "},"content":"▁"}]})",
    .post_processor =
        R"({"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],
            "pair":[],"special_tokens":{"<s>":{"id":"<s>","ids":[1],"tokens":["<s>"]}}})",
    .decoder =
        R"({"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},
            {"type":"Strip","content":" ","start":1,"stop":0}]})",
    .added =
        R"([{"id":0,"content":"<unk>","special":true},{"id":1,"content":"<s>","special":true},{"id":2,"content":"</s>","special":true}])",
    .model = R"({"type":"BPE","unk_token":"<unk>","fuse_unk":true,"byte_fallback":true,
        "vocab":{"<unk>":0,"<s>":1,"</s>":2,"<0xC3>":3,"<0xA4>":4,"▁":5,"a":6,"b":7,"▁a":8,"▁ab":9},"merges":["▁ a","▁a b"]})",
    .config = R"({"bos_token":{"content":"<s>"},"eos_token":"</s>"})"};

TEST(TokenizerJson, BpeWithByteFallback) {
  const auto v = vocabulary(llama_2);
  EXPECT_EQ(v.kind, "bpe");
  EXPECT_TRUE(v.characters);
  EXPECT_EQ(v.bos, 1);
  EXPECT_TRUE(v.add_bos);
  EXPECT_EQ(v.eos, 2);
  EXPECT_EQ(v.unknown, 0);
  EXPECT_EQ(v.end_tokens, Ids{2});
  EXPECT_EQ(encode(v, "ab a", true), (Ids{1, 9, 8}));
  EXPECT_EQ(encode(v, "ä"), (Ids{5, 3, 4}));
  EXPECT_EQ(encode(v, "</s>a"), (Ids{2, 8}));
  EXPECT_EQ((*text::Tokenizer::create(v))->decode(Ids{1, 9, 8, 3, 4}), "ab aä");
}

TEST(TokenizerJson, Metaspace) {
  Parts parts = llama_2;
  parts.normalizer = "null";
  parts.pre_tokenizer = R"({"type":"Metaspace","replacement":"▁","prepend_scheme":"first","split":false})";
  const auto v = vocabulary(parts);
  EXPECT_EQ(encode(v, "ab a"), (Ids{9, 8}));
  EXPECT_EQ(encode(v, "</s>a"), (Ids{2, 6})) << "only the first piece of a text gets a blank";
  EXPECT_EQ(encode(v, "a</s>"), (Ids{8, 2}));
}

TEST(TokenizerJson, GemmaCutsBehindBlanks) {
  Parts parts = llama_2;
  parts.normalizer = R"({"type":"Replace","pattern":{"String":" "},"content":"▁"})";
  parts.pre_tokenizer = R"({"type":"Split","pattern":{"String":" "},"behavior":"MergedWithPrevious","invert":false})";
  parts.decoder =
      R"({"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"}]})";
  const auto v = vocabulary(parts);
  EXPECT_FALSE(v.add_space_prefix);
  EXPECT_EQ(encode(v, "ab"), (Ids{6, 7}));
  EXPECT_EQ(encode(v, " ab"), Ids{9});
  EXPECT_EQ((*text::Tokenizer::create(v))->decode(Ids{9, 8}), " ab a");
}

TEST(TokenizerJson, ByteLevelWithItsOwnWords) {
  const Parts parts = {.pre_tokenizer = R"({"type":"ByteLevel","add_prefix_space":true})",
                       .decoder = R"({"type":"ByteLevel"})",
                       .model = R"({"type":"BPE","vocab":{"a":0,"b":1,"Ġ":2,"Ġa":3,"ab":4,"Ã":5,"¤":6},"merges":["Ġ a","a b"]})"};
  const auto v = vocabulary(parts);
  EXPECT_FALSE(v.characters);
  EXPECT_EQ(encode(v, "ab a"), (Ids{3, 1, 3}));
  EXPECT_EQ(encode(v, "ä"), (Ids{2, 5, 6}));
}

TEST(TokenizerJson, WhichTokensEndAText) {
  Parts parts = llama_2;
  parts.added =
      R"([{"id":1,"content":"<s>","special":true},{"id":10,"content":"<|eot_id|>","special":true},{"id":11,"content":"<stop>","special":true}])";
  const auto v = vocabulary(parts, {{"generation_config.json", R"({"eos_token_id":[11, 2]})"}});
  EXPECT_EQ(v.eos, 2);
  EXPECT_EQ(v.end_tokens, (Ids{2, 11, 10}));
}

TEST(TokenizerJson, TheConfigOfTheTokenizerComesBeforeItsTemplate) {
  Parts parts = llama_2;
  parts.config = R"({"bos_token":"<s>","eos_token":"</s>","add_bos_token":false,"add_eos_token":true})";
  const auto v = vocabulary(parts);
  EXPECT_FALSE(v.add_bos);
  EXPECT_TRUE(v.add_eos);
}

}  // namespace
}  // namespace heddle::testing
