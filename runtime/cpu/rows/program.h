#pragma once
#include "ir/base/scalar_ops.h"
#include "runtime/cpu/kernel.h"

/// Expression programs of a kernel spec on vectors: one row at a time, on the columns that the loop hands over.
namespace heddle::runtime::cpu {

/// An instruction over values by number. A scalar value is an array of `scalar_lanes` equal floats, so that reading it needs no case of
/// its own; any other f32 value is an array of the slice's columns.
struct Step {
  enum Kind : std::uint8_t { scalar_op, rms_norm, rms_scale, rope, quantize } kind = scalar_op;
  ScalarOp op{};
  bool scalar = false;  // the result is one
  bool scalar_operand[3] = {};
  bool adjacent = false;  // rope
  DType format{};         // quantize
  unsigned result = 0, operands[3] = {}, operand_count = 0;
  std::int64_t period = 0;  // rms_norm: elements of the gain; rope: head_dim
  float eps = 0;
  const RopeTable* table = nullptr;  // rope

  std::span<const unsigned> used() const { return {operands, operand_count}; }
};
inline constexpr std::int64_t scalar_lanes = 16;

/// Runs steps in order. `at[v]`: address of value v. `position`: of the row, for rope.
void run_steps(std::span<const Step> steps, std::byte* const* at, std::int64_t columns, std::int64_t position);
/// Rounds `count` floats to f16.
void store_f16(const float* from, std::int64_t count, std::byte* to);

/// The vector instructions in use: "AVX3_DL", "AVX2", ...
const char* instruction_set();

class Program {
 public:
  /// A program over rows of `n` columns that is run on at most `columns` of them at a time. Values in `kept` (by number) stay readable
  /// after `run`. `prologue` resolves inputs of kind row_scalar to indices into Slice::row_scalars.
  Program(const plan::Program& spec, std::int64_t n, std::int64_t columns, const Binding& binding, std::span<const unsigned> kept = {},
          std::span<const unsigned> row_scalars = {});

  /// What one run works on.
  struct Slice {
    std::int64_t row = 0, column = 0, columns = 0;
    std::span<const float* const> loops = {};  // results of the loop for this slice
    const float* row_scalars = nullptr;        // of this row
  };
  /// Computes and stores one slice. `scratch`: scratch_bytes() bytes, aligned to 64.
  void run(const Slice& slice, std::byte* scratch) const;
  /// After a run: a value of that slice. A scalar is its first float.
  const std::byte* value(std::byte* scratch, unsigned number) const { return reinterpret_cast<std::byte* const*>(scratch)[number]; }

  std::size_t scratch_bytes() const { return scratch_bytes_; }
  bool has_stores() const { return has_stores_; }
  bool has_steps() const { return !steps_.empty(); }
  /// The buffer that value `number` is, if it is an input of kind rows: its first row.
  const std::byte* buffer_of(unsigned number) const { return values_[number].home == Home::rows ? values_[number].base : nullptr; }
  std::int64_t row_bytes(unsigned number) const { return values_[number].row_bytes; }

 private:
  struct Prepare;
  enum class Home : std::uint8_t { loop, rows, vector, row_scalar, constant, scratch };
  struct Value {
    Home home = Home::scratch;
    DType dtype = DType::f32;
    bool scalar = false;
    bool whole = false;          // a vector that is not one element per column: gains of heads, factors of rope
    unsigned index = 0;          // loop, row_scalar
    std::byte* base = nullptr;   // rows: first row; vector: first element; constant: scalar_lanes floats
    std::int64_t row_bytes = 0;  // rows
    std::size_t offset = 0;      // scratch
  };
  struct Store {
    unsigned value;
    plan::StoreKind kind;
    DType dtype;
    std::byte* base;
    std::int64_t row_bytes;           // buffer
    std::int64_t kv_heads, head_dim;  // caches
  };
  void add_input(const plan::Input& input, std::int64_t n, const Binding& binding, std::span<const unsigned> row_scalars);
  void add_step(const plan::Instr& instr, std::int64_t n, const Binding& binding);
  void add_store(const plan::Store& store, std::int64_t n, const Binding& binding);
  void place_values(std::int64_t columns, std::span<const unsigned> kept);
  void store_to_cache(const Store& store, const Slice& slice, const float* values) const;

  std::vector<Value> values_;
  std::vector<Step> steps_;
  std::vector<Store> stores_;
  std::vector<std::unique_ptr<float[]>> constants_;
  const std::int32_t* slots_ = nullptr;
  const std::int32_t* positions_ = nullptr;
  std::int64_t capacity_ = 0;
  std::size_t scratch_bytes_ = 0;
  bool has_stores_ = false;
};

}  // namespace heddle::runtime::cpu
