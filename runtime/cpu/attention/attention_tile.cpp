// Attention of many queries over the same keys and values: a query is a lane, so that nothing is ever added across lanes. Block after block
// of the context: scores, the softmax's weights against the largest score so far, and the values' sums, which are scaled down when a larger
// score turns up.
#include <algorithm>
#include <cmath>

#include "ir/base/half.h"
#include "runtime/cpu/attention/attention_run.h"
#include "runtime/cpu/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/attention/attention_tile.cpp"
#include <hwy/foreach_target.h>  // before all else of Highway

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace heddle::runtime::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::CappedTag<float, 16>;
using Ints = hn::Rebind<std::int32_t, Floats>;
using Float = hn::Vec<Floats>;
inline constexpr std::int64_t lanes = HWY_LANES(float) < 16 ? HWY_LANES(float) : 16;
inline constexpr std::int64_t all = attention_lanes;
inline constexpr std::int64_t block = 64;  // positions
// Rows of scores (or of values' sums) that are computed together, two vectors each.
inline constexpr std::int64_t together = HWY_TARGET == HWY_AVX3_DL || HWY_TARGET == HWY_AVX3 ? 8 : 4;

/// Positions [first, first + count) as floats, [count, n]: in place, or converted into `buffer`.
const float* rows_as_floats(const std::byte* plane, DType dtype, std::int64_t n, std::int64_t first, std::int64_t count, float* buffer) {
  if (dtype == DType::f32) return reinterpret_cast<const float*>(plane) + first * n;
  const hn::Rebind<hwy::float16_t, Floats> half;
  const auto* in = reinterpret_cast<const f16*>(plane) + first * n;
  std::int64_t i = 0;
  for (; i + lanes <= count * n; i += lanes)
    hn::StoreU(hn::PromoteTo(Floats(), hn::LoadU(half, reinterpret_cast<const hwy::float16_t*>(in + i))), Floats(), buffer + i);
  for (; i < count * n; ++i) buffer[i] = to_float(in[i]);
  return buffer;
}

/// out[i][lane] (+)= sum over j < inner of a[i * a_row + j * a_step] * b[j][lane], for i < rows.
template <std::int64_t rows, bool add>
HWY_INLINE void multiply_rows(const float* HWY_RESTRICT a, std::int64_t a_row, std::int64_t a_step, const float* HWY_RESTRICT b,
                              std::int64_t inner, float* HWY_RESTRICT out) {
  const Floats d;
  for (std::int64_t lane = 0; lane < all; lane += 2 * lanes) {
    Float first[rows], second[rows];
    HEDDLE_UNROLL
    for (std::int64_t i = 0; i < rows; ++i) {
      first[i] = add ? hn::Load(d, out + i * all + lane) : hn::Zero(d);
      second[i] = add ? hn::Load(d, out + i * all + lane + lanes) : hn::Zero(d);
    }
    for (std::int64_t j = 0; j < inner; ++j) {
      const Float b0 = hn::Load(d, b + j * all + lane), b1 = hn::Load(d, b + j * all + lane + lanes);
      HEDDLE_UNROLL
      for (std::int64_t i = 0; i < rows; ++i) {
        const Float x = hn::Set(d, a[i * a_row + j * a_step]);
        first[i] = hn::MulAdd(x, b0, first[i]);
        second[i] = hn::MulAdd(x, b1, second[i]);
      }
    }
    HEDDLE_UNROLL
    for (std::int64_t i = 0; i < rows; ++i) {
      hn::Store(first[i], d, out + i * all + lane);
      hn::Store(second[i], d, out + i * all + lane + lanes);
    }
  }
}
template <bool add>
HWY_INLINE void multiply(const float* a, std::int64_t rows, std::int64_t a_row, std::int64_t a_step, const float* b, std::int64_t inner,
                         float* out) {
  std::int64_t i = 0;
  for (; i + together <= rows; i += together) multiply_rows<together, add>(a + i * a_row, a_row, a_step, b, inner, out + i * all);
  for (; i < rows; ++i) multiply_rows<1, add>(a + i * a_row, a_row, a_step, b, inner, out + i * all);
}

HWY_INLINE Float exp_or_nan(Float x) { return hn::IfThenElse(hn::Eq(x, x), hn::Exp(Floats(), x), x); }

/// Scores of `count` positions from `first` become weights; `sums` and `weight` are scaled to the new largest scores.
void softmax_block(const AttentionTile& tile, std::int64_t first, std::int64_t count, float* scores, float* largest, float* weight,
                   float* sums) {
  const Floats d;
  const Ints di;
  for (std::int64_t lane = 0; lane < all; lane += lanes) {
    const auto begin = hn::Load(di, tile.begin + lane), end = hn::Load(di, tile.end + lane);
    const Float before = hn::Load(d, largest + lane);
    Float most = before;
    for (std::int64_t p = 0; p < count; ++p) {
      Float score = hn::Load(d, scores + p * all + lane);
      if (tile.softcap > 0) {
        const Float limit = hn::Set(d, 20.0f);  // float(tanh(20)) is 1
        const Float x = hn::Div(score, hn::Set(d, tile.softcap));
        const Float t = hn::Mul(hn::Tanh(d, hn::Max(hn::Min(x, limit), hn::Neg(limit))), hn::Set(d, tile.softcap));
        score = hn::IfThenElse(hn::Eq(score, score), t, score);
      }
      const auto position = hn::Set(di, std::int32_t(first + p));
      const auto seen = hn::AndNot(hn::VecFromMask(di, hn::Lt(position, begin)), hn::VecFromMask(di, hn::Lt(position, end)));
      score = hn::IfThenElse(hn::RebindMask(d, hn::MaskFromVec(seen)), score, hn::Set(d, -INFINITY));
      most = hn::IfThenElse(hn::Gt(score, most), score, most);
      hn::Store(score, d, scores + p * all + lane);
    }
    // A number below every score where a lane has seen nothing yet: infinities would cancel to NaN.
    const Float shift = hn::Max(most, hn::Set(d, -3.0e38f));
    const Float scale = hn::Exp(d, hn::Sub(hn::Max(before, hn::Set(d, -3.4e38f)), shift));
    Float total = hn::Mul(hn::Load(d, weight + lane), scale);
    for (std::int64_t p = 0; p < count; ++p) {
      const Float w = exp_or_nan(hn::Sub(hn::Load(d, scores + p * all + lane), shift));
      total = hn::Add(total, w);
      hn::Store(w, d, scores + p * all + lane);
    }
    hn::Store(most, d, largest + lane);
    hn::Store(total, d, weight + lane);
    for (std::int64_t i = 0; i < tile.head_dim; ++i)
      hn::Store(hn::Mul(hn::Load(d, sums + i * all + lane), scale), d, sums + i * all + lane);
  }
}

void run_attention_tile(const AttentionTile& given, float* scratch, float* out) {
  AttentionTile tile = given;
  const std::int64_t n = tile.head_dim;
  for (std::int64_t lane = tile.lanes; lane < all; ++lane) {  // spare lanes are the first one again
    tile.queries[lane] = tile.queries[0];
    tile.begin[lane] = tile.begin[0], tile.end[lane] = tile.end[0];
  }
  float* const queries = scratch;         // [n, all], times the scale
  float* const sums = queries + n * all;  // [n, all]
  float* const scores = sums + n * all;   // [block, all]
  float* const largest = scores + block * all;
  float* const weight = largest + all;
  float* const converted = weight + all;  // [block, n]
  for (std::int64_t i = 0; i < n; ++i)
    for (std::int64_t lane = 0; lane < all; ++lane) queries[i * all + lane] = tile.queries[lane][i] * tile.scale;
  std::fill_n(sums, n * all, 0.0f);
  std::fill_n(largest, all, -INFINITY);
  std::fill_n(weight, all, 0.0f);
  // Blocks stand at multiples of their size, so that a lane's sums do not depend on where the others begin.
  const std::int64_t begin = *std::min_element(tile.begin, tile.begin + all) / block * block;
  const std::int64_t end = *std::max_element(tile.end, tile.end + all);
  for (std::int64_t first = begin; first < end; first += block) {
    const std::int64_t count = std::min(block, end - first);
    multiply<false>(rows_as_floats(tile.keys, tile.dtype, n, first, count, converted), count, n, 1, queries, n, scores);
    softmax_block(tile, first, count, scores, largest, weight, sums);
    multiply<true>(rows_as_floats(tile.values, tile.dtype, n, first, count, converted), n, 1, n, scores, count, sums);
  }
  for (std::int64_t lane = 0; lane < tile.lanes; ++lane) {
    const float factor = 1 / weight[lane];
    for (std::int64_t i = 0; i < n; ++i) out[lane * n + i] = sums[i * all + lane] * factor;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace heddle::runtime::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::runtime::cpu {

HWY_EXPORT(run_attention_tile);

void run_attention_tile(const AttentionTile& tile, float* scratch, float* out) {
  HWY_DYNAMIC_DISPATCH(run_attention_tile)(tile, scratch, out);
}

std::int64_t attention_tile_scratch_floats(std::int64_t head_dim) { return attention_lanes * (2 * head_dim + 64 + 2) + 64 * head_dim; }

}  // namespace heddle::runtime::cpu
#endif
