// Expression programs, as row-wise kernels.
#include "runtime/cpu/rows/program.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "kernel_case.h"
#include "targets.h"

namespace heddle::testing {
namespace {

using plan::StoreKind;

/// One buffer in, one out, n columns: `write(program, x)` gives the stored value.
template <class Write>
KernelCase unary(std::int64_t rows, std::int64_t n, const Write& write) {
  KernelCase kernel(plan::Rowwise{}, rows);
  kernel.capacity = 4096;
  const unsigned x = kernel.buffer(DType::f32, n), y = kernel.output(DType::f32, n);
  std::vector<std::int32_t> positions;
  for (std::int64_t r = 0; r < rows; ++r) positions.push_back(std::int32_t(r * 1999));
  kernel.positions(positions);
  ProgramWriter program;
  const unsigned in = program.rows(x);
  program.store(write(program, in), y);
  kernel.part(n, n, {}, std::move(program));
  return kernel;
}

constexpr ScalarOp scalar_ops[] = {
#define HEDDLE_SCALAR_OP(name, arity, ...) ScalarOp::name,
#include "ir/base/scalar_ops.def"
};

TEST(program, every_scalar_op_on_columns_and_scalars) {
  on_every_target([] {
    for (const ScalarOp which : scalar_ops) {
      const ScalarOpInfo& op = info(which);
      SCOPED_TRACE(op.name);
      for (const std::int64_t n : {1, 16, 45}) {
        KernelCase kernel(plan::Rowwise{}, 3);
        const unsigned x = kernel.buffer(DType::f32, n), y = kernel.buffer(DType::f32, n), s = kernel.buffer(DType::f32, 1);
        const unsigned bias = kernel.weight(DType::f16, {n});
        const unsigned out[4] = {kernel.output(DType::f32, n), kernel.output(DType::f32, n), kernel.output(DType::f32, n),
                                 kernel.output(DType::f32, 1)};
        for (float *v = reinterpret_cast<float*>(kernel.memory[y].data()), *end = v + 3 * n; v != end; ++v)
          *v = std::copysign(std::fabs(*v) + 0.5f, *v);  // a divisor
        ProgramWriter program;
        const unsigned a = program.rows(x), b = program.rows(y), c = program.rows(s), d = program.vector(bias), e = program.constant(1.25);
        const auto apply_to = [&](unsigned first, unsigned second) {
          std::vector<unsigned> operands{first, second};
          operands.resize(std::size_t(op.arity));
          return program.op(std::string(op.name), operands);
        };
        program.store(apply_to(a, b), out[0]);
        program.store(apply_to(a, e), out[1]);
        program.store(apply_to(d, b), out[2]);
        if (n > 1) program.store(apply_to(c, e), out[3]);
        else program.store(c, out[3]);
        kernel.part(n, n, {}, std::move(program));
        expect_reference(kernel, 2e-6);
      }
    }
  });
}

TEST(program, scalar_ops_far_from_zero) {
  on_every_target([] {
    const float infinity = std::numeric_limits<float>::infinity();
    const std::vector<float> inputs{-infinity, -1e30f, -1000, -104, -90, -20, -1, -1e-6f, 0, 1e-6f, 1, 20, 80, 90, 1000, 1e30f, infinity};
    for (const char* op : {"exp", "tanh", "sigmoid", "silu", "relu", "neg"}) {
      SCOPED_TRACE(op);
      KernelCase kernel = unary(1, std::int64_t(inputs.size()), [&](ProgramWriter& p, unsigned x) { return p.op(op, {x}); });
      std::memcpy(kernel.memory[0].data(), inputs.data(), inputs.size() * sizeof(float));
      const auto found = kernel.floats(1, kernel.run(1).at(1));
      for (std::size_t i = 0; i < inputs.size(); ++i) {
        const float wanted = float(apply<double>(*scalar_op_named(op), inputs[i]));
        if (std::isnan(wanted) || std::fabs(wanted) < 1e-37) {  // inf / inf; subnormals may be flushed
          if (std::isnan(wanted)) EXPECT_FALSE(std::isfinite(found[i])) << inputs[i];
          else EXPECT_NEAR(found[i], 0, 1e-37) << inputs[i];
        } else if (std::isinf(wanted)) {
          EXPECT_EQ(found[i], wanted) << inputs[i];
        } else {
          EXPECT_NEAR(found[i], wanted, std::fabs(wanted) * 2e-6) << inputs[i];
        }
      }
    }
  });
}

TEST(program, not_a_number_stays_one) {
  on_every_target([] {
    for (const char* op : {"exp", "tanh", "sigmoid", "silu", "gelu", "neg"}) {
      KernelCase kernel = unary(1, 20, [&](ProgramWriter& p, unsigned x) { return p.op(op, {x}); });
      reinterpret_cast<float*>(kernel.memory[0].data())[3] = NAN;
      reinterpret_cast<float*>(kernel.memory[0].data())[19] = NAN;
      const auto found = kernel.floats(1, kernel.run(1).at(1));
      EXPECT_TRUE(std::isnan(found[3]) && std::isnan(found[19])) << op;
      EXPECT_TRUE(std::isfinite(found[4])) << op;
    }
  });
}

TEST(program, rms_norm_of_rows_and_of_heads) {
  on_every_target([] {
    for (const auto& [n, gain_size] : {std::pair{64, 64}, {172, 172}, {2048, 2048}, {96, 24}, {512, 128}}) {
      KernelCase kernel(plan::Rowwise{}, 3);
      const unsigned x = kernel.buffer(DType::f32, n), gain = kernel.weight(DType::bf16, {gain_size}), y = kernel.output(DType::f32, n);
      ProgramWriter program;
      const unsigned a = program.rows(x), g = program.vector(gain);
      program.store(program.rms_norm(a, g, 1e-5), y);
      kernel.part(n, n, {}, std::move(program));
      expect_reference(kernel, 1e-6);
    }
  });
}

TEST(program, rms_scale_is_a_row_scalar) {
  KernelCase kernel(plan::Rowwise{}, 5);
  const unsigned x = kernel.buffer(DType::f32, 300), scale = kernel.output(DType::f32, 1), y = kernel.output(DType::f32, 300);
  ProgramWriter program;
  const unsigned a = program.rows(x), s = program.rms_scale(a, 1e-6);
  program.store(s, scale);
  program.store(program.op("mul", {a, s}), y);
  kernel.part(300, 300, {}, std::move(program));
  expect_reference(kernel, 1e-6);
}

TEST(program, rope_turns_pairs_of_a_head) {
  on_every_target([] {
    for (const Pairing pairing : {Pairing::adjacent, Pairing::halves}) {
      for (const auto& [head_dim, dims] : {std::pair{8, 8}, {64, 64}, {128, 96}, {80, 20}}) {
        SCOPED_TRACE(fmt::format("{} {} of {}", pairing, dims, head_dim));
        // Three rows: positions 0, 1999 and 3998. In place too, by the second rope.
        expect_reference(unary(3, 3 * head_dim,
                               [&](ProgramWriter& p, unsigned x) {
                                 return p.rope({p.rope({x}, head_dim, dims, 10000, pairing)}, head_dim, dims, 500000, pairing);
                               }),
                         2e-6);
      }
    }
  });
}

TEST(program, rope_divides_by_factors) {
  KernelCase kernel(plan::Rowwise{}, 2);
  kernel.capacity = 3000;
  const unsigned x = kernel.buffer(DType::f32, 128), factors = kernel.weight(DType::f32, {32}), y = kernel.output(DType::f32, 128);
  for (float *v = reinterpret_cast<float*>(kernel.memory[factors].data()), *end = v + 32; v != end; ++v) *v = 1 + std::fabs(*v);
  kernel.positions({5, 2900});
  ProgramWriter program;
  const unsigned a = program.rows(x), f = program.vector(factors);
  program.store(program.rope({a, f}, 64, 64, 10000, Pairing::halves), y);
  kernel.part(128, 128, {}, std::move(program));
  expect_reference(kernel, 2e-6);
}

TEST(program, quantize_equals_the_formats_own_bit_for_bit) {
  on_every_target([] {
    for (const DType format : {DType::q8_0, DType::q8_1, DType::q8_K}) {
      KernelCase kernel(plan::Rowwise{}, 2);
      const unsigned x = kernel.buffer(DType::f32, 2048), y = kernel.output(format, 2048);
      auto* values = reinterpret_cast<float*>(kernel.memory[x].data());
      for (std::int64_t i = 0; i < 4096; ++i) values[i] = std::ldexp(values[i], int(i / 32 % 60) - 30) * 1.0009765625f;
      // Blocks of zeros, ties, subnormals, huge and not finite numbers.
      for (int i = 0; i < 32; ++i) {
        values[i] = 0;
        values[32 + i] = float(i - 16) / 2 + (i == 0 ? 127.0f : 0.0f);
        values[64 + i] = 1e-42f * float(i);
        values[96 + i] = 1e-37f * float(i);
        values[128 + i] = 1e37f * float(i);
        values[256 + i] = 1e-38f * float(i);
      }
      values[160] = std::numeric_limits<float>::infinity();
      values[200] = NAN;
      ProgramWriter program;
      const unsigned a = program.rows(x);
      program.store(program.quantize(a, format), y);
      kernel.part(2048, 2048, {}, std::move(program));
      std::vector<std::byte> wanted(std::size_t(bytes_of(format, 4096)));
      info(format).quantize(values, wanted.data(), 4096 / info(format).elements);
      const auto found = kernel.run(2).at(y);
      for (std::size_t b = 0; b < wanted.size(); b += std::size_t(info(format).bytes))
        ASSERT_EQ(std::memcmp(found.data() + b, wanted.data() + b, std::size_t(info(format).bytes)), 0)
            << name(format) << " block " << b / std::size_t(info(format).bytes);
    }
  });
}

TEST(program, stores_of_inputs_and_of_one_value_twice) {
  KernelCase kernel(plan::Rowwise{}, 4);
  const unsigned x = kernel.buffer(DType::f32, 64), q = kernel.buffer(DType::q8_1, 64), bias = kernel.weight(DType::f32, {64});
  const unsigned x_copy = kernel.output(DType::f32, 64), q_copy = kernel.output(DType::q8_1, 64), first = kernel.output(DType::f32, 64),
                 second = kernel.output(DType::f32, 64), one = kernel.output(DType::f32, 1), bias_copy = kernel.output(DType::f32, 64);
  ProgramWriter program;
  const unsigned a = program.rows(x), b = program.rows(q), c = program.constant(2), v = program.vector(bias);
  const unsigned sum = program.op("add", {a, c});
  program.store(a, x_copy);
  program.store(b, q_copy);
  program.store(sum, first);
  program.store(sum, second);
  program.store(c, one);
  program.store(v, bias_copy);
  kernel.part(64, 64, {}, std::move(program));
  expect_reference(kernel, 1e-7);
}

TEST(program, long_programs_reuse_their_scratch) {
  // Values that live long beside values that die at once, each op of its operands in a different order.
  KernelCase kernel(plan::Rowwise{}, 3);
  const unsigned x = kernel.buffer(DType::f32, 77), y = kernel.output(DType::f32, 77), z = kernel.output(DType::f32, 77);
  ProgramWriter program;
  const unsigned a = program.rows(x);
  const unsigned first = program.op("silu", {a});
  std::vector<unsigned> chain{first};
  for (int i = 0; i < 12; ++i) {
    const unsigned squashed = program.op("tanh", {chain.back()});
    chain.push_back(i % 2 ? program.op("sub", {squashed, first}) : program.op("add", {first, squashed}));
    chain.push_back(program.op("mul", {chain.back(), chain.back()}));
    chain.push_back(program.op("sigmoid", {chain.back()}));
  }
  program.store(chain.back(), y);
  program.store(program.op("mul", {chain[chain.size() / 2], first}), z);
  kernel.part(77, 77, {}, std::move(program));
  expect_reference(kernel, 1e-5);
}

TEST(program, cache_stores_leave_idle_rows_out) {
  for (const DType dtype : {DType::f32, DType::f16}) {
    KernelCase kernel(plan::Rowwise{}, 4);
    kernel.slot_count = 3;
    kernel.capacity = 9;
    const unsigned k = kernel.buffer(DType::f32, 60), v = kernel.buffer(DType::f32, 60), kv = kernel.state(dtype, 3, 20, true);
    kernel.slots({2, -1, 0, 2});
    kernel.positions({8, 3, 0, 4});
    ProgramWriter program;
    const unsigned a = program.rows(k), b = program.rows(v), two = program.constant(2);
    program.store(program.op("mul", {a, two}), kv, StoreKind::cache_key);
    program.store(b, kv, StoreKind::cache_value);
    kernel.part(60, 60, {}, std::move(program));
    expect_reference(kernel, 1e-7);
  }
}

TEST(program, rows_after_the_used_ones_are_left_alone) {
  KernelCase kernel = unary(5, 40, [](ProgramWriter& p, unsigned x) { return p.op("neg", {x}); });
  const auto before = kernel.floats(1), found = kernel.floats(1, kernel.run(2, 3).at(1)), x = kernel.floats(0);
  for (std::size_t i = 0; i < 200; ++i) EXPECT_EQ(found[i], i < 120 ? -x[i] : before[i]);
}

}  // namespace
}  // namespace heddle::testing
