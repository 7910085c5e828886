#include <fmt/format.h>
#include <gtest/gtest.h>

#include "kernel_case.h"
#include "runtime/plan/panels.h"
#include "targets.h"
#include "tests/support/weight_formats.h"

namespace heddle::testing {
namespace {

using plan::StoreKind;

/// A gemm whose activation is value `activation` of the prologue.
void set_prologue(KernelCase& kernel, std::int64_t k, DType activations, unsigned activation, ProgramWriter&& program) {
  kernel.spec.gemm()->k = k, kernel.spec.gemm()->activations = activations, kernel.spec.gemm()->activation = activation;
  kernel.spec.gemm()->prologue = program.take();
}

/// y = w x, the activation as it lies in a buffer.
KernelCase plain(DType weight, DType activation, std::int64_t k, std::int64_t n, std::int64_t rows) {
  KernelCase kernel(plan::Gemm{}, rows);
  const unsigned w = kernel.weight(weight, {n, k}), x = kernel.buffer(activation, k), y = kernel.output(DType::f32, n);
  ProgramWriter prologue, epilogue;
  set_prologue(kernel, k, activation, prologue.rows(x), std::move(prologue));
  epilogue.store(epilogue.loop(0), y);
  kernel.part(n, 1, {w}, std::move(epilogue));
  return kernel;
}

TEST(gemm, every_weight_format_with_every_activation) {
  std::vector<DType> weights = weight_formats();
  weights.insert(weights.end(), {DType::f32, DType::f16, DType::bf16, DType::q8_1});
  for (const DType weight : weights) {
    for (const DType activation : {DType::f32, DType::q8_1, DType::q8_0, DType::q8_K}) {
      for (const std::int64_t rows : {1, 2, 3, 8, 32}) {
        SCOPED_TRACE(fmt::format("{} {} {} rows", name(weight), name(activation), rows));
        const bool blocks_of_256 = info(weight).elements == 256 || info(activation).elements == 256;
        KernelCase kernel = plain(weight, activation, blocks_of_256 ? 256 : 64, 37, rows);
        expect_reference(kernel, 3e-6);
        if (plan::has_panels(weight)) expect_reference(kernel.in_panels(), 3e-6);
      }
    }
  }
}

TEST(gemm, odd_sizes) {
  for (const auto& [k, n] : {std::pair{1, 1}, {172, 64}, {64, 172}, {65, 515}, {288, 1}})
    for (const std::int64_t rows : {1, 3}) expect_reference(plain(DType::f32, DType::f32, k, n, rows), 3e-6);
}

TEST(gemm, norm_and_quantize_before_three_parts_with_rope_and_cache_after) {
  // Q, K and V of a layer over one 8-bit activation, with biases; V in another weight format.
  for (const std::int64_t rows : {1, 4}) {
    for (const DType cache : {DType::f32, DType::f16}) {
      KernelCase kernel(plan::Gemm{}, rows);
      kernel.slot_count = 2;
      kernel.capacity = 40;
      const std::int64_t k = 256, heads = 6, kv_heads = 2, head_dim = 32;
      const unsigned x = kernel.buffer(DType::f32, k), gain = kernel.weight(DType::f32, {k});
      const unsigned wq = kernel.weight(DType::q4_K, {heads * head_dim, k}), wk = kernel.weight(DType::q4_K, {kv_heads * head_dim, k}),
                     wv = kernel.weight(DType::q6_K, {kv_heads * head_dim, k});
      const unsigned bias = kernel.weight(DType::f32, {heads * head_dim});
      const unsigned q = kernel.output(DType::f32, heads * head_dim), kv = kernel.state(cache, kv_heads, head_dim, true);
      kernel.slots(rows == 1 ? std::vector{1} : std::vector{0, -1, 1, 1});
      kernel.positions(rows == 1 ? std::vector{39} : std::vector{7, 0, 38, 39});
      ProgramWriter prologue, eq, ek, ev;
      const unsigned a = prologue.rows(x), g = prologue.vector(gain);
      set_prologue(kernel, k, DType::q8_1, prologue.quantize(prologue.rms_norm(a, g, 1e-5), DType::q8_1), std::move(prologue));
      const unsigned loop = eq.loop(0), b = eq.vector(bias);
      eq.store(eq.rope({eq.op("add", {loop, b})}, head_dim, head_dim, 10000, Pairing::halves), q);
      kernel.part(heads * head_dim, head_dim, {wq}, std::move(eq));
      ek.store(ek.rope({ek.loop(0)}, head_dim, head_dim, 10000, Pairing::halves), kv, StoreKind::cache_key);
      kernel.part(kv_heads * head_dim, head_dim, {wk}, std::move(ek));
      ev.store(ev.loop(0), kv, StoreKind::cache_value);
      kernel.part(kv_heads * head_dim, 1, {wv}, std::move(ev));
      // The rounding of the norm may move one quant by one step.
      expect_reference(kernel, 1e-3);
      expect_reference(kernel.in_panels(), 1e-3);
    }
  }
}

TEST(gemm, two_segments_join_in_one_epilogue) {
  // Gate and up, then the next activation: silu(g) * u, quantised.
  for (const std::int64_t rows : {1, 3, 32}) {
    KernelCase kernel(plan::Gemm{}, rows);
    const unsigned x = kernel.buffer(DType::q8_1, 256), gate = kernel.weight(DType::q4_K, {352, 256}),
                   up = kernel.weight(DType::q8_0, {352, 256}), out = kernel.output(DType::q8_1, 352),
                   copy = kernel.output(DType::f32, 352);
    ProgramWriter prologue, epilogue;
    set_prologue(kernel, 256, DType::q8_1, prologue.rows(x), std::move(prologue));
    const unsigned g = epilogue.loop(0), u = epilogue.loop(1);
    const unsigned product = epilogue.op("mul", {epilogue.op("silu", {g}), u});
    epilogue.store(epilogue.quantize(product, DType::q8_1), out);
    epilogue.store(product, copy);
    kernel.part(352, 32, {gate, up}, std::move(epilogue));
    expect_reference(kernel, 1e-5);
    expect_reference(kernel.in_panels(), 1e-5);
  }
}

TEST(gemm, sixteen_bit_weights_with_many_rows) {
  // With a matrix unit from 9 rows on; beside products that do not go through it: of another format in the same part, and of columns that
  // are no sixteens in the next.
  for (const DType weight : {DType::bf16, DType::f16}) {
    for (const DType activation : {DType::f32, DType::q8_1}) {
      for (const bool in_place : {true, false}) {
        for (const std::int64_t rows : {1, 8, 9, 16, 33, 64}) {
          SCOPED_TRACE(fmt::format("{} {} {} rows{}", name(weight), name(activation), rows, in_place ? ", in place" : ""));
          constexpr std::int64_t k = 288, n = 688;
          KernelCase kernel(plan::Gemm{}, rows);
          const unsigned x = kernel.buffer(in_place ? activation : DType::f32, k), gain = kernel.weight(DType::f32, {k}),
                         w = kernel.weight(weight, {n, k}), other = kernel.weight(DType::f32, {n, k}), odd = kernel.weight(weight, {37, k}),
                         y = kernel.output(DType::f32, n), z = kernel.output(DType::f32, 37);
          ProgramWriter prologue, epilogue, second;
          unsigned a = prologue.rows(x);
          if (!in_place) a = prologue.op("mul", {a, prologue.vector(gain)});
          if (!in_place && activation == DType::q8_1) a = prologue.quantize(a, DType::q8_1);
          set_prologue(kernel, k, activation, a, std::move(prologue));
          const unsigned u = epilogue.loop(0), v = epilogue.loop(1);
          epilogue.store(epilogue.op("sub", {u, v}), y);
          kernel.part(n, 1, {w, other}, std::move(epilogue));
          second.store(second.loop(0), z);
          kernel.part(37, 1, {odd}, std::move(second));
          expect_reference(kernel, 3e-6);
        }
      }
    }
  }
}

TEST(gemm, a_row_scalar_passes_through_the_product) {
  // RMSNorm as algebra: the scale is computed before the loop and applied after it, beside a residual.
  for (const DType activation : {DType::f32, DType::q8_1}) {
    for (const std::int64_t rows : {1, 5}) {
      KernelCase kernel(plan::Gemm{}, rows);
      const unsigned x = kernel.buffer(DType::f32, 128), gain = kernel.weight(DType::f32, {128}), w = kernel.weight(DType::q8_0, {80, 128}),
                     residual = kernel.buffer(DType::f32, 80), y = kernel.output(DType::f32, 80);
      ProgramWriter prologue, epilogue;
      const unsigned a = prologue.rows(x), g = prologue.vector(gain);
      const unsigned scale = prologue.rms_scale(a, 1e-5);
      unsigned scaled = prologue.op("mul", {a, g});
      if (activation == DType::q8_1) scaled = prologue.quantize(scaled, DType::q8_1);
      set_prologue(kernel, 128, activation, scaled, std::move(prologue));
      const unsigned loop = epilogue.loop(0), s = epilogue.row_scalar(scale), r = epilogue.rows(residual);
      epilogue.store(epilogue.op("add", {epilogue.op("mul", {loop, s}), r}), y);
      kernel.part(80, 1, {w}, std::move(epilogue));
      expect_reference(kernel, 3e-6);
    }
  }
}

TEST(gemm, a_row_scalar_of_an_activation_in_place) {
  // The activation is a buffer as it lies; the prologue only adds the scale. And a row scalar that comes from a buffer.
  for (const std::int64_t rows : {1, 3}) {
    KernelCase kernel(plan::Gemm{}, rows);
    const unsigned x = kernel.buffer(DType::f32, 96), factor = kernel.buffer(DType::f32, 1), w = kernel.weight(DType::f16, {33, 96}),
                   y = kernel.output(DType::f32, 33);
    ProgramWriter prologue, epilogue;
    const unsigned a = prologue.rows(x), f = prologue.rows(factor);
    const unsigned scale = prologue.op("mul", {prologue.rms_scale(a, 1e-5), f});
    set_prologue(kernel, 96, DType::f32, a, std::move(prologue));
    const unsigned loop = epilogue.loop(0), s = epilogue.row_scalar(scale);
    epilogue.store(epilogue.op("mul", {loop, s}), y);
    kernel.part(33, 1, {w}, std::move(epilogue));
    expect_reference(kernel, 3e-6);
  }
}

TEST(gemm, the_prologue_may_store_what_it_computes) {
  for (const std::int64_t rows : {1, 3}) {
    KernelCase kernel(plan::Gemm{}, rows);
    const unsigned x = kernel.buffer(DType::f32, 96), w = kernel.weight(DType::bf16, {50, 96}), doubled = kernel.output(DType::f32, 96),
                   y = kernel.output(DType::f32, 50);
    ProgramWriter prologue, epilogue;
    const unsigned a = prologue.rows(x), two = prologue.constant(2);
    const unsigned product = prologue.op("mul", {a, two});
    prologue.store(product, doubled);
    set_prologue(kernel, 96, DType::f32, product, std::move(prologue));
    epilogue.store(epilogue.loop(0), y);
    kernel.part(50, 1, {w}, std::move(epilogue));
    expect_reference(kernel, 3e-6);
  }
}

TEST(gemm, head_norms_and_whole_rows_after_the_loop) {
  KernelCase kernel(plan::Gemm{}, 3);
  const unsigned x = kernel.buffer(DType::f32, 64), w = kernel.weight(DType::f32, {96, 64}), gain = kernel.weight(DType::f32, {24}),
                 y = kernel.output(DType::f32, 96), scale = kernel.output(DType::f32, 1);
  ProgramWriter prologue, epilogue;
  set_prologue(kernel, 64, DType::f32, prologue.rows(x), std::move(prologue));
  const unsigned loop = epilogue.loop(0), g = epilogue.vector(gain);
  epilogue.store(epilogue.rms_norm(loop, g, 1e-6), y);
  epilogue.store(epilogue.rms_scale(loop, 1e-6), scale);
  kernel.part(96, 96, {w}, std::move(epilogue));
  expect_reference(kernel, 3e-6);
}

TEST(gemm, every_instruction_set) {
  on_every_target([] {
    for (const DType weight : {DType::q4_K, DType::q6_K, DType::f16})
      expect_reference(plain(weight, DType::q8_1, 512, 70, 3).in_panels(), 3e-6);
  });
}

}  // namespace
}  // namespace heddle::testing
