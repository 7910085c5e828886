#include "ir/graph_view.h"

#include <llvm/ADT/BitVector.h>
#include <llvm/ADT/DenseMap.h>
#include <llvm/ADT/DenseSet.h>
#include <llvm/ADT/STLExtras.h>
#include <llvm/ADT/SmallPtrSet.h>

#include <boost/graph/depth_first_search.hpp>
#include <boost/graph/graph_traits.hpp>
#include <boost/iterator/counting_iterator.hpp>
#include <boost/iterator/transform_iterator.hpp>
#include <boost/property_map/property_map.hpp>

#include "ir/text/text.h"

namespace heddle::ir {
namespace {

/// A block as Boost.Graph sees it (VertexListGraph and IncidenceGraph): vertices are positions in the block, edges lead from a node to what
/// it depends on. Nodes and values stay where they are; only the positions behind the edges are kept, in one array.
class DependencyGraph {
 public:
  struct EdgeTo {
    std::size_t source;
    std::pair<std::size_t, std::size_t> operator()(std::size_t target) const { return {source, target}; }
  };
  struct traversal_category : boost::incidence_graph_tag, boost::vertex_list_graph_tag {};
  using vertex_descriptor = std::size_t;
  using edge_descriptor = std::pair<std::size_t, std::size_t>;
  using directed_category = boost::directed_tag;
  using edge_parallel_category = boost::disallow_parallel_edge_tag;
  using vertices_size_type = std::size_t;
  using degree_size_type = std::size_t;
  using vertex_iterator = boost::counting_iterator<std::size_t>;
  using out_edge_iterator = boost::transform_iterator<EdgeTo, std::vector<std::size_t>::const_iterator>;
  static vertex_descriptor null_vertex() { return std::size_t(-1); }

  explicit DependencyGraph(const Block& block) : block_(block), begin_{0} {
    llvm::DenseMap<const Node*, std::size_t> position;
    for (std::size_t i = 0; i < block.size(); ++i) position[&block[i]] = i;
    for (std::size_t i = 0; i < block.size(); ++i) {
      for_each_dependency(block, block[i], [&](Node& other) { targets_.push_back(position.lookup(&other)); });
      const auto first = targets_.begin() + std::ptrdiff_t(begin_.back());
      std::sort(first, targets_.end());
      targets_.erase(std::unique(first, targets_.end()), targets_.end());
      begin_.push_back(targets_.size());
    }
  }

  const Block& block() const { return block_; }
  std::size_t size() const { return begin_.size() - 1; }
  llvm::ArrayRef<std::size_t> targets(std::size_t v) const { return llvm::ArrayRef(targets_).slice(begin_[v], begin_[v + 1] - begin_[v]); }
  out_edge_iterator edge(std::size_t v, std::size_t bound) const { return {targets_.begin() + std::ptrdiff_t(begin_[bound]), EdgeTo{v}}; }

 private:
  const Block& block_;
  std::vector<std::size_t> begin_, targets_;
};

// What Boost's algorithms call, found by argument-dependent lookup.
[[maybe_unused]] std::size_t num_vertices(const DependencyGraph& graph) { return graph.size(); }
std::pair<DependencyGraph::vertex_iterator, DependencyGraph::vertex_iterator> vertices(const DependencyGraph& graph) {
  return {DependencyGraph::vertex_iterator(0), DependencyGraph::vertex_iterator(graph.size())};
}
std::pair<DependencyGraph::out_edge_iterator, DependencyGraph::out_edge_iterator> out_edges(std::size_t v, const DependencyGraph& graph) {
  return {graph.edge(v, v), graph.edge(v, v + 1)};
}
[[maybe_unused]] std::size_t out_degree(std::size_t v, const DependencyGraph& graph) { return graph.targets(v).size(); }
[[maybe_unused]] std::size_t source(DependencyGraph::edge_descriptor edge, const DependencyGraph&) { return edge.first; }
std::size_t target(DependencyGraph::edge_descriptor edge, const DependencyGraph&) { return edge.second; }

using Colors = std::vector<boost::default_color_type>;
auto color_map(Colors& colors) {
  return boost::make_iterator_property_map(colors.begin(), boost::typed_identity_property_map<std::size_t>());
}

/// Collects vertices as the search leaves them, which is after all they depend on.
struct Order : boost::dfs_visitor<> {
  Order(std::vector<std::size_t>& order, std::optional<std::size_t>& on_cycle) : order(order), on_cycle(on_cycle) {}
  void finish_vertex(std::size_t v, const DependencyGraph&) { order.push_back(v); }
  void back_edge(DependencyGraph::edge_descriptor edge, const DependencyGraph&) { on_cycle = edge.second; }
  std::vector<std::size_t>& order;
  std::optional<std::size_t>& on_cycle;
};

/// Positions in an order in which everything comes after what it depends on; since the search starts from the vertices in block order,
/// a block that is in a valid order keeps it.
Result<std::vector<std::size_t>> order_of(const DependencyGraph& graph) {
  std::vector<std::size_t> order;
  std::optional<std::size_t> on_cycle;
  Colors colors(graph.size());
  boost::depth_first_search(graph, boost::visitor(Order(order, on_cycle)).color_map(color_map(colors)));
  if (on_cycle) return error("node '{}' depends on itself", head(graph.block()[*on_cycle]));
  return order;
}

std::vector<std::size_t> checked_order_of(const DependencyGraph& graph) {
  auto order = order_of(graph);
  HEDDLE_CHECK(order.ok(), "{}", order.error().message());
  return std::move(*order);
}

}  // namespace

std::vector<Node*> predecessors(const Block& block, const Node& node) {
  llvm::SmallPtrSet<const Node*, 8> found;
  for_each_dependency(block, node, [&](Node& other) { found.insert(&other); });
  std::vector<Node*> out;
  for (std::size_t i = 0; i < block.size() && out.size() < found.size(); ++i)
    if (found.contains(&block[i])) out.push_back(&block[i]);
  return out;
}

Result<std::vector<Node*>> topological_order(const Block& block) {
  HEDDLE_ASSIGN(const std::vector<std::size_t> order, order_of(DependencyGraph(block)));
  std::vector<Node*> out;
  for (std::size_t v : order) out.push_back(&block[v]);
  return out;
}

bool is_reachable(const Block& block, const Node& from, const Node& to) {
  const DependencyGraph graph(block);
  Colors colors(graph.size(), boost::white_color);
  boost::depth_first_visit(graph, block.position_of(to), boost::dfs_visitor<>(), color_map(colors));
  return colors[block.position_of(from)] != boost::white_color;
}

bool is_convex(const Block& block, llvm::ArrayRef<Node*> set) {
  const llvm::SmallPtrSet<const Node*, 16> members(set.begin(), set.end());
  llvm::SmallPtrSet<const Node*, 16> behind;  // outsiders that depend on a member
  std::size_t seen = 0;
  for (std::size_t i = 0; i < block.size() && seen < members.size(); ++i) {
    const bool member = members.contains(&block[i]);
    seen += member;
    if (seen == 0) continue;
    bool from_member = false, from_behind = false;
    for_each_dependency(block, block[i], [&](Node& other) {
      from_member |= members.contains(&other);
      from_behind |= behind.contains(&other);
    });
    if (member && from_behind) return false;
    if (!member && (from_member || from_behind)) behind.insert(&block[i]);
  }
  HEDDLE_CHECK(seen == members.size(), "the set has nodes of another block");
  return true;
}

std::size_t longest_path(const Block& block) {
  const DependencyGraph graph(block);
  std::vector<std::size_t> length(graph.size());
  std::size_t longest = 0;
  for (std::size_t v : checked_order_of(graph)) {
    length[v] = 1;
    for (std::size_t before : graph.targets(v)) length[v] = std::max(length[v], length[before] + 1);
    longest = std::max(longest, length[v]);
  }
  return longest;
}

std::vector<std::vector<std::size_t>> transitively_reduced_edges(const Block& block) {
  const DependencyGraph graph(block);
  std::vector<llvm::BitVector> ancestors(graph.size(), llvm::BitVector(unsigned(graph.size())));
  std::vector<std::size_t> rank(graph.size());
  std::vector<std::vector<std::size_t>> kept(graph.size());
  std::size_t next_rank = 0;
  for (std::size_t v : checked_order_of(graph)) {
    rank[v] = next_rank++;
    std::vector<std::size_t> before = graph.targets(v).vec();
    llvm::sort(before, [&](std::size_t a, std::size_t b) { return rank[a] > rank[b]; });  // who implies others comes first
    for (std::size_t p : before) {
      if (ancestors[v].test(unsigned(p))) continue;
      kept[v].push_back(p);
      ancestors[v] |= ancestors[p];
      ancestors[v].set(unsigned(p));
    }
    llvm::sort(kept[v]);
  }
  return kept;
}

}  // namespace heddle::ir
