#include "kernel_case.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "ir/base/blocks.h"
#include "ir/base/check.h"
#include "runtime/cpu/kernel.h"
#include "runtime/plan/panels.h"
#include "tests/support/weight_formats.h"

namespace heddle::testing {
namespace {

std::int64_t product(const std::vector<std::int64_t>& shape) {
  std::int64_t out = 1;
  for (const std::int64_t size : shape) out *= size;
  return out;
}

std::vector<std::byte> bytes_of_integers(const std::vector<std::int32_t>& values) {
  std::vector<std::byte> bytes(values.size() * sizeof(std::int32_t));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

}  // namespace

unsigned ProgramWriter::input(plan::InputKind kind, unsigned index, double value) {
  HEDDLE_CHECK(program_.instrs.empty(), "inputs come first");
  program_.inputs.push_back({kind, index, value});
  return last();
}

unsigned ProgramWriter::instr(RowOp op, std::vector<unsigned> operands) {
  program_.instrs.push_back({std::move(op), std::move(operands)});
  return last();
}

unsigned ProgramWriter::op(const std::string& name, std::vector<unsigned> operands) { return instr(*row_op_named(name), std::move(operands)); }
unsigned ProgramWriter::rms_norm(unsigned x, unsigned gain, double eps) { return instr(RmsNorm{eps}, {x, gain}); }
unsigned ProgramWriter::rms_scale(unsigned x, double eps) { return instr(RmsScale{eps}, {x}); }
unsigned ProgramWriter::quantize(unsigned x, DType format) { return instr(Quantize{format}, {x}); }
unsigned ProgramWriter::rope(std::vector<unsigned> operands, std::int64_t head_dim, std::int64_t dims, double theta, Pairing pairing) {
  return instr(Rope{head_dim, dims, theta, pairing}, std::move(operands));
}
void ProgramWriter::store(unsigned value, unsigned arg, plan::StoreKind kind) { program_.stores.push_back({value, kind, arg}); }

KernelCase::KernelCase(plan::Loop loop, std::int64_t rows, unsigned seed) : random(seed) {
  spec.loop = std::move(loop);
  spec.rows = rows;
}

unsigned KernelCase::add(plan::ArgRole role, DType dtype, std::vector<std::int64_t> shape, std::vector<std::byte> bytes, bool written) {
  spec.args.push_back({.role = role, .dtype = dtype, .shape = std::move(shape), .layout = Layout::rows, .name = {}, .written = written});
  memory.push_back(std::move(bytes));
  return unsigned(memory.size()) - 1;
}

unsigned KernelCase::weight(DType dtype, std::vector<std::int64_t> shape) {
  auto bytes = random_elements(dtype, product(shape), random);
  return add(plan::ArgRole::weight, dtype, std::move(shape), std::move(bytes), false);
}
unsigned KernelCase::buffer(DType dtype, std::int64_t n, bool written) {
  return add(plan::ArgRole::buffer, dtype, {spec.rows, n}, random_elements(dtype, spec.rows * n, random), written);
}
unsigned KernelCase::state(DType dtype, std::int64_t kv_heads, std::int64_t head_dim, bool written) {
  return add(plan::ArgRole::state, dtype, {2, kv_heads, head_dim},
             random_elements(dtype, 2 * slot_count * kv_heads * capacity * head_dim, random), written);
}
unsigned KernelCase::slots(std::vector<std::int32_t> values) {
  return unsigned(spec.slots_arg = int(add(plan::ArgRole::slots, DType::i32, {spec.rows}, bytes_of_integers(values), false)));
}
unsigned KernelCase::positions(std::vector<std::int32_t> values) {
  return unsigned(spec.positions_arg = int(add(plan::ArgRole::positions, DType::i32, {spec.rows}, bytes_of_integers(values), false)));
}
unsigned KernelCase::tokens(std::vector<std::int32_t> values) {
  return add(plan::ArgRole::tokens, DType::i32, {spec.rows}, bytes_of_integers(values), false);
}

plan::Part& KernelCase::part(std::int64_t n, std::int64_t granule, std::vector<unsigned> weights, ProgramWriter epilogue) {
  plan::Part& part = spec.parts.emplace_back();
  part.n = n, part.granule = granule;
  for (const unsigned weight : weights) part.segments.push_back({weight});
  part.epilogue = epilogue.take();
  return part;
}

std::vector<float> KernelCase::floats(unsigned arg, const std::vector<std::byte>& bytes) const {
  const DTypeInfo& format = info(dtype(arg));
  const std::int64_t blocks = std::int64_t(bytes.size()) / format.bytes;
  std::vector<float> out(std::size_t(blocks * format.elements));
  format.dequantize(bytes.data(), out.data(), blocks);
  return out;
}

std::map<unsigned, std::vector<std::byte>> KernelCase::run(int threads, std::int64_t rows) const {
  auto copy = memory;
  // Vectors reach kernels as f32.
  std::vector<std::vector<float>> vectors;
  std::vector<runtime::cpu::Argument> args;
  for (unsigned i = 0; i < copy.size(); ++i) {
    args.push_back({spec.args[i].role, dtype(i), spec.args[i].shape, copy[i].data()});
    if (args[i].role == plan::ArgRole::weight && args[i].shape.size() == 1) {
      vectors.push_back(floats(i));
      args[i].dtype = DType::f32, args[i].data = reinterpret_cast<std::byte*>(vectors.back().data());
    } else if (args[i].role == plan::ArgRole::weight && panels && plan::has_panels(args[i].dtype)) {
      copy[i] = panels_of(args[i].dtype, copy[i], args[i].shape.back());
      args[i].panels = true, args[i].data = copy[i].data();
    }
  }
  runtime::cpu::RopeTables ropes;
  const auto kernel = runtime::cpu::make_kernel({spec, args, slot_count, capacity, threads, &ropes});
  ropes.grow(capacity);
  ThreadPool pool(threads);
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  std::vector<Line> shared(kernel->shared_bytes / 64 + 1);
  std::vector<std::vector<Line>> scratch(std::size_t(threads), std::vector<Line>(kernel->scratch_bytes / 64 + 1));
  pool.run([&](int member) {
    kernel->run({pool, member, threads, rows < 0 ? spec.rows : rows, scratch[std::size_t(member)][0].bytes, shared[0].bytes});
  });
  std::map<unsigned, std::vector<std::byte>> out;
  for (unsigned i = 0; i < copy.size(); ++i)
    if (spec.args[i].written) out[i] = std::move(copy[i]);
  return out;
}

std::vector<std::byte> panels_of(DType dtype, const std::vector<std::byte>& rows, std::int64_t columns) {
  const std::int64_t count = std::int64_t(rows.size()) / bytes_of(dtype, columns);
  std::vector<std::byte> out(std::size_t(plan::panels_bytes(dtype, count, columns)));
  plan::to_panels(dtype, rows.data(), 0, count, columns, out.data());
  return out;
}

std::vector<std::byte> random_elements(DType dtype, std::int64_t elements, std::mt19937& random) {
  return random_elements(dtype, elements, 2, random);
}

void expect_reference(const KernelCase& kernel, double tolerance) {
  const auto wanted = reference(kernel);
  const auto found = kernel.run(1);
  for (const int threads : {2, 3, 4}) {
    for (const auto& [arg, bytes] : kernel.run(threads))
      EXPECT_EQ(bytes, found.at(arg)) << "argument " << arg << ", " << threads << " threads";
  }
  ASSERT_EQ(found.size(), wanted.size());
  for (const auto& [arg, bytes] : found) {
    const std::vector<float> values = kernel.floats(arg, bytes);
    const std::vector<double>& exact = wanted.at(arg);
    ASSERT_EQ(values.size(), exact.size());
    double largest = 0, error = 0;
    std::size_t where = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
      largest = std::max(largest, std::fabs(exact[i]));
      const double off = std::fabs(double(values[i]) - exact[i]);
      if (!(off <= error)) error = off, where = i;
    }
    const DType dtype = kernel.dtype(arg);
    const double step = dtype == DType::f16 ? 0x1p-11 : is_block_type(dtype) ? 1.01 / 127 : 0;
    EXPECT_TRUE(largest > 0 || values.size() <= 8) << "argument " << arg << " is all zero";  // a few may happen to be
    EXPECT_LE(error, (tolerance + step) * largest)
        << "argument " << arg << ", element " << where << ": found " << values[where] << ", wanted " << exact[where];
  }
}

}  // namespace heddle::testing
