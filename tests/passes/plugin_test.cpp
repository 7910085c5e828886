#include "passes/plugin.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "codegen/spec.h"
#include "graphs.h"
#include "ir/interp/check_numerics.h"
#include "ir/text.h"
#include "passes/pipeline.h"
#include "tests/support/paths.h"

namespace heddle {
namespace {

// What is loaded stays loaded, so this test runs in the order in which it is written: in one process, once.
TEST(Plugin, AddsAPassThatTheDefaultPipelineRunsAndTheTargetCanEmit) {
  const std::string plain = passes::print_pipeline(passes::default_pipeline({}));
  auto loaded = passes::load_pass_plugin(HEDDLE_TEST_PLUGIN);
  ASSERT_TRUE(loaded.ok()) << loaded.error().message();
  EXPECT_THAT(loaded->names, ::testing::ElementsAre("fuse_attention_quantize"));
  EXPECT_EQ(loaded->hash.size(), 32u);
  std::string with = passes::print_pipeline(passes::default_pipeline({}));
  EXPECT_THAT(with, ::testing::HasSubstr("fuse_gate_up_swiglu,fuse_attention_quantize,fuse_norm_matmul"));

  auto before = testing::small_model({.layers = 2}), after = testing::small_model({.layers = 2});
  ASSERT_TRUE(passes::run_pipeline(*before, *passes::parse_pipeline("quantize_activations", passes::Registry::global()), nullptr, {}).ok());
  const codegen::SpecQuestions questions;
  auto report = passes::run_pipeline(*after, passes::default_pipeline(after->target), &questions, {});
  ASSERT_TRUE(report.ok()) << report.error().message();
  EXPECT_EQ(report->fired("fuse_attention_quantize"), 2);
  for (const passes::Remark& remark : report->remarks)
    EXPECT_FALSE(remark.pass == "fuse_attention_quantize" && remark.outcome.kind == passes::Outcome::declined) << remark.str();
  EXPECT_THAT(ir::print(*after), ::testing::HasSubstr("group \"attention_quantize\""));
  EXPECT_THAT(ir::print(*after), ::testing::Not(::testing::HasSubstr("quantize_matmul_residual")));
  auto difference = ir::interp::check_numerics(*before, *after, 3);
  ASSERT_TRUE(difference.ok()) << difference.error().message();
  EXPECT_TRUE(difference->identical()) << difference->where;

  auto again = passes::load_pass_plugin(HEDDLE_TEST_PLUGIN);
  ASSERT_FALSE(again.ok());
  EXPECT_EQ(again.error().message(), std::string(HEDDLE_TEST_PLUGIN) + ": pass 'fuse_attention_quantize': there is one of this name already");
}

TEST(Plugin, OfAnotherAbiIsRefusedByName) {
  passes::Registry registry;
  auto loaded = passes::load_pass_plugin(HEDDLE_FOREIGN_PLUGIN, registry);
  ASSERT_FALSE(loaded.ok());
  EXPECT_EQ(loaded.error().message(),
            std::string(HEDDLE_FOREIGN_PLUGIN) + ": built for heddle ABI 1a2b, this program has " + HEDDLE_ABI_TAG);
  EXPECT_TRUE(registry.all().empty());
}

TEST(Plugin, ThatIsNoneIsRefused) {
  passes::Registry registry;
  auto missing = passes::load_pass_plugin("/nowhere/p.so", registry);
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().message(), "/nowhere/p.so: cannot open: No such file or directory");
  testing::TempDir folder;
  std::ofstream(folder.file("text.so")) << "not a library";
  auto text = passes::load_pass_plugin(folder.file("text.so"), registry);
  ASSERT_FALSE(text.ok());
  EXPECT_EQ(text.error().message(), folder.file("text.so") + ": cannot load the plug-in: file too short");
  auto other = passes::load_pass_plugin(HEDDLE_EMPTY_LIBRARY, registry);
  ASSERT_FALSE(other.ok());
  EXPECT_EQ(other.error().message(), std::string(HEDDLE_EMPTY_LIBRARY) + ": no plug-in of heddle: it has no heddle_plugin_abi");
}

}  // namespace
}  // namespace heddle
