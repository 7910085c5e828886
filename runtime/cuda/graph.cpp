#include "runtime/cuda/graph.h"

#include <algorithm>

namespace heddle::runtime::cuda {
namespace {

Result<std::size_t> count_kernel_nodes(const Driver& driver, GraphHandle graph) {
  std::size_t count = 0, kernels = 0;
  HEDDLE_TRY(check(driver, driver.graph_nodes(graph, nullptr, &count), "cuGraphGetNodes"));
  std::vector<GraphNode> nodes(count);
  if (count > 0) HEDDLE_TRY(check(driver, driver.graph_nodes(graph, nodes.data(), &count), "cuGraphGetNodes"));
  for (const GraphNode node : nodes) {
    int type = -1;
    HEDDLE_TRY(check(driver, driver.graph_node_type(node, &type), "cuGraphNodeGetType"));
    kernels += type == node_type_kernel;
  }
  return kernels;
}

Result<GraphNode> add_node(const Driver& driver, GraphHandle graph, const Launch& launch, std::span<const Edge> edges,
                           std::span<const GraphNode> nodes) {
  std::vector<GraphNode> from;
  std::vector<EdgeData> kinds;
  for (const Edge& edge : edges) {
    from.push_back(nodes[edge.from]);
    kinds.push_back(edge.programmatic ? programmatic_edge : plain_edge);
  }
  const LoadedKernel& kernel = *launch.kernel;
  std::vector<void*> addresses = launch.parameters.addresses();  // the driver copies the values
  NodeParams params = {};
  params.type = node_type_kernel;
  params.kernel.function = kernel.function;
  std::ranges::copy(kernel.grid, params.kernel.grid);
  std::ranges::copy(kernel.block, params.kernel.block);
  params.kernel.shared_bytes = kernel.shared_bytes;
  params.kernel.params = addresses.data();
  GraphNode node = nullptr;
  HEDDLE_TRY(check(driver, driver.graph_add_node(&node, graph, from.data(), kinds.data(), from.size(), &params), "cuGraphAddNode"));
  return node;
}

}  // namespace

std::vector<Edge> edges_into(std::span<const Launch> schedule, std::size_t node, bool plain_only) {
  std::vector<std::uint32_t> after = schedule[node].after;
  std::ranges::sort(after);
  after.erase(std::ranges::unique(after).begin(), after.end());
  std::vector<Edge> edges;
  for (const std::uint32_t from : after) edges.push_back({from, false});
  const LoadedKernel& kernel = *schedule[node].kernel;
  if (!edges.empty() && !plain_only && kernel.programmatic && !kernel.even_start)
    edges.back().programmatic = schedule[edges.back().from].kernel->programmatic;
  return edges;
}

Status launch_one(const Driver& driver, const Launch& launch, Stream stream) {
  const LoadedKernel& k = *launch.kernel;
  std::vector<void*> addresses = launch.parameters.addresses();
  return driver.launch_kernel(k.function, k.grid[0], k.grid[1], k.grid[2], k.block[0], k.block[1], k.block[2], k.shared_bytes, stream,
                              addresses.data(), nullptr);
}

Result<Graph> Graph::build(const Driver& driver, std::span<const Launch> schedule, bool plain_only, Stream stream) {
  GraphHandle handle = nullptr;
  HEDDLE_TRY(check(driver, driver.graph_create(&handle, 0), "cuGraphCreate"));
  const OwnedGraph graph(driver, handle);  // only its executable form is kept
  std::vector<GraphNode> nodes;
  for (std::size_t i = 0; i < schedule.size(); ++i) {
    auto node = add_node(driver, handle, schedule[i], edges_into(schedule, i, plain_only), nodes);
    if (!node.ok()) return node.take_error().at(fmt::format("node {} (kernel '{}')", i, schedule[i].kernel->name));
    nodes.push_back(*node);
  }
  Graph out;
  HEDDLE_ASSIGN(out.kernel_nodes_, count_kernel_nodes(driver, handle));
  GraphExec exec = nullptr;
  HEDDLE_TRY(check(driver, driver.graph_instantiate(&exec, handle, 0), "cuGraphInstantiate"));
  out.exec_ = OwnedGraphExec(driver, exec);
  HEDDLE_TRY(check(driver, driver.graph_upload(exec, stream), "cuGraphUpload"));
  return out;
}

}  // namespace heddle::runtime::cuda
