#pragma once
#include "runtime/cuda/measure/streams.h"
#include "runtime/device/device.h"

namespace heddle::tools {

/// What a decode step of a CUDA plan would take if it only read its bytes, measured on this machine.
class FloorBench {
 public:
  /// Keeps a reference to `plan`. Streams up to what the plan reads behind `depth` tokens in `sequences` caches.
  static Result<FloorBench> open(const plan::Plan& plan, std::int64_t depth, std::int64_t sequences, const std::string& cache_dir);

  struct Floor {
    double fixed = 0;  // ms: five operators a layer (QKV; attention with the cache's bytes; output; gate and up; down) and the head
    double plan = 0;   // ms: the plan's own launches and edges
  };
  Result<Floor> at(std::int64_t depth, std::int64_t sequences) const;

 private:
  const plan::Plan* plan_ = nullptr;
  std::unique_ptr<runtime::Streams> streams_;
};

}  // namespace heddle::tools
