#include "codegen/estimates.h"

#include <gtest/gtest.h>

namespace heddle::codegen {
namespace {

using Positions = std::vector<std::int64_t>;

plan::Arg arg(plan::ArgRole role, DType dtype, std::vector<std::int64_t> shape) {
  plan::Arg out;
  out.role = role, out.dtype = dtype, out.shape = std::move(shape);
  return out;
}

plan::KernelSpec attention(std::int64_t window) {
  plan::KernelSpec spec;
  spec.loop = plan::Attention{.q = 0, .kv = 1, .heads = 4, .kv_heads = 2, .head_dim = 64, .scale = 1, .window = window};
  spec.rows = 2;
  spec.args = {arg(plan::ArgRole::buffer, DType::f32, {2, 256}), arg(plan::ArgRole::state, DType::f16, {2, 2, 64})};
  return spec;
}

plan::KernelSpec experts() {  // each of 3 rows is multiplied by 2 of 8 matrices [32, 256]
  plan::KernelSpec spec;
  spec.loop.emplace<plan::Gemm>();
  spec.gemm()->k = 256, spec.gemm()->experts = 2, spec.gemm()->chosen = 2;
  spec.rows = 3;
  spec.args = {arg(plan::ArgRole::weight, DType::q4_K, {8, 32, 256}), arg(plan::ArgRole::buffer, DType::f32, {3, 256}),
               arg(plan::ArgRole::buffer, DType::i32, {3, 2})};
  auto& part = spec.parts.emplace_back();
  part.n = 64, part.segments = {{0}};
  return spec;
}

TEST(Estimates, OfStacksOfExpertsOnlyThoseThatOneRowChoseMustBeRead) {
  EXPECT_EQ(min_bytes(experts()), 2 * 32 * 144 + 3 * 256 * 4 + 3 * 2 * 4);
}

TEST(Estimates, ProductsAreThoseOfTheRowsThatAreThere) {
  EXPECT_EQ(operations(experts(), Positions{5, 6, 7}), 3 * 2 * 64 * 256);
  EXPECT_EQ(operations(experts(), Positions{}), 0);
  plan::KernelSpec gated = experts();  // the sum over what was chosen: as many products, fewer results
  gated.gemm()->gates = 2, gated.parts[0].n = 32;
  EXPECT_EQ(operations(gated, Positions{5}), operations(experts(), Positions{5}));
}

TEST(Estimates, AttentionReadsWhatItsRowsSeeOnceAndAddsItToNoConstant) {
  const std::int64_t position = 2 * 2 * 64 * 2;
  EXPECT_EQ(min_bytes(attention(0)), 2 * 256 * 4);
  EXPECT_EQ(attended_bytes(attention(0), Positions{8, 9}), 10 * position);
  EXPECT_EQ(attended_bytes(attention(4), Positions{8, 9}), 5 * position);
  EXPECT_EQ(attended_bytes(attention(0), Positions{}), 0);
  EXPECT_EQ(attended_bytes(experts(), Positions{8, 9}), 0);
  EXPECT_EQ(operations(attention(0), Positions{8, 9}), 4 * 4 * 64 * (9 + 10));
  EXPECT_EQ(operations(attention(4), Positions{8, 9}), 4 * 4 * 64 * (4 + 4));
}

TEST(Estimates, AKeyCostsWhatOneMorePositionAdds) {
  EXPECT_EQ(operations_per_key(attention(0)), double(operations(attention(0), Positions{9}) - operations(attention(0), Positions{8})));
  EXPECT_EQ(operations_per_key(attention(4)), 0) << "a window moves on";
  EXPECT_EQ(operations_per_key(experts()), 0);
}

}  // namespace
}  // namespace heddle::codegen
