#include "frontends/quantize/quantize_q4_K.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "ir/base/blocks.h"

// Compiled for several instruction sets (frontends/CMakeLists.txt has the optimisation that makes vectors of the loops). Sums are kept in
// lanes of fixed number and order, and products are never fused with sums, so that all of them give the same blocks.
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__)
#define HEDDLE_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define HEDDLE_CLONES
#endif
#define HEDDLE_INLINE [[gnu::always_inline]] inline  // into every clone

namespace heddle::frontends {
namespace {

constexpr int size = 32, lanes = 16, sub_blocks = 8;

struct SubBlock {
  float x[size];
  float scale = 0, min = 0;            // x = scale * q - min, before they are rounded
  float sum_x = 0, low = 0, high = 0;  // low: at most 0
};

/// What rounding onto a grid costs, and the sums that a better grid is solved for with.
struct Sums {
  float error = 0, q = 0, qq = 0, xq = 0;
};

HEDDLE_INLINE float sum_of(const float* lane) {
  float sum = 0;
  for (int l = 0; l < lanes; ++l) sum += lane[l];
  return sum;
}

/// q = x + min in steps of `inverse`, rounded to 0..15; then the error of scale * q - min and the sums of q.
HEDDLE_INLINE Sums round_onto(const SubBlock& s, float inverse, float scale, float min) {
  float error[lanes] = {}, q[lanes] = {}, qq[lanes] = {}, xq[lanes] = {};
  for (int i = 0; i < size; i += lanes) {
    for (int l = 0; l < lanes; ++l) {
      const float x = s.x[i + l];
      float steps = (x + min) * inverse + 0.5f;
      steps = steps < 0 ? 0 : steps;
      steps = steps > 15.5f ? 15.5f : steps;
      const float n = float(int(steps)), difference = scale * n - min - x;
      error[l] += difference * difference;
      q[l] += n;
      qq[l] += n * n;
      xq[l] += n * x;
    }
  }
  return {sum_of(error), sum_of(q), sum_of(qq), sum_of(xq)};
}

HEDDLE_INLINE void begin(SubBlock& s, const float* x) {
  float sum[lanes] = {};
  for (int i = 0; i < size; ++i) {
    s.x[i] = x[i];
    sum[i % lanes] += x[i];
    s.low = x[i] < s.low ? x[i] : s.low;
    s.high = i == 0 || x[i] > s.high ? x[i] : s.high;
  }
  s.sum_x = sum_of(sum);
}

/// Least squares over grids that stretch the range a little; each is refined by solving for scale and minimum and rounding again.
HEDDLE_INLINE void fit(SubBlock& s) {
  s.scale = 0;
  s.min = -s.low;
  if (s.high <= s.low) return;
  float best = std::numeric_limits<float>::infinity();
  for (int step = 0; step < 13; ++step) {
    float scale = (s.high - s.low) / (12.0f + 0.5f * float(step)), min = -s.low;
    for (int round = 0; round < 4; ++round) {
      const Sums sums = round_onto(s, 1 / scale, scale, min);
      if (sums.error < best) {
        best = sums.error;
        s.scale = scale;
        s.min = min;
      }
      const float determinant = size * sums.qq - sums.q * sums.q;
      if (!(determinant > 0)) break;
      scale = (size * sums.xq - s.sum_x * sums.q) / determinant;
      min = (sums.q * sums.xq - sums.qq * s.sum_x) / determinant;
      if (min < 0) {
        min = 0;
        scale = sums.xq / sums.qq;
      }
      if (!(scale > 0)) break;
    }
  }
}

/// The block's two scales, and the 6-bit ones of its sub-blocks.
struct Scales {
  f16 d{}, dmin{};
  int scale[sub_blocks] = {}, min[sub_blocks] = {};
  float error = std::numeric_limits<float>::infinity();
};

HEDDLE_INLINE Sums sums_of(const SubBlock& s, float d, float dmin, int scale, int min) {
  const float step = d * float(scale);
  return round_onto(s, step > 0 ? 1 / step : 0, step, dmin * float(min));
}

/// The 6-bit pair of one sub-block with the least error near what its fit wants.
HEDDLE_INLINE float choose(const SubBlock& s, float d, float dmin, int& scale, int& min) {
  const auto nearest = [](float value, float unit) { return unit > 0 ? std::clamp(int(value / unit + 0.5f), 0, 63) : 0; };
  const int scale_near = nearest(s.scale, d), min_near = nearest(s.min, dmin);
  float best = std::numeric_limits<float>::infinity();
  for (int a = std::max(scale_near - 1, 0); a <= std::min(scale_near + 1, 63); ++a) {
    for (int b = std::max(min_near - 1, 0); b <= std::min(min_near + 1, 63); ++b) {
      const float error = sums_of(s, d, dmin, a, b).error;
      if (error < best) {
        best = error;
        scale = a;
        min = b;
      }
    }
  }
  return best;
}

HEDDLE_INLINE Scales choose_all(const SubBlock* s, float d, float dmin) {
  Scales out{to_f16(d), to_f16(dmin), {}, {}, 0};
  for (int j = 0; j < sub_blocks; ++j) out.error += choose(s[j], to_float(out.d), to_float(out.dmin), out.scale[j], out.min[j]);
  return out;
}

/// d and dmin of least error where quants and 6-bit scales stay.
HEDDLE_INLINE bool solve(const SubBlock* s, const Scales& from, float& d, float& dmin) {
  double aa = 0, ab = 0, bb = 0, ax = 0, bx = 0;  // x = d * a - dmin * b with a = scale * q, b = min
  for (int j = 0; j < sub_blocks; ++j) {
    const double scale = from.scale[j], min = from.min[j];
    const Sums sums = sums_of(s[j], to_float(from.d), to_float(from.dmin), from.scale[j], from.min[j]);
    aa += scale * scale * sums.qq;
    ab += scale * min * sums.q;
    bb += min * min * size;
    ax += scale * sums.xq;
    bx += min * s[j].sum_x;
  }
  const double determinant = aa * bb - ab * ab;
  if (bb == 0 && aa > 0) {
    d = float(ax / aa);
    dmin = 0;
    return d > 0;
  }
  if (!(determinant > 0)) return false;
  d = float((ax * bb - ab * bx) / determinant);
  dmin = float((ax * ab - aa * bx) / determinant);
  return d > 0 && dmin >= 0;
}

HEDDLE_INLINE void pack(const SubBlock* s, const Scales& scales, BlockQ4_K& block) {
  block.d = scales.d;
  block.dmin = scales.dmin;
  for (int j = 0; j < sub_blocks; ++j) {
    set_scale_min(block.scales, j, {std::uint8_t(scales.scale[j]), std::uint8_t(scales.min[j])});
    const float step = to_float(scales.d) * float(scales.scale[j]), min = to_float(scales.dmin) * float(scales.min[j]);
    const float inverse = step > 0 ? 1 / step : 0;
    for (int i = 0; i < size; ++i) {
      const int q = int(std::clamp((s[j].x[i] + min) * inverse + 0.5f, 0.0f, 15.5f));
      std::uint8_t& pair = block.qs[j / 2 * size + i];
      pair = std::uint8_t(pair | q << (j % 2 * 4));
    }
  }
}

}  // namespace

HEDDLE_CLONES void quantize_q4_K(const float* in, std::byte* out, std::int64_t blocks) {
  for (std::int64_t b = 0; b < blocks; ++b, in += size * sub_blocks) {
    BlockQ4_K block{};
    SubBlock s[sub_blocks];
    bool finite = true;
    for (int i = 0; i < size * sub_blocks; ++i) finite = finite && std::isfinite(in[i]);
    if (!finite) {
      block.d = to_f16(std::numeric_limits<float>::quiet_NaN());
    } else {
      float largest_scale = 0, largest_min = 0;
      for (int j = 0; j < sub_blocks; ++j) {
        begin(s[j], in + j * size);
        fit(s[j]);
        largest_scale = std::max(largest_scale, s[j].scale);
        largest_min = std::max(largest_min, s[j].min);
      }
      Scales best = choose_all(s, largest_scale / 63, largest_min / 63);
      for (int round = 0; round < 3; ++round) {
        float d, dmin;
        if (!solve(s, best, d, dmin)) break;
        const Scales next = choose_all(s, d, dmin);
        if (!(next.error < best.error)) break;
        best = next;
      }
      pack(s, best, block);
    }
    std::memcpy(out + b * std::int64_t(sizeof block), &block, sizeof block);
  }
}

}  // namespace heddle::frontends
