#include "ir/dependencies.h"

#include <chrono>
#include <random>

#include "ir/builder.h"
#include "ir_text.h"

namespace heddle::ir::testing {
namespace {

using ::testing::ElementsAre;
using Edges = llvm::SmallVector<unsigned, 4>;

struct Sample {
  std::unique_ptr<Module> module;
  Function& function;
  const Block& block;
  Dependencies dependencies;
  explicit Sample(std::string_view body, std::string_view arguments = "%x: f32[2, 64]",
                  Dependencies::Edges edges = Dependencies::Edges::all)
      : module(parsed(function_text(arguments, body))),
        function(*module->function("f")),
        block(function.body()),
        dependencies(block, edges) {}
  Node* node(llvm::StringRef name) const { return node_of(function, name); }
  bool reaches(llvm::StringRef from, llvm::StringRef to) const { return dependencies.reaches(*node(from), *node(to)); }
  bool convex(std::vector<llvm::StringRef> names) const {
    std::vector<Node*> members;
    for (llvm::StringRef name : names) members.push_back(node(name));
    return dependencies.is_convex(members);
  }
};

//      a
//    b   c      a diamond, with a bystander u
//      d
constexpr std::string_view diamond = "%a = neg %x; %b = exp %a; %u = tanh %x; %c = silu %a; %d = add %b, %c; %e = add %d, %a; ret %e, %u";
constexpr std::string_view chain = "%a = neg %x; %b = neg %a; %c = neg %b; %d = neg %c; ret %d";
constexpr std::string_view state_arguments = "%x: f32[2, 64], %slot: i32[2], %pos: i32[2], %kv: state f32[2, 2, 32]";
constexpr std::string_view state_body =
    "%a = attention %x, %kv, %slot, %pos {heads=2, kv_heads=2, head_dim=32, scale=1, window=0, softcap=0};"
    "%k = kv_store %kv, %x, %x, %slot, %pos;"
    "%b = attention %a, %k, %slot, %pos {heads=2, kv_heads=2, head_dim=32, scale=1, window=0, softcap=0}; ret %b, %k";

TEST(Dependencies, ConvexityOnADiamond) {
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

TEST(Dependencies, ConvexityThroughALongPathAndAGroup) {
  const Sample s("%a = neg %x; %b = neg %a; %c = group { %c.in = neg %b; yield %c.in }; %d = neg %c; %e = add %d, %a; ret %e");
  EXPECT_FALSE(s.convex({"a", "e"}));
  EXPECT_FALSE(s.convex({"a", "d"}));
  EXPECT_TRUE(s.convex({"b", "c", "d"}));
}

TEST(Dependencies, AStateWriterDependsOnTheReadersOfTheOldVersion) {
  const Sample s(state_body, state_arguments);
  EXPECT_THAT(s.dependencies.direct(*s.node("k")), ElementsAre(s.node("a")));
  EXPECT_THAT(s.dependencies.direct(*s.node("b")), ElementsAre(s.node("a"), s.node("k")));
  EXPECT_FALSE(s.convex({"a", "b"}));
  EXPECT_TRUE(s.reaches("a", "k"));
  EXPECT_EQ(s.dependencies.reduced()[2], Edges{1});  // a is implied by k
}

TEST(Dependencies, WhatIsStatedLeavesTheReadersOfTheOldVersionOut) {
  Sample s(state_body, state_arguments, Dependencies::Edges::stated);
  EXPECT_FALSE(s.reaches("a", "k"));
  EXPECT_TRUE(s.reaches("a", "b"));
  EXPECT_THAT(s.dependencies.direct(*s.node("k")), ElementsAre());
  s.node("k")->after.push_back(s.node("a"));
  EXPECT_TRUE(Dependencies(s.block, Dependencies::Edges::stated).reaches(*s.node("a"), *s.node("k")));
}

TEST(Dependencies, Reachability) {
  const Sample s(diamond);
  EXPECT_TRUE(s.reaches("a", "e"));
  EXPECT_FALSE(s.reaches("e", "a"));
  EXPECT_FALSE(s.reaches("b", "c"));
  EXPECT_FALSE(s.reaches("u", "e"));
  EXPECT_TRUE(s.dependencies.reaches(*s.node("u"), *s.block.terminator()));
  EXPECT_TRUE(s.reaches("b", "b"));
}

TEST(Dependencies, WaitingIsSeenByAllThatFollow) {
  Sample s("%a = neg %x; %b = neg %x; %c = neg %b; %d = neg %x; ret %a, %c, %d");
  EXPECT_FALSE(s.reaches("a", "c"));
  s.dependencies.wait(*s.node("b"), *s.node("a"));
  EXPECT_THAT(s.node("b")->after, ElementsAre(s.node("a")));
  EXPECT_TRUE(s.reaches("a", "b"));
  EXPECT_TRUE(s.reaches("a", "c"));
  EXPECT_FALSE(s.reaches("a", "d"));
  s.dependencies.wait(*s.node("d"), *s.node("c"));
  EXPECT_TRUE(s.reaches("a", "d"));
  EXPECT_EQ(s.dependencies.reduced(), Dependencies(s.block).reduced());
}

TEST(Dependencies, ReductionOfAChainAndADiamond) {
  EXPECT_THAT(Sample(chain).dependencies.reduced(), ElementsAre(Edges{}, Edges{0}, Edges{1}, Edges{2}, Edges{3}));
  EXPECT_THAT(Sample(diamond).dependencies.reduced(),  // a b u c d e ret
              ElementsAre(Edges{}, Edges{0}, Edges{}, Edges{0}, Edges{1, 3}, Edges{4}, Edges{2, 5}));
}

TEST(Dependencies, ReductionKeepsWaits) {
  const Sample s("%a = neg %x; %b = neg %x after(%a); %c = add %a, %b after(%b); ret %c");
  EXPECT_THAT(s.dependencies.reduced(), ElementsAre(Edges{}, Edges{0}, Edges{1}, Edges{2}));
}

TEST(Dependencies, TheCriticalPathFollowsTheWeights) {
  const auto one = [](const Node&) { return 1.0; };
  EXPECT_EQ(Sample("").dependencies.critical_path(one).size(), 0u);
  EXPECT_EQ(Sample("ret %x").dependencies.critical_path(one).size(), 1u);
  EXPECT_EQ(Sample(chain).dependencies.critical_path(one).size(), 5u);
  const Sample s(diamond);
  Node* ret = s.block.terminator();
  const auto path = [&](llvm::StringRef heavy, double weight) {
    return s.dependencies.critical_path([&](const Node& node) { return &node == s.node(heavy) ? weight : 1; });
  };
  EXPECT_THAT(path("b", 2), ElementsAre(s.node("a"), s.node("b"), s.node("d"), s.node("e"), ret));
  EXPECT_THAT(path("c", 2), ElementsAre(s.node("a"), s.node("c"), s.node("d"), s.node("e"), ret));
  EXPECT_THAT(path("u", 5), ElementsAre(s.node("u"), ret));
}

TEST(Dependencies, TopologicalOrderKeepsAValidBlock) {
  const Sample s(diamond);
  const auto order = s.dependencies.topological_order();
  ASSERT_TRUE(order.ok());
  EXPECT_EQ(*order, s.block.nodes());
}

TEST(Dependencies, TopologicalOrderSortsAndFindsCycles) {
  const Sample s(diamond);
  s.node("d")->move_before(*s.node("b"));  // now a d b u c e ret
  const auto order = Dependencies(s.block).topological_order();
  ASSERT_TRUE(order.ok());
  EXPECT_THAT(*order, ElementsAre(s.node("a"), s.node("b"), s.node("c"), s.node("d"), s.node("u"), s.node("e"), s.block.terminator()));
  s.node("b")->after.push_back(s.node("d"));
  const auto cyclic = Dependencies(s.block).topological_order();
  ASSERT_FALSE(cyclic.ok());
  EXPECT_EQ(cyclic.error().message(), "node '%d = add %b, %c : f32[2, 64]' depends on itself");
}

TEST(Dependencies, DirectOnesOfGroupsAreThoseOfTheirBodies) {
  const Sample s("%a = neg %x; %b = exp %a; %g = group { %c = add %b, %a; %d = exp %c; yield %d }; ret %g");
  EXPECT_THAT(s.dependencies.direct(*s.node("g")), ElementsAre(s.node("a"), s.node("b")));
  const Dependencies body(*s.node("g")->body());
  EXPECT_THAT(body.direct(*s.node("d")), ElementsAre(s.node("c")));
  EXPECT_THAT(body.direct(*s.node("c")), ElementsAre());
}

/// Of `adds` nodes that each read two earlier values, taken at random, most of them near.
struct RandomBlock {
  Module module;
  Function& function = module.add_function("f", EntryKind::decode, 2);
  RandomBlock(unsigned seed, std::size_t adds) {
    std::mt19937 random(seed);
    std::vector<Value*> values = {function.add_argument("x", Type{DType::f32, {2, 64}})};
    Builder builder(function.body());
    auto any = [&] { return values[values.size() - 1 - random() % std::min<std::size_t>(values.size(), 1 + random() % 8)]; };
    for (std::size_t i = 0; i < adds; ++i) values.push_back(builder.add(fmt::format("v{}", i), any(), any()));
    builder.ret("", llvm::ArrayRef<Value*>(values.back()));
  }
};

/// The definitions, word for word, on a matrix.
struct Reference {
  std::vector<Node*> nodes;
  std::vector<std::vector<bool>> direct, reach;
  explicit Reference(const Block& block) : nodes(block.nodes()) {
    const std::size_t n = nodes.size();
    direct.assign(n, std::vector<bool>(n));
    for (std::size_t i = 0; i < n; ++i)
      for_each_dependency(block, *nodes[i], [&](Node& other) { direct[i][block.position_of(other)] = true; });
    reach = direct;
    for (std::size_t via = 0; via < n; ++via)
      for (std::size_t i = 0; i < n; ++i)
        for (std::size_t j = 0; j < n; ++j)
          if (reach[i][via] && reach[via][j]) reach[i][j] = true;
  }
  bool is_convex(const std::vector<bool>& members) const {
    for (std::size_t out = 0; out < nodes.size(); ++out)
      for (std::size_t first = 0; first < nodes.size(); ++first)
        for (std::size_t last = 0; last < nodes.size(); ++last)
          if (!members[out] && members[first] && members[last] && reach[out][first] && reach[last][out]) return false;
    return true;
  }
  /// An edge goes if there is another way.
  std::vector<Edges> reduced() const {
    std::vector<Edges> kept(nodes.size());
    for (std::size_t i = 0; i < nodes.size(); ++i)
      for (std::size_t j = 0; j < nodes.size(); ++j) {
        bool other_way = false;
        for (std::size_t via = 0; via < nodes.size(); ++via) other_way |= reach[i][via] && reach[via][j];
        if (direct[i][j] && !other_way) kept[i].push_back(unsigned(j));
      }
    return kept;
  }
  double longest(std::size_t node, const std::vector<double>& weight) const {
    double before = 0;
    for (std::size_t i = 0; i < nodes.size(); ++i)
      if (direct[node][i]) before = std::max(before, longest(i, weight));
    return before + weight[node];
  }
};

TEST(Dependencies, AgreesWithTheDefinitionsOnRandomBlocks) {
  int convex = 0, not_convex = 0;
  for (unsigned seed = 0; seed < 40; ++seed) {
    const RandomBlock random(seed, 4 + seed % 12);
    const Block& block = random.function.body();
    const Reference reference(block);
    const Dependencies dependencies(block);
    const std::vector<Node*>& nodes = reference.nodes;
    EXPECT_EQ(dependencies.reduced(), reference.reduced()) << print(random.module);
    for (std::size_t i = 0; i < nodes.size(); ++i)
      for (std::size_t j = 0; j < nodes.size(); ++j) EXPECT_EQ(dependencies.reaches(*nodes[j], *nodes[i]), i == j || reference.reach[i][j]);

    std::mt19937 numbers(seed);
    for (int times = 0; times < 20; ++times) {
      std::vector<bool> inside(nodes.size());
      std::vector<Node*> members;
      for (std::size_t i = 0; i < nodes.size(); ++i)
        if ((inside[i] = numbers() % 3 == 0)) members.push_back(nodes[i]);
      if (members.empty()) continue;
      const bool wanted = reference.is_convex(inside);
      ++(wanted ? convex : not_convex);
      EXPECT_EQ(dependencies.is_convex(members), wanted);
      EXPECT_EQ(Dependencies::between(*members.front(), *members.back()).is_convex(members), wanted);
    }

    std::vector<double> weights;
    for (std::size_t i = 0; i < nodes.size(); ++i) weights.push_back(double(numbers() % 10));
    const auto weight = [&](const Node& node) { return weights[block.position_of(node)]; };
    double sum = 0, wanted = 0;
    const std::vector<Node*> path = dependencies.critical_path(weight);
    for (const Node* node : path) sum += weight(*node);
    for (std::size_t i = 1; i < path.size(); ++i)
      EXPECT_TRUE(reference.direct[block.position_of(*path[i])][block.position_of(*path[i - 1])]);
    for (std::size_t i = 0; i < nodes.size(); ++i) wanted = std::max(wanted, reference.longest(i, weights));
    EXPECT_EQ(sum, wanted);
  }
  EXPECT_GT(convex, 100);
  EXPECT_GT(not_convex, 100);
}

TEST(Dependencies, LongFunctionsAreCheap) {
  const RandomBlock random(1, 1000);
  const Block& block = random.function.body();
  const std::vector<Node*> nodes = block.nodes();
  const auto start = std::chrono::steady_clock::now();
  int convex = 0;
  for (int times = 0; times < 10; ++times)
    for (std::size_t i = 0; i + 3 < nodes.size(); ++i)
      convex += Dependencies::between(*nodes[i], *nodes[i + 2]).is_convex({nodes[i], nodes[i + 1], nodes[i + 2]});
  EXPECT_EQ(convex, 9980);
  std::size_t edges = 0;
  for (int times = 0; times < 10; ++times)
    for (const Edges& list : Dependencies(block).reduced()) edges += list.size();
  EXPECT_GT(edges, 10000u);
  EXPECT_LT(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), 2);  // ~20 ms when optimised
}

}  // namespace
}  // namespace heddle::ir::testing
