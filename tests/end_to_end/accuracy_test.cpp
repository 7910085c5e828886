// The program against references made by other programs (in the shared folder beside the source tree, where it is there).
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>

#include "ir/base/mapped_file.h"
#include "program.h"
#include "tests/support/paths.h"

namespace heddle::testing {
namespace {

using nlohmann::json;

#define NEED_SHARED(path) \
  if (path.empty()) GTEST_SKIP() << "the shared models are not here"

class Accuracy : public ::testing::Test {
 protected:
  Ran run(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--cache-dir", cache_.path()});
    Ran ran = heddle(arguments);
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    return ran;
  }
  json reference(const std::string& model) { return json::parse(*read_text_file(shared_path("models/" + model + "/reference.json"))); }
  TempDir cache_;
};

std::string ids_text(const json& ids) {
  std::string out;
  for (const auto& id : ids) out += (out.empty() ? "" : ",") + std::to_string(id.get<int>());
  return out;
}

TEST_F(Accuracy, StoriesTextIsReproducedByTargetAndInterpreter) {
  const std::string model = shared_path("models/stories260K/stories260K-f32.gguf");
  NEED_SHARED(model);
  const std::string wanted = *read_text_file(shared_path("models/stories260K/greedy-256.txt"));
  // 256 tokens after BOS, of which the prompt has 4
  const std::vector<std::string> arguments = {"run", model, "-p", "Once upon a time", "--temp", "0", "-n", "252"};
  EXPECT_EQ(run(arguments).out, wanted);
  auto reference = arguments;
  reference.push_back("--reference");
  EXPECT_EQ(run(reference).out, wanted);
}

class AccuracyBy : public Accuracy, public ::testing::WithParamInterface<bool> {};
INSTANTIATE_TEST_SUITE_P(Device, AccuracyBy, ::testing::Values(false, true), [](const auto& info) { return info.param ? "interpreter" : "target"; });

TEST_P(AccuracyBy, TinyLlamaLogitsAndGreedyTokens) {
  const std::string model = shared_path("models/tiny-llama/tiny-llama-bf16.gguf");
  NEED_SHARED(model);
  for (const auto& prompt : reference("tiny-llama")["prompts"]) {
    std::vector<std::string> arguments = {"logits", model, "--ids", ids_text(prompt["ids"]), "--json", "--activations", "f32"};
    if (GetParam()) arguments.push_back("--reference");
    const json logits = json::parse(run(arguments).out)["logits"];
    for (const auto& [id, logit] : prompt["last_logits_top20"].get<std::vector<std::pair<int, double>>>())
      EXPECT_NEAR(logits[std::size_t(id)].get<double>(), logit, 2e-3) << "token " << id;
    for (std::size_t i = 0; i < 16; ++i) EXPECT_NEAR(logits[i].get<double>(), prompt["last_logits_first16"][i].get<double>(), 2e-3) << "token " << i;

    arguments = {"run", model, "--ids", ids_text(prompt["ids"]), "-n", "64", "--temp", "0", "--ignore-eos", "--json", "--activations", "f32"};
    if (GetParam()) arguments.push_back("--reference");
    EXPECT_EQ(json::parse(run(arguments).out)["tokens"], prompt["greedy_ids"]);
  }
}

struct Perplexity {
  const char *name, *folder, *file, *tokens, *set, *activations;
  double limit;  // times the reference
};
class AccuracyPerplexity : public Accuracy, public ::testing::WithParamInterface<Perplexity> {};

// The first 12 windows of 64: enough to see a wrong format, quick enough for every run. Their own reference is the interpreter's exact
// arithmetic on the bf16 model through the same windows; the whole sets are `tools/scripts/acceptance.py`'s business.
TEST_P(AccuracyPerplexity, StaysNearTheFullPrecisionModel) {
  const auto& p = GetParam();
  const std::string folder = shared_path(std::string("models/") + p.folder);
  NEED_SHARED(folder);
  auto perplexity = [&](const std::string& file, const std::string& activations) {
    return json::parse(
        run({"perplexity", folder + "/" + file, "--tokens", folder + "/" + p.tokens, "--json", "--windows", "12", "--activations", activations}).out)["ppl"].get<double>();
  };
  const double exact = perplexity("tiny-llama-bf16.gguf", "f32");
  EXPECT_LE(perplexity(p.file, p.activations), exact * p.limit);
  EXPECT_GE(perplexity(p.file, p.activations), exact * 0.98);
}
INSTANTIATE_TEST_SUITE_P(Formats, AccuracyPerplexity,
                         ::testing::Values(Perplexity{"q8_0", "tiny-llama", "tiny-llama-Q8_0.gguf", "eval-books.tokens.i32", "books", "q8", 1.01},
                                           Perplexity{"q6_K", "tiny-llama", "tiny-llama-Q6_K.gguf", "eval-books.tokens.i32", "books", "q8", 1.03},
                                           Perplexity{"q4_K_M", "tiny-llama", "tiny-llama-Q4_K_M.gguf", "eval-books.tokens.i32", "books", "q8", 1.09}),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace heddle::testing
