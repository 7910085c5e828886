// Verification on the bundled model: nothing to find in it, and every kind of planted fault found where it is.
#include "tools/verify/verify_nodes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ir/text/text.h"
#include "runtime/cpu/device.h"
#include "tests/support/paths.h"
#include "tools/verify/reference_device.h"
#include "tools/verify/verify_model.h"

namespace heddle::tools {
namespace {

using ::testing::HasSubstr, ::testing::StartsWith;

const std::vector<std::int32_t> ids = {46, 77, 346, 788, 258, 630, 527, 375, 258};

std::string bundled() { return testing::source_path("tests/models/tiny-llama-Q4_K_M.gguf"); }

CompileOptions options_for(const std::string& target) {
  CompileOptions options;
  options.target = target;
  options.use_cache = false;
  return options;
}

Compiled compiled(const CompileOptions& options) {
  auto made = compile_model(bundled(), options);
  HEDDLE_CHECK(made.ok(), "{}", made.error().message());
  return std::move(*made);
}

VerifyRequest request_for(const CompileOptions& options, bool reference = false) {
  return {bundled(), options, ids, {"decode_1"}, [reference](const plan::Plan&) -> Result<std::unique_ptr<runtime::NodeDevice>> {
            if (reference) return make_reference_device();
            return runtime::make_cpu_device(2);
          }};
}

std::vector<EntryCheck> checks(const VerifyRequest& request, const Compiled& compiled) {
  auto verified = verify_model(request, compiled);
  HEDDLE_CHECK(verified.ok(), "{}", verified.error().message());
  return std::move(verified->checks);
}

std::string fault(const std::vector<EntryCheck>& checks) {
  const EntryCheck* found = first_fault(checks);
  return found ? text_of(*found, *found->fault) : "";
}

/// A plan that may be changed.
std::shared_ptr<plan::Plan> copy_of(const plan::Plan& plan) { return std::make_shared<plan::Plan>(plan); }

void expect_all_judged(const std::vector<EntryCheck>& checks) {
  for (const EntryCheck& check : checks) {
    EXPECT_FALSE(check.nodes.empty());
    for (const NodeCheck& node : check.nodes)
      for (const ValueCheck& value : node.values) {
        EXPECT_TRUE(value.passes) << check.entry << " " << value.name << " is not in the IR before the passes";
        EXPECT_TRUE(value.good()) << check.entry << " " << value.name;
      }
  }
}

TEST(VerifyNodes, FindsNothingWrongWithTheCpuTarget) {
  for (const char* activations : {"q8", "f32"}) {
    CompileOptions options = options_for("cpu");
    options.activations = activations;
    VerifyRequest request = request_for(options);
    request.entries.clear();
    const auto found = checks(request, compiled(options));
    EXPECT_EQ(fault(found), "");
    ASSERT_GE(found.size(), 3u);
    EXPECT_EQ(found[0].steps, 9u);
    EXPECT_EQ(found[1].steps, 2u) << "eight rows, then one and seven idle";
    expect_all_judged(found);
  }
}

TEST(VerifyNodes, FindsAKernelThatDoesNotComputeItsGroup) {
  const CompileOptions options = options_for("cpu");
  Compiled made = compiled(options);
  const auto spoiled = copy_of(*made.plan);
  const auto& node = spoiled->entries[0].nodes[7];  // of the second layer
  ASSERT_TRUE(spoiled->kernels[node.kernel].spec.attention()) << spoiled->kernels[node.kernel].spec.name;
  plan::Kernel kernel = spoiled->kernels[node.kernel];
  kernel.spec.attention()->scale *= 1.01;
  spoiled->entries[0].nodes[7].kernel = std::uint32_t(spoiled->kernels.size());
  spoiled->kernels.push_back(std::move(kernel));
  made.plan = spoiled;
  const auto found = checks(request_for(options), made);
  EXPECT_THAT(fault(found), StartsWith("decode_1, step 1, node 7 (attention_1x4_2x64_f32): kernel: %l1.attn[0, "))
      << "one position alone does not show the scale";
  for (const NodeCheck& check : found[0].nodes)
    for (const ValueCheck& value : check.values) {
      EXPECT_EQ(value.good(), check.node != 7) << value.name << ": errors are local";
      if (check.node == 20) {
        EXPECT_GT(value.accumulated, 1e-4) << "but add up";
      }
    }
}

/// Wrong on purpose: adds the residual of the second layer to itself instead of the product.
passes::Pass wrong_residual() {
  return passes::at_each("wrong_residual", "", ir::Op::add, [](ir::Node& add, passes::Context&) {
    if (add.result()->name != "l1.x1" || add.operand(0) == add.operand(1)) return passes::no_match();
    add.set_operand(1, add.operand(0));
    return passes::fired(add);
  });
}

TEST(VerifyNodes, TellsAPassThatChangesAValueFromAKernelThatDoes) {
  ASSERT_TRUE(passes::Registry::global().find("wrong_residual") || passes::Registry::global().add(wrong_residual()).ok());
  CompileOptions options = options_for("cpu");
  options.pipeline =
      "fold_constants,cse,quantize_activations,cse,group_qkv,wrong_residual,fuse_residual,dce,group_rest,schedule,plan_memory";
  const Compiled made = compiled(options);
  const VerifyRequest request = request_for(options);
  EXPECT_THAT(fault(checks(request, made)), HasSubstr(": passes: %l1.x1[0, "));

  std::vector<std::string> told;
  const auto suspects = bisect(request, made, [&](const Suspect& suspect) { told.push_back(suspect.pass); });
  ASSERT_TRUE(suspects.ok()) << suspects.error().message();
  std::vector<std::string> mending, needed;
  for (const Suspect& suspect : *suspects) {
    if (suspect.outcome == Suspect::mends) mending.push_back(suspect.pass);
    if (suspect.outcome == Suspect::cannot_be_left_out) needed.push_back(suspect.pass);
    if (suspect.outcome == Suspect::no_help) {
      EXPECT_THAT(suspect.detail, HasSubstr("passes: %l1.x1[0, "));
    }
  }
  EXPECT_THAT(mending, ::testing::ElementsAre("wrong_residual"));
  EXPECT_THAT(needed, ::testing::Contains("plan_memory"));
  EXPECT_EQ(told.size(), suspects->size());
  EXPECT_EQ(suspects->size(), 10u) << "cse once, although it runs twice";

  CompileOptions limited = options;
  limited.pass_limit = 1000;
  const auto verified = verify_model(request_for(limited), compiled(limited));
  ASSERT_TRUE(verified.ok());
  EXPECT_NE(verified->passes_not_judged, "");
  EXPECT_EQ(fault(verified->checks), "") << "the kernels do compute what the spoiled IR says";
}

TEST(VerifyNodes, FindsAValueThatIsOverwrittenTooSoon) {
  const CompileOptions options = options_for("cpu");
  Compiled made = compiled(options);
  const auto spoiled = copy_of(*made.plan);
  // %l0.x1 is read by the product and, two nodes on, by the residual; what stands between is moved onto it.
  const auto place_of = [&](const std::string& value) {
    const auto module = ir::parse(spoiled->ir, "plan");
    HEDDLE_CHECK(module.ok());
    for (const ir::Node* node : (*module)->function("decode_1")->body().nodes())
      for (const ir::Value* result : node->results())
        if (result->name == value) return result->placement;
    return ir::Placement{};
  };
  const ir::Placement victim = place_of("l0.x1"), intruder = place_of("l0.act.q8_1");
  ASSERT_EQ(victim.kind, ir::Placement::arena);
  ASSERT_EQ(intruder.kind, ir::Placement::arena);
  ASSERT_NE(victim.offset, intruder.offset);
  const std::string from = fmt::format(" at arena+{}:{}", intruder.offset, intruder.bytes);
  const std::size_t group = spoiled->ir.find("%l0.act.q8_1 = group");
  ASSERT_NE(group, spoiled->ir.npos);
  const std::size_t at = spoiled->ir.find(from, group);
  ASSERT_NE(at, spoiled->ir.npos);
  spoiled->ir.replace(at, from.size(), fmt::format(" at arena+{}:{}", victim.offset, intruder.bytes));
  made.plan = spoiled;
  EXPECT_THAT(fault(checks(request_for(options, true), made)), HasSubstr("memory: %l0.x1 was overwritten before node 5 reads it"));
}

TEST(VerifyNodes, TheReferenceRunsAnyTargetsPlanInThePlansMemory) {
  const CompileOptions options = options_for("cpu");
  VerifyRequest request = request_for(options, true);
  request.entries.clear();
  const auto found = checks(request, compiled(options));
  EXPECT_EQ(fault(found), "");
  expect_all_judged(found);
  for (const EntryCheck& check : found)
    for (const NodeCheck& node : check.nodes)
      for (const ValueCheck& value : node.values) EXPECT_EQ(value.kernel, 0) << value.name;
}

TEST(VerifyNodes, NamesWhatItCannotDo) {
  const CompileOptions options = options_for("cpu");
  const Compiled made = compiled(options);
  VerifyRequest request = request_for(options);
  request.entries = {"decode_3"};
  const auto unknown = verify_model(request, made);
  ASSERT_FALSE(unknown.ok());
  EXPECT_EQ(unknown.error().message(), "the plan has no entry point 'decode_3'");
}

}  // namespace
}  // namespace heddle::tools
