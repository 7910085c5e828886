#include "codegen/cpu/questions.h"

#include "codegen/estimates.h"
#include "codegen/spec.h"
#include "runtime/plan/layout.h"
#include "runtime/plan/panels.h"

namespace heddle::codegen::cpu {

std::optional<Refusal> CpuQuestions::cannot_emit(const ir::Node& group) const {
  auto spec = spec_of(group);
  if (auto* refusal = std::get_if<Refusal>(&spec)) return *refusal;
  return std::nullopt;
}

double CpuQuestions::key_us(const ir::Node& group) const {
  constexpr double operations_per_us = 0.1e6;  // of attention on two cores with AVX-512
  auto spec = spec_of(group);
  auto* found = std::get_if<SpecOfGroup>(&spec);
  return found ? operations_per_key(found->spec) / operations_per_us : 0;
}

Layout CpuQuestions::stack_layout_of(DType type, std::int64_t rows) const {
  return rows % plan::panel_rows == 0 ? layout_of(type) : Layout::rows;  // a panel holds rows of one matrix
}

Layout CpuQuestions::layout_of(DType type) const {
  return activations_ == DType::q8_1 && plan::has_panels(type) ? Layout::panels : Layout::rows;
}

}  // namespace heddle::codegen::cpu
