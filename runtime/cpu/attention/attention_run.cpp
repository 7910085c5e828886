#include "runtime/cpu/attention/attention_run.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ir/base/half.h"
#include "runtime/cpu/prefetch.h"
#include "runtime/cpu/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/attention/attention_run.cpp"
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

inline constexpr bool many_registers = HWY_TARGET == HWY_AVX3_DL || HWY_TARGET == HWY_AVX3;

/// Elements of a cache: `load` gives a vector of floats.
struct PlainF32 {
  using Element = float;
  static HWY_INLINE Float load(const float* in) { return hn::LoadU(Floats(), in); }
  static float load_one(const float* in) { return *in; }
};
struct PlainF16 {
  using Element = f16;
  static HWY_INLINE Float load(const f16* in) {
    const hn::Rebind<hwy::float16_t, Floats> half;
    return hn::PromoteTo(Floats(), hn::LoadU(half, reinterpret_cast<const hwy::float16_t*>(in)));
  }
  static float load_one(const f16* in) { return to_float(*in); }
};

/// out[h]: the sum of vector h. Writes whole fours.
template <int heads>
HWY_INLINE void store_sums(const Float* sums, float* out) {
#if HWY_TARGET == HWY_SCALAR
  for (int h = 0; h < heads; ++h) out[h] = hn::GetLane(sums[h]);
#else
  const Floats d;
  const hn::Repartition<std::uint64_t, Floats> d64;
  HEDDLE_UNROLL
  for (int h = 0; h < heads; h += 4) {  // within blocks of four lanes, then across the blocks
    const Float a = sums[h], b = sums[std::min(h + 1, heads - 1)], c = sums[std::min(h + 2, heads - 1)],
                e = sums[std::min(h + 3, heads - 1)];
    const auto ab = hn::BitCast(d64, hn::Add(hn::InterleaveLower(d, a, b), hn::InterleaveUpper(d, a, b)));
    const auto ce = hn::BitCast(d64, hn::Add(hn::InterleaveLower(d, c, e), hn::InterleaveUpper(d, c, e)));
    const Float four = hn::Add(hn::BitCast(d, hn::InterleaveLower(d64, ab, ce)), hn::BitCast(d, hn::InterleaveUpper(d64, ab, ce)));
    if constexpr (lanes == 4) {
      hn::StoreU(four, d, out + h);
    } else {
      const hn::Half<Floats> half;
      const auto eight = hn::Add(hn::LowerHalf(half, four), hn::UpperHalf(half, four));
      if constexpr (lanes == 8) {
        hn::StoreU(eight, half, out + h);
      } else {
        const hn::Half<decltype(half)> quarter;
        hn::StoreU(hn::Add(hn::LowerHalf(quarter, eight), hn::UpperHalf(quarter, eight)), quarter, out + h);
      }
    }
  }
#endif
}

/// out[h * attention_pass + p] = queries[h] . keys[p], for `heads` heads.
template <class Plain, int heads>
void score_heads(const float* HWY_RESTRICT queries, const typename Plain::Element* HWY_RESTRICT keys, std::int64_t n, std::int64_t count,
                 float* HWY_RESTRICT out) {
  for (std::int64_t p = 0; p < count; ++p) {
    const auto* const key = keys + p * n;
    prefetch_stream(key, n * std::int64_t(sizeof(*key)));
    Float sums[heads];
    HEDDLE_UNROLL
    for (int h = 0; h < heads; ++h) sums[h] = hn::Zero(Floats());
    std::int64_t i = 0;
    for (; i + lanes <= n; i += lanes) {
      const Float k = Plain::load(key + i);
      HEDDLE_UNROLL
      for (int h = 0; h < heads; ++h) sums[h] = hn::MulAdd(k, hn::LoadU(Floats(), queries + h * n + i), sums[h]);
    }
    float scores[(heads + 3) / 4 * 4];
    store_sums<heads>(sums, scores);
    for (; i < n; ++i)
      for (int h = 0; h < heads; ++h) scores[h] += Plain::load_one(key + i) * queries[h * n + i];
    HEDDLE_UNROLL
    for (int h = 0; h < heads; ++h) out[h * attention_pass + p] = scores[h];
  }
}

/// sums[h][i] = sum over p of weights[h * attention_pass + p] * values[p][i], for `vectors` vectors from element `first` on.
template <class Plain, int heads, int vectors>
HWY_INLINE void add_values(const float* HWY_RESTRICT weights, const typename Plain::Element* HWY_RESTRICT values, std::int64_t n,
                           std::int64_t first, std::int64_t count, const PartialSum* sums) {
  const Floats d;
  Float totals[heads][vectors];
  HEDDLE_UNROLL
  for (int h = 0; h < heads; ++h) HEDDLE_UNROLL
  for (int v = 0; v < vectors; ++v) totals[h][v] = hn::Zero(d);
  for (std::int64_t p = 0; p < count; ++p) {
    const auto* const value = values + p * n + first;
    prefetch_stream(value, vectors * lanes * std::int64_t(sizeof(*value)));
    Float row[vectors];
    HEDDLE_UNROLL
    for (int v = 0; v < vectors; ++v) row[v] = Plain::load(value + v * lanes);
    HEDDLE_UNROLL
    for (int h = 0; h < heads; ++h) {
      const Float w = hn::Set(d, weights[h * attention_pass + p]);
      HEDDLE_UNROLL
      for (int v = 0; v < vectors; ++v) totals[h][v] = hn::MulAdd(w, row[v], totals[h][v]);
    }
  }
  HEDDLE_UNROLL
  for (int h = 0; h < heads; ++h) HEDDLE_UNROLL
  for (int v = 0; v < vectors; ++v) hn::StoreU(totals[h][v], d, sums[h].values + first + v * lanes);
}

template <class Plain, int heads>
void add_values_of_heads(const float* HWY_RESTRICT weights, const typename Plain::Element* HWY_RESTRICT values, std::int64_t n,
                         std::int64_t count, const PartialSum* sums) {
  constexpr int most = !many_registers ? 1 : heads <= 7 ? 4 : 2;  // as many sums as there are registers for
  std::int64_t i = 0;
  for (; i + most * lanes <= n; i += most * lanes) add_values<Plain, heads, most>(weights, values, n, i, count, sums);
  for (; i + lanes <= n; i += lanes) add_values<Plain, heads, 1>(weights, values, n, i, count, sums);
  for (; i < n; ++i) {
    for (int h = 0; h < heads; ++h) {
      float total = 0;
      for (std::int64_t p = 0; p < count; ++p) total += weights[h * attention_pass + p] * Plain::load_one(values + p * n + i);
      sums[h].values[i] = total;
    }
  }
}

/// Scores times the scale, capped; returns the largest. The row has room for whole vectors.
float scale_scores(float* scores, std::int64_t count, float scale, float softcap) {
  const Floats d;
  if (softcap > 0)
    for (std::int64_t p = 0; p < count; ++p) scores[p] = softcap * std::tanh(scores[p] * scale / softcap);
  const Float factor = hn::Set(d, softcap > 0 ? 1 : scale);
  std::fill(scores + count, scores + (count + 15) / 16 * 16, scores[count - 1]);
  Float largest = hn::Set(d, -INFINITY);
  for (std::int64_t p = 0; p < count; p += lanes) {
    const Float score = hn::Mul(hn::LoadU(d, scores + p), factor);
    largest = hn::Max(score, largest);
    hn::StoreU(score, d, scores + p);
  }
  return hn::GetLane(hn::MaxOfLanes(d, largest));
}

/// scores[0..count) become exp(score - largest); returns their sum.
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
  return hn::GetLane(hn::SumOfLanes(d, sum));
}

template <class Plain>
void run_pass(const AttentionPass& pass, float* scores, PartialSum* sums) {
  using Element = typename Plain::Element;
  const std::int64_t heads = pass.heads, n = pass.head_dim, count = pass.end - pass.begin;
  const auto* const keys = reinterpret_cast<const Element*>(pass.keys) + pass.begin * n;
  const auto* const values = reinterpret_cast<const Element*>(pass.values) + pass.begin * n;
  const auto by_heads = [&](const auto& run) HWY_ATTR {  // run.operator()<heads>(first head): every row is read once for up to 8
    for (std::int64_t h = 0; h < heads; h += 8) switch (std::min<std::int64_t>(heads - h, 8)) {
        case 1:
          run.template operator()<1>(h);
          break;
        case 2:
          run.template operator()<2>(h);
          break;
        case 3:
          run.template operator()<3>(h);
          break;
        case 4:
          run.template operator()<4>(h);
          break;
        case 5:
          run.template operator()<5>(h);
          break;
        case 6:
          run.template operator()<6>(h);
          break;
        case 7:
          run.template operator()<7>(h);
          break;
        default:
          run.template operator()<8>(h);
      }
  };
  by_heads([&]<int some>(std::int64_t h)
               HWY_ATTR { score_heads<Plain, some>(pass.queries + h * n, keys, n, count, scores + h * attention_pass); });
  for (std::int64_t h = 0; h < heads; ++h) {
    float* const row = scores + h * attention_pass;
    sums[h].largest = scale_scores(row, count, pass.scale, pass.softcap);
    sums[h].weight = exponentials(row, count, sums[h].largest);
  }
  by_heads([&]<int some>(std::int64_t h)
               HWY_ATTR { add_values_of_heads<Plain, some>(scores + h * attention_pass, values, n, count, sums + h); });
}

void run_attention_pass(const AttentionPass& pass, float* scratch, PartialSum* sums) {
  if (pass.dtype == DType::f32) run_pass<PlainF32>(pass, scratch, sums);
  else run_pass<PlainF16>(pass, scratch, sums);
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

std::int64_t attention_scratch_floats(std::int64_t heads) { return heads * attention_pass; }

void join(PartialSum& sum, const PartialSum& more, std::int64_t head_dim) {
  const float largest = std::max(sum.largest, more.largest);
  const float a = std::exp(sum.largest - largest), b = std::exp(more.largest - largest);
  for (std::int64_t i = 0; i < head_dim; ++i) sum.values[i] = sum.values[i] * a + more.values[i] * b;
  sum.weight = sum.weight * a + more.weight * b;
  sum.largest = largest;
}

}  // namespace heddle::runtime::cpu
#endif
