#pragma once
#include <memory>

#include "codegen/questions.h"
#include "ir/target.h"

namespace heddle::codegen::cuda {

/// What can be one CUDA kernel: a group that has a spec, for which there is a plan. Layers and entry points repeat themselves, so every spec is
/// planned once; an object serves one thread.
class CudaQuestions : public Questions {
 public:
  explicit CudaQuestions(ir::Target target);
  ~CudaQuestions() override;
  std::optional<Refusal> cannot_emit(const ir::Node& group) const override;
  Layout layout_of(DType type) const override;
  std::optional<DType> activations_of(const ir::Node& matmul) const override;
  std::optional<double> loop_us(const ir::Node& group) const override;
  double key_us(const ir::Node& group) const override;

 private:
  class Plans;
  ir::Target target_;
  std::unique_ptr<Plans> plans_;
};

}  // namespace heddle::codegen::cuda
