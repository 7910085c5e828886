#pragma once
#include "runtime/plan/plan.h"

namespace heddle::testing {

/// A small valid plan, made by hand: one layer, 48 tokens, width 32, two heads of 16 on one key/value head, weights in q8_0, f16 and f32.
/// Kernels of every loop kind and inputs and stores of every kind occur. Entry points: decode_1, decode_2, prefill_4. Its model file
/// "tiny.bin" need not exist.
///
/// Kernels of decode_1 (decode_2 has the same from 6 on, prefill_4 the first two from 12 on):
///   0 embed   1 rms_norm, quantize, gemm q k v, rope, cache stores   2 attention   3 gemm, add   4 rowwise norm   5 gemm to logits
plan::Plan tiny_plan();

/// The same with one more entry point, prompt_4. Its kernels from 14 on:
///   14 embed   15 rms_norm, quantize, gemm q k v, rope, cache stores   16 select of x, q, slots and positions   17 to 20 as 2 to 5, of one row
plan::Plan tiny_plan_with_prompt();

}  // namespace heddle::testing
