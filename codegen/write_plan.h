#pragma once
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "runtime/plan/plan.h"

namespace heddle::codegen {

/// A tensor's place in the model's files, as the frontend found it.
struct TensorPlace {
  std::uint32_t file;
  std::uint64_t offset, bytes;
  std::int64_t rows, columns;
};
using TensorPlaces = std::function<std::optional<TensorPlace>(const std::string& tensor)>;

/// Fills weights, states, kernels, entries and IR text of `plan` from a scheduled and placed module (every top-level node a group).
/// Equal specs become one kernel.
Result<void> write_plan(const ir::Module& module, const TensorPlaces& tensors, plan::Plan& plan);

}  // namespace heddle::codegen
