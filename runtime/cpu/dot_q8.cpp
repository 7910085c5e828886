// Integer dot products of quantised weights with q8_1 activations. Per 256 elements: quants as bytes (formats-inl.h), products of unsigned
// and signed bytes summed in fours, block scales in float; a format's constant part meets the sums of the activations.
#include <algorithm>

#include "runtime/cpu/dot.h"
#include "runtime/cpu/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/dot_q8.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "runtime/cpu/formats-inl.h"

// Highway 1.0.3 checks for AVX-512 VNNI before it takes AVX3_DL, but does not name it to the compiler.
#if HWY_TARGET == HWY_AVX3_DL
#undef HWY_TARGET_STR
#define HWY_TARGET_STR HWY_TARGET_STR_AVX3 ",vpclmulqdq,avx512vbmi,avx512vbmi2,vaes,avxvnni,avx512bitalg,avx512vpopcntdq,avx512vnni"
#endif

HWY_BEFORE_NAMESPACE();
namespace heddle::runtime::cpu {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR
void dot_q8(DType weight, const std::byte* w, std::int64_t columns, std::int64_t k, const Q8Group* x, std::int64_t x_stride,
            std::int64_t rows, float* out, std::int64_t out_stride) {
  const DTypeInfo& format = info(weight);
  float values[256];
  for (std::int64_t c = 0; c < columns; ++c) {
    for (std::int64_t r = 0; r < rows; ++r) out[r * out_stride + c] = 0;
    for (std::int64_t done = 0; done < k; done += format.elements, w += format.bytes) {
      format.dequantize(w, values, 1);
      for (std::int64_t r = 0; r < rows; ++r) {
        const Q8Group& a = x[r * x_stride + done / 256];
        float sum = 0;
        for (std::int64_t i = 0, e = done % 256; i < format.elements; ++i, ++e) sum += values[i] * (a.d[e / 16] * float(a.q[e]));
        out[r * out_stride + c] += sum;
      }
    }
  }
}
#else
using SignedBytes = hn::RebindToSigned<Bytes>;
using Ints = hn::Rebind<std::int32_t, Floats>;
using Float = hn::Vec<Floats>;

/// Lane i: products of bytes 4i to 4i + 3, summed. Without 8-bit dot products |w| must be at most 128 (sums of two are 16-bit).
HWY_INLINE hn::Vec<Ints> sum_of_four(hn::Vec<Bytes> w, hn::Vec<SignedBytes> x) {
#if HWY_TARGET == HWY_AVX3_DL
  return hn::Vec<Ints>{_mm512_dpbusd_epi32(_mm512_setzero_si512(), w.raw, x.raw)};
#elif HWY_TARGET == HWY_AVX3
  return hn::Vec<Ints>{_mm512_madd_epi16(_mm512_maddubs_epi16(w.raw, x.raw), _mm512_set1_epi16(1))};
#elif HWY_TARGET == HWY_AVX2
  return hn::Vec<Ints>{_mm256_madd_epi16(_mm256_maddubs_epi16(w.raw, x.raw), _mm256_set1_epi16(1))};
#elif HWY_TARGET == HWY_SSE4
  return hn::Vec<Ints>{_mm_madd_epi16(_mm_maddubs_epi16(w.raw, x.raw), _mm_set1_epi16(1))};
#else
  const hn::RepartitionToWide<SignedBytes> d16;
  const auto w16 = hn::BitCast(d16, w), x16 = hn::BitCast(d16, x);
  const auto even = hn::Mul(hn::And(w16, hn::Set(d16, 255)), hn::ShiftRight<8>(hn::ShiftLeft<8>(x16)));
  const auto odd = hn::Mul(hn::And(hn::ShiftRight<8>(w16), hn::Set(d16, 255)), hn::ShiftRight<8>(x16));
  const auto pairs = hn::BitCast(Ints(), hn::Add(even, odd));
  return hn::Add(hn::ShiftRight<16>(hn::ShiftLeft<16>(pairs)), hn::ShiftRight<16>(pairs));
#endif
}

template <class Format>
HWY_INLINE hn::Vec<Ints> products(hn::Vec<Bytes> w, hn::Vec<SignedBytes> x) {
  if constexpr (!Format::is_signed) {
    return sum_of_four(w, x);
  } else if constexpr (HWY_TARGET == HWY_AVX3_DL) {
    return sum_of_four(hn::Xor(w, hn::Set(Bytes(), 0x80)), x);  // w + 128; `Rows` takes 128 times the sum away again
  } else {
    const auto negative = hn::Sub(hn::Zero(SignedBytes()), x), signed_w = hn::BitCast(SignedBytes(), w);
    return sum_of_four(hn::BitCast(Bytes(), hn::Abs(signed_w)), hn::IfNegativeThenElse(signed_w, negative, x));
  }
}

/// One weight row with `rows` activation rows.
template <class Format, int rows>
HWY_INLINE void dot_rows(const std::byte* HWY_RESTRICT w, std::int64_t k, const Q8Group* HWY_RESTRICT x, std::int64_t x_stride,
                         float* HWY_RESTRICT out, std::int64_t out_stride) {
  constexpr std::int64_t block = Format::elements, block_bytes = sizeof(typename Format::Block);
  constexpr int vectors = int(256 / byte_lanes), scale_vectors = int(16 / float_lanes);
  constexpr bool shifted = Format::is_signed && HWY_TARGET == HWY_AVX3_DL;
  const Floats df;

  // A vector of sums holds 4 lanes per scale: lane l of vector i of four takes scale i * (lanes / 4) + l / 4 of its scale vector.
  hn::Vec<Ints> picks[4];
  HEDDLE_UNROLL
  for (int i = 0; i < 4; ++i) {
    alignas(64) std::int32_t lanes[float_lanes];
    for (std::int64_t l = 0; l < float_lanes; ++l) lanes[l] = std::int32_t(i * float_lanes / 4 + l / 4);
    picks[i] = hn::Load(Ints(), lanes);
  }

  Float even[rows], odd[rows], constant[rows];
  HEDDLE_UNROLL
  for (int r = 0; r < rows; ++r) even[r] = odd[r] = constant[r] = hn::Zero(df);
  for (std::int64_t done = 0, g = 0; done < k; done += 256, ++g) {
    Group group;
    const std::byte* const from = w + done / block * block_bytes;
    if constexpr (rows == 1) prefetch_ahead(from, 256 / block * block_bytes);
    Format::decode(from, std::min(k - done, std::int64_t(256)) / block, group);
    if constexpr (shifted) store_product(group.scale, -128, group.offset);
    HEDDLE_UNROLL
    for (int r = 0; r < rows; ++r) {
      const Q8Group& a = x[r * x_stride + g];
      Float scales[scale_vectors];
      HEDDLE_UNROLL
      for (int i = 0; i < scale_vectors; ++i) {
        scales[i] = hn::Mul(hn::Load(df, group.scale + i * float_lanes), hn::Load(df, a.d + i * float_lanes));
        if constexpr (!Format::is_signed || shifted)
          constant[r] = hn::MulAdd(hn::Load(df, group.offset + i * float_lanes), hn::Load(df, a.s + i * float_lanes), constant[r]);
      }
      HEDDLE_UNROLL
      for (int i = 0; i < vectors; ++i) {
        const auto sums = products<Format>(hn::Load(Bytes(), group.quants + i * byte_lanes), hn::Load(SignedBytes(), a.q + i * byte_lanes));
        const Float scale = hn::TableLookupLanes(scales[i / 4], hn::IndicesFromVec(df, picks[i % 4]));
        Float& sum = i % 2 == 0 ? even[r] : odd[r];
        sum = hn::MulAdd(hn::ConvertTo(df, sums), scale, sum);
      }
    }
  }
  HEDDLE_UNROLL
  for (int r = 0; r < rows; ++r) out[r * out_stride] = hn::GetLane(hn::SumOfLanes(df, hn::Add(hn::Add(even[r], odd[r]), constant[r])));
}

void dot_q8(DType weight, const std::byte* w, std::int64_t columns, std::int64_t k, const Q8Group* x, std::int64_t x_stride,
            std::int64_t rows, float* out, std::int64_t out_stride) {
  const std::int64_t row_bytes = bytes_of(weight, k);
  visit_format(weight, [&](auto format) HWY_ATTR {
    using Format = decltype(format);
    std::int64_t r = 0;
    // Blocks of activation rows outside, weight rows inside: the activations of a block stay in the first-level cache.
    const auto block = [&]<int size>() HWY_ATTR {
      for (; r + size <= rows; r += size)
        for (std::int64_t c = 0; c < columns; ++c)
          dot_rows<Format, size>(w + c * row_bytes, k, x + r * x_stride, x_stride, out + r * out_stride + c, out_stride);
    };
    block.template operator()<8>();
    block.template operator()<4>();
    block.template operator()<2>();
    block.template operator()<1>();
  });
}
#endif

void unpack_q8_1(const std::byte* row, std::int64_t k, Q8Group* out) {
  for (std::int64_t done = 0; done < k; done += 256, ++out) {
    for (std::int64_t b = 0; b < 8; ++b) {
      if (done + b * 32 >= k) {
        std::memset(out->q + b * 32, 0, 32);
        out->d[2 * b] = out->d[2 * b + 1] = out->s[2 * b] = out->s[2 * b + 1] = 0;
        continue;
      }
      const auto* block = reinterpret_cast<const BlockQ8_1*>(row) + done / 32 + b;
      const float scale = to_float(block->d);
      std::memcpy(out->q + b * 32, block->qs, 32);
      for (std::int64_t half = 0; half < 2; ++half) {
        int sum = 0;
        for (std::int64_t i = 0; i < 16; ++i) sum += block->qs[half * 16 + i];
        out->d[2 * b + half] = scale;
        out->s[2 * b + half] = scale * float(sum);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace heddle::runtime::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::runtime::cpu {

HWY_EXPORT(dot_q8);
HWY_EXPORT(unpack_q8_1);

bool has_integer_dot(DType weight) {
  return weight == DType::q8_0 || weight == DType::q4_0 || weight == DType::q4_K || weight == DType::q5_K || weight == DType::q6_K;
}

void dot_q8(DType weight, const std::byte* w, std::int64_t columns, std::int64_t k, const Q8Group* x, std::int64_t x_stride,
            std::int64_t rows, float* out, std::int64_t out_stride) {
  HWY_DYNAMIC_DISPATCH(dot_q8)(weight, w, columns, k, x, x_stride, rows, out, out_stride);
}

void unpack_q8_1(const std::byte* row, std::int64_t k, Q8Group* out) { HWY_DYNAMIC_DISPATCH(unpack_q8_1)(row, k, out); }

}  // namespace heddle::runtime::cpu
#endif
