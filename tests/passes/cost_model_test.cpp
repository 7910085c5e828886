#include "passes/cost_model.h"

#include <gtest/gtest.h>

#include "ir/text/text.h"
#include "passes/pass.h"

namespace heddle {
namespace {

/// Round figures: 1 GB/s is 1000 bytes/us, 1 GFLOPS 1000 operations/us.
std::unique_ptr<ir::Module> module_of(const std::string& nodes, int rows) {
  auto parsed = ir::parse(fmt::format(R"(heddle-ir 1
module "m"
target "cpu" {{launch_us=2, memory_gbps=1, worker_gflops=1, workers=4}}
weight @g : f32[1000]
weight @w : f32[500, 1000]
weight @table : q8_0[640, 320]
func @f decode rows={0} (%x: f32[{0}, 1000], %y: f32[{0}, 500], %tokens: i32[{0}], %slot: i32[{0}], %pos: i32[{0}], %kv: state f32[2, 2, 250]) {{
{1}
}})",
                                      rows, nodes));
  HEDDLE_CHECK(parsed.ok(), "{}", parsed.error().message());
  return std::move(*parsed);
}

double cost(const std::string& nodes, int rows = 1, std::vector<std::string> features = {}) {
  auto module = module_of(nodes + "\n  ret %r, %kv", rows);
  module->target.features = std::move(features);
  std::vector<ir::Node*> members = module->functions()[0]->body().nodes();
  members.pop_back();
  return passes::kernel_us(members, module->target);
}

/// A target that knows of its kernels how long their loops take.
struct Loops : codegen::Questions {
  explicit Loops(double us) : us(us) {}
  std::optional<codegen::Refusal> cannot_emit(const ir::Node&) const override { return std::nullopt; }
  std::optional<double> loop_us(const ir::Node&) const override { return us; }
  double us;
};

TEST(CostModel, AStepIsTheSumOfItsKernels) {
  const auto step = [](int rows, const codegen::Questions* questions) {
    auto module = module_of(
        "%m = group \"m\" {\n  %1 = matmul @w, %x\n  yield %1\n}\n%r = group \"s\" {\n  %2 = silu %m\n  yield %2\n}\n"
        "  ret %r, %kv",
        rows);
    return passes::step_us(*module->functions()[0], questions, module->target);
  };
  const auto kernel = [](int rows, const char* nodes) { return cost(nodes, rows); };
  // Of few rows reading decides, and of many the arithmetic: 2000 us for the weights, an eighth of that for every row.
  EXPECT_DOUBLE_EQ(step(1, nullptr), kernel(1, "%r = matmul @w, %x") + kernel(1, "%r = silu %y"));
  EXPECT_DOUBLE_EQ(step(64, nullptr), 2 + 2000.0 * 64 / 8 + kernel(64, "%r = silu %y"));
  const Loops slow(1e6), quick(1);
  EXPECT_DOUBLE_EQ(step(1, &slow), 2 * (2 + 1e6));
  EXPECT_DOUBLE_EQ(step(1, &quick), step(1, nullptr));
}

TEST(CostModel, LaunchAndBytes) {
  // x, w, the result; activations move at four times the rate
  EXPECT_DOUBLE_EQ(cost("%r = matmul @w, %x"), 2 + 1.0 + 2000.0 + 0.5);
  // one row of the table, a token, the result
  EXPECT_DOUBLE_EQ(cost("%r = embed @table, %tokens"), 2 + 0.34 + 0.001 + 0.32);
}

TEST(CostModel, RowWorkWithoutALoopIsSharedByRows) {
  EXPECT_DOUBLE_EQ(cost("%r = rms_norm %x, @g {eps=0}"), 2 + 1.0 + 4.0 + 1.0 + 4.0);
  EXPECT_DOUBLE_EQ(cost("%r = rms_norm %x, @g {eps=0}", 2), 2 + 2.0 + 4.0 + 2.0 + 4.0);      // each of two workers takes one
  EXPECT_DOUBLE_EQ(cost("%r = rms_norm %x, @g {eps=0}", 8), 2 + 8.0 + 4.0 + 8.0 + 2 * 4.0);  // each of four takes two
}

TEST(CostModel, RowWorkBeforeALoopIsRepeatedAndBehindItShared) {
  const double matmul = cost("%r = matmul @w, %x");
  EXPECT_DOUBLE_EQ(cost("%n = rms_norm %x, @g {eps=0}\n  %r = matmul @w, %n"), matmul + 4.0 + 4.0);  // the gain's bytes, the row's work
  EXPECT_DOUBLE_EQ(cost("%m = matmul @w, %x\n  %r = add %m, %y"), matmul + 0.5 + 0.5 / 4);           // y's bytes, the sum
}

TEST(CostModel, WorkersThatShareThePrologueWaitForEachOther) {
  const std::string nodes = "%n = rms_norm %x, @g {eps=0}\n  %r = matmul @w, %n";
  EXPECT_DOUBLE_EQ(cost(nodes, 4, {"shared_prologue"}), cost(nodes, 4) - 4 * 4.0 + 2 + 4.0);
  EXPECT_DOUBLE_EQ(cost(nodes, 1, {"shared_prologue"}), cost(nodes, 1)) << "one row is sooner repeated";
}

TEST(CostModel, BytesThatStayInsideAreFree) {
  const double two = cost("%a = add %x, %x\n  %r = add %a, %x");
  const double grouped = cost("%a = group \"a\" {\n %1 = add %x, %x\n yield %1\n }\n %r = group \"b\" {\n %2 = add %a, %x\n yield %2\n }");
  EXPECT_DOUBLE_EQ(two, 2 + 2 * 1.0 + 2 * 1.0);
  EXPECT_DOUBLE_EQ(grouped, two) << "of groups that would be merged";
  EXPECT_DOUBLE_EQ(cost("%a = add %x, %x\n  %b = add %a, %x\n  %r = add %a, %b"), two + 1.0);
}

TEST(CostModel, Caches) {
  // q, slot, pos, the result; 512 positions of 2 * 2 * 250 floats
  EXPECT_DOUBLE_EQ(
      cost("%q = group \"g\" {\n %1 = attention %y, %kv, %slot, %pos {heads=2, kv_heads=2, head_dim=250, scale=1, window=0, softcap=0}\n"
           " yield %1\n }\n %r = group \"h\" {\n %2 = add %q, %y\n yield %2\n }"),
      2 + 0.5 + 0.002 + 0.5 + 512 * 4.0 + 0.5 / 4);
}

TEST(CostModel, KeysCostRowsOfAttentionThatAllRowsRead) {
  struct Keys : Loops {
    Keys() : Loops(1) {}
    double key_us(const ir::Node& group) const override { return group.body()->nodes()[0]->op() == ir::Op::attention ? 0.5 : 100; }
  };
  const std::string attention = "attention %y, %kv, %slot, %pos {heads=2, kv_heads=2, head_dim=250, scale=1, window=0, softcap=0}\n";
  auto module = module_of("  %a = group \"a\" {\n %1 = " + attention + " yield %1\n }\n  %r = group \"b\" {\n %2 = " + attention +
                              " yield %2\n }\n  %s = group \"c\" {\n %3 = silu %r\n yield %3\n }\n  ret %s, %kv",
                          16);
  const ir::Function& f = *module->functions()[0];
  EXPECT_DOUBLE_EQ(passes::key_us(f, 16, Keys()), 2 * 0.5);
  EXPECT_DOUBLE_EQ(passes::key_us(f, 32, Keys()), 0) << "of one row chosen among them";
}

TEST(CostModel, AFusionLosesByIt) {
  auto module = module_of("  %n = rms_norm %x, @g {eps=0}\n  %r = matmul @w, %n\n  ret %r, %kv", 64);
  ir::Function& f = *module->functions()[0];
  passes::Context context{.target = module->target};
  const auto nodes = f.body().nodes();
  const std::string before = ir::print(*module);
  const auto outcome = passes::fuse_if_better({nodes[0], nodes[1]}, "norm_matmul", context);
  EXPECT_EQ(outcome.kind, passes::Outcome::declined);
  EXPECT_EQ(outcome.where, "%r");
  EXPECT_EQ(outcome.reason, "2358.0 us fused, 2296.0 us apart");
  EXPECT_EQ(ir::print(*module), before);
}

}  // namespace
}  // namespace heddle
