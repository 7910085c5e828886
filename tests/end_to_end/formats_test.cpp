// Whole models in every weight format, through the program.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include "program.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/paths.h"
#include "tests/support/weight_formats.h"

namespace heddle::testing {
namespace {

GgufWriter model_in(DType type) {
  return tiny_model({.layers = 1, .width = 256, .ffn = 512, .heads = 4, .kv_heads = 2, .head_dim = 64, .vocabulary = 64, .matrices = type});
}

class Formats : public ::testing::TestWithParam<DType> {
 protected:
  Ran run(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--cache-dir", dir_.path()});
    Ran ran = heddle(arguments);
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    return ran;
  }
  TempDir dir_;
};
INSTANTIATE_TEST_SUITE_P(Types, Formats, ::testing::ValuesIn(weight_formats()),
                         [](const auto& test) { return std::string(name(test.param)); });

TEST_P(Formats, EveryNodeOfAModelAgreesWithTheInterpreter) {
  const std::string model = dir_.file("model.gguf");
  model_in(GetParam()).write(model);
  for (const char* activations : {"q8", "f32"}) {
    const Ran ran =
        run({"verify", model, "--target", "cpu", "--activations", activations, "--quiet", "--entry", "decode_1", "--entry", "prefill_32", "--entry", "prompt_32"});
    EXPECT_NE(ran.out.find("nodes are within tolerance"), std::string::npos) << ran.out;
  }
}

TEST_P(Formats, InspectNamesTheType) {
  const std::string model = dir_.file("model.gguf");
  model_in(GetParam()).write(model);
  EXPECT_NE(run({"inspect", model, "--weights"}).out.find(name(GetParam())), std::string::npos);
}

TEST(Split, AModelInPartsRunsAsTheWholeFile) {
  TempDir dir;
  const GgufWriter model = model_in(DType::q4_1);
  model.write(dir.file("whole.gguf"));
  const std::vector<GgufWriter> parts = model.split(3);
  for (int i = 0; i < 3; ++i) parts[std::size_t(i)].write(dir.file(fmt::format("model-{:05}-of-00003.gguf", i + 1)));
  const auto logits = [&](const std::string& file) {
    const Ran ran = heddle({"logits", dir.file(file), "--ids", "1,2,3", "--json", "--target", "cpu", "--cache-dir", dir.path()});
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    return ran.out;
  };
  const std::string whole = logits("whole.gguf");
  EXPECT_FALSE(whole.empty());
  EXPECT_EQ(logits("model-00001-of-00003.gguf"), whole);
  EXPECT_EQ(logits("model-00002-of-00003.gguf"), whole);
}

}  // namespace
}  // namespace heddle::testing
