#include "passes/plugin.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "ir/text/text.h"
#include "tests/support/paths.h"
#include "tools/verify/open_session.h"

namespace heddle {
namespace {

using passes::Registry;
using ::testing::ElementsAre, ::testing::HasSubstr, ::testing::Not;

/// Logits of the bundled model after each of a few tokens, on the CPU target.
std::vector<float> logits(const tools::Compiled& compiled) {
  auto session = tools::open_session(compiled.plan, 64, {.threads = 2});
  HEDDLE_CHECK(session.ok(), "{}", session.error().message());
  std::vector<float> all;
  for (std::int32_t token : {1, 50, 7, 300, 20}) {
    auto row = session->feed(std::span(&token, 1));
    HEDDLE_CHECK(row.ok(), "{}", row.error().message());
    all.insert(all.end(), row->begin(), row->end());
  }
  return all;
}

// What is loaded stays loaded: all that is to be seen before and after stands in one test.
TEST(Plugin, ItsFusionRunsOnTheCpuTarget) {
  const testing::TempDir folder;
  tools::CompileOptions options;
  options.target = "cpu";
  options.cache_dir = folder.path();
  const std::string model = testing::source_path("tests/models/tiny-llama-Q4_K_M.gguf");
  auto plain = tools::compile_model(model, options);
  ASSERT_TRUE(plain.ok()) << plain.error().message();
  EXPECT_THAT(passes::print_pipeline(passes::default_pipeline({})), Not(HasSubstr("fuse_attention_quantize")));

  options.plugins = {HEDDLE_PLUGIN_FILE};
  auto fused = tools::compile_model(model, options);
  ASSERT_TRUE(fused.ok()) << fused.error().message();
  EXPECT_THAT(passes::print_pipeline(passes::default_pipeline({})), HasSubstr("fuse_attention_quantize,fuse_norm_matmul"));
  EXPECT_TRUE(fused->built) << "a plug-in is part of the plan's key";
  EXPECT_GT(fused->report.fired("fuse_attention_quantize"), 0);
  EXPECT_THAT(plain->plan->ir, Not(HasSubstr("group \"attention_quantize\"")));
  EXPECT_THAT(fused->plan->ir, HasSubstr("group \"attention_quantize\""));
  EXPECT_EQ(logits(*plain), logits(*fused));
}

TEST(Plugin, SaysWhatItAdded) {
  Registry registry;
  auto loaded = passes::load_pass_plugin(HEDDLE_PLUGIN_FILE, registry);
  ASSERT_TRUE(loaded.ok()) << loaded.error().message();
  EXPECT_THAT(loaded->names, ElementsAre("fuse_attention_quantize"));
  EXPECT_EQ(loaded->hash.size(), 32u);
  EXPECT_NE(registry.find("fuse_attention_quantize"), nullptr);
  auto again = passes::load_pass_plugin(HEDDLE_PLUGIN_FILE, registry);
  ASSERT_TRUE(again.ok()) << "the same file again is no second pass of one name: " << again.error().message();
  EXPECT_EQ(again->names, loaded->names);
  EXPECT_EQ(again->hash, loaded->hash);
}

TEST(Plugin, WithANameThatIsTakenIsRefused) {
  Registry registry;
  ASSERT_TRUE(registry.add({"fuse_attention_quantize", "", {}, {}}).ok());
  auto loaded = passes::load_pass_plugin(HEDDLE_PLUGIN_FILE, registry);
  ASSERT_FALSE(loaded.ok());
  EXPECT_EQ(loaded.error().message(), HEDDLE_PLUGIN_FILE ": pass 'fuse_attention_quantize': there is one of this name already");
}

TEST(Plugin, OfAnotherAbiIsRefusedByName) {
  Registry registry;
  auto loaded = passes::load_pass_plugin(HEDDLE_FOREIGN_PLUGIN, registry);
  ASSERT_FALSE(loaded.ok());
  EXPECT_EQ(loaded.error().message(), HEDDLE_FOREIGN_PLUGIN ": built for heddle ABI 1a2b, this program has " HEDDLE_ABI_TAG);
  EXPECT_TRUE(registry.all().empty());
}

TEST(Plugin, ThatIsNoneIsRefused) {
  Registry registry;
  auto missing = passes::load_pass_plugin("/nowhere/p.so", registry);
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().message(), "/nowhere/p.so: cannot open: No such file or directory");
  const testing::TempDir folder;
  std::ofstream(folder.file("text.so")) << "not a library";
  auto text = passes::load_pass_plugin(folder.file("text.so"), registry);
  ASSERT_FALSE(text.ok());
  EXPECT_EQ(text.error().message(), folder.file("text.so") + ": cannot load the plug-in: file too short");
  auto other = passes::load_pass_plugin(HEDDLE_NO_PLUGIN, registry);
  ASSERT_FALSE(other.ok());
  EXPECT_EQ(other.error().message(), HEDDLE_NO_PLUGIN ": no plug-in of heddle: it has no heddle_plugin_abi");
}

}  // namespace
}  // namespace heddle
