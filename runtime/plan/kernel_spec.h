#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "ir/base/dtype.h"
#include "ir/base/format_by_name.h"
#include "ir/base/layout.h"
#include "ir/base/row_ops.h"

/// What a kernel computes: a loop, and small expression programs before and after it. The CPU target runs the spec; a GPU's emitter writes text
/// from it, and the compiled text is stored beside it. Both sides of the plan read these types; plan.fbs is how they lie in a file.
namespace heddle::plan {

// ---- Expression programs
//
// A program is a DAG in SSA form over values numbered inputs first, then instructions, each [rows of the step, n] with one n for the
// whole program, or [rows, 1] (a row scalar). Where it runs:
//   prologue of products  whole rows of n = k; its value `Gemm::activation` (dtype `Gemm::activations`) is what the loop multiplies
//   epilogue of a part    results of the loop; may run on any granule of columns that is a multiple of `granule`

enum class InputKind : std::uint8_t {
  loop,        // products: accumulator `index` of this part; attention, embed: the loop's result
  rows,        // argument `index`, a buffer [rows, n] (or [rows, 1])
  vector,      // argument `index`, a weight [n] or, for per-head gains, [head_dim] (rope's factors: [dims / 2]): the same for every row
  row_scalar,  // value `index` of the prologue, [rows, 1]
  constant,    // `value`
};
std::string_view name(InputKind kind);

struct Input {
  InputKind kind = InputKind::loop;
  std::uint32_t index = 0;
  double value = 0;
  bool operator==(const Input&) const = default;
};

/// An op with its attributes (ir/base/row_ops.h). Operands are values in the order of the op's row; positions are none of them: they come from the
/// kernel's argument.
struct Instr {
  RowOp op;
  std::vector<std::uint32_t> operands;
  /// The op if it is this one (Rope, Quantize, ...), else null.
  template <class Op>
  const Op* as() const {
    return std::get_if<Op>(&op);
  }
  bool operator==(const Instr&) const = default;
};

enum class StoreKind : std::uint8_t {
  buffer,     // argument `index`, a buffer [rows, n]
  cache_key,  // argument `index`, a state: value is [rows, kv_heads * head_dim], stored at (slot[r], pos[r])
  cache_value,
};
std::string_view name(StoreKind kind);

struct Store {
  std::uint32_t value = 0;
  StoreKind kind = StoreKind::buffer;
  std::uint32_t index = 0;
  bool operator==(const Store&) const = default;
};

struct Program {
  std::vector<Input> inputs;
  std::vector<Instr> instrs;
  std::vector<Store> stores;
  bool operator==(const Program&) const = default;
};

// ---- Loops

/// One product: the weight's argument.
struct Segment {
  std::uint32_t weight = 0;
  bool operator==(const Segment&) const = default;
};

/// Results of a loop that one epilogue reads. The accumulators of a part all have n columns.
struct Part {
  std::int64_t n = 0;
  std::vector<Segment> segments;  // products only
  std::int64_t granule = 1;       // columns an epilogue must see together (head_dim for rope, the block for quantize)
  Program epilogue;
  bool operator==(const Part&) const = default;
};

/// Matrix products over one activation. With experts (an argument, i32 [rows, chosen]) a weight is a stack [experts, n, k], and each row is
/// multiplied by those it chose: part.n is chosen * n, their products side by side. With gates (f32 [rows, chosen]) the activation is
/// [rows, chosen * k], a slice for each, and a result, of n columns, the sum of the products times the gates.
struct Gemm {
  std::int64_t k = 0;
  DType activations = DType::f32;  // of value `activation` of the prologue
  std::uint32_t activation = 0;
  int experts = -1, gates = -1;  // arguments; -1: none
  std::int64_t chosen = 1;
  Program prologue;
  bool operator==(const Gemm&) const = default;
};

/// Nothing but the program of its part.
struct Rowwise {
  bool operator==(const Rowwise&) const = default;
};

/// `selected`: slots and positions are not the step's inputs but what a kernel of the same step chose among them; other rows of the step may then
/// have stored at the positions before.
struct Attention {
  std::uint32_t q = 0, kv = 0;  // arguments
  std::int64_t heads = 0, kv_heads = 0, head_dim = 0;
  double scale = 0;
  std::int64_t window = 0;  // 0: none
  double softcap = 0;       // 0: none
  bool selected = false;
  bool operator==(const Attention&) const = default;
};

struct Embed {
  std::uint32_t table = 0, tokens = 0;  // arguments
  bool operator==(const Embed&) const = default;
};

/// One token per row from its logits, as runtime/sampling/sampling.h defines it; writes the row's next token, position and, at its end, slot -1.
/// runtime/cuda/sample_control.h has what the kernel exchanges with the runtime.
struct Sample {
  std::uint32_t logits = 0, tokens = 0, slots = 0, positions = 0;  // arguments, the last three of them written
  std::int32_t max_top_k = -1;  // the largest top_k that the kernel can do at a temperature above 0; -1: any, also all; 0: it is greedy only
  bool operator==(const Sample&) const = default;
};

/// The experts of every row from its logits [rows, n]: `experts` i32 [rows, k], the largest first, of equal ones the lower column first; `gates`
/// f32 [rows, k], their softmax over the row, with `normalized` over the k alone.
struct TopExperts {
  std::uint32_t logits = 0, experts = 0, gates = 0;  // arguments
  bool normalized = false;
  bool operator==(const TopExperts&) const = default;
};

/// Rows chosen among those of a step: row r of every `to` is row index[r] of its `from`, bit for bit. `from` has `rows` rows, `to` those of the
/// kernel; both are buffers of one type, or slots, or positions.
struct GatherRows {
  struct Pair {
    std::uint32_t from = 0, to = 0;  // arguments
    bool operator==(const Pair&) const = default;
  };
  std::uint32_t index = 0;  // argument
  std::int64_t rows = 0;
  std::vector<Pair> pairs;
  bool operator==(const GatherRows&) const = default;
};

using Loop = std::variant<Gemm, Rowwise, Attention, Embed, Sample, TopExperts, GatherRows>;
/// "gemm", "rowwise", "attention", "embed", "sample", "route", "select".
std::string_view name(const Loop& loop);

// ---- Kernels

/// slots, positions: of every row, the step's inputs or what a gather chose of them. last: a row of the step for every row of the kernel.
enum class ArgRole : std::uint8_t { weight, buffer, state, tokens, slots, positions, last };
std::string_view name(ArgRole role);

struct Arg {
  ArgRole role = ArgRole::weight;
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;
  Layout layout = Layout::rows;
  std::string name;
  bool written = false;
  bool operator==(const Arg&) const = default;
};

/// A choice of the emitter that a measurement made instead of its rules: "warps" 24.
struct Knob {
  std::string name;
  std::int32_t value = 0;
  bool operator==(const Knob&) const = default;
};

struct KernelSpec {
  std::string name;
  Loop loop;
  std::int64_t rows = 0;
  std::vector<Arg> args;
  std::vector<Part> parts;  // at least one of a loop that computes columns; none of sample, top experts and gathers
  int slots_arg = -1;       // arguments holding slot and position of every row, where needed
  int positions_arg = -1;
  std::vector<Knob> knobs;
  bool operator==(const KernelSpec&) const = default;

  // The loop if it is of this kind, else null.
  const Gemm* gemm() const { return std::get_if<Gemm>(&loop); }
  const Attention* attention() const { return std::get_if<Attention>(&loop); }
  const Embed* embed() const { return std::get_if<Embed>(&loop); }
  const Sample* sample() const { return std::get_if<Sample>(&loop); }
  const TopExperts* top_experts() const { return std::get_if<TopExperts>(&loop); }
  const GatherRows* gather_rows() const { return std::get_if<GatherRows>(&loop); }
  bool is_rowwise() const { return std::holds_alternative<Rowwise>(loop); }
  Gemm* gemm() { return std::get_if<Gemm>(&loop); }
  Attention* attention() { return std::get_if<Attention>(&loop); }
  Embed* embed() { return std::get_if<Embed>(&loop); }
  Sample* sample() { return std::get_if<Sample>(&loop); }
  TopExperts* top_experts() { return std::get_if<TopExperts>(&loop); }
  GatherRows* gather_rows() { return std::get_if<GatherRows>(&loop); }
};

/// Bytes that are the same for equal specs alone: a key for maps.
std::string key_of(const KernelSpec& spec);

}  // namespace heddle::plan

HEDDLE_FORMAT_BY_NAME(heddle::plan::InputKind)
HEDDLE_FORMAT_BY_NAME(heddle::plan::StoreKind)
HEDDLE_FORMAT_BY_NAME(heddle::plan::ArgRole)
