#include "corruption.h"

namespace heddle::plan {
namespace {

TEST(Check, TheTinyPlanIsGood) {
  Plan plan = testing::tiny_plan();
  auto good = check(plan);
  EXPECT_TRUE(good.ok()) << good.error().message();
  as_cuda(plan);
  good = check(plan);
  EXPECT_TRUE(good.ok()) << good.error().message();
  with_sampling(plan);
  for (const std::size_t i : {0u, 2u}) plan.weights[i].layout = Layout::planes;
  for (const std::size_t i : {0u, 6u, 12u}) kernel(plan, i).args[0].layout = Layout::planes;
  for (const std::size_t i : {1u, 7u, 13u}) kernel(plan, i).args[2].layout = Layout::planes;
  good = check(plan);
  EXPECT_TRUE(good.ok()) << good.error().message();
}

TEST(Check, VocabularyOfKindNoneHasNoTokens) {
  Plan plan = testing::tiny_plan();
  plan.vocabulary.kind = "none";
  plan.vocabulary.tokens.clear();
  EXPECT_TRUE(check(plan).ok());
}

// A per-head norm, rope factors and a quantised buffer between kernels: forms that the tiny plan does not have.
TEST(Check, OtherGoodForms) {
  Plan plan = testing::tiny_plan();
  KernelSpec& output = kernel(plan, 3);
  for (std::int64_t length : {16, 8}) {  // a gain per head, factors
    auto& arg = output.args.emplace_back(Arg(output.args[1]));
    arg.dtype = DType::f32, arg.shape = {length};
    auto& weight = plan.weights.emplace_back(Weight(plan.weights[1]));
    weight.shape = {length}, weight.sources[0].columns = length, weight.sources[0].bytes = std::uint64_t(4 * length);
    auto& node_arg = decode(plan).nodes[3].args.emplace_back();
    node_arg.where = Where::weight, node_arg.index = std::uint32_t(plan.weights.size() - 1);
  }
  auto& positions = output.args.emplace_back(kernel(plan, 2).args[3]);
  positions.role = ArgRole::positions, output.positions_arg = 6;
  decode(plan).nodes[3].args.push_back(ref(plan, 2, 3));
  output.parts[0].granule = 16;
  Program& program = epilogue(plan, 3);
  for (std::uint32_t index : {4, 5}) {
    auto& input = program.inputs.emplace_back();
    input.kind = InputKind::vector, input.index = index;
  }
  program.instrs[0] = {RmsNorm{.eps = 1e-6}, {0, 2}};
  program.instrs.push_back({Rope{.head_dim = 16, .dims = 16, .theta = 1e6, .pairing = Pairing::halves}, {4, 3}});
  program.stores[0].value = 5;
  auto good = check(plan);
  EXPECT_TRUE(good.ok()) << good.error().message();

  // The norm writes q8_1, the head reads it.
  epilogue(plan, 4).instrs.push_back({Quantize{.format = DType::q8_1}, {6}});
  epilogue(plan, 4).stores[0].value = 7;
  kernel(plan, 4).args[2].dtype = kernel(plan, 5).args[0].dtype = DType::q8_1;
  ref(plan, 4, 2).bytes = ref(plan, 5, 0).bytes = 36;
  KernelSpec& head = kernel(plan, 5);
  head.gemm()->prologue.instrs.clear();
  head.gemm()->activations = DType::q8_1;
  epilogue(plan, 5).inputs.pop_back();
  epilogue(plan, 5).instrs.clear();
  epilogue(plan, 5).stores[0].value = 0;
  good = check(plan);
  EXPECT_TRUE(good.ok()) << good.error().message();
}

}  // namespace
}  // namespace heddle::plan
