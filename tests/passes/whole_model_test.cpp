// The default pipeline on whole functions: what it makes of them, and that no pass changes a number.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "codegen/cpu/questions.h"
#include "codegen/spec.h"
#include "graphs.h"
#include "ir/dependencies.h"
#include "ir/interp/check_numerics.h"
#include "ir/text/text.h"
#include "ir/verify.h"
#include "passes/pipeline.h"

namespace heddle {
namespace {

using passes::Registry;
using testing::SmallModel, testing::small_model;

passes::Report run(ir::Module& module, passes::RunOptions options = {}) {
  const codegen::cpu::CpuQuestions questions;
  auto report = passes::run_pipeline(module, passes::default_pipeline(), &questions, options);
  HEDDLE_CHECK(report.ok(), "{}", report.error().message());
  return *report;
}

std::vector<std::string> labels(const ir::Function& function) {
  std::vector<std::string> out;
  for (const ir::Node* node : function.body().nodes())
    if (!node->has(ir::terminator)) out.push_back(node->str("label"));
  return out;
}

int count(const ir::Function& function, ir::Op op) {
  int n = 0;
  for (const ir::Node* node : function.all_nodes()) n += node->op() == op;
  return n;
}

TEST(WholeModel, DecodeOfOneRowHasFourKernelsALayerAndOneQuantizeForEachRow) {
  auto module = small_model({.layers = 1});
  run(*module);
  const ir::Function& f = *module->function("decode_1");
  EXPECT_THAT(labels(f), ::testing::ElementsAre("embed", "norm_qkv_rope_cache", "attention", "quantize_matmul_residual",
                                                "norm_gate_up_swiglu", "matmul_residual", "norm_matmul"));
  EXPECT_EQ(count(f, ir::Op::quantize), 5);  // for q, k, v; for o; for gate, up; for down, behind the loop; for the logits
}

TEST(WholeModel, ManyRowsKeepTheirNormsApart) {
  auto module = small_model({.layers = 1, .rows = 64});
  module->target.launch_us = 0.1;
  const auto report = run(*module);
  EXPECT_EQ(report.fired("fuse_norm_matmul"), 0);
  EXPECT_EQ(report.fired("fuse_gate_up_swiglu"), 1);
}

TEST(WholeModel, APrefillEndsWithTheLastStore) {
  auto module = small_model({.layers = 2, .rows = 4, .kind = EntryKind::prefill});
  run(*module);
  EXPECT_EQ(labels(*module->function("prefill_4")).back(), "norm_kv_rope_cache");
}

TEST(WholeModel, EveryGroupCanBeEmittedAndPlaced) {
  for (bool biases : {false, true})
    for (const DType activations : {DType::q8_1, DType::f32}) {
      auto module = small_model({.activations = activations, .biases = biases});
      run(*module);
      for (const ir::Node* node : module->function("decode_1")->body().nodes()) {
        if (node->has(ir::terminator)) continue;
        const auto spec = codegen::spec_of(*node);
        EXPECT_TRUE(std::holds_alternative<codegen::SpecOfGroup>(spec)) << ir::print(*node);
        for (const ir::Value* value : node->results()) EXPECT_NE(value->placement.kind, ir::Placement::none) << value->name;
      }
      EXPECT_GT(module->function("decode_1")->arena_bytes, 0);
    }
}

TEST(WholeModel, TheArenaIsReused) {
  auto few = small_model({.layers = 2}), many = small_model({.layers = 8});
  run(*few);
  run(*many);
  EXPECT_EQ(few->function("decode_1")->arena_bytes, many->function("decode_1")->arena_bytes);
}

// Only data and `after` edges order kernels on a device: without looking at the list's order, whoever overwrites bytes must come after
// everybody who reads or writes them.
TEST(WholeModel, EdgesAloneOrderEveryReuseOfMemory) {
  auto module = small_model({.layers = 3, .rows = 4});
  run(*module);
  const ir::Block& block = module->function("decode_4")->body();
  std::vector<ir::Value*> placed;
  for (ir::Node* node : block.nodes())
    for (ir::Value* value : node->results())
      if (value->placement.kind == ir::Placement::arena) placed.push_back(value);
  const ir::Dependencies dependencies(block);
  int shared = 0;
  for (const ir::Value* then : placed)
    for (const ir::Value* now : placed) {
      if (block.position_of(*then->producer()) >= block.position_of(*now->producer())) continue;
      const auto &a = then->placement, &b = now->placement;
      if (a.offset >= b.offset + b.bytes || b.offset >= a.offset + a.bytes) continue;
      ++shared;
      auto users = then->readers_in(block);
      users.push_back(then->producer());
      for (const ir::Node* user : users) EXPECT_TRUE(dependencies.reaches(*user, *now->producer())) << then->name << " " << now->name;
    }
  EXPECT_GT(shared, 20);
}

struct Without {
  SmallModel model;
  std::string pass;
};
class EachPassOff : public ::testing::TestWithParam<std::string> {};

TEST_P(EachPassOff, GivesTheSameNumbers) {
  for (const SmallModel& kind :
       {SmallModel{}, SmallModel{.rows = 3, .weights = DType::q4_0, .biases = true}, SmallModel{.rows = 4, .kind = EntryKind::prefill},
        SmallModel{.rows = 4, .kind = EntryKind::prompt}, SmallModel{.rows = 4, .kind = EntryKind::prompt, .weights = DType::f32, .biases = true}}) {
    auto plain = small_model(kind), fused = small_model(kind);
    passes::RunOptions quantized;  // what the numbers are compared with: nothing but the 8-bit activations
    const auto steps = passes::parse_pipeline(GetParam() == "quantize_activations" ? "" : "quantize_activations", Registry::global());
    ASSERT_TRUE(passes::run_pipeline(*plain, *steps, nullptr, quantized).ok());
    passes::RunOptions options;
    if (!GetParam().empty()) options.disabled = {GetParam()};
    const codegen::cpu::CpuQuestions questions;
    auto list = passes::default_pipeline();
    if (GetParam() == "group_rest") std::erase_if(list, [](const passes::Step& step) { return step.pass == "plan_memory"; });
    auto report = passes::run_pipeline(*fused, list, &questions, options);
    ASSERT_TRUE(report.ok()) << report.error().message();
    auto difference = ir::interp::check_numerics(*plain, *fused, 7);
    ASSERT_TRUE(difference.ok()) << difference.error().message();
    EXPECT_TRUE(difference->identical()) << difference->where << ir::print(*fused);
  }
}

std::vector<std::string> passes_to_disable() {
  std::vector<std::string> names = {""};
  for (const passes::Step& step : passes::default_pipeline({}))
    if (std::ranges::find(names, step.pass) == names.end()) names.push_back(step.pass);
  return names;
}
INSTANTIATE_TEST_SUITE_P(Pipeline, EachPassOff, ::testing::ValuesIn(passes_to_disable()),
                         [](const auto& info) { return info.param.empty() ? std::string("none") : info.param; });

// Bisecting: with any limit on changes the rest of the pipeline still gives valid IR with the same numbers.
TEST(WholeModel, EveryPassLimitGivesTheSameNumbers) {
  auto all = small_model({.layers = 1, .activations = DType::f32});
  const auto report = run(*all);
  int changes = 0;
  for (auto& entry : report.passes)
    if (entry.pass != "group_rest" && entry.pass != "schedule" && entry.pass != "plan_memory") changes += entry.fired;
  ASSERT_GT(changes, 5);
  std::string last = ir::print(*all);
  for (int limit = changes; limit >= 0; --limit) {
    auto plain = small_model({.layers = 1, .activations = DType::f32}), limited = small_model({.layers = 1, .activations = DType::f32});
    run(*limited, {.pass_limit = limit});
    EXPECT_EQ(ir::print(*limited) == last, limit == changes) << limit;
    auto difference = ir::interp::check_numerics(*plain, *limited, 5);
    ASSERT_TRUE(difference.ok());
    EXPECT_TRUE(difference->identical()) << limit << ": " << difference->where;
    last = ir::print(*limited);
  }
}

}  // namespace
}  // namespace heddle
