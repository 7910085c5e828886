#pragma once
#include <map>
#include <random>
#include <string>
#include <vector>

#include "ir/base/dtype.h"
#include "runtime/plan/plan.h"

namespace heddle::testing {

/// An expression program under construction. Inputs come before instructions.
class ProgramWriter {
 public:
  unsigned loop(unsigned index) { return input(plan::InputKind::loop, index); }
  unsigned rows(unsigned arg) { return input(plan::InputKind::rows, arg); }
  unsigned vector(unsigned arg) { return input(plan::InputKind::vector, arg); }
  unsigned row_scalar(unsigned value) { return input(plan::InputKind::row_scalar, value); }
  unsigned constant(double value) { return input(plan::InputKind::constant, 0, value); }

  unsigned op(const std::string& name, std::vector<unsigned> operands);
  unsigned rms_norm(unsigned x, unsigned gain, double eps);
  unsigned rms_scale(unsigned x, double eps);
  unsigned quantize(unsigned x, DType format);
  unsigned rope(std::vector<unsigned> operands, std::int64_t head_dim, std::int64_t dims, double theta, Pairing pairing);
  void store(unsigned value, unsigned arg, plan::StoreKind kind = plan::StoreKind::buffer);

  plan::Program take() { return std::move(program_); }

 private:
  unsigned input(plan::InputKind kind, unsigned index, double value = 0);
  unsigned instr(RowOp op, std::vector<unsigned> operands);
  unsigned last() const { return unsigned(program_.inputs.size() + program_.instrs.size()) - 1; }
  plan::Program program_;
};

/// A kernel with memory for its arguments, filled with random numbers.
class KernelCase {
 public:
  KernelCase(plan::Loop loop, std::int64_t rows, unsigned seed = 1);

  unsigned weight(DType dtype, std::vector<std::int64_t> shape);
  /// Every weight matrix whose type has panels reaches the kernel in them.
  KernelCase& in_panels() { return panels = true, *this; }
  unsigned buffer(DType dtype, std::int64_t n, bool written = false);
  unsigned output(DType dtype, std::int64_t n) { return buffer(dtype, n, true); }
  unsigned state(DType dtype, std::int64_t kv_heads, std::int64_t head_dim, bool written = false);
  unsigned slots(std::vector<std::int32_t> values);      // sets slots_arg
  unsigned positions(std::vector<std::int32_t> values);  // sets positions_arg
  unsigned tokens(std::vector<std::int32_t> values);
  plan::Part& part(std::int64_t n, std::int64_t granule, std::vector<unsigned> weights, ProgramWriter epilogue);

  /// An argument's elements as floats: weights, buffers, both planes of a cache.
  std::vector<float> floats(unsigned arg, const std::vector<std::byte>& bytes) const;
  std::vector<float> floats(unsigned arg) const { return floats(arg, memory[arg]); }
  const std::int32_t* integers(int arg) const { return reinterpret_cast<const std::int32_t*>(memory[std::size_t(arg)].data()); }
  DType dtype(unsigned arg) const { return spec.args[arg].dtype; }

  /// Runs the kernel on a copy of the memory and returns the written arguments' bytes.
  std::map<unsigned, std::vector<std::byte>> run(int threads, std::int64_t rows = -1) const;

  plan::KernelSpec spec;
  std::int64_t slot_count = 1, capacity = 1;
  bool panels = false;
  std::vector<std::vector<std::byte>> memory;  // by argument
  std::mt19937 random;

 private:
  unsigned add(plan::ArgRole role, DType dtype, std::vector<std::int64_t> shape, std::vector<std::byte> bytes, bool written);
};

/// A matrix in panels out of its rows.
std::vector<std::byte> panels_of(DType dtype, const std::vector<std::byte>& rows, std::int64_t columns);

/// `elements` elements of any weight format: numbers of about unit size.
std::vector<std::byte> random_elements(DType dtype, std::int64_t elements, std::mt19937& random);

/// What the spec means, computed in double, one row after the other: the elements of every written argument.
std::map<unsigned, std::vector<double>> reference(const KernelCase& kernel);

/// Runs with 1 to 4 threads; the results are the same bit for bit, and `tolerance` of the largest value from the reference (an 8-bit
/// format may be off by one step).
void expect_reference(const KernelCase& kernel, double tolerance);

}  // namespace heddle::testing
