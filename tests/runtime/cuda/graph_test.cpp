#include "runtime/cuda/graph.h"

#include <gtest/gtest.h>

#include "fake_driver.h"

namespace heddle::testing {
namespace {

/// Schedules out of a few words: node i is programmatic or not and comes after others.
struct Schedule {
  struct Node {
    bool programmatic;
    std::vector<std::uint32_t> after;
  };
  explicit Schedule(std::vector<Node> nodes) : kernels(nodes.size()) {
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      kernels[i].name = fmt::format("k{}", i), kernels[i].programmatic = nodes[i].programmatic;
      kernels[i].grid = {1, 1, 1}, kernels[i].block = {32, 1, 1};
      launches.push_back({&kernels[i], {}, nodes[i].after});
    }
  }
  /// "0 1p": after node 0, and after node 1 by a programmatic edge.
  std::string edges(std::size_t node, bool plain = false) const {
    std::string text;
    for (const Edge& edge : edges_into(launches, node, plain))
      text += fmt::format("{}{}{}", text.empty() ? "" : " ", edge.from, edge.programmatic ? "p" : "");
    return text;
  }
  std::vector<LoadedKernel> kernels;
  std::vector<Launch> launches;
};

TEST(EdgesInto, AChainIsProgrammatic) {
  const Schedule s({{true, {}}, {true, {0}}, {true, {1}}});
  EXPECT_EQ(s.edges(0), "");
  EXPECT_EQ(s.edges(1), "0p");
  EXPECT_EQ(s.edges(2), "1p");
}

TEST(EdgesInto, BothEndsMustWait) {
  const Schedule s({{true, {}}, {false, {0}}, {true, {1}}, {true, {2}}});
  EXPECT_EQ(s.edges(1), "0");
  EXPECT_EQ(s.edges(2), "1");
  EXPECT_EQ(s.edges(3), "2p");
}

TEST(EdgesInto, ADiamondClosesWithOneProgrammaticEdge) {
  const Schedule s({{true, {}}, {true, {0}}, {true, {0}}, {true, {1, 2}}});
  EXPECT_EQ(s.edges(1), "0p");
  EXPECT_EQ(s.edges(2), "0p");
  EXPECT_EQ(s.edges(3), "1 2p");
}

TEST(EdgesInto, ASkipEdgeIsPlainInWhateverOrderItIsListed) {
  const Schedule s({{true, {}}, {true, {0}}, {true, {1}}, {true, {2, 0}}, {true, {3, 1, 3}}});
  EXPECT_EQ(s.edges(3), "0 2p");
  EXPECT_EQ(s.edges(4), "1 3p");
}

TEST(EdgesInto, BlocksThatMustBeSpreadEvenlyStartBehindPlainEdges) {
  Schedule s({{true, {}}, {true, {0}}, {true, {1}}, {true, {1, 2}}});
  s.kernels[1].even_start = true;
  EXPECT_EQ(s.edges(1), "0");
  EXPECT_EQ(s.edges(2), "1p");  // it waits and lets its successors go all the same
  EXPECT_EQ(s.edges(3), "1 2p");
}

TEST(EdgesInto, WithoutAWaitInTheNearestNoEdgeIsProgrammatic) {
  const Schedule s({{true, {}}, {false, {}}, {true, {0, 1}}});
  EXPECT_EQ(s.edges(2), "0 1");
}

TEST(EdgesInto, AllArePlainWhereThatIsAsked) {
  const Schedule s({{true, {}}, {true, {0}}, {true, {0, 1}}});
  EXPECT_EQ(s.edges(1, true), "0");
  EXPECT_EQ(s.edges(2, true), "0 1");
}

TEST(Parameters, HaveTheirValuesOneByOne) {
  Parameters parameters;
  parameters.add(7);
  const std::uint64_t state[] = {1, 2, 3};
  parameters.add(state);
  parameters.add(9);
  const auto addresses = parameters.addresses();
  ASSERT_EQ(addresses.size(), 3u);
  EXPECT_EQ(*static_cast<std::uint64_t*>(addresses[0]), 7u);
  EXPECT_EQ(static_cast<std::uint64_t*>(addresses[1])[2], 3u);
  EXPECT_EQ(*static_cast<std::uint64_t*>(addresses[2]), 9u);
}

class BuildGraph : public ::testing::Test {
 protected:
  BuildGraph() : gpu(std::move(*Gpu::open(fake.api(), 0, "cuda"))), stream(std::move(*gpu->make_stream())) {
    fake.api().module_load(&module, "cubin 90 k:8");
  }
  ~BuildGraph() override { fake.api().module_unload(module); }
  Result<Graph> build(Schedule& s, bool plain) {
    for (std::size_t i = 0; i < s.kernels.size(); ++i) {
      s.kernels[i].function = reinterpret_cast<Function>(module);
      s.launches[i].parameters.add(100 + i);
    }
    return Graph::build(fake.api(), s.launches, plain, stream.get());
  }
  FakeDriver fake;
  std::unique_ptr<Gpu> gpu;
  OwnedStream stream;
  Module module = nullptr;
};

TEST_F(BuildGraph, HandsTheDriverNodesAndKindsOfEdges) {
  Schedule s({{true, {}}, {true, {0}}, {true, {0, 1}}});
  const auto graph = build(s, false);
  ASSERT_TRUE(graph.ok());
  EXPECT_EQ(graph->kernel_nodes(), 3u);
  ASSERT_EQ(fake.graphs.size(), 1u);
  const auto& nodes = fake.graphs[0].nodes;
  ASSERT_EQ(nodes[2].edges.size(), 2u);
  const auto is = [](const EdgeData& edge, int port, int type) { return edge.from_port == port && edge.type == type && edge.to_port == 0; };
  EXPECT_EQ(nodes[2].edges[0].first, 0u);
  EXPECT_TRUE(is(nodes[2].edges[0].second, 0, 0));
  EXPECT_EQ(nodes[2].edges[1].first, 1u);
  EXPECT_TRUE(is(nodes[2].edges[1].second, 1, 1));
  EXPECT_EQ(nodes[1].kernel.pointer(0), 101u);
  EXPECT_EQ(fake.live(), "1 module, 1 exec, 1 stream, 1 context");  // the graph itself is not kept
}

TEST_F(BuildGraph, NamesTheNodeThatFails) {
  Schedule s({{true, {}}, {true, {0}}});
  fake.fail_at(fake.calls() + 2, Status::out_of_memory);
  const auto graph = build(s, false);
  EXPECT_EQ(graph.error().message(), "node 1 (kernel 'k1'): cuGraphAddNode failed: CUDA_ERROR_OUT_OF_MEMORY: out of memory");
  EXPECT_EQ(fake.live(), "1 module, 1 stream, 1 context");
}

}  // namespace
}  // namespace heddle::testing
