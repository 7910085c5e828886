#include "passes/pipeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "graphs.h"
#include "ir/base/mapped_file.h"
#include "ir/text/text.h"
#include "ir/verify.h"
#include "tests/support/paths.h"

namespace heddle {
namespace {

using passes::Registry, passes::Step;
using ::testing::ElementsAre, ::testing::HasSubstr, ::testing::StartsWith;
using testing::small_model;

// ---- Pipeline strings

Registry& with_options() {
  static Registry registry = [] {
    Registry out;
    for (const char* name : {"a", "b"})
      HEDDLE_CHECK(out.add({name, "", {"n", "mode"}, [](ir::Function&, passes::Context&) -> Result<void> { return {}; }}).ok());
    HEDDLE_CHECK(out.add({"c", "", {}, [](ir::Function&, passes::Context&) -> Result<void> { return {}; }}).ok());
    return out;
  }();
  return registry;
}

std::string problem(std::string_view text) {
  auto steps = passes::parse_pipeline(text, with_options());
  return steps.ok() ? "none" : steps.error().message();
}

TEST(PipelineText, ParsesAndPrints) {
  auto steps = passes::parse_pipeline(" a , b{ n = 4, mode=wide },c{},a ", with_options());
  ASSERT_TRUE(steps.ok()) << steps.error().message();
  EXPECT_THAT(*steps, ElementsAre(Step{"a", {}}, Step{"b", {{"n", "4"}, {"mode", "wide"}}}, Step{"c", {}}, Step{"a", {}}));
  EXPECT_EQ(passes::print_pipeline(*steps), "a,b{mode=wide,n=4},c,a");
  EXPECT_EQ(*passes::parse_pipeline(passes::print_pipeline(*steps), with_options()), *steps);
  EXPECT_TRUE(passes::parse_pipeline("", with_options())->empty());
}

TEST(PipelineText, SaysWhatIsWrong) {
  EXPECT_EQ(problem("a,d"), "pipeline: unknown pass 'd' (known: a, b, c)");
  EXPECT_EQ(problem("a,,b"), "pipeline: a pass's name is missing before ',b'");
  EXPECT_EQ(problem("a,"), "pipeline: a pass's name is missing after the last ','");
  EXPECT_EQ(problem("{n=1}"), "pipeline: a pass's name is missing before '{n=1}'");
  EXPECT_EQ(problem("b{n=1"), "pipeline: '{' after b is not closed");
  EXPECT_EQ(problem("b{n=1}a"), "pipeline: found 'a' after b, wanted ','");
  EXPECT_EQ(problem("b{x=1}"), "pipeline: unknown option 'x' of b (known: n, mode)");
  EXPECT_EQ(problem("c{x=1}"), "pipeline: unknown option 'x' of c (known: none)");
  EXPECT_EQ(problem("b{n}"), "pipeline: option 'n' of b has no value, wanted name=value");
  EXPECT_EQ(problem("b{n=1,n=2}"), "pipeline: option 'n' of b is given twice");
}

TEST(PipelineText, TheDefaultListIsOfKnownPasses) {
  const std::string text = passes::print_pipeline(passes::default_pipeline({}));
  EXPECT_THAT(text, StartsWith("fold_constants,cse,dce,quantize_activations,cse,"));
  auto steps = passes::parse_pipeline(text, Registry::global());
  ASSERT_TRUE(steps.ok()) << steps.error().message();
  EXPECT_THAT(*steps, ::testing::Not(::testing::Contains(Step{"norm_scale_through_matmul", {}}))) << "a candidate only";
}

// ---- Registry

TEST(PassRegistry, RefusesASecondPassOfOneName) {
  Registry registry;
  passes::register_builtin_passes(registry);
  passes::register_builtin_passes(registry);
  auto second = registry.add({"cse", "", {}, {}});
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().message(), "pass 'cse': there is one of this name already");
  EXPECT_NE(registry.find("cse"), nullptr);
  EXPECT_EQ(registry.find("no_such_pass"), nullptr);
}

// ---- Running

std::vector<Step> steps_of(std::string_view text) {
  auto steps = passes::parse_pipeline(text, Registry::global());
  HEDDLE_CHECK(steps.ok(), "{}", steps.error().message());
  return *steps;
}

TEST(RunPipeline, ReportsEveryStep) {
  auto module = small_model({.layers = 1});
  auto report = passes::run_pipeline(*module, steps_of("quantize_activations,cse,group_qkv,cse"), nullptr, {});
  ASSERT_TRUE(report.ok());
  ASSERT_EQ(report->passes.size(), 4u);
  EXPECT_EQ(report->passes[0].pass, "quantize_activations");
  EXPECT_EQ(report->passes[0].fired, 8);
  EXPECT_EQ(report->passes[1].fired, 3);
  EXPECT_EQ(report->passes[3].fired, 0);
  EXPECT_EQ(report->fired("cse"), 3);
  EXPECT_EQ(report->remarks.back().str(), "group_qkv: %l0.q fired");
}

TEST(RunPipeline, RemarksSayWhy) {
  auto module = small_model({.layers = 1, .activations = DType::f32});
  auto report = passes::run_pipeline(*module, steps_of("fuse_norm_matmul"), nullptr, {});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->remarks[0].str(), "fuse_norm_matmul: %l0.attn_norm declined: norm has 3 readers");
  EXPECT_EQ(report->remarks[0].function, "decode_1");

  auto wide = small_model({.layers = 1, .rows = 64});
  wide->target.launch_us = 0;
  report = passes::run_pipeline(*wide, steps_of("quantize_activations,cse,group_qkv,fuse_norm_matmul"), nullptr, {});
  ASSERT_TRUE(report.ok());
  const auto of_norm =
      std::ranges::find(report->remarks, "%l0.attn_norm", [](const passes::Remark& remark) { return remark.outcome.where; });
  ASSERT_NE(of_norm, report->remarks.end()) << "a refusal of the cost model too names the place where the pass looked";
  EXPECT_THAT(of_norm->outcome.reason, HasSubstr(" us apart"));
}

TEST(RunPipeline, CallsAfterOnlyWhenSomethingChanged) {
  auto module = small_model({.layers = 1});
  std::vector<std::string> seen;
  passes::RunOptions options;
  options.after = [&](const Step& step, const ir::Module& now) {
    EXPECT_EQ(&now, module.get());
    seen.push_back(step.pass);
  };
  ASSERT_TRUE(passes::run_pipeline(*module, steps_of("fold_constants,quantize_activations,cse,cse,dce,group_qkv"), nullptr, options).ok());
  EXPECT_THAT(seen, ElementsAre("quantize_activations", "cse", "group_qkv"));
}

TEST(RunPipeline, LeavesOutWhatIsDisabled) {
  auto module = small_model({.layers = 1});
  auto report = passes::run_pipeline(*module, steps_of("group_qkv,group_gate_up"), nullptr, {.disabled = {"group_qkv"}});
  ASSERT_TRUE(report.ok());
  ASSERT_EQ(report->passes.size(), 1u);
  EXPECT_EQ(report->fired("group_qkv"), 0);
  EXPECT_EQ(report->fired("group_gate_up"), 1);
  auto unknown = passes::run_pipeline(*module, {}, nullptr, {.disabled = {"group_kqv"}});
  ASSERT_FALSE(unknown.ok());
  EXPECT_THAT(unknown.error().message(),
              ::testing::MatchesRegex("disabled: unknown pass 'group_kqv' \\(known: .*cse, dce, fold_constants, .*\\)"));
}

TEST(RunPipeline, StopsAtThePassLimit) {
  auto module = small_model({.layers = 1});
  auto report = passes::run_pipeline(*module, steps_of("group_qkv,group_gate_up,group_rest"), nullptr, {.pass_limit = 1});
  ASSERT_TRUE(report.ok());
  EXPECT_EQ(report->fired("group_qkv"), 1);
  EXPECT_EQ(report->fired("group_gate_up"), 0);
  EXPECT_GT(report->fired("group_rest"), 0) << "no kernels, no plan: it does not count";
  EXPECT_EQ(std::ranges::count_if(report->remarks, [](auto& remark) { return remark.outcome.reason == "the limit on changes is reached"; }),
            1);
}

TEST(RunPipeline, RequiredPassesMustHaveFired) {
  auto module = small_model({.layers = 2});
  auto report = passes::run_pipeline(*module, steps_of("group_qkv"), nullptr, {});
  ASSERT_TRUE(report.ok());
  EXPECT_TRUE(passes::check_required(*report, {{"group_qkv", 2}}).ok());
  auto missing = passes::check_required(*report, {{"group_qkv", 2}, {"group_gate_up", 1}});
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().message(), "required: group_gate_up fired 0 times, wanted 1 or more");
  EXPECT_FALSE(passes::check_required(*report, {{"no_such_pass", 0}}).ok());
}

// ---- A pass that breaks things

void register_broken_passes() {
  Registry& registry = Registry::global();
  if (registry.find("break_order")) return;
  auto move_first_to_end = [](ir::Function& function, passes::Context&) -> Result<void> {
    function.body()[0].move_before(*function.body().terminator());
    return {};
  };
  auto give_up = [](ir::Function&, passes::Context&) -> Result<void> { return error("it is raining"); };
  HEDDLE_CHECK(registry.add({"break_order", "", {}, move_first_to_end}).ok());
  HEDDLE_CHECK(registry.add({"give_up", "", {"why"}, give_up}).ok());
}

TEST(RunPipeline, TheVerifierCatchesABrokenPassByName) {
  register_broken_passes();
  auto module = small_model({.layers = 1});
  auto broken = passes::run_pipeline(*module, steps_of("cse,break_order,dce"), nullptr, {});
  ASSERT_FALSE(broken.ok());
  EXPECT_THAT(broken.error().message(), StartsWith("pass break_order broke the module: "));
  EXPECT_THAT(broken.error().message(), HasSubstr("which is not defined before it"));
  auto unseen = small_model({.layers = 1});
  EXPECT_TRUE(passes::run_pipeline(*unseen, steps_of("break_order"), nullptr, {.verify_each = false}).ok());
}

TEST(RunPipeline, AFailureLeavesAReproducer) {
  register_broken_passes();
  testing::TempDir folder;
  const std::string path = folder.file("failed.ir");
  auto module = small_model({.layers = 1});
  auto failed = passes::run_pipeline(*module, steps_of("quantize_activations,cse,give_up{why=rain},dce"), nullptr, {.reproducer = path});
  ASSERT_FALSE(failed.ok());
  EXPECT_EQ(failed.error().message(), "pass give_up: @decode_1: it is raining (to see it again: heddle opt " + path + ")");

  auto text = read_text_file(path);
  ASSERT_TRUE(text.ok());
  EXPECT_THAT(*text,
              StartsWith("# heddle opt " + path +
                         " --passes 'give_up{why=rain},dce' --verify-each\n# pass give_up: @decode_1: it is raining\nheddle-ir 1\n"));
  auto before = ir::parse(*text, path);
  ASSERT_TRUE(before.ok()) << before.error().message();
  auto expected = small_model({.layers = 1});
  ASSERT_TRUE(passes::run_pipeline(*expected, steps_of("quantize_activations,cse"), nullptr, {}).ok());
  EXPECT_EQ(ir::print(**before), ir::print(*expected)) << "the IR before the pass that failed";
  EXPECT_FALSE(passes::run_pipeline(**before, steps_of("give_up{why=rain},dce"), nullptr, {}).ok());
}

// ---- fuse_if_better

struct RefusesSilu : codegen::Questions {
  mutable std::vector<std::string> seen;  // ops of the group
  mutable std::size_t results = 0, inputs = 0;
  std::optional<codegen::Refusal> cannot_emit(const ir::Node& group) const override {
    results = group.results().size();
    inputs = ir::inputs_of(group).size();
    const ir::Node* silu = nullptr;
    for (const ir::Node* node : group.body()->nodes()) {
      seen.emplace_back(node->info().name);
      if (node->op() == ir::Op::silu) silu = node;
    }
    if (!silu) return std::nullopt;
    return codegen::Refusal{silu, "there is no silu here"};
  }
};

TEST(FuseIfBetter, AsksTheTargetAboutTheGroupItWouldBe) {
  auto module = small_model({.layers = 1, .activations = DType::f32});
  const std::string plain = ir::print(*module);
  ir::Function& f = *module->functions()[0];
  std::vector<ir::Node*> members;
  for (ir::Node* node : f.body().nodes())
    for (const char* name : {"l0.gate", "l0.up", "l0.silu", "l0.act"})
      if (!node->results().empty() && node->result()->name == name) members.push_back(node);
  const RefusesSilu questions;
  passes::Context context{.target = module->target, .questions = &questions};
  auto outcome = passes::fuse_if_better(members, "g", context);
  EXPECT_EQ(outcome.kind, passes::Outcome::declined);
  EXPECT_EQ(outcome.reason, "cannot emit %l0.silu: there is no silu here");
  EXPECT_EQ(ir::print(*module), plain) << "nothing is changed when it declines";
  EXPECT_THAT(questions.seen, ElementsAre("matmul", "matmul", "silu", "mul", "yield"));
  EXPECT_EQ(questions.results, 1u);  // the product
  EXPECT_EQ(questions.inputs, 3u);   // two weights and the normalised row

  members.resize(2);  // gate and up
  outcome = passes::fuse_if_better(members, "gate_up", context);
  EXPECT_EQ(outcome.kind, passes::Outcome::fired);
  EXPECT_TRUE(ir::verify(*module).ok());
}

}  // namespace
}  // namespace heddle
