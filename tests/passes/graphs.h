#pragma once
#include <memory>
#include <string>

#include "ir/graph.h"

namespace heddle::testing {

struct SmallModel {
  int layers = 2;
  std::int64_t rows = 1;
  EntryKind kind = EntryKind::decode;
  DType activations = DType::q8_1, weights = DType::q8_0;
  bool biases = false;
};

/// A transformer with gated feed-forward layers as the frontends build it: 64 wide, 2 heads of 32 over one kv head, 96 in between.
std::unique_ptr<ir::Module> small_model(const SmallModel& model);

}  // namespace heddle::testing
