#include "ir/graph.h"

#include "ir/builder.h"
#include "ir/dependencies.h"
#include "ir_text.h"

namespace heddle::ir::testing {
namespace {

/// The function's text after one group is made of the named nodes; checks that the IR stays valid and prints back to itself.
std::string grouped(std::string_view arguments, std::string_view body, std::vector<llvm::StringRef> names, std::string label = "g") {
  const auto module = parsed(function_text(arguments, body));
  EXPECT_EQ(complaint(*module), "");
  Function& function = *module->function("f");
  std::vector<Node*> members;
  for (llvm::StringRef name : names) members.push_back(node_of(function, name));
  EXPECT_TRUE(Dependencies(function.body()).is_convex(members));
  make_group(members, label);
  EXPECT_EQ(complaint(*module), "");
  const std::string text = print(*module);
  EXPECT_EQ(print(*parsed(text)), text);
  const std::string whole = print(function);
  const std::size_t begin = whole.find("{\n") + 2;
  return "\n" + whole.substr(begin, whole.rfind("}\n") - begin);
}

TEST(MakeGroup, ResultsAreWhatIsReadOutside) {
  EXPECT_EQ(grouped("%x: f32[2, 64]", "%a = neg %x; %b = exp %a; %c = add %a, %b; %d = add %a, %c; ret %d", {"a", "b", "c"}), R"(
  %a, %c = group "g" {
    %a.in = neg %x : f32[2, 64]
    %b = exp %a.in : f32[2, 64]
    %c.in = add %a.in, %b : f32[2, 64]
    yield %a.in, %c.in
  } : f32[2, 64], f32[2, 64]
  %d = add %a, %c : f32[2, 64]
  ret %d
)");
}

TEST(MakeGroup, AResultReadTwiceByOneNodeAndBySeveralIsYieldedOnce) {
  EXPECT_EQ(
      grouped("%x: f32[2, 64]", "%a = neg %x; %b = mul %a, %a; %c = group \"r\" { %c.in = exp %a; yield %c.in }; ret %b, %c, %a", {"a"}),
      R"(
  %a = group "g" {
    %a.in = neg %x : f32[2, 64]
    yield %a.in
  } : f32[2, 64]
  %b = mul %a, %a : f32[2, 64]
  %c = group "r" {
    %c.in = exp %a : f32[2, 64]
    yield %c.in
  } : f32[2, 64]
  ret %b, %c, %a
)");
}

TEST(MakeGroup, OutsidersThatNeedAMemberMoveBehindInTheirOrder) {
  // c and e (through c) read a member and go behind; u does not and stays in front, as the member b needs it.
  EXPECT_EQ(grouped("%x: f32[2, 64]", "%a = neg %x; %c = exp %a; %u = tanh %x; %e = add %c, %x; %b = add %a, %u; %d = add %b, %e; ret %d",
                    {"a", "b"}),
            R"(
  %u = tanh %x : f32[2, 64]
  %a, %b = group "g" {
    %a.in = neg %x : f32[2, 64]
    %b.in = add %a.in, %u : f32[2, 64]
    yield %a.in, %b.in
  } : f32[2, 64], f32[2, 64]
  %c = exp %a : f32[2, 64]
  %e = add %c, %x : f32[2, 64]
  %d = add %b, %e : f32[2, 64]
  ret %d
)");
}

TEST(MakeGroup, AnOutsiderGroupThatReadsAMemberInItsBodyMoves) {
  EXPECT_EQ(
      grouped("%x: f32[2, 64]", "%a = neg %x; %c = group \"c\" { %c.in = exp %a; yield %c.in }; %b = exp %x; ret %a, %b, %c", {"a", "b"}),
      R"(
  %a, %b = group "g" {
    %a.in = neg %x : f32[2, 64]
    %b.in = exp %x : f32[2, 64]
    yield %a.in, %b.in
  } : f32[2, 64], f32[2, 64]
  %c = group "c" {
    %c.in = exp %a : f32[2, 64]
    yield %c.in
  } : f32[2, 64]
  ret %a, %b, %c
)");
}

TEST(MakeGroup, AnOutsiderThatWritesAStateReadByAMemberMoves) {
  EXPECT_EQ(grouped("%x: f32[2, 64], %slot: i32[2], %pos: i32[2], %kv: state f32[2, 2, 32]",
                    "%a = attention %x, %kv, %slot, %pos {heads=2, kv_heads=2, head_dim=32, scale=1, window=0, softcap=0};"
                    "%k = kv_store %kv, %x, %x, %slot, %pos; %b = add %a, %x; ret %b, %k",
                    {"a", "b"}),
            R"(
  %b = group "g" {
    %a = attention %x, %kv, %slot, %pos {heads=2, kv_heads=2, head_dim=32, scale=1, window=0, softcap=0} : f32[2, 64]
    %b.in = add %a, %x : f32[2, 64]
    yield %b.in
  } : f32[2, 64]
  %k = kv_store %kv, %x, %x, %slot, %pos : state f32[2, 2, 32]
  ret %b, %k
)");
}

TEST(MakeGroup, MergesGroupsAndNodes) {
  EXPECT_EQ(grouped("%x: f32[2, 64]",
                    "%a, %b = group \"ab\" { %a.in = neg %x; %b.in = exp %a.in; yield %a.in, %b.in }; %c = tanh %b;"
                    "%d = group \"d\" { %d.in = add %c, %a; yield %d.in }; %e = add %d, %a; ret %e",
                    {"a", "c", "d"}),
            R"(
  %a, %d = group "g" {
    %a.in = neg %x : f32[2, 64]
    %b = exp %a.in : f32[2, 64]
    %c = tanh %b : f32[2, 64]
    %d.in = add %c, %a.in : f32[2, 64]
    yield %a.in, %d.in
  } : f32[2, 64], f32[2, 64]
  %e = add %d, %a : f32[2, 64]
  ret %e
)");
}

TEST(MakeGroup, MergesAGroupThatYieldsOneValueTwiceOrAnOuterOne) {
  EXPECT_EQ(
      grouped("%x: f32[2, 64]", "%a, %b, %c = group \"abc\" { %n = neg %x; yield %n, %n, %x }; %d = add %b, %c; ret %a, %d", {"a", "d"}),
      R"(
  %b, %d = group "g" {
    %b.in = neg %x : f32[2, 64]
    %d.in = add %b.in, %x : f32[2, 64]
    yield %b.in, %d.in
  } : f32[2, 64], f32[2, 64]
  ret %b, %d
)");
}

TEST(MakeGroup, TheOrderOfMembersDoesNotMatter) {
  const std::string_view body = "%a = neg %x; %b = exp %a; %c = add %a, %b; ret %c";
  EXPECT_EQ(grouped("%x: f32[2, 64]", body, {"c", "a", "b"}), grouped("%x: f32[2, 64]", body, {"a", "b", "c"}));
}

TEST(MakeGroup, StatesGoThrough) {
  EXPECT_EQ(grouped("%x: f32[2, 64], %slot: i32[2], %pos: i32[2], %kv: state f32[2, 2, 32]",
                    "%k = neg %x; %kv.1 = kv_store %kv, %k, %k, %slot, %pos; ret %kv.1", {"k", "kv.1"}),
            R"(
  %kv.1 = group "g" {
    %k = neg %x : f32[2, 64]
    %kv.1.in = kv_store %kv, %k, %k, %slot, %pos : state f32[2, 2, 32]
    yield %kv.1.in
  } : state f32[2, 2, 32]
  ret %kv.1
)");
}

TEST(MakeGroup, PlacesAndWaitsFollow) {
  EXPECT_EQ(
      grouped(
          "%x: f32[2, 64]",
          "%w = neg %x; %a = neg %x after(%w) : f32[2, 64] at output+0; %b = exp %a after(%w); %c = exp %x after(%b); ret %a, %b, %c, %w",
          {"a", "b"}),
      R"(
  %w = neg %x : f32[2, 64]
  %a, %b = group "g" after(%w) {
    %a.in = neg %x : f32[2, 64]
    %b.in = exp %a.in : f32[2, 64]
    yield %a.in, %b.in
  } : f32[2, 64] at output+0, f32[2, 64]
  %c = exp %x after(%a) : f32[2, 64]
  ret %a, %b, %c, %w
)");
}

TEST(MakeGroup, AnOutsiderThatWaitsForAMemberMoves) {
  EXPECT_EQ(grouped("%x: f32[2, 64]", "%a = neg %x; %c = exp %x after(%a); %b = exp %a; ret %b, %c", {"a", "b"}), R"(
  %b = group "g" {
    %a = neg %x : f32[2, 64]
    %b.in = exp %a : f32[2, 64]
    yield %b.in
  } : f32[2, 64]
  %c = exp %x after(%b) : f32[2, 64]
  ret %b, %c
)");
}

TEST(MakeGroup, WorksInABlockWithoutTerminator) {
  Module module;
  Function& function = module.add_function("f", EntryKind::decode, 2);
  Value* x = function.add_argument("x", Type{DType::f32, {2, 64}});
  Builder builder(function.body());
  Value* a = builder.neg("a", x);
  Value* c = builder.exp("c", a);
  Value* b = builder.tanh("b", a);
  Node& group = make_group({a->producer(), b->producer()}, "g");
  builder.ret("", llvm::ArrayRef<Value*>({group.result(), c}));
  EXPECT_EQ(complaint(module), "");
  EXPECT_EQ(group.results().size(), 1u);  // nobody reads b
  EXPECT_EQ(function.body().position_of(*c->producer()), 1u);
}

/// Random functions, random convex sets, grouped again and again: the IR stays valid and every value keeps its meaning, which is spelled
/// out as the expression it stands for.
TEST(MakeGroup, KeepsTheMeaningOfRandomFunctions) {
  std::uint32_t state = 1;
  auto below = [&](std::size_t n) { return std::size_t((state = state * 1664525u + 1013904223u) >> 8) % n; };
  int made = 0;
  for (int round = 0; round < 200; ++round) {
    Module module;
    Function& function = module.add_function("f", EntryKind::decode, 2);
    std::vector<Value*> values = {function.add_argument("x", Type{DType::f32, {2, 64}})};
    Builder builder(function.body());
    const std::size_t size = 4 + below(12);
    for (std::size_t i = 0; i < size; ++i)
      values.push_back(builder.add(fmt::format("v{}", i), values[below(values.size())], values[below(values.size())]));
    llvm::SmallVector<Value*> returned;
    for (std::size_t i = 0; i < 3; ++i) returned.push_back(values[values.size() - 1 - below(3)]);
    builder.ret("", returned);

    std::map<const Value*, std::size_t> numbers;  // equal expressions have equal numbers
    std::map<std::pair<std::size_t, std::size_t>, std::size_t> sums;
    auto meaning = [&] {
      numbers.clear();
      numbers[values[0]] = 0;
      std::vector<std::size_t> out;
      for (Node* node : function.all_nodes())
        if (node->op() == Op::add)
          numbers[node->result()] =
              sums.try_emplace({numbers.at(node->operand(0)), numbers.at(node->operand(1))}, sums.size() + 1).first->second;
        else if (node->op() == Op::yield)
          for (unsigned i = 0; i < node->operands().size(); ++i) numbers[node->enclosing_group()->result(i)] = numbers.at(node->operand(i));
        else if (node->op() == Op::ret)
          for (Value* value : node->operands()) out.push_back(numbers.at(value));
      return out;
    };
    // `all_nodes` lists a group before its body, so its results are known once its yield has been seen: before any later reader.
    const auto before = meaning();
    for (int times = 0; times < 6; ++times) {
      std::vector<Node*> members, candidates = function.body().nodes();
      candidates.pop_back();
      for (Node* node : candidates)
        if (below(3) == 0) members.push_back(node);
      if (members.empty() || !Dependencies(function.body()).is_convex(members)) continue;
      make_group(members, "g");
      ++made;
      ASSERT_EQ(complaint(module), "") << print(module);
      ASSERT_EQ(meaning(), before) << print(module);
    }
    const std::string text = print(module);
    EXPECT_EQ(print(*parsed(text)), text);
  }
  EXPECT_GT(made, 200);
}

TEST(Node, EraseResultDropsTheYieldedValueToo) {
  const auto module = parsed(
      function_text("%x: f32[2, 64]",
                    "%a, %b, %c = group \"g\" { %a.in = neg %x; %b.in = exp %x; %c.in = tanh %x; yield %a.in, %b.in, %c.in }; ret %a, %c"));
  Function& function = *module->function("f");
  Node& group = *node_of(function, "b");
  group.erase_result(1);
  EXPECT_EQ(complaint(*module), "");
  ASSERT_EQ(group.results().size(), 2u);
  EXPECT_EQ(group.result(1)->name, "c");
  EXPECT_EQ(group.result(1)->index(), 1u);
  EXPECT_EQ(print(*group.body()->terminator()), "yield %a.in, %c.in");
  EXPECT_FALSE(value_named(function, "b.in")->has_uses());
}

TEST(Node, ErasingForgetsWaits) {
  const auto module = parsed(function_text("%x: f32[2, 64]", "%a = neg %x; %b = exp %x after(%a); ret %b"));
  Function& function = *module->function("f");
  node_of(function, "a")->erase();
  EXPECT_TRUE(node_of(function, "b")->after.empty());
}

TEST(Value, ReadersAreDistinctInOrderAndLiftedOutOfGroups) {
  const auto module =
      parsed(function_text("%x: f32[2, 64]", "%c = group { %a = mul %x, %x; %b = add %a, %x; yield %b }; %d = neg %x; ret %c, %d, %x"));
  Function& function = *module->function("f");
  const auto readers = function.argument("x")->readers_in(function.body());
  ASSERT_EQ(readers.size(), 3u);
  EXPECT_EQ(readers[0], node_of(function, "c"));
  EXPECT_EQ(readers[1], node_of(function, "d"));
  EXPECT_EQ(readers[2], function.body().terminator());
  const Block& inner = *node_of(function, "c")->body();
  EXPECT_EQ(function.argument("x")->readers_in(inner).size(), 2u);
  EXPECT_EQ(inputs_of(*node_of(function, "c")), std::vector<Value*>{function.argument("x")});
}

TEST(Value, UsesAreReplacedEverywhere) {
  const auto module =
      parsed(function_text("%x: f32[2, 64], %y: f32[2, 64]", "%a = mul %x, %x; %c = group { %b = add %a, %x; yield %b }; ret %c"));
  Function& function = *module->function("f");
  function.argument("x")->replace_all_uses_with(*function.argument("y"));
  EXPECT_FALSE(function.argument("x")->has_uses());
  EXPECT_EQ(function.argument("y")->uses().size(), 3u);
  EXPECT_EQ(print(*node_of(function, "a")), "%a = mul %y, %y : f32[2, 64]");
}

TEST(Builder, PutsNodesBeforeAnother) {
  const auto module = parsed(function_text("%x: f32[2, 64]", "%a = neg %x; %g = group { %g.in = exp %a; yield %g.in }; ret %g"));
  Function& function = *module->function("f");
  auto before = Builder::before(*node_of(function, "g"));
  Value* first = before.tanh("first", function.argument("x"));
  before.add("second", first, value_named(function, "a"));
  Builder::before(*node_of(function, "g.in")).constant("inner", 2.0);
  const std::string text = print(function);
  EXPECT_EQ(text.substr(text.find('\n')), R"(
  %a = neg %x : f32[2, 64]
  %first = tanh %x : f32[2, 64]
  %second = add %first, %a : f32[2, 64]
  %g = group "" {
    %inner = constant {value=2} : f32[]
    %g.in = exp %a : f32[2, 64]
    yield %g.in
  } : f32[2, 64]
  ret %g
}
)");
}

TEST(Builder, FollowsTheRows) {
  Module module;
  Function& function = module.add_function("f", EntryKind::decode, 2);
  Value* x = function.add_argument("x", Type{DType::f32, {2, 64}});
  Value* pos = function.add_argument("pos", Type{DType::i32, {2}});
  Builder builder(function.body());
  Value* y = builder.rope("y", x, pos, nullptr, 32, 32, 10000, "halves");  // no factors; an integer where the row wants a float
  builder.ret("", llvm::ArrayRef<Value*>({y, x}));
  EXPECT_EQ(print(*y->producer()), "%y = rope %x, %pos {head_dim=32, dims=32, theta=10000, pairing=\"halves\"} : f32[2, 64]");
  EXPECT_EQ(complaint(module), "");
}

TEST(MakeGroupDeathTest, RefusesWhatCannotBeAGroup) {
  const auto module = parsed(function_text("%x: f32[2, 64]", "%a = neg %x; %g = group { %b = neg %a; yield %b }; ret %g"));
  Function& function = *module->function("f");
  EXPECT_DEATH(make_group(node_of(function, "b"), "g"), "groups do not nest");
  EXPECT_DEATH(make_group({node_of(function, "a"), function.body().terminator()}, "g"), "a ret cannot join a group");
  EXPECT_DEATH(node_of(function, "a")->erase(), "erasing neg whose result a has uses");
}

}  // namespace
}  // namespace heddle::ir::testing
