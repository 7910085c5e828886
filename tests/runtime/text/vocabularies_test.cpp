#include <gtest/gtest.h>

#include <cstdlib>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

#include "frontends/model.h"
#include "ir/base/mapped_file.h"
#include "runtime/text/tokenizer.h"
#include "tests/support/paths.h"

// Real vocabularies against ids that others computed.
namespace heddle::text {
namespace {

using Ids = std::vector<std::int32_t>;

struct OpenVocabulary {
  std::unique_ptr<plan::Vocabulary> vocabulary;
  std::unique_ptr<Tokenizer> tokenizer;
};

OpenVocabulary open_vocabulary(const std::string& path) {
  auto model = frontends::open_model(path);
  HEDDLE_CHECK(model.ok(), "{}", model.error().message());
  OpenVocabulary out;
  out.vocabulary = std::make_unique<plan::Vocabulary>(std::move(model->vocabulary));
  auto tokenizer = Tokenizer::create(*out.vocabulary);
  HEDDLE_CHECK(tokenizer.ok(), "{}", tokenizer.error().message());
  out.tokenizer = std::move(*tokenizer);
  return out;
}

std::string read(const std::string& path) {
  auto text = read_text_file(path);
  HEDDLE_CHECK(text.ok(), "{}", text.error().message());
  return *text;
}

std::vector<std::string> read_strings(const std::string& path) {
  const std::string text = read(path), separator = "\n__ggml_vocab_test__\n";
  std::vector<std::string> out;
  std::size_t begin = 0;
  for (std::size_t at; (at = text.find(separator, begin)) != text.npos; begin = at + separator.size()) {
    out.push_back(text.substr(begin, at - begin));
  }
  return out;
}

std::vector<Ids> read_ids(const std::string& path) {
  std::istringstream text(read(path));
  std::vector<Ids> out;
  for (std::string line; std::getline(text, line);) {
    std::istringstream numbers(line);
    out.emplace_back();
    for (std::int32_t id; numbers >> id;) out.back().push_back(id);
  }
  return out;
}

class PublishedVocabulary : public ::testing::TestWithParam<const char*> {};

TEST_P(PublishedVocabulary, EveryStringHasTheExpectedIds) {
  const std::string base = std::string("vocabs/ggml-vocab-") + GetParam() + ".gguf";
  const std::string packed = testing::shared_path(base + ".xz");
  if (packed.empty()) GTEST_SKIP() << base << ".xz is not there";
  if (std::system("command -v xz >/dev/null") != 0) GTEST_SKIP() << "xz is not installed";
  testing::TempDir folder;
  const std::string path = folder.file("vocabulary.gguf");
  ASSERT_EQ(std::system(("xz -dkc '" + packed + "' > '" + path + "'").c_str()), 0);

  const OpenVocabulary open = open_vocabulary(path);
  const auto strings = read_strings(testing::shared_path(base + ".inp"));
  const auto expected = read_ids(testing::shared_path(base + ".out"));
  ASSERT_GT(strings.size(), 40u);
  ASSERT_EQ(strings.size(), expected.size());
  for (std::size_t i = 0; i < strings.size(); ++i) {
    const Ids ids = open.tokenizer->encode(strings[i], {});
    EXPECT_EQ(ids, expected[i]) << "string " << i << ": " << strings[i];
    EXPECT_EQ(open.tokenizer->decode(ids), strings[i]);
  }
}

INSTANTIATE_TEST_SUITE_P(All, PublishedVocabulary, ::testing::Values("llama-spm", "phi-3", "gpt-2", "starcoder", "falcon", "deepseek-llm"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

struct Fixture {
  const char *folder, *gguf;
  std::vector<const char*> texts;
};

void PrintTo(const Fixture& fixture, std::ostream* out) { *out << fixture.gguf; }

class FixtureModel : public ::testing::TestWithParam<Fixture> {
 protected:
  void SetUp() override {
    folder_ = testing::shared_path(std::string("models/") + GetParam().folder);
    if (folder_.empty()) GTEST_SKIP() << "no fixture models";
    open_ = open_vocabulary(folder_ + "/" + GetParam().gguf);
  }
  std::string folder_;
  OpenVocabulary open_;
};

TEST_P(FixtureModel, PromptsHaveTheReferenceIds) {
  const auto reference = nlohmann::json::parse(read(folder_ + "/reference.json"));
  int prompts = 0;
  for (const auto& prompt : reference["prompts"]) {
    EXPECT_EQ(open_.tokenizer->encode(prompt["text"].get<std::string>(), {}), prompt["ids"].get<Ids>());
    EXPECT_EQ(open_.tokenizer->decode(prompt["greedy_ids"].get<Ids>()), prompt["greedy_text"].get<std::string>());
    ++prompts;
  }
  EXPECT_EQ(prompts, 3);
}

TEST_P(FixtureModel, WholeTextsHaveTheReferenceIds) {
  for (const char* name : GetParam().texts) {
    const std::string text = read(folder_ + "/" + name + ".txt"), bytes = read(folder_ + "/" + name + ".tokens.i32");
    Ids expected(bytes.size() / sizeof(std::int32_t));
    std::memcpy(expected.data(), bytes.data(), bytes.size());
    const Ids ids = open_.tokenizer->encode(text, {.special = true});  // <|endoftext|> stands between the documents
    EXPECT_EQ(ids.size(), expected.size()) << name;
    EXPECT_TRUE(ids == expected) << name;  // EXPECT_EQ would print them all
    EXPECT_TRUE(open_.tokenizer->decode(ids, true) == text) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(All, FixtureModel,
                         ::testing::Values(Fixture{"tiny-llama", "tiny-llama-Q4_K_M.gguf", {"eval-books"}},
                                           Fixture{"small-qwen2", "small-qwen2-Q4_K_M.gguf", {"eval-books", "eval-docs"}}),
                         [](const auto& info) { return std::string(info.index == 0 ? "tiny_llama" : "small_qwen2"); });

}  // namespace
}  // namespace heddle::text
