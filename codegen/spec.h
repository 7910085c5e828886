#pragma once
#include <variant>
#include <vector>

#include "codegen/estimates.h"
#include "codegen/questions.h"
#include "ir/graph.h"
#include "runtime/plan/plan.h"

namespace heddle::codegen {

/// A kernel's spec and the IR value behind each of its arguments, in order.
struct SpecOfGroup {
  plan::KernelSpec spec;
  std::vector<const ir::Value*> args;
};

/// The spec of a group: one loop kind, a program before and programs after it; or the node that does not fit and why.
///   gemm       matmuls that share one activation, which a program of row-wise ops may prepare; after it elementwise ops, row pairs,
///              quantize and cache stores on columns
///   attention  one attention, elementwise ops and quantize after it
///   embed      one embed, elementwise ops after it
///   route      a top_k and the gates of what it chose
///   rowwise    anything made of row-wise and elementwise ops and cache stores
std::variant<SpecOfGroup, Refusal> spec_of(const ir::Node& group);

/// gemv_q4_K_4096x14336__add: loop, formats and shape, then the ops after it. The name spells the spec.
std::string name_of(const plan::KernelSpec& spec);

/// Answers for targets whose kernels are all specs of the form above: the CPU.
class SpecQuestions : public Questions {
 public:
  /// `activations`: of the target. Panels are multiplied with q8_1.
  explicit SpecQuestions(DType activations = DType::f32) : activations_(activations) {}
  std::optional<Refusal> cannot_emit(const ir::Node& group) const override;
  Layout layout_of(DType type) const override;
  Layout stack_layout_of(DType type, std::int64_t rows) const override;
  Layout table_layout_of(DType) const override { return Layout::rows; }
  double key_us(const ir::Node& group) const override;

 private:
  DType activations_;
};

}  // namespace heddle::codegen
