#pragma once
#include <span>
#include <vector>

#include "runtime/cuda/driver/modules.h"

namespace heddle::runtime::cuda {

/// The values of a kernel's parameters, one after the other.
class Parameters {
 public:
  void add(std::uint64_t word) { add({&word, 1}); }
  void add(std::span<const std::uint64_t> words) {  // one parameter: a struct passed by value
    starts_.push_back(words_.size());
    words_.insert(words_.end(), words.begin(), words.end());
  }
  /// What a launch wants: the address of each; good as long as the object stays where it is.
  std::vector<void*> addresses() const {
    std::vector<void*> out;
    for (const std::size_t start : starts_) out.push_back(const_cast<std::uint64_t*>(&words_[start]));
    return out;
  }

 private:
  std::vector<std::uint64_t> words_;
  std::vector<std::size_t> starts_;
};

/// A node of a schedule: what is launched, and the nodes that come first.
struct Launch {
  const LoadedKernel* kernel = nullptr;
  Parameters parameters;
  std::vector<std::uint32_t> after;
};

struct Edge {
  std::uint32_t from = 0;
  bool programmatic = false;
  bool operator==(const Edge&) const = default;
};

/// The edges into a node, by ascending origin. A programmatic edge lets a node start while its predecessor runs; the node's own wait then
/// covers that predecessor, and older data because each predecessor has waited too. So both ends must be programmatic; and only the edge
/// from the nearest predecessor (the largest index) is: a second programmatic one was measured to lose the overlap, a plain one keeps it.
/// None is where blocks must be spread evenly: those that start early go where room falls free first, two on one multiprocessor while
/// another stays idle, and there they stay. A prefill of about one large block for each multiprocessor took 1.3 times as long so.
std::vector<Edge> edges_into(std::span<const Launch> schedule, std::size_t node, bool plain_only);

/// Queues one node by itself.
Status launch_one(const Driver& driver, const Launch& launch, Stream stream);

/// A schedule as one CUDA graph, ready to be replayed.
class Graph {
 public:
  Graph() = default;
  static Result<Graph> build(const Driver& driver, std::span<const Launch> schedule, bool plain_only, Stream stream);
  Status launch(const Driver& driver, Stream stream) const { return driver.graph_launch(exec_.get(), stream); }
  /// Kernel nodes as the driver counts them in the graph.
  std::size_t kernel_nodes() const { return kernel_nodes_; }

 private:
  OwnedGraphExec exec_;
  std::size_t kernel_nodes_ = 0;
};

}  // namespace heddle::runtime::cuda
