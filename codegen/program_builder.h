#pragma once
#include <llvm/ADT/DenseMap.h>

#include "codegen/spec.h"

namespace heddle::codegen {

/// The arguments of a spec under construction: each IR value once.
class ArgTable {
 public:
  explicit ArgTable(SpecOfGroup& out) : out_(&out) {}
  unsigned of(const ir::Value& value, plan::ArgRole role);
  /// Slot and position of every row become arguments; a null one is left alone.
  void use_row_inputs(const ir::Value* slot, const ir::Value* pos);

 private:
  SpecOfGroup* out_;
  llvm::DenseMap<const ir::Value*, unsigned> index_;
};

/// Writes nodes as an expression program. Values that come from elsewhere become inputs when first read.
class ProgramBuilder {
 public:
  /// `prologue`: whose row scalars this program may read; null for none.
  ProgramBuilder(ArgTable& args, const ProgramBuilder* prologue) : args_(&args), prologue_(prologue) {}

  void define_loop(const ir::Value& value, unsigned index);
  std::optional<Refusal> append(const ir::Node& node);
  std::optional<Refusal> store(const ir::Node& node, const ir::Value& value, plan::StoreKind kind, unsigned arg);
  /// Makes sure that the program holds `value` for `reader`.
  std::optional<Refusal> require(const ir::Node& reader, const ir::Value& value);
  bool has(const ir::Value& value) const { return handles_.contains(&value); }
  /// A value's number; final once no more inputs are added.
  unsigned number_of(const ir::Value& value) const;
  plan::Program take();
  /// The node of every instruction.
  const std::vector<const ir::Node*>& nodes() const { return nodes_; }

 private:
  // Inputs are numbered before instructions, but their count is known only at the end: until then a value is a handle.
  struct Handle {
    bool instr = false;
    unsigned index = 0;
  };
  unsigned number(Handle handle) const { return handle.index + (handle.instr ? unsigned(program_.inputs.size()) : 0u); }
  void add_input(const ir::Value& value, plan::InputKind kind, unsigned index, double constant = 0);
  ArgTable* args_;
  const ProgramBuilder* prologue_;
  plan::Program program_;
  llvm::DenseMap<const ir::Value*, Handle> handles_;
  std::vector<std::vector<Handle>> instr_operands_;
  std::vector<Handle> stored_;
  std::vector<const ir::Node*> nodes_;
};

}  // namespace heddle::codegen
