// Partial runs of the interpreter, and what a nudge does.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "ir/interp/interpreter.h"
#include "ir/text/text.h"

namespace heddle::ir::interp {
namespace {

using ::testing::ElementsAre;

std::unique_ptr<Module> parsed(std::string_view text) {
  auto module = parse(text, "t.ir");
  HEDDLE_CHECK(module.ok(), "{}", module.error().message());
  return std::move(*module);
}

const Value* named(const Function& function, std::string_view name) {
  for (const Value* argument : function.arguments())
    if (argument->name == name) return argument;
  for (const Node* node : function.all_nodes())
    for (const Value* result : node->results())
      if (result->name == name) return result;
  HEDDLE_CHECK(false, "no value {}", name);
  return nullptr;
}

Interpreter without_weights() {
  return Interpreter([](const Value& weight) -> Result<std::vector<float>> { return error("weight {} is read", weight.name); });
}

Tensor row(std::vector<float> values) { return {{DType::f32, {1, std::int64_t(values.size())}}, std::move(values), {}}; }

TEST(Evaluate, SelectedRowsWithTheirNumbers) {
  const auto module = parsed(R"(heddle-ir 1
func @f prompt rows=3 (%x: f32[3, 2], %slot: i32[3], %last: i32[2]) {
  %y = select_rows %x, %last
  %s = select_rows %slot, %last
  ret %y, %s
}
)");
  const Function& f = *module->functions()[0];
  const Tensor x{{DType::f32, {3, 2}}, {1, 2, 3, 4, 5, 6}, {}}, slot{{DType::i32, {3}}, {}, {7, -1, 9}};
  Tensor last{{DType::i32, {2}}, {}, {2, 1}};
  Interpreter interpreter = without_weights();
  interpreter.live_rows = 1;  // of the step; what is selected is not of its rows
  const auto found = interpreter.run(f, {{"x", x}, {"slot", slot}, {"last", last}}, {});
  ASSERT_TRUE(found.ok()) << found.error().message();
  EXPECT_THAT((*found)[0].f, ElementsAre(5, 6, 3, 4));
  EXPECT_THAT((*found)[1].i, ElementsAre(9, -1));
  last.i[1] = 3;
  EXPECT_EQ(interpreter.run(f, {{"x", x}, {"slot", slot}, {"last", last}}, {}).error().message(), "row index 3 is outside 3 rows");
  const Value* s = named(f, "s");
  EXPECT_EQ(interpreter.evaluate(f, {s}, {{{named(f, "slot"), &slot}, {named(f, "last"), &last}}, {}}).error().message(),
            "row index 3 is outside 3 rows");
}

TEST(Evaluate, MixturesOfExperts) {
  const auto module = parsed(R"(heddle-ir 1
weight @w : f32[3, 2, 2]
weight @d : f32[3, 1, 2]
func @f decode rows=1 (%logits: f32[1, 3], %x: f32[1, 2]) {
  %e = top_k %logits {k=2}
  %g = expert_gates %logits, %e {normalized=1}
  %all = expert_gates %logits, %e {normalized=0}
  %up = matmul @w, %x, %e
  %y = matmul @d, %up, %e, %g
  ret %y
}
)");
  const Function& f = *module->functions()[0];
  Interpreter interpreter([](const Value& weight) -> Result<std::vector<float>> {
    if (weight.name == "w") return std::vector<float>{1, 0, 0, 1, 2, 0, 0, 2, 0, 3, 3, 0};  // identity; twice that; swapped and three times
    return std::vector<float>{1, 1, 10, 100, 5, 7};
  });
  const float third = std::log(3.0f);
  const Tensor x = row({1, 2}), logits = row({0, third, third});  // of equals the lower column first
  const auto found = interpreter.evaluate(f, {named(f, "e"), named(f, "g"), named(f, "all"), named(f, "up"), named(f, "y")},
                                          {{{named(f, "x"), &x}, {named(f, "logits"), &logits}}, {}});
  ASSERT_TRUE(found.ok()) << found.error().message();
  EXPECT_THAT(found->tensors.at(named(f, "e")).i, ElementsAre(1, 2));
  EXPECT_THAT(found->tensors.at(named(f, "g")).f, ElementsAre(0.5f, 0.5f));
  EXPECT_THAT(found->tensors.at(named(f, "all")).f, ElementsAre(::testing::FloatEq(3.0f / 7), ::testing::FloatEq(3.0f / 7)));
  EXPECT_THAT(found->tensors.at(named(f, "up")).f, ElementsAre(2, 4, 6, 3));
  EXPECT_THAT(found->tensors.at(named(f, "y")).f, ElementsAre(0.5f * (20 + 400) + 0.5f * (30 + 21)));
}

TEST(Evaluate, StopsAtWhatIsKnownAndSeesIntoGroups) {
  const auto module = parsed(R"(heddle-ir 1
func @f decode rows=1 (%x: f32[1, 2]) {
  %a = neg %x
  %b, %c = group "two" {
    %b.in = add %a, %a
    %c.in = mul %b.in, %x
    yield %b.in, %c.in
  }
  %d = add %b, %c
  ret %d
}
)");
  const Function& f = *module->functions()[0];
  Interpreter interpreter = without_weights();
  std::vector<std::string> computed;
  interpreter.observe = [&](const Value& value, const Tensor&) { computed.push_back(value.name); };
  const Tensor x = row({1, 2}), a = row({10, 20}), b = row({3, 4});

  const auto whole = interpreter.evaluate(f, {named(f, "c")}, {{{named(f, "x"), &x}}, {}});
  ASSERT_TRUE(whole.ok()) << whole.error().message();
  EXPECT_THAT(whole->tensors.at(named(f, "c")).f, ElementsAre(-2, -8));
  EXPECT_THAT(computed, ElementsAre("a", "b.in", "c.in"));

  computed.clear();
  const auto from_a = interpreter.evaluate(f, {named(f, "b")}, {{{named(f, "x"), &x}, {named(f, "a"), &a}}, {}});
  ASSERT_TRUE(from_a.ok());
  EXPECT_THAT(from_a->tensors.at(named(f, "b")).f, ElementsAre(20, 40));
  EXPECT_THAT(computed, ElementsAre("b.in"));

  const auto from_b = interpreter.evaluate(f, {named(f, "d")}, {{{named(f, "x"), &x}, {named(f, "b"), &b}}, {}});
  ASSERT_TRUE(from_b.ok());
  EXPECT_THAT(from_b->tensors.at(named(f, "d")).f, ElementsAre(3 - 2, 4 - 8))
      << "what is known counts, also beside a group that is computed";

  const auto nothing = interpreter.evaluate(f, {named(f, "d")}, {});
  ASSERT_FALSE(nothing.ok());
  EXPECT_EQ(nothing.error().message(), "f: no value for argument %x");
}

TEST(Evaluate, AStoreMakesANewVersionOfAKnownCache) {
  const auto module = parsed(R"(heddle-ir 1
func @f decode rows=1 (%x: f32[1, 2], %slot: i32[1], %pos: i32[1], %kv: state f32[2, 1, 2]) {
  %kv.1 = kv_store %kv, %x, %x, %slot, %pos
  %a = attention %x, %kv.1, %slot, %pos {heads=1, kv_heads=1, head_dim=2, scale=1, window=0, softcap=0}
  ret %a, %kv.1
}
)");
  const Function& f = *module->functions()[0];
  Interpreter interpreter = without_weights();
  const Tensor x = row({1, 2}), zero{{DType::i32, {1}}, {}, {0}};
  const Cache before(named(f, "kv")->type, 1, 2);
  const Known known{{{named(f, "x"), &x}, {named(f, "slot"), &zero}, {named(f, "pos"), &zero}}, {{named(f, "kv"), &before}}};
  const auto found = interpreter.evaluate(f, {named(f, "a"), named(f, "kv.1")}, known);
  ASSERT_TRUE(found.ok()) << found.error().message();
  EXPECT_THAT(found->tensors.at(named(f, "a")).f, ElementsAre(1, 2));
  EXPECT_THAT(found->caches.at(named(f, "kv.1"))->data, ElementsAre(1, 2, 1, 2, 0, 0, 0, 0));
  EXPECT_THAT(before.data, ElementsAre(0, 0, 0, 0, 0, 0, 0, 0));
}

TEST(Evaluate, OnlyLiveRowsAreComputed) {
  const auto module = parsed(R"(heddle-ir 1
func @f decode rows=3 (%x: f32[3, 16]) {
  %y = group "y" {
    %s = rms_scale %x {eps=0}
    %z = mul %x, %s
    %y.in = quantize %z {format="q8_16"}
    yield %y.in
  }
  ret %y
}
)");
  const Function& f = *module->functions()[0];
  const Tensor x{{DType::f32, {3, 16}}, std::vector<float>(48, 2), {}};
  Interpreter interpreter = without_weights();
  interpreter.live_rows = 2;
  const auto found = interpreter.evaluate(f, {named(f, "y")}, {{{named(f, "x"), &x}}, {}});
  ASSERT_TRUE(found.ok());
  const auto& y = found->tensors.at(named(f, "y")).f;
  EXPECT_NEAR(y[0], 1, 1e-6);
  EXPECT_NEAR(y[31], 1, 1e-6);
  EXPECT_EQ(std::vector<float>(y.begin() + 32, y.end()), std::vector<float>(16));
}

TEST(Evaluate, ANudgeTurnsTheRoundingOfItsClassOnly) {
  const auto module = parsed(R"(heddle-ir 1
func @f decode rows=1 (%x: f32[1, 16]) {
  %q = quantize %x {format="q8_16"}
  ret %q
}
)");
  const Function& f = *module->functions()[0];
  Tensor x = row(std::vector<float>(16, 3));
  x.f[0] = 127, x.f[5] = 1.4999999f, x.f[6] = 2.4999998f, x.f[7] = 2.4f;
  const auto quantized = [&](Nudge nudge) {
    Interpreter interpreter = without_weights();
    interpreter.nudge = nudge;
    auto found = interpreter.evaluate(f, {named(f, "q")}, {{{named(f, "x"), &x}}, {}});
    HEDDLE_CHECK(found.ok(), "{}", found.error().message());
    const auto& q = found->tensors.at(named(f, "q")).f;
    return std::vector<float>{std::round(q[5]), std::round(q[6]), std::round(q[7])};
  };
  EXPECT_THAT(quantized({}), ElementsAre(1, 2, 2));
  EXPECT_THAT(quantized({4e-6, 1, 0}), ElementsAre(2, 3, 2));
  EXPECT_THAT(quantized({4e-6, 13, 5}), ElementsAre(2, 2, 2));
  EXPECT_THAT(quantized({-4e-6, 1, 0}), ElementsAre(1, 2, 2));
}

}  // namespace
}  // namespace heddle::ir::interp
