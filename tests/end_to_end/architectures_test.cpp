// A small model of every architecture: the CPU target against the interpreter, through prefill and decode.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "program.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_architectures.h"

namespace heddle::testing {
namespace {

class Architecture : public ::testing::TestWithParam<std::string> {};

TEST_P(Architecture, CpuAgreesWithTheInterpreter) {
  for (const TinyArchitecture& tiny : tiny_architectures()) {
    if (tiny.name != GetParam()) continue;
    const TempDir folder;
    const std::string model = folder.file("tiny.gguf");
    tiny.file.write(model);
    const bool quantised = tiny.name.ends_with("_q8");
    std::string ids;
    for (int i = 0; i < 40; ++i) ids += (i == 0 ? "" : ",") + std::to_string((11 * i + 3) % 48);
    const auto run = [&](const std::vector<std::string>& more) {
      std::vector<std::string> arguments = {"logits",
                                            model,
                                            "--ids",
                                            ids,
                                            "--json",
                                            "--greedy",
                                            "4",
                                            "--target",
                                            "cpu",
                                            "--activations",
                                            quantised ? "q8" : "f32",
                                            "--cache-dir",
                                            folder.path()};
      arguments.insert(arguments.end(), more.begin(), more.end());
      const Ran ran = heddle(arguments);
      EXPECT_EQ(ran.exit_code, 0) << ran.err;
      return nlohmann::json::parse(ran.out.empty() ? "{}" : ran.out);
    };
    const auto found = run({"-t", "3"}), wanted = run({"--reference"});
    ASSERT_TRUE(found.contains("logits") && wanted.contains("logits"));
    double least = INFINITY, most = -INFINITY, worst = 0;
    for (std::size_t i = 0; i < wanted["logits"].size(); ++i) {
      const double x = wanted["logits"][i];
      least = std::min(least, x), most = std::max(most, x);
      worst = std::max(worst, std::abs(x - found["logits"][i].get<double>()));
    }
    EXPECT_LE(worst, (most - least) * (quantised ? 2e-2 : 1e-5));
    if (!quantised) {
      EXPECT_EQ(found["greedy"], wanted["greedy"]);
    }
  }
}

std::vector<std::string> names() {
  std::vector<std::string> out;
  for (const TinyArchitecture& tiny : tiny_architectures()) out.push_back(tiny.name);
  return out;
}
INSTANTIATE_TEST_SUITE_P(Tiny, Architecture, ::testing::ValuesIn(names()), [](const auto& info) { return info.param; });

}  // namespace
}  // namespace heddle::testing
