#pragma once
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "codegen/cuda/source_text.h"
#include "codegen/refusal.h"
#include "ir/base/dtype.h"
#include "runtime/plan/plan.h"

/// Expression programs as device text. A value with n columns becomes a function of an index, `v3(i)`, which stands for a column or for a
/// place in registers; a value of one column becomes a constant, `v3`. Loops and stores stand around them.
namespace heddle::codegen::cuda {

struct Value {
  const plan::Input* input = nullptr;  // or
  const plan::Instr* instr = nullptr;
  DType dtype = DType::f32;
  bool columns = false;    // one element for each column; otherwise one for a row, or (tables) read by index only
  std::int64_t width = 1;  // elements of an input
};

/// A program with what its values are. Keeps references.
class Program {
 public:
  Program(const plan::Program& program, const plan::KernelSpec& spec, std::int64_t n);
  const plan::KernelSpec& spec() const { return spec_; }
  const plan::Program& program() const { return program_; }
  std::int64_t n() const { return n_; }
  std::size_t size() const { return values_.size(); }
  const Value& operator[](std::size_t i) const { return values_[i]; }
  unsigned inputs() const { return unsigned(program_.inputs.size()); }
  const plan::Arg& arg(const plan::Input& input) const { return spec_.args[input.index]; }

  /// That an instruction of this program stands in the way.
  Refusal refused(const plan::Instr& instr, std::string reason) const;
  /// Marks `value` and all that it is computed from.
  void mark_needed(unsigned value, std::vector<bool>& needed) const;
  /// The first instruction of this op.
  template <class Op>
  const plan::Instr* find() const {
    for (const plan::Instr& instr : program_.instrs)
      if (instr.as<Op>()) return &instr;
    return nullptr;
  }

 private:
  const plan::Program& program_;
  const plan::KernelSpec& spec_;
  std::int64_t n_;
  std::vector<Value> values_;
};

/// Programs of a spec, prologue first.
std::vector<const plan::Program*> programs_of(const plan::KernelSpec& spec);
/// That the loop of a spec, or something around it that is no instruction, stands in the way.
Refusal refused_loop(const plan::KernelSpec& spec, std::string reason);

/// Of a norm (rms_norm, rms_scale).
double eps_of(const plan::Instr& instr);

/// The value as others read it: "v3(i)" or "v3".
std::string read(const Program& program, std::string_view prefix, unsigned value, std::string_view index = "i");

/// `auto v5 = [&](int i) { ... };` or `const float v5 = ...;` for an elementwise instruction.
void print_elementwise(Text& out, const Program& program, std::string_view prefix, unsigned value);

/// A value defined by an expression over i (or of none).
void print_value(Text& out, const Program& program, std::string_view prefix, unsigned value, std::string_view expression);

/// Device functions `op_silu(x)` for the elementwise ops of these programs.
void print_ops(Text& out, const std::vector<const plan::Program*>& programs);

// ---- Loads and addresses; `row` and `column` are expressions

/// One element of a weight vector: `arg` is the kernel's argument number.
std::string weight_element(const plan::KernelSpec& spec, unsigned arg, std::string_view index);
/// One element of an f32 buffer [rows, width].
std::string buffer_element(const plan::KernelSpec& spec, unsigned arg, std::string_view row, std::string_view column);
std::string float_literal(double value);

/// A statement that stores `value` (an expression) of `column`: to a buffer or, at the position of `row`, to a cache; what stands in front
/// of it must have checked the slot. `slot` and `position`: expressions.
std::string store_statement(const plan::KernelSpec& spec, const plan::Store& store, std::string_view row, std::string_view column,
                            std::string_view value, std::string_view slot, std::string_view position);

// ---- Rotary embedding

struct EmittedRope {
  std::int64_t head_dim, dims;
  bool halves;
  std::string table;                // name of the constant table
  std::optional<unsigned> factors;  // argument
};
EmittedRope rope_of(const Program& program, const plan::Instr& instr);
/// Constant tables of the frequencies of these programs' ropes, in half turns for each position.
void print_rope_tables(Text& out, const std::vector<const plan::Program*>& programs);
/// An expression for the half turns of pair `pair` from each position to the next, a double.
std::string half_turns(const EmittedRope& rope, const plan::KernelSpec& spec, std::string_view pair);

/// `auto v5 = [&](int i) { ... };` for a rope instruction. `column`: the column that index i stands for. `position` is a variable.
/// `turns`: an array that has the half turns of each pair; empty: they are read where they are used.
void print_rope(Text& out, const Program& program, std::string_view prefix, unsigned value, std::string_view column,
                std::string_view turns = {});

/// Device functions that these expressions use: turn(half_turns, c, s).
extern const std::string_view program_prelude;

}  // namespace heddle::codegen::cuda
