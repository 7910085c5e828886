#pragma once
#include "codegen/questions.h"
#include "ir/target.h"

namespace heddle::codegen::cuda {

/// What can be one CUDA kernel: a group that has a spec, and whose spec `emit` takes.
class CudaQuestions : public Questions {
 public:
  explicit CudaQuestions(ir::Target target) : target_(std::move(target)) {}
  std::optional<Refusal> cannot_emit(const ir::Node& group) const override;
  Layout layout_of(DType type) const override;
  std::optional<DType> activations_of(const ir::Node& matmul) const override;
  std::optional<double> loop_us(const ir::Node& group) const override;
  double key_us(const ir::Node& group) const override;

 private:
  ir::Target target_;
};

}  // namespace heddle::codegen::cuda
