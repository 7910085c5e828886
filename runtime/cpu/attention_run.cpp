#include "runtime/cpu/attention_run.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ir/base/half.h"
#include "runtime/cpu/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/attention_run.cpp"
#include <hwy/foreach_target.h>  // before all else of Highway

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace heddle::runtime::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using Float = hn::Vec<Floats>;
inline constexpr std::int64_t lanes = HWY_LANES(float);

/// Row `position` as floats: in place, or converted into `buffer`.
const float* row_of(const std::byte* plane, DType dtype, std::int64_t head_dim, std::int64_t position, float* buffer) {
  if (dtype == DType::f32) return reinterpret_cast<const float*>(plane) + position * head_dim;
  const hn::Rebind<hwy::float16_t, Floats> half;
  const auto* in = reinterpret_cast<const f16*>(plane) + position * head_dim;
  std::int64_t i = 0;
  for (; i + lanes <= head_dim; i += lanes)
    hn::StoreU(hn::PromoteTo(Floats(), hn::LoadU(half, reinterpret_cast<const hwy::float16_t*>(in + i))), Floats(), buffer + i);
  for (; i < head_dim; ++i) buffer[i] = to_float(in[i]);
  return buffer;
}

HWY_INLINE float dot(const float* HWY_RESTRICT x, const float* HWY_RESTRICT y, std::int64_t n) {
  const Floats d;
  Float even = hn::Zero(d), odd = hn::Zero(d);
  std::int64_t i = 0;
  for (; i + 2 * lanes <= n; i += 2 * lanes) {
    even = hn::MulAdd(hn::LoadU(d, x + i), hn::LoadU(d, y + i), even);
    odd = hn::MulAdd(hn::LoadU(d, x + i + lanes), hn::LoadU(d, y + i + lanes), odd);
  }
  for (; i + lanes <= n; i += lanes) even = hn::MulAdd(hn::LoadU(d, x + i), hn::LoadU(d, y + i), even);
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(even, odd)));
  for (; i < n; ++i) sum += x[i] * y[i];
  return sum;
}

/// out += sum of four rows, each times its weight.
HWY_INLINE void add_rows(const float* const* rows, const float* weights, std::int64_t n, float* HWY_RESTRICT out) {
  const Floats d;
  const Float w0 = hn::Set(d, weights[0]), w1 = hn::Set(d, weights[1]), w2 = hn::Set(d, weights[2]), w3 = hn::Set(d, weights[3]);
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) {
    Float sum = hn::MulAdd(w0, hn::LoadU(d, rows[0] + i), hn::LoadU(d, out + i));
    sum = hn::MulAdd(w1, hn::LoadU(d, rows[1] + i), sum);
    sum = hn::MulAdd(w2, hn::LoadU(d, rows[2] + i), sum);
    hn::StoreU(hn::MulAdd(w3, hn::LoadU(d, rows[3] + i), sum), d, out + i);
  }
  for (; i < n; ++i) out[i] += weights[0] * rows[0][i] + weights[1] * rows[1][i] + weights[2] * rows[2][i] + weights[3] * rows[3][i];
}

/// scores[0..count) become exp(score - largest), zero up to a multiple of four; returns their sum.
float exponentials(float* scores, std::int64_t count, float largest) {
  const Floats d;
  const Float shift = hn::Set(d, largest);
  Float sum = hn::Zero(d);
  // Whole vectors: the row has room, and what lies beyond becomes exp(-inf).
  std::fill(scores + count, scores + (count + 15) / 16 * 16, -INFINITY);
  for (std::int64_t i = 0; i < count; i += lanes) {
    const Float x = hn::Sub(hn::LoadU(d, scores + i), shift), e = hn::IfThenElse(hn::Eq(x, x), hn::Exp(d, x), x);  // NaN stays NaN
    sum = hn::Add(sum, e);
    hn::StoreU(e, d, scores + i);
  }
  std::fill(scores + count, scores + (count + 3) / 4 * 4, 0.0f);
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

void run_attention_pass(const AttentionPass& pass, float* scratch, PartialSum* sums) {
  const std::int64_t heads = pass.heads, n = pass.head_dim, count = pass.end - pass.begin;
  float* const rows = scratch;                             // [4, head_dim]
  float* const scores = scratch + (4 * n + 15) / 16 * 16;  // [heads, attention_pass]
  for (std::int64_t p = 0; p < count; ++p) {
    const float* const key = row_of(pass.keys, pass.dtype, n, pass.begin + p, rows);
    for (std::int64_t h = 0; h < heads; ++h) {
      float score = dot(pass.queries + h * n, key, n) * pass.scale;
      if (pass.softcap > 0) score = pass.softcap * std::tanh(score / pass.softcap);
      scores[h * attention_pass + p] = score;
    }
  }
  for (std::int64_t h = 0; h < heads; ++h) {
    float* const row = scores + h * attention_pass;
    float largest = row[0];
    for (std::int64_t p = 1; p < count; ++p) largest = std::max(largest, row[p]);
    sums[h].largest = largest;
    sums[h].weight = exponentials(row, count, largest);
    std::fill_n(sums[h].values, n, 0.0f);
  }
  for (std::int64_t p = 0; p < count; p += 4) {
    const float* four[4];
    for (std::int64_t i = 0; i < 4; ++i)  // beyond the end the weight is zero, and the last row stands in
      four[i] = row_of(pass.values, pass.dtype, n, std::min(pass.begin + p + i, pass.end - 1), rows + i * n);
    for (std::int64_t h = 0; h < heads; ++h) add_rows(four, scores + h * attention_pass + p, n, sums[h].values);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace heddle::runtime::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::runtime::cpu {

HWY_EXPORT(run_attention_pass);

void run_attention_pass(const AttentionPass& pass, float* scratch, PartialSum* sums) {
  HWY_DYNAMIC_DISPATCH(run_attention_pass)(pass, scratch, sums);
}

std::int64_t attention_scratch_floats(std::int64_t heads, std::int64_t head_dim) {
  return (4 * head_dim + 15) / 16 * 16 + heads * attention_pass;
}

void join(PartialSum& sum, const PartialSum& more, std::int64_t head_dim) {
  const float largest = std::max(sum.largest, more.largest);
  const float a = std::exp(sum.largest - largest), b = std::exp(more.largest - largest);
  for (std::int64_t i = 0; i < head_dim; ++i) sum.values[i] = sum.values[i] * a + more.values[i] * b;
  sum.weight = sum.weight * a + more.weight * b;
  sum.largest = largest;
}

}  // namespace heddle::runtime::cpu
#endif
