// A plan is a disposable cache: damage and change are explained, and the text stays the same.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "ir/base/mapped_file.h"
#include "program.h"
#include "tests/support/paths.h"
#include "tests/support/safetensors_writer.h"

namespace heddle::testing {
namespace {
namespace fs = std::filesystem;

class Cache : public ::testing::Test {
 protected:
  Ran run(std::vector<std::string> more = {}, const std::string& model = bundled_model()) {
    std::vector<std::string> arguments = {"run", model, "--ids", "46,77,346", "-n", "8", "--temp", "0", "--cache-dir", cache_.path()};
    arguments.insert(arguments.end(), more.begin(), more.end());
    Ran ran = heddle(arguments);
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    return ran;
  }
  std::string plan() {
    for (const auto& entry : fs::directory_iterator(cache_.path()))
      if (entry.path().extension() == ".plan") return entry.path().string();
    return "";
  }
  static bool compiled(const Ran& ran) { return ran.err.find("compiled:") != std::string::npos; }
  static std::string bytes(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  }
  static void write(const std::string& path, const std::string& text) { std::ofstream(path, std::ios::binary) << text; }
  TempDir cache_, models_;
};

TEST_F(Cache, TheSecondRunDoesNotCompile) {
  const Ran first = run();
  EXPECT_TRUE(compiled(first)) << first.err;
  const Ran second = run();
  EXPECT_FALSE(compiled(second)) << second.err;
  EXPECT_EQ(first.out, second.out);
  EXPECT_FALSE(compiled(run({"--ctx", "777"}))) << "the context length is no input of the compiler";
}

TEST_F(Cache, DamageIsNamedAndMended) {
  const std::string text = run().out, good = bytes(plan()), path = plan();
  write(path, good.substr(0, good.size() / 2));
  Ran ran = run();
  EXPECT_NE(ran.err.find("compiled: " + path), std::string::npos) << ran.err;
  EXPECT_EQ(ran.out, text);
  EXPECT_EQ(bytes(path).size(), good.size());

  std::mt19937 random(7);
  for (int i = 0; i < 8; ++i) {  // tests/runtime/plan flips 200 bits without a process each
    std::string bad = good;
    const std::size_t at = random() % bad.size();
    bad[at] = char(bad[at] ^ (1 << random() % 8));
    write(path, bad);
    ran = run();
    EXPECT_TRUE(compiled(ran)) << "byte " << at << ": " << ran.err;
    EXPECT_EQ(ran.out, text);
  }
}

TEST_F(Cache, AChangedModelIsExplainedAndRebuilt) {
  const std::string model = models_.file("m.gguf");
  std::string content = bytes(bundled_model());
  write(model, content);
  const std::string text = run({}, model).out;
  const auto name = content.find("Tiny Llama");
  ASSERT_NE(name, std::string::npos);
  content.replace(name, 4, "Tony");
  write(model, content);
  const Ran ran = run({}, model);
  EXPECT_NE(ran.err.find("compiled: model fingerprint: "), std::string::npos) << ran.err;
  EXPECT_EQ(ran.out, text);
}

TEST_F(Cache, APlanFileRunsByItselfAndKnowsItsModel) {
  const std::string model = models_.file("m.gguf"), plan = models_.file("m.plan");
  write(model, bytes(bundled_model()));
  Ran ran = heddle({"compile", model, "-o", plan, "--cache-dir", cache_.path()});
  ASSERT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_EQ(run({}, plan).out, run({}, model).out);
  fs::remove(model);
  ran = heddle({"run", plan, "--ids", "1"});
  EXPECT_EQ(ran.exit_code, 1);
  EXPECT_EQ(ran.err, "heddle: " + plan + ": its model file " + model + " is not there\n");
}

TEST_F(Cache, QuantisedWeightsAreKeptAndMendedWhenDamaged) {
  const std::string model = models_.path();
  tiny_folder({.width = 256, .ffn = 256, .heads = 4, .kv_heads = 2, .head_dim = 64, .matrices = DType::bf16}).write(model);
  const auto quantized = [&](const std::string& path = "") {
    Ran ran = heddle({"run", path.empty() ? model : path, "--quantize", "q4_K", "--ids", "1,2,3", "-n", "8", "--temp", "0", "--cache-dir", cache_.path()});
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    return ran;
  };
  const Ran first = quantized();
  EXPECT_NE(first.err.find("weights quantised to q4_K"), std::string::npos) << first.err;
  EXPECT_NE(first.err.find(": not there yet"), std::string::npos) << first.err;
  EXPECT_EQ(quantized().err.find("quantised"), std::string::npos);
  std::string weights;
  for (const auto& entry : fs::directory_iterator(cache_.path()))
    if (entry.path().extension() == ".weights") weights = entry.path().string();
  const std::string good = bytes(weights);
  ASSERT_LT(good.size(), 700'000u) << "a little more than half a byte a weight";

  std::string bad = good;
  bad[bad.size() / 2] ^= 4;
  write(weights, bad);
  Ran ran = quantized();
  EXPECT_NE(ran.err.find(weights + ": its checksum is wrong"), std::string::npos) << ran.err;
  EXPECT_EQ(ran.out, first.out);
  EXPECT_EQ(bytes(weights), good);

  const std::string file = models_.file("model.safetensors");
  std::string other = bytes(file);
  other[other.size() - 1000] ^= 1;  // a weight: the header is the same
  fs::remove(file);
  write(file, other);
  ran = quantized();
  EXPECT_NE(ran.err.find("it was made from other weights"), std::string::npos) << ran.err;

  const Ran cleared = heddle({"cache", "clear", "--cache-dir", cache_.path()});
  EXPECT_EQ(cleared.out, fmt::format("2 files removed from {}\n", cache_.path()));
  const Ran without = heddle({"run", model, "--quantize", "q4_K", "--ids", "1", "--no-cache"});
  EXPECT_EQ(without.exit_code, 1);
  EXPECT_EQ(without.err, "heddle: --quantize keeps what it makes in the cache, which --no-cache forbids\n");
}

TEST_F(Cache, AnUnwritableCacheCostsTimeNotTheRun) {
  const std::string blocker = models_.file("file");
  write(blocker, "x");
  const Ran ran = heddle({"run", bundled_model(), "--ids", "46", "-n", "2", "--temp", "0", "--cache-dir", blocker + "/below"});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_NE(ran.err.find("not stored"), std::string::npos) << ran.err;
}

}  // namespace
}  // namespace heddle::testing
