#include "ir/dependencies.h"

#include <llvm/ADT/STLExtras.h>

#include <boost/graph/vector_as_graph.hpp>
// The algorithms find a vector's graph functions only if those are declared first.
#include <boost/graph/depth_first_search.hpp>
#include <boost/graph/topological_sort.hpp>

#include "ir/text/text.h"

namespace heddle::ir {
namespace {

/// Boost's topological sort, but a cycle is remembered by one of its nodes and not thrown.
struct Sort : boost::topo_sort_visitor<std::back_insert_iterator<std::vector<unsigned>>> {
  Sort(std::vector<unsigned>& order, std::optional<unsigned>& on_cycle)
      : topo_sort_visitor(std::back_inserter(order)), on_cycle(on_cycle) {}
  template <class Edge, class Graph>
  void back_edge(const Edge& edge, const Graph&) {
    on_cycle = edge.second;
  }
  std::optional<unsigned>& on_cycle;
};

std::vector<Node*> nodes_between(const Node& first, const Node& last) {
  const Block& block = *first.block();
  std::vector<Node*> nodes;
  for (std::size_t i = block.position_of(first), end = block.position_of(last); i <= end; ++i) nodes.push_back(&block[i]);
  return nodes;
}

}  // namespace

Dependencies::Dependencies(const Block& block, Edges edges) : Dependencies(block.nodes(), edges) {}
Dependencies Dependencies::between(const Node& first, const Node& last) { return {nodes_between(first, last), Edges::all}; }

Dependencies::Dependencies(std::vector<Node*> nodes, Edges edges) : nodes_(std::move(nodes)), direct_(nodes_.size()) {
  for (unsigned i = 0; i < nodes_.size(); ++i) positions_.try_emplace(nodes_[i], i);
  for (unsigned i = 0; i < nodes_.size(); ++i) {
    auto add = [&](Node& other) {
      if (const auto found = positions_.find(&other); found != positions_.end()) direct_[i].push_back(found->second);
    };
    if (edges == Edges::all) for_each_dependency(*nodes_[i]->block(), *nodes_[i], add);
    else for_each_stated_dependency(*nodes_[i]->block(), *nodes_[i], add);
    llvm::sort(direct_[i]);
    direct_[i].erase(std::unique(direct_[i].begin(), direct_[i].end()), direct_[i].end());
  }
  boost::depth_first_search(direct_, boost::visitor(Sort(order_, on_cycle_)));
  if (!on_cycle_) close();
}

void Dependencies::close() {
  ancestors_.assign(nodes_.size(), llvm::BitVector(unsigned(nodes_.size())));
  for (unsigned node : order_)
    for (unsigned before : llvm::reverse(direct_[node])) {  // the last first: it often implies the others
      if (ancestors_[node].test(before)) continue;
      ancestors_[node] |= ancestors_[before];
      ancestors_[node].set(before);
    }
}

unsigned Dependencies::position(const Node& node) const {
  const auto found = positions_.find(&node);
  HEDDLE_CHECK(found != positions_.end(), "'{}' is not among the nodes looked at", head(node));
  return found->second;
}

const llvm::BitVector& Dependencies::ancestors(unsigned node) const {
  HEDDLE_CHECK(!on_cycle_, "node '{}' depends on itself", head(*nodes_[*on_cycle_]));
  return ancestors_[node];
}

std::vector<Node*> Dependencies::direct(const Node& node) const {
  std::vector<Node*> out;
  for (unsigned before : direct_[position(node)]) out.push_back(nodes_[before]);
  return out;
}

Result<std::vector<Node*>> Dependencies::topological_order() const {
  if (on_cycle_) return error("node '{}' depends on itself", head(*nodes_[*on_cycle_]));
  std::vector<Node*> out;
  for (unsigned node : order_) out.push_back(nodes_[node]);
  return out;
}

bool Dependencies::reaches(const Node& from, const Node& to) const { return &from == &to || ancestors(position(to)).test(position(from)); }

bool Dependencies::is_convex(llvm::ArrayRef<Node*> members) const {
  llvm::BitVector inside(unsigned(nodes_.size())), behind(unsigned(nodes_.size()));  // behind: outsiders that depend on a member
  for (const Node* member : members) inside.set(position(*member));
  for (unsigned node = 0; node < nodes_.size(); ++node)
    if (!inside.test(node) && ancestors(node).anyCommon(inside)) behind.set(node);
  return llvm::none_of(inside.set_bits(), [&](unsigned member) { return ancestors(member).anyCommon(behind); });
}

std::vector<llvm::SmallVector<unsigned, 4>> Dependencies::reduced() const {
  auto kept = direct_;
  for (unsigned node = 0; node < nodes_.size(); ++node)
    llvm::erase_if(kept[node], [&](unsigned before) {
      return llvm::any_of(direct_[node], [&](unsigned other) { return ancestors(other).test(before); });
    });
  return kept;
}

std::vector<Node*> Dependencies::critical_path(llvm::function_ref<double(const Node&)> weight) const {
  struct Chain {
    double sum = 0;
    std::optional<unsigned> end = {};
  };
  std::vector<Chain> longest_before(nodes_.size());
  std::vector<double> sums(nodes_.size());
  Chain longest;
  for (unsigned node : order_) {
    for (unsigned before : direct_[node])
      if (Chain& best = longest_before[node]; !best.end || sums[before] > best.sum) best = {sums[before], before};
    sums[node] = longest_before[node].sum + weight(*nodes_[node]);
    if (!longest.end || sums[node] > longest.sum) longest = {sums[node], node};
  }
  std::vector<Node*> path;
  for (std::optional<unsigned> node = longest.end; node; node = longest_before[*node].end) path.push_back(nodes_[*node]);
  std::ranges::reverse(path);
  return path;
}

void Dependencies::wait(Node& later, Node& earlier) {
  const unsigned first = position(earlier), second = position(later);
  HEDDLE_CHECK(first < second, "an edge against the order of the nodes");
  later.after.push_back(&earlier);
  auto& list = direct_[second];
  if (const auto place = llvm::lower_bound(list, first); place == list.end() || *place != first) list.insert(place, first);
  for (unsigned node = 0; node < nodes_.size(); ++node) {
    if (node != second && !ancestors(node).test(second)) continue;
    ancestors_[node] |= ancestors_[first];
    ancestors_[node].set(first);
  }
}

}  // namespace heddle::ir
