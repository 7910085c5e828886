#pragma once
#include <map>
#include <memory>

#include "ir/base/mapped_file.h"
#include "ir/graph.h"
#include "runtime/plan/plan.h"

namespace heddle::tools {

/// The weights of a plan's model files as the interpreter wants them.
class PlanWeights {
 public:
  /// "a.gguf: 10 bytes, the plan was made for 20".
  static Result<std::shared_ptr<const PlanWeights>> open(const plan::Plan& plan);
  /// The dequantised elements of a weight symbol, row-major, by the tensors it is made of. Those must be tensors of the plan.
  Result<std::vector<float>> read(const ir::Value& weight) const;

 private:
  struct Place {
    std::uint32_t file = 0;
    std::uint64_t offset = 0;  // of the tensor's first row
  };
  std::vector<MappedFile> files_;
  std::map<std::string, Place> tensors_;
};

}  // namespace heddle::tools
