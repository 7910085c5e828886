#pragma once
#include <optional>
#include <string>
#include <string_view>

#include "codegen/refusal.h"
#include "ir/graph.h"

/// What passes ask of the code generator, and all they may know of it.
namespace heddle::codegen {

class Questions {
 public:
  virtual ~Questions() = default;
  /// Whether the target can emit a group as one kernel. The group may stand in no block: one that is only thought of.
  virtual std::optional<Refusal> cannot_emit(const ir::Node& group) const = 0;
  /// How the target's kernels read a weight matrix of this type (runtime/plan/layout.h has the names).
  virtual Layout layout_of(DType) const { return Layout::rows; }
  /// The same for a stack of matrices [count, rows, columns].
  virtual Layout stack_layout_of(DType type, std::int64_t /*rows*/) const { return layout_of(type); }
  /// The same for a table from which rows are only gathered.
  virtual Layout table_layout_of(DType type) const { return layout_of(type); }
  /// The format in which the target wants the activation of this matmul; none: what the target's `activations` says.
  virtual std::optional<DType> activations_of(const ir::Node& /*matmul*/) const { return std::nullopt; }
  /// About the microseconds that the loop of a group's kernel takes for its arithmetic, however fast its operands come; none: not known.
  virtual std::optional<double> loop_us(const ir::Node& /*group*/) const { return std::nullopt; }
  /// About the microseconds by which every row of a step takes longer for one key more in the cache, in the attention of a group's kernel;
  /// 0 if it reads no more keys then.
  virtual double key_us(const ir::Node& /*group*/) const { return 0; }
};

/// A pass that a target's pipeline has beside those of every target, and the pass that it stands before; of several before one, in order.
struct ExtraPass {
  std::string_view pass, before;
};

}  // namespace heddle::codegen
