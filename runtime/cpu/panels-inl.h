// Weight formats in panels (runtime/plan/panels.h): how 32 columns of 16 rows become bytes with scales, one row a lane. Compiled once per
// instruction set (see simd.h); not for HWY_SCALAR, which has no bytes in its lanes.
#if defined(HEDDLE_RUNTIME_CPU_PANELS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HEDDLE_RUNTIME_CPU_PANELS_INL_H_
#undef HEDDLE_RUNTIME_CPU_PANELS_INL_H_
#else
#define HEDDLE_RUNTIME_CPU_PANELS_INL_H_
#endif

#include <hwy/cache_control.h>
#include <hwy/highway.h>

#include <cstdint>
#include <cstring>

#include "ir/base/blocks.h"
#include "runtime/plan/panels.h"

// Highway 1.0.3 checks for AVX-512 VNNI before it takes AVX3_DL, but does not name it to the compiler.
#if HWY_TARGET == HWY_AVX3_DL
#undef HWY_TARGET_STR
#define HWY_TARGET_STR HWY_TARGET_STR_AVX3 ",vpclmulqdq,avx512vbmi,avx512vbmi2,vaes,avxvnni,avx512bitalg,avx512vpopcntdq,avx512vnni"
#endif

HWY_BEFORE_NAMESPACE();
namespace heddle::runtime::cpu {
namespace HWY_NAMESPACE {

#if HWY_TARGET != HWY_SCALAR
namespace hn = hwy::HWY_NAMESPACE;

// The 16 rows of a panel are `parts` vectors of `lanes`.
using Ints = hn::CappedTag<std::int32_t, 16>;
using Floats = hn::Rebind<float, Ints>;
using Bytes = hn::Repartition<std::uint8_t, Ints>;
using SignedBytes = hn::Repartition<std::int8_t, Ints>;
using Int = hn::Vec<Ints>;
using Float = hn::Vec<Floats>;
using Byte = hn::Vec<Bytes>;
inline constexpr std::int64_t lanes = HWY_LANES(std::int32_t) < 16 ? HWY_LANES(std::int32_t) : 16;
inline constexpr int parts = int(16 / lanes);

/// Lane i: sum + the products of bytes 4i .. 4i + 3. Without 8-bit dot products w must be at most 128 (sums of two are 16-bit).
HWY_INLINE Int add_products(Int sum, Byte w, hn::Vec<SignedBytes> x) {
#if HWY_TARGET == HWY_AVX3_DL
  return Int{_mm512_dpbusd_epi32(sum.raw, w.raw, x.raw)};
#elif HWY_TARGET == HWY_AVX3
  return hn::Add(sum, Int{_mm512_madd_epi16(_mm512_maddubs_epi16(w.raw, x.raw), _mm512_set1_epi16(1))});
#elif HWY_TARGET == HWY_AVX2
  return hn::Add(sum, Int{_mm256_madd_epi16(_mm256_maddubs_epi16(w.raw, x.raw), _mm256_set1_epi16(1))});
#elif HWY_TARGET == HWY_SSE4
  return hn::Add(sum, Int{_mm_madd_epi16(_mm_maddubs_epi16(w.raw, x.raw), _mm_set1_epi16(1))});
#else
  const hn::RepartitionToWide<SignedBytes> d16;
  const auto w16 = hn::BitCast(d16, w), x16 = hn::BitCast(d16, x);
  const auto even = hn::Mul(hn::And(w16, hn::Set(d16, 255)), hn::ShiftRight<8>(hn::ShiftLeft<8>(x16)));
  const auto odd = hn::Mul(hn::And(hn::ShiftRight<8>(hn::BitCast(d16, w)), hn::Set(d16, 255)), hn::ShiftRight<8>(x16));
  const auto pairs = hn::BitCast(Ints(), hn::Add(even, odd));
  return hn::Add(sum, hn::Add(hn::ShiftRight<16>(hn::ShiftLeft<16>(pairs)), hn::ShiftRight<16>(pairs)));
#endif
}

HWY_INLINE Byte load_bytes(const std::byte* at) { return hn::LoadU(Bytes(), reinterpret_cast<const std::uint8_t*>(at)); }
HWY_INLINE Float load_halves(const std::byte* at) {
  const hn::Rebind<hwy::float16_t, Floats> half;
  return hn::PromoteTo(Floats(), hn::LoadU(half, reinterpret_cast<const hwy::float16_t*>(at)));
}
/// Vector `v` of those at `at`, its part.
HWY_INLINE const std::byte* part_of(const std::byte* at, std::int64_t v, int part) { return at + v * 64 + part * lanes * 4; }

/// Asks for `bytes` of weights that come some way behind `from`: one activation row takes as long as memory does. A few lines at a time: in
/// bursts they fill the queue of misses, and the loads wait (measured for q4_K: 9.4 GB/s in bursts of a group, 14.8 evenly, of 15.5 that a
/// plain loop reads). Past the end of the weights it does nothing.
HWY_INLINE void prefetch_ahead(const std::byte* from, std::int64_t bytes) {
  constexpr std::int64_t ahead = 2048;
  for (std::int64_t i = 0; i < bytes; i += 64) hwy::Prefetch(from + ahead + i);
}

/// Four vectors of nibbles: words 0 to 3 low, 4 to 7 high.
HWY_INLINE void load_nibbles(const std::byte* at, int part, Byte* HWY_RESTRICT q) {
  const Byte mask = hn::Set(Bytes(), 15);
  HEDDLE_UNROLL
  for (int i = 0; i < 4; ++i) {
    const Byte v = load_bytes(part_of(at, i, part));
    q[i] = hn::And(v, mask);
    q[4 + i] = hn::And(hn::BitCast(Bytes(), hn::ShiftRight<4>(hn::BitCast(hn::Repartition<std::uint16_t, Ints>(), v))), mask);
  }
}
/// Bits of `v` moved from `from` to `to`, and all but `mask` cleared.
template <int from, int to>
HWY_INLINE Byte moved_bits(Byte v, Byte mask) {
  const hn::Repartition<std::uint16_t, Ints> wide;
  const auto w = hn::BitCast(wide, v);
  if constexpr (from < to) return hn::And(hn::BitCast(Bytes(), hn::ShiftLeft<to - from>(w)), mask);
  else if constexpr (from > to) return hn::And(hn::BitCast(Bytes(), hn::ShiftRight<from - to>(w)), mask);
  else return hn::And(v, mask);
}

/// Scales and minima of q4_K and q5_K: element = scale * quant + offset.
HWY_INLINE void k_scales(const std::byte* group, int part, float* HWY_RESTRICT scale, float* HWY_RESTRICT offset) {
  const hn::RebindToUnsigned<Ints> du;
  const Float d = load_halves(group + part * lanes * 2), dmin = hn::Neg(load_halves(group + 32 + part * lanes * 2));
  hn::Vec<decltype(du)> words[3];
  HEDDLE_UNROLL
  for (int v = 0; v < 3; ++v) words[v] = hn::LoadU(du, reinterpret_cast<const std::uint32_t*>(part_of(group + 64, v, part)));
  const auto mask = hn::Set(du, 63);
  const auto value = [&]<int i>() HWY_ATTR {
    if constexpr (i < 15) {
      return hn::ConvertTo(Floats(), hn::BitCast(Ints(), hn::And(hn::ShiftRight<6 * (i % 5)>(words[i / 5]), mask)));
    } else {
      const auto last = hn::Or(hn::ShiftRight<30>(words[0]),
                               hn::Or(hn::ShiftLeft<2>(hn::ShiftRight<30>(words[1])), hn::ShiftLeft<4>(hn::ShiftRight<30>(words[2]))));
      return hn::ConvertTo(Floats(), hn::BitCast(Ints(), last));
    }
  };
  const auto store = [&]<int i>() HWY_ATTR {
    hn::Store(hn::Mul(d, value.template operator()<i>()), Floats(), scale + i * lanes);
    hn::Store(hn::Mul(dmin, value.template operator()<8 + i>()), Floats(), offset + i * lanes);
  };
  store.template operator()<0>(), store.template operator()<1>(), store.template operator()<2>(), store.template operator()<3>();
  store.template operator()<4>(), store.template operator()<5>(), store.template operator()<6>(), store.template operator()<7>();
}

/// What every format below provides. An element is scale * (quant - 2^bias) + offset.
///   bias         quants are unsigned bytes, and 2^bias is taken from each; -1: nothing is
///   is_signed    quants are signed bytes; on AVX3_DL `quants` makes them unsigned, with bias 7
///   has_offset   offsets are not zero
///   halves       a scale for every 16 columns, not 32
///   scales(group, blocks, part, scale, offset)   of `blocks` 32s: scale[8 or 16][lanes], offset[8][lanes]
///   quants(group, blocks, b, part, q)            words 0 to 7 of 32 columns
struct PanelQ8_0 {
  static constexpr DType dtype = DType::q8_0;
  static constexpr bool is_signed = true, has_offset = false, halves = false;
  static constexpr int bias = HWY_TARGET == HWY_AVX3_DL ? 7 : -1;
  static HWY_INLINE void scales(const std::byte* group, std::int64_t blocks, int part, float* HWY_RESTRICT scale, float*) {
    for (std::int64_t b = 0; b < blocks; ++b) hn::Store(load_halves(group + b * 32 + part * lanes * 2), Floats(), scale + b * lanes);
  }
  static HWY_INLINE void quants(const std::byte* group, std::int64_t blocks, std::int64_t b, int part, Byte* HWY_RESTRICT q) {
    const std::byte* const at = group + (blocks * 32 + 63) / 64 * 64 + b * 512;
    HEDDLE_UNROLL
    for (int i = 0; i < 8; ++i) {
      q[i] = load_bytes(part_of(at, i, part));
      if constexpr (bias == 7) q[i] = hn::Xor(q[i], hn::Set(Bytes(), 0x80));
    }
  }
};

struct PanelQ4_0 {
  static constexpr DType dtype = DType::q4_0;
  static constexpr bool is_signed = false, has_offset = false, halves = false;
  static constexpr int bias = 3;
  static HWY_INLINE void scales(const std::byte* group, std::int64_t blocks, int part, float* HWY_RESTRICT scale, float* offset) {
    PanelQ8_0::scales(group, blocks, part, scale, offset);
  }
  static HWY_INLINE void quants(const std::byte* group, std::int64_t blocks, std::int64_t b, int part, Byte* HWY_RESTRICT q) {
    load_nibbles(group + (blocks * 32 + 63) / 64 * 64 + b * 256, part, q);
  }
};

struct PanelQ4_K {
  static constexpr DType dtype = DType::q4_K;
  static constexpr bool is_signed = false, has_offset = true, halves = false;
  static constexpr int bias = -1;
  static HWY_INLINE void scales(const std::byte* group, std::int64_t, int part, float* HWY_RESTRICT scale, float* HWY_RESTRICT offset) {
    k_scales(group, part, scale, offset);
  }
  static HWY_INLINE void quants(const std::byte* group, std::int64_t, std::int64_t b, int part, Byte* HWY_RESTRICT q) {
    load_nibbles(group + 256 + b * 256, part, q);
  }
};

struct PanelQ5_K {
  static constexpr DType dtype = DType::q5_K;
  static constexpr bool is_signed = false, has_offset = true, halves = false;
  static constexpr int bias = -1;
  static HWY_INLINE void scales(const std::byte* group, std::int64_t, int part, float* HWY_RESTRICT scale, float* HWY_RESTRICT offset) {
    k_scales(group, part, scale, offset);
  }
  static HWY_INLINE void quants(const std::byte* group, std::int64_t, std::int64_t b, int part, Byte* HWY_RESTRICT q) {
    const std::byte* const at = group + 256 + b * 320;
    load_nibbles(at, part, q);
    const Byte high = load_bytes(part_of(at, 4, part)), mask = hn::Set(Bytes(), 16);
    const auto add = [&]<int i>() HWY_ATTR { q[i] = hn::Or(q[i], moved_bits<i, 4>(high, mask)); };
    add.template operator()<0>(), add.template operator()<1>(), add.template operator()<2>(), add.template operator()<3>();
    add.template operator()<4>(), add.template operator()<5>(), add.template operator()<6>(), add.template operator()<7>();
  }
};

struct PanelQ6_K {
  static constexpr DType dtype = DType::q6_K;
  static constexpr bool is_signed = false, has_offset = false, halves = true;
  static constexpr int bias = 5;
  static HWY_INLINE void scales(const std::byte* group, std::int64_t, int part, float* HWY_RESTRICT scale, float*) {
    const Float d = load_halves(group + part * lanes * 2);
    const hn::Rebind<std::int8_t, Ints> d8;
    HEDDLE_UNROLL
    for (int s = 0; s < 16; ++s) {
      const auto* at = reinterpret_cast<const std::int8_t*>(group + 32 + s * 16 + part * lanes);
      hn::Store(hn::Mul(d, hn::ConvertTo(Floats(), hn::PromoteTo(Ints(), hn::LoadU(d8, at)))), Floats(), scale + s * lanes);
    }
  }
  static HWY_INLINE void quants(const std::byte* group, std::int64_t, std::int64_t b, int part, Byte* HWY_RESTRICT q) {
    const std::byte* const at = group + 288 + b * 384;
    load_nibbles(at, part, q);
    const Byte mask = hn::Set(Bytes(), 0x30);
    HEDDLE_UNROLL
    for (int h = 0; h < 2; ++h) {
      const Byte high = load_bytes(part_of(at, 4 + h, part));
      q[4 * h] = hn::Or(q[4 * h], moved_bits<0, 4>(high, mask));
      q[4 * h + 1] = hn::Or(q[4 * h + 1], moved_bits<2, 4>(high, mask));
      q[4 * h + 2] = hn::Or(q[4 * h + 2], moved_bits<4, 4>(high, mask));
      q[4 * h + 3] = hn::Or(q[4 * h + 3], moved_bits<6, 4>(high, mask));
    }
  }
};

/// Calls `visit(Format())`.
template <class Visit>
HWY_INLINE void visit_panel(DType dtype, const Visit& visit) {
  switch (dtype) {
    case DType::q8_0:
      return visit(PanelQ8_0());
    case DType::q4_0:
      return visit(PanelQ4_0());
    case DType::q4_K:
      return visit(PanelQ4_K());
    case DType::q5_K:
      return visit(PanelQ5_K());
    default:
      return visit(PanelQ6_K());
  }
}
#endif

}  // namespace HWY_NAMESPACE
}  // namespace heddle::runtime::cpu
HWY_AFTER_NAMESPACE();

#endif
