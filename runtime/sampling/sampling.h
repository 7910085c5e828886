#pragma once
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "ir/base/error.h"

namespace heddle::runtime {

/// The knobs, applied in this order (as llama.cpp's default chain): repetition penalty over the last `repeat_last_n` tokens, top-k, top-p,
/// min-p, temperature, then one draw. Temperature 0 is greedy: the largest logit after the penalty, the smallest id among equals.
struct SamplingOptions {
  float temperature = 0.8f;
  int top_k = 40;            // <= 0: all
  float top_p = 0.95f;       // 1: off
  float min_p = 0.05f;       // 0: off
  float repeat_penalty = 1;  // 1: off; logit > 0 ? logit / r : logit * r for every token seen
  int repeat_last_n = 64;
  std::uint64_t seed = 0;
};

/// Philox4x32-10. (J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC11; tested with the vectors of Random123.)
std::array<std::uint32_t, 4> philox4x32_10(std::array<std::uint32_t, 4> counter, std::array<std::uint32_t, 2> key);

/// A uniform number in [0, 1) that depends on seed and position only: the first word of Philox4x32-10 with key = seed and
/// counter = (position, 0), 24 bits.
float uniform(std::uint64_t seed, std::uint64_t position);

/// The token drawn from `logits` for `position`. `history`: tokens so far, newest last; a repeat_last_n below 0 means all of it.
/// "logit of token 17 at position 3 is nan" if any logit is not finite.
///
/// Every implementation of this definition draws the same token, whatever its order of summation, because weights are integers:
/// - Better means a larger logit, or the smaller id among equals. top-k keeps the k best.
/// - A candidate's weight at temperature t is floor(2^40 * exp((logit - largest) / t) + 1/2), 0 below an exponent of -29; the exponent
///   and its power are computed in double. top-p and min-p look at t = 1: top-p keeps the fewest of the best whose weights reach
///   ceil(top_p * sum), one at least; min-p keeps weights of at least min(min_p, 1) * 2^40.
/// - The draw is over the weights of what is left at the wanted temperature, in the order of ids: the first token whose running sum
///   exceeds floor(sum * uniform(seed, position)).
Result<std::int32_t> sample(std::span<const float> logits, const SamplingOptions& options, std::span<const std::int32_t> history,
                            std::uint64_t position);

}  // namespace heddle::runtime
