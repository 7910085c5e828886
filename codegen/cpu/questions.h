#pragma once
#include "codegen/questions.h"

namespace heddle::codegen::cpu {

/// What can be one CPU kernel: every group that has a spec.
class CpuQuestions : public Questions {
 public:
  /// `activations`: of the target. Panels are multiplied with q8_1.
  explicit CpuQuestions(DType activations = DType::f32) : activations_(activations) {}
  std::optional<Refusal> cannot_emit(const ir::Node& group) const override;
  Layout layout_of(DType type) const override;
  Layout stack_layout_of(DType type, std::int64_t rows) const override;
  Layout table_layout_of(DType) const override { return Layout::rows; }
  double key_us(const ir::Node& group) const override;

 private:
  DType activations_;
};

}  // namespace heddle::codegen::cpu
