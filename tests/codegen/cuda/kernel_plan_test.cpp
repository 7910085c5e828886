#include <gtest/gtest.h>

#include "codegen/cuda/emit.h"
#include "codegen/cuda/questions.h"
#include "codegen/cuda/target.h"
#include "codegen/spec.h"
#include "ir/text/text.h"

namespace heddle::codegen::cuda {
namespace {

/// A module with one group, @decode_1's first node.
std::unique_ptr<ir::Module> module_of(const std::string& body, const std::string& activations = "q8_16") {
  auto module = ir::parse(fmt::format(R"(heddle-ir 1
weight @wg : q4_K[512, 256]
weight @wu : q4_K[512, 256]
weight @g : f32[256]
func @decode_1 decode rows=16 (%x: f32[16, 256], %a: {}[16, 256]) {{
  %y = group "g" {{
{}  }}
  ret %y
}}
)",
                                      activations, body));
  HEDDLE_CHECK(module.ok(), "{}", module.error().message());
  return std::move(*module);
}

const ir::Node& group_of(const ir::Module& module) { return module.functions().front()->body()[0]; }

plan::KernelSpec spec_for(const ir::Node& group) {
  auto spec = spec_of(group);
  HEDDLE_CHECK(std::holds_alternative<SpecOfGroup>(spec));
  set_layouts(std::get<SpecOfGroup>(spec).spec);
  return std::get<SpecOfGroup>(spec).spec;
}

constexpr std::string_view gate_up =
    "    %gate = matmul @wg, %a\n    %up = matmul @wu, %a\n    %s = silu %gate\n    %m = mul %s, %up\n    yield %m\n";

/// A plan outlives the spec it was made from, and is launched as its text is.
TEST(KernelPlan, HoldsAllThatPrintingNeeds) {
  const ir::Target target = *target_named("cuda:sm_90");
  const auto module = module_of(std::string(gate_up), "f16_128");
  auto spec = std::make_unique<plan::KernelSpec>(spec_for(group_of(*module)));
  const CudaText text = *emit(*spec, target);
  auto planned = plan_kernel(*spec, target);
  ASSERT_TRUE(std::holds_alternative<KernelPlan>(planned));
  spec.reset();
  const KernelPlan plan = std::get<KernelPlan>(std::move(planned));
  ASSERT_TRUE(std::holds_alternative<TilePlan>(plan.family));
  const CudaText printed = print(plan);
  EXPECT_EQ(printed.text, text.text);
  EXPECT_EQ(printed.entry, text.entry);
  EXPECT_EQ(plan.launch().grid, text.grid);
  EXPECT_EQ(plan.launch().dynamic_shared_bytes, text.dynamic_shared_bytes);
  EXPECT_EQ(CudaQuestions(target).loop_us(group_of(*module)), std::get<TilePlan>(plan.family).us);
}

/// The op alone does not say which of two quantizes stands in the way.
TEST(KernelPlan, ARefusalNamesTheInstructionThatItIsAbout) {
  const ir::Target target = *target_named("cuda:sm_90");
  const auto module = module_of(
      "    %q = quantize %x {format=\"f16_128\"}\n    %gate = matmul @wg, %q\n    %s = silu %gate\n    %t = quantize %s {format=\"f16_128\"}\n"
      "    yield %t\n");
  const ir::Node& group = group_of(*module);
  const auto refused = CudaQuestions(target).cannot_emit(group);
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->node, &(*group.body())[0]);
  EXPECT_EQ(refused->op, "quantize");
  const auto again = cannot_emit(spec_for(group), target);
  ASSERT_TRUE(again && again->instr);
  EXPECT_EQ(again->node, nullptr) << "a spec has no nodes";
  EXPECT_EQ(again->instr->program, 0u);
  EXPECT_EQ(again->instr->index, 0u);
}

/// Of a loop: its last node.
TEST(KernelPlan, ARefusedLoopIsItsLastNode) {
  const auto module = module_of(
      "    %gate = matmul @wg, %a\n    %up = matmul @wu, %a\n    %m = mul %gate, %up\n    yield %m\n", "q8_1");
  const ir::Node& group = group_of(*module);
  const CudaQuestions questions(*target_named("cuda:sm_90"));
  for (int time = 0; time < 2; ++time) {  // the second answer is remembered
    const auto refused = questions.cannot_emit(group);
    ASSERT_TRUE(refused);
    EXPECT_EQ(refused->node, &(*group.body())[1]);
    EXPECT_EQ(refused->reason, "activations in q8_1 are not of this target");
  }
}

}  // namespace
}  // namespace heddle::codegen::cuda
