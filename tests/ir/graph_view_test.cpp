#include "ir/graph_view.h"

#include <chrono>

#include "ir/builder.h"
#include "ir_text.h"

namespace heddle::ir::testing {
namespace {

using ::testing::ElementsAre;
using Edges = std::vector<std::size_t>;

struct Sample {
  std::unique_ptr<Module> module;
  Function& function;
  const Block& block;
  explicit Sample(std::string_view body, std::string_view arguments = "%x: f32[2, 64]")
      : module(parsed(function_text(arguments, body))), function(*module->function("f")), block(function.body()) {}
  Node* node(llvm::StringRef name) const { return node_of(function, name); }
  bool convex(std::vector<llvm::StringRef> names) const {
    std::vector<Node*> set;
    for (llvm::StringRef name : names) set.push_back(node(name));
    return is_convex(block, set);
  }
};

//      a
//    b   c      a diamond, with a bystander u
//      d
constexpr std::string_view diamond = "%a = neg %x; %b = exp %a; %u = tanh %x; %c = silu %a; %d = add %b, %c; %e = add %d, %a; ret %e, %u";

TEST(GraphView, ConvexityOnADiamond) {
  const Sample s(diamond);
  EXPECT_TRUE(s.convex({"a"}));
  EXPECT_TRUE(s.convex({"a", "b"}));
  EXPECT_TRUE(s.convex({"b", "c"}));
  EXPECT_TRUE(s.convex({"a", "b", "c", "d"}));
  EXPECT_FALSE(s.convex({"a", "d"}));
  EXPECT_FALSE(s.convex({"a", "b", "d"}));  // a -> c -> d leaves and comes back
  EXPECT_FALSE(s.convex({"a", "e"}));
  EXPECT_TRUE(s.convex({"a", "u"}));
  EXPECT_TRUE(s.convex({"u", "e", "d"}));
  EXPECT_TRUE(s.convex({"d", "c", "a", "b"}));  // in any order
}

TEST(GraphView, ConvexityThroughALongPathAndAGroup) {
  const Sample s("%a = neg %x; %b = neg %a; %c = group { %c.in = neg %b; yield %c.in }; %d = neg %c; %e = add %d, %a; ret %e");
  EXPECT_FALSE(s.convex({"a", "e"}));
  EXPECT_FALSE(s.convex({"a", "d"}));
  EXPECT_TRUE(s.convex({"b", "c", "d"}));
}

TEST(GraphView, AStateWriterDependsOnTheReadersOfTheOldVersion) {
  const Sample s(
      "%a = attention %x, %kv, %slot, %pos {heads=2, kv_heads=2, head_dim=32, scale=1, window=0, softcap=0};"
      "%k = kv_store %kv, %x, %x, %slot, %pos;"
      "%b = attention %a, %k, %slot, %pos {heads=2, kv_heads=2, head_dim=32, scale=1, window=0, softcap=0}; ret %b, %k",
      "%x: f32[2, 64], %slot: i32[2], %pos: i32[2], %kv: state f32[2, 2, 32]");
  EXPECT_THAT(predecessors(s.block, *s.node("k")), ElementsAre(s.node("a")));
  EXPECT_THAT(predecessors(s.block, *s.node("b")), ElementsAre(s.node("a"), s.node("k")));
  EXPECT_FALSE(s.convex({"a", "b"}));
  EXPECT_TRUE(is_reachable(s.block, *s.node("a"), *s.node("k")));
  EXPECT_EQ(transitively_reduced_edges(s.block)[2], Edges{1});  // a is implied by k
}

TEST(GraphView, Reachability) {
  const Sample s(diamond);
  EXPECT_TRUE(is_reachable(s.block, *s.node("a"), *s.node("e")));
  EXPECT_FALSE(is_reachable(s.block, *s.node("e"), *s.node("a")));
  EXPECT_FALSE(is_reachable(s.block, *s.node("b"), *s.node("c")));
  EXPECT_FALSE(is_reachable(s.block, *s.node("u"), *s.node("e")));
  EXPECT_TRUE(is_reachable(s.block, *s.node("u"), *s.block.terminator()));
  EXPECT_TRUE(is_reachable(s.block, *s.node("b"), *s.node("b")));
}

TEST(GraphView, ReductionOnADiamond) {
  const Sample s(diamond);  // a b u c d e ret
  EXPECT_THAT(transitively_reduced_edges(s.block), ElementsAre(Edges{}, Edges{0}, Edges{}, Edges{0}, Edges{1, 3}, Edges{4}, Edges{2, 5}));
}

TEST(GraphView, ReductionKeepsWaits) {
  const Sample s("%a = neg %x; %b = neg %x after(%a); %c = add %a, %b after(%b); ret %c");
  EXPECT_THAT(transitively_reduced_edges(s.block), ElementsAre(Edges{}, Edges{0}, Edges{1}, Edges{2}));
}

TEST(GraphView, LongestPath) {
  EXPECT_EQ(longest_path(Sample(diamond).block), 5u);  // a b d e ret
  EXPECT_EQ(longest_path(Sample("ret %x").block), 1u);
  EXPECT_EQ(longest_path(Sample("").block), 0u);
}

TEST(GraphView, TopologicalOrderKeepsAValidBlock) {
  const Sample s(diamond);
  const auto order = topological_order(s.block);
  ASSERT_TRUE(order.ok());
  EXPECT_EQ(*order, s.block.nodes());
}

TEST(GraphView, TopologicalOrderSortsAndFindsCycles) {
  const Sample s(diamond);
  s.node("d")->move_before(*s.node("b"));  // now a d b u c e ret
  const auto order = topological_order(s.block);
  ASSERT_TRUE(order.ok());
  EXPECT_THAT(*order, ElementsAre(s.node("a"), s.node("b"), s.node("c"), s.node("d"), s.node("u"), s.node("e"), s.block.terminator()));
  s.node("b")->after.push_back(s.node("d"));
  const auto cyclic = topological_order(s.block);
  ASSERT_FALSE(cyclic.ok());
  EXPECT_EQ(cyclic.error().message(), "node '%d = add %b, %c : f32[2, 64]' depends on itself");
}

TEST(GraphView, PredecessorsOfGroupsAreThoseOfTheirBodies) {
  const Sample s("%a = neg %x; %b = exp %a; %g = group { %c = add %b, %a; %d = exp %c; yield %d }; ret %g");
  EXPECT_THAT(predecessors(s.block, *s.node("g")), ElementsAre(s.node("a"), s.node("b")));
  EXPECT_THAT(predecessors(*s.node("g")->body(), *s.node("d")), ElementsAre(s.node("c")));
  EXPECT_THAT(predecessors(*s.node("g")->body(), *s.node("c")), ElementsAre());
}

TEST(GraphView, ConvexityIsCheapInLongFunctions) {
  Module module;
  Function& function = module.add_function("f", "decode", 2);
  Value* value = function.add_argument("x", Type{DType::f32, {2, 64}});
  Builder builder(function.body());
  Value* previous = value;
  for (int i = 0; i < 600; ++i) previous = std::exchange(value, builder.add(fmt::format("v{}", i), value, previous));
  builder.ret("", llvm::ArrayRef<Value*>(value));
  const std::vector<Node*> nodes = function.body().nodes();
  const auto start = std::chrono::steady_clock::now();
  int convex = 0;
  for (int times = 0; times < 10; ++times)
    for (std::size_t i = 0; i + 3 < nodes.size(); ++i) convex += is_convex(function.body(), {nodes[i], nodes[i + 1], nodes[i + 2]});
  EXPECT_EQ(convex, 5980);
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), 2);  // 6000 questions; ~30 ms when optimised
}

TEST(Dot, GroupsAreClusters) {
  const auto module = parsed(R"(heddle-ir 1
weight @w : q8_0[96, 64]
func @f decode rows=2 (%x: f32[2, 64], %slot: i32[2], %pos: i32[2], %kv: state f32[2, 2, 32]) {
  %a = group "say \"hi\"" {
    %n = neg %x
    %a.in = add %n, %n
    yield %a.in
  }
  %s = attention %a, %kv, %slot, %pos {heads=2, kv_heads=2, head_dim=32, scale=1, window=0, softcap=0}
  %k = group "store" {
    %k.in = kv_store %kv, %a, %x, %slot, %pos
    yield %k.in
  }
  %m = matmul @w, %s
  ret %m, %k
}
)");
  EXPECT_EQ(to_dot(*module->function("f")), R"(digraph "f" {
  node [shape=box, fontname=monospace];
  a0 [shape=ellipse, label="%x\nf32[2, 64]"];
  a1 [shape=ellipse, label="%slot\ni32[2]"];
  a2 [shape=ellipse, label="%pos\ni32[2]"];
  a3 [shape=ellipse, label="%kv\nstate f32[2, 2, 32]"];
  subgraph cluster_0 {
    label="say \"hi\"";
    n1 [label="%n\nneg\nf32[2, 64]"];
    n2 [label="%a.in\nadd\nf32[2, 64]"];
  }
  n4 [label="%s\nattention\nf32[2, 64]"];
  subgraph cluster_5 {
    label="store";
    n6 [label="%k.in\nkv_store\nstate f32[2, 2, 32]"];
  }
  n8 [label="%m\nmatmul @w\nf32[2, 96]"];
  n9 [label="ret"];
  a0 -> n1;
  n1 -> n2;
  n2 -> n4;
  a3 -> n4;
  a1 -> n4;
  a2 -> n4;
  a3 -> n6;
  n2 -> n6;
  a0 -> n6;
  a1 -> n6;
  a2 -> n6;
  n4 -> n8;
  n8 -> n9;
  n6 -> n9;
  n4 -> n6 [style=dashed, constraint=false];
}
)");
}

}  // namespace
}  // namespace heddle::ir::testing
