#pragma once
#include <memory>
#include <span>
#include <vector>

#include "ir/base/error.h"
#include "runtime/plan/plan.h"

namespace heddle::runtime {

/// Chains of kernels that only read, timed on a GPU: the floor under a step that has to read as much.
class Streams {
 public:
  /// `kernels`: codegen/cuda/measure/read_rate.h's. `bytes`: the most that one chain reads. Errors as make_cuda_device's and Device::load's.
  static Result<std::unique_ptr<Streams>> open(int device, std::shared_ptr<const plan::Plan> kernels, std::uint64_t bytes);
  virtual ~Streams() = default;

  struct Operator {
    std::uint64_t bytes = 0;           // read by it, from memory that no other operator of the chain reads
    std::vector<std::uint32_t> after;  // earlier operators
  };
  /// Milliseconds of the operators as one graph with programmatic edges where the GPU has them: median of `repeats`, the best number of
  /// blocks.
  virtual Result<double> chain(std::span<const Operator> operators, int repeats) = 0;
};

}  // namespace heddle::runtime
