#include "frontends/quantize/quantize_q4_0.h"

#include <cmath>
#include <cstring>
#include <limits>

#include "ir/base/blocks.h"

namespace heddle::frontends {
namespace {

constexpr int size = 32;

/// x in steps of 1 / inverse, as an integer of [-8, 7].
int steps_of(float x, float inverse) {
  const float steps = x * inverse;
  return steps <= -8 ? -8 : steps >= 7 ? 7 : int(steps + 8.5f) - 8;
}

struct Sums {
  float error = 0, qq = 0, xq = 0;
};
Sums round_onto(const float* x, float d) {
  Sums sums;
  const float inverse = 1 / d;
  for (int i = 0; i < size; ++i) {
    const float q = float(steps_of(x[i], inverse)), difference = d * q - x[i];
    sums.error += difference * difference;
    sums.qq += q * q;
    sums.xq += q * x[i];
  }
  return sums;
}

/// The best scale over grids of both signs on which the largest element takes 6 to 9 steps, each refined by solving for the scale.
float fit(const float* x) {
  float extreme = 0;
  for (int i = 0; i < size; ++i) extreme = std::fabs(x[i]) > std::fabs(extreme) ? x[i] : extreme;
  float best = 0, least = std::numeric_limits<float>::infinity();
  for (int step = 0; step < 2 * 13 && extreme != 0; ++step) {
    const int quarters = step / 2;
    float d = extreme / (6 + 0.25f * float(quarters)) * (step % 2 == 0 ? -1 : 1);
    for (int round = 0; round < 3; ++round) {
      d = to_float(to_f16(d));  // as a reader will see it
      if (d == 0 || !std::isfinite(1 / d)) break;
      const Sums sums = round_onto(x, d);
      if (sums.error < least) {
        least = sums.error;
        best = d;
      }
      if (sums.qq == 0) break;
      d = sums.xq / sums.qq;
    }
  }
  return best;
}

}  // namespace

void quantize_q4_0(const float* in, std::byte* out, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, in += size) {
    BlockQ4_0 block{};
    bool finite = true;
    for (int i = 0; i < size; ++i) finite = finite && std::isfinite(in[i]);
    const float d = finite ? fit(in) : std::numeric_limits<float>::quiet_NaN();
    block.d = to_f16(d);
    const float inverse = finite && d != 0 ? 1 / d : 0;
    for (int i = 0; i < 16; ++i) {
      const int low = finite ? steps_of(in[i], inverse) + 8 : 0, high = finite ? steps_of(in[i + 16], inverse) + 8 : 0;
      block.qs[i] = std::uint8_t(low | high << 4);
    }
    std::memcpy(out + b * std::int64_t(sizeof block), &block, sizeof block);
  }
}

}  // namespace heddle::frontends
