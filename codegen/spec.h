#pragma once
#include <variant>
#include <vector>

#include "codegen/estimates.h"
#include "codegen/questions.h"
#include "ir/graph.h"
#include "runtime/plan/plan.h"

namespace heddle::codegen {

/// A kernel's spec, and what of the IR stands behind its pieces.
struct SpecOfGroup {
  plan::KernelSpec spec;
  std::vector<const ir::Value*> args = {};                  // of every argument
  std::vector<const ir::Node*> loop = {};                   // the loop's nodes, in order
  std::vector<std::vector<const ir::Node*>> programs = {};  // of every instruction of the programs: the prologue's, then the parts'

  /// The node at the place of the spec that was refused; of a loop its last one; null: the whole group.
  const ir::Node* node_of(const Refusal& refused) const;
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

}  // namespace heddle::codegen
