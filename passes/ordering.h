#pragma once
#include <llvm/ADT/BitVector.h>
#include <llvm/ADT/DenseMap.h>

#include "ir/graph.h"

namespace heddle::passes {

/// Which kernels of a block are certain to have finished before which start, by data and `after` edges alone: nothing else orders kernels
/// on a device. Asked often while edges are added, so it keeps the transitive closure. The block's order must be topological and stay as it
/// is.
class Ordering {
 public:
  explicit Ordering(const ir::Block& block);
  bool is_before(const ir::Node& a, const ir::Node& b) const;
  /// Makes `b` wait for `a`, by its `after` list; `a` comes first in the block.
  void add(ir::Node& a, ir::Node& b);

 private:
  llvm::DenseMap<const ir::Node*, unsigned> position_;
  std::vector<llvm::BitVector> before_;  // by position: all that come before it
};

/// The versions of states that a node (or its body) overwrites.
std::vector<ir::Value*> states_written_by(const ir::Node& node);

}  // namespace heddle::passes
