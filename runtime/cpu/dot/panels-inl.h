// Weight formats in panels (runtime/plan/panels.h): how 32 columns of 16 rows become bytes with scales, one row a lane. Compiled once per
// instruction set (see simd.h); not for HWY_SCALAR, which has no bytes in its lanes.
#if defined(HEDDLE_RUNTIME_CPU_PANELS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HEDDLE_RUNTIME_CPU_PANELS_INL_H_
#undef HEDDLE_RUNTIME_CPU_PANELS_INL_H_
#else
#define HEDDLE_RUNTIME_CPU_PANELS_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>
#include <cstring>

#include "ir/base/blocks.h"
#include "runtime/cpu/prefetch.h"
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

/// Of formats with signed quants.
inline constexpr int byte_bias = HWY_TARGET == HWY_AVX3_DL ? 7 : -1;

HWY_INLINE Byte load_bytes(const std::byte* at) { return hn::LoadU(Bytes(), reinterpret_cast<const std::uint8_t*>(at)); }
HWY_INLINE Float load_halves(const std::byte* at) {
  const hn::Rebind<hwy::float16_t, Floats> half;
  return hn::PromoteTo(Floats(), hn::LoadU(half, reinterpret_cast<const hwy::float16_t*>(at)));
}
/// Vector `v` of those at `at`, its part.
HWY_INLINE const std::byte* part_of(const std::byte* at, std::int64_t v, int part) { return at + v * 64 + part * lanes * 4; }

/// Asks for weights behind piece `piece` of the eight of a group of `bytes`, each line once and a few at a time: in bursts they fill the
/// queue of misses, and the loads wait (measured for q4_K on a thread: 9.4 GB/s in bursts of a group, 14.8 evenly).
HWY_INLINE void prefetch_piece(const std::byte* group, std::int64_t bytes, std::int64_t piece) {
  const auto first_line = [&](std::int64_t of) HWY_ATTR { return (of * bytes / 8 + line_bytes - 1) / line_bytes * line_bytes; };
  prefetch_stream(group + first_line(piece), first_line(piece + 1) - first_line(piece));
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

/// f16 scales of a group's 32s, 16 rows side by side.
HWY_INLINE void store_halves(const std::byte* at, std::int64_t blocks, int part, float* HWY_RESTRICT out) {
  for (std::int64_t b = 0; b < blocks; ++b) hn::Store(load_halves(at + b * 32 + part * lanes * 2), Floats(), out + b * lanes);
}
/// Where the vectors of 32 columns begin, behind `bytes` of scales a row.
HWY_INLINE const std::byte* behind_scales(const std::byte* group, std::int64_t blocks, std::int64_t bytes) {
  return group + (blocks * bytes * 16 + 63) / 64 * 64;
}
/// Adds bit w of each byte at `at` to word w as bit `to`.
template <int to>
HWY_INLINE void add_single_bits(const std::byte* at, int part, Byte* HWY_RESTRICT q) {
  const Byte bits = load_bytes(part_of(at, 0, part)), mask = hn::Set(Bytes(), 1 << to);
  const auto add = [&]<int i>() HWY_ATTR { q[i] = hn::Or(q[i], moved_bits<i, to>(bits, mask)); };
  add.template operator()<0>(), add.template operator()<1>(), add.template operator()<2>(), add.template operator()<3>();
  add.template operator()<4>(), add.template operator()<5>(), add.template operator()<6>(), add.template operator()<7>();
}
/// Words 0 to 7 out of two vectors with two bits each, as bits `to` and `to` + 1.
template <int to>
HWY_INLINE void load_pairs(const std::byte* at, int part, Byte* HWY_RESTRICT q) {
  const Byte mask = hn::Set(Bytes(), 3 << to);
  HEDDLE_UNROLL
  for (int h = 0; h < 2; ++h) {
    const Byte v = load_bytes(part_of(at, h, part));
    q[4 * h] = moved_bits<0, to>(v, mask), q[4 * h + 1] = moved_bits<2, to>(v, mask);
    q[4 * h + 2] = moved_bits<4, to>(v, mask), q[4 * h + 3] = moved_bits<6, to>(v, mask);
  }
}
/// Four vectors of codes as nibbles, and what they stand for: `table` has 16 signed bytes. With 8-bit dot products each is moved by 128.
HWY_INLINE void load_codes(const std::byte* at, int part, const std::int8_t* table, Byte* HWY_RESTRICT q) {
  load_nibbles(at, part, q);
  const Byte values = hn::LoadDup128(Bytes(), reinterpret_cast<const std::uint8_t*>(table));
  HEDDLE_UNROLL
  for (int i = 0; i < 8; ++i) {
    q[i] = hn::TableLookupBytes(values, q[i]);
    if constexpr (byte_bias == 7) q[i] = hn::Xor(q[i], hn::Set(Bytes(), 0x80));
  }
}

/// What every format provides. An element is scale * (quant - 2^bias) + offset.
///   bias         quants are unsigned bytes, and 2^bias is taken from each; -1: nothing is
///   is_signed    quants are signed bytes; on AVX3_DL `quants` makes them unsigned: their bias is `byte_bias`
///   has_offset   offsets are not zero
///   halves       a scale and an offset for every 16 columns, not 32
///   scales(group, blocks, part, scale, offset)   of `blocks` 32s: scale[8 or 16][lanes], offset[8 or 16][lanes]
///   quants(group, blocks, b, part, q)            words 0 to 7 of 32 columns
template <DType dtype>
struct Panel;

template <>
struct Panel<DType::q8_0> {
  static constexpr bool is_signed = true, has_offset = false, halves = false;
  static constexpr int bias = byte_bias;
  static HWY_INLINE void scales(const std::byte* group, std::int64_t blocks, int part, float* HWY_RESTRICT scale, float*) {
    store_halves(group, blocks, part, scale);
  }
  static HWY_INLINE void quants(const std::byte* group, std::int64_t blocks, std::int64_t b, int part, Byte* HWY_RESTRICT q) {
    const std::byte* const at = behind_scales(group, blocks, 2) + b * 512;
    HEDDLE_UNROLL
    for (int i = 0; i < 8; ++i) {
      q[i] = load_bytes(part_of(at, i, part));
      if constexpr (bias == 7) q[i] = hn::Xor(q[i], hn::Set(Bytes(), 0x80));
    }
  }
};

template <>
struct Panel<DType::q4_0> {
  static constexpr bool is_signed = false, has_offset = false, halves = false;
  static constexpr int bias = 3;
  static HWY_INLINE void scales(const std::byte* group, std::int64_t blocks, int part, float* HWY_RESTRICT scale, float*) {
    store_halves(group, blocks, part, scale);
  }
  static HWY_INLINE void quants(const std::byte* group, std::int64_t blocks, std::int64_t b, int part, Byte* HWY_RESTRICT q) {
    load_nibbles(behind_scales(group, blocks, 2) + b * 256, part, q);
  }
};

template <>
struct Panel<DType::q4_K> {
  static constexpr bool is_signed = false, has_offset = true, halves = false;
  static constexpr int bias = -1;
  static HWY_INLINE void scales(const std::byte* group, std::int64_t, int part, float* HWY_RESTRICT scale, float* HWY_RESTRICT offset) {
    k_scales(group, part, scale, offset);
  }
  static HWY_INLINE void quants(const std::byte* group, std::int64_t, std::int64_t b, int part, Byte* HWY_RESTRICT q) {
    load_nibbles(group + 256 + b * 256, part, q);
  }
};

template <>
struct Panel<DType::q5_K> {
  static constexpr bool is_signed = false, has_offset = true, halves = false;
  static constexpr int bias = -1;
  static HWY_INLINE void scales(const std::byte* group, std::int64_t, int part, float* HWY_RESTRICT scale, float* HWY_RESTRICT offset) {
    k_scales(group, part, scale, offset);
  }
  static HWY_INLINE void quants(const std::byte* group, std::int64_t, std::int64_t b, int part, Byte* HWY_RESTRICT q) {
    const std::byte* const at = group + 256 + b * 320;
    load_nibbles(at, part, q);
    add_single_bits<4>(at + 256, part, q);
  }
};

template <>
struct Panel<DType::q6_K> {
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
    Byte high[8];
    load_pairs<4>(at + 256, part, high);
    HEDDLE_UNROLL
    for (int i = 0; i < 8; ++i) q[i] = hn::Or(q[i], high[i]);
  }
};

template <>
struct Panel<DType::q4_1> {
  static constexpr bool is_signed = false, has_offset = true, halves = false;
  static constexpr int bias = -1;
  static HWY_INLINE void scales(const std::byte* group, std::int64_t blocks, int part, float* HWY_RESTRICT scale,
                                float* HWY_RESTRICT offset) {
    store_halves(group, blocks, part, scale);
    store_halves(group + blocks * 32, blocks, part, offset);
  }
  static HWY_INLINE void quants(const std::byte* group, std::int64_t blocks, std::int64_t b, int part, Byte* HWY_RESTRICT q) {
    load_nibbles(behind_scales(group, blocks, 4) + b * 256, part, q);
  }
};

template <>
struct Panel<DType::q5_0> {
  static constexpr bool is_signed = false, has_offset = false, halves = false;
  static constexpr int bias = 4;
  static HWY_INLINE void scales(const std::byte* group, std::int64_t blocks, int part, float* HWY_RESTRICT scale, float*) {
    store_halves(group, blocks, part, scale);
  }
  static HWY_INLINE void quants(const std::byte* group, std::int64_t blocks, std::int64_t b, int part, Byte* HWY_RESTRICT q) {
    const std::byte* const at = behind_scales(group, blocks, 2) + b * 320;
    load_nibbles(at, part, q);
    add_single_bits<4>(at + 256, part, q);
  }
};

template <>
struct Panel<DType::q5_1> : Panel<DType::q4_1> {
  static HWY_INLINE void quants(const std::byte* group, std::int64_t blocks, std::int64_t b, int part, Byte* HWY_RESTRICT q) {
    const std::byte* const at = behind_scales(group, blocks, 4) + b * 320;
    load_nibbles(at, part, q);
    add_single_bits<4>(at + 256, part, q);
  }
};

template <>
struct Panel<DType::q2_K> {
  static constexpr bool is_signed = false, has_offset = true, halves = true;
  static constexpr int bias = -1;
  static HWY_INLINE void scales(const std::byte* group, std::int64_t, int part, float* HWY_RESTRICT scale, float* HWY_RESTRICT offset) {
    const Float d = load_halves(group + part * lanes * 2), dmin = hn::Neg(load_halves(group + 32 + part * lanes * 2));
    const hn::Rebind<std::uint8_t, Ints> d8;
    HEDDLE_UNROLL
    for (int s = 0; s < 16; ++s) {
      const auto both = hn::PromoteTo(Ints(), hn::LoadU(d8, reinterpret_cast<const std::uint8_t*>(group + 64 + s * 16 + part * lanes)));
      hn::Store(hn::Mul(d, hn::ConvertTo(Floats(), hn::And(both, hn::Set(Ints(), 15)))), Floats(), scale + s * lanes);
      hn::Store(hn::Mul(dmin, hn::ConvertTo(Floats(), hn::ShiftRight<4>(both))), Floats(), offset + s * lanes);
    }
  }
  static HWY_INLINE void quants(const std::byte* group, std::int64_t, std::int64_t b, int part, Byte* HWY_RESTRICT q) {
    load_pairs<0>(group + 320 + b * 128, part, q);
  }
};

template <>
struct Panel<DType::q3_K> {
  static constexpr bool is_signed = false, has_offset = false, halves = true;
  static constexpr int bias = 2;
  static HWY_INLINE void scales(const std::byte* group, std::int64_t, int part, float* HWY_RESTRICT scale, float*) {
    const hn::RebindToUnsigned<Ints> du;
    const Float d = load_halves(group + part * lanes * 2);
    hn::Vec<decltype(du)> words[3];
    HEDDLE_UNROLL
    for (int v = 0; v < 3; ++v) words[v] = hn::LoadU(du, reinterpret_cast<const std::uint32_t*>(part_of(group + 32, v, part)));
    const auto store = [&]<int j>() HWY_ATTR {  // q3_K_scale in blocks.h
      const auto low = hn::And(hn::ShiftRight<j % 4 * 8 + j / 8 * 4>(words[j % 8 / 4]), hn::Set(du, 15));
      const auto high = hn::And(hn::ShiftRight<j % 4 * 8 + j / 4 * 2>(words[2]), hn::Set(du, 3));
      const auto value = hn::Sub(hn::BitCast(Ints(), hn::Or(low, hn::ShiftLeft<4>(high))), hn::Set(Ints(), 32));
      hn::Store(hn::Mul(d, hn::ConvertTo(Floats(), value)), Floats(), scale + j * lanes);
    };
    const auto store_4 = [&]<int j>() HWY_ATTR {
      store.template operator()<j>(), store.template operator()<j + 1>(), store.template operator()<j + 2>(),
          store.template operator()<j + 3>();
    };
    store_4.template operator()<0>(), store_4.template operator()<4>(), store_4.template operator()<8>(), store_4.template operator()<12>();
  }
  static HWY_INLINE void quants(const std::byte* group, std::int64_t, std::int64_t b, int part, Byte* HWY_RESTRICT q) {
    const std::byte* const at = group + 224 + b * 192;
    load_pairs<0>(at, part, q);
    add_single_bits<2>(at + 128, part, q);
  }
};

template <>
struct Panel<DType::iq4_nl> {
  static constexpr bool is_signed = true, has_offset = false, halves = false;
  static constexpr int bias = byte_bias;
  static HWY_INLINE void scales(const std::byte* group, std::int64_t blocks, int part, float* HWY_RESTRICT scale, float*) {
    store_halves(group, blocks, part, scale);
  }
  static HWY_INLINE void quants(const std::byte* group, std::int64_t blocks, std::int64_t b, int part, Byte* HWY_RESTRICT q) {
    load_codes(behind_scales(group, blocks, 2) + b * 256, part, iq4_values, q);
  }
};

template <>
struct Panel<DType::iq4_xs> {
  static constexpr bool is_signed = true, has_offset = false, halves = false;
  static constexpr int bias = byte_bias;
  static HWY_INLINE void scales(const std::byte* group, std::int64_t, int part, float* HWY_RESTRICT scale, float*) {
    const hn::RebindToUnsigned<Ints> du;
    const hn::Rebind<std::uint16_t, Ints> d16;
    const Float d = load_halves(group + part * lanes * 2);
    const auto high = hn::PromoteTo(du, hn::LoadU(d16, reinterpret_cast<const std::uint16_t*>(group + 32 + part * lanes * 2)));
    const auto low = hn::LoadU(du, reinterpret_cast<const std::uint32_t*>(part_of(group + 64, 0, part)));
    const auto store = [&]<int j>() HWY_ATTR {  // iq4_xs_scale in blocks.h
      const auto bits = hn::Or(hn::And(hn::ShiftRight<4 * j>(low), hn::Set(du, 15)),
                               hn::ShiftLeft<4>(hn::And(hn::ShiftRight<2 * j>(high), hn::Set(du, 3))));
      const auto value = hn::Sub(hn::BitCast(Ints(), bits), hn::Set(Ints(), 32));
      hn::Store(hn::Mul(d, hn::ConvertTo(Floats(), value)), Floats(), scale + j * lanes);
    };
    store.template operator()<0>(), store.template operator()<1>(), store.template operator()<2>(), store.template operator()<3>();
    store.template operator()<4>(), store.template operator()<5>(), store.template operator()<6>(), store.template operator()<7>();
  }
  static HWY_INLINE void quants(const std::byte* group, std::int64_t, std::int64_t b, int part, Byte* HWY_RESTRICT q) {
    load_codes(group + 128 + b * 256, part, iq4_values, q);
  }
};

template <>
struct Panel<DType::mxfp4> {
  static constexpr bool is_signed = true, has_offset = false, halves = false;
  static constexpr int bias = byte_bias;
  static HWY_INLINE void scales(const std::byte* group, std::int64_t blocks, int part, float* HWY_RESTRICT scale, float*) {
    const hn::RebindToUnsigned<Ints> du;
    const hn::Rebind<std::uint8_t, Ints> d8;
    for (std::int64_t b = 0; b < blocks; ++b) {  // e8m0_half in blocks.h
      const auto e = hn::PromoteTo(du, hn::LoadU(d8, reinterpret_cast<const std::uint8_t*>(group + b * 16 + part * lanes)));
      const auto normal = hn::ShiftLeft<23>(hn::Sub(e, hn::Set(du, 1)));
      const auto tiny = hn::ShiftLeft<21>(hn::Add(e, hn::Set(du, 1)));  // of 0 and 1
      const auto bits = hn::IfThenElse(hn::Gt(e, hn::Set(du, 1)), normal, tiny);
      hn::Store(hn::BitCast(Floats(), bits), Floats(), scale + b * lanes);
    }
  }
  static HWY_INLINE void quants(const std::byte* group, std::int64_t blocks, std::int64_t b, int part, Byte* HWY_RESTRICT q) {
    load_codes(behind_scales(group, blocks, 1) + b * 256, part, fp4_values, q);
  }
};

/// Calls `visit.operator()<dtype>()` for a type that has panels.
template <class Visit>
HWY_INLINE void visit_panel(DType dtype, const Visit& visit) {
  switch (dtype) {
#define HEDDLE_DTYPE(name, elements, bytes, ggml)
#define HEDDLE_WEIGHT_FORMAT(name, elements, bytes, ggml, Block) \
  case DType::name:                                              \
    return visit.template operator()<DType::name>();
#include "ir/base/dtype.def"
    default:
      return;
  }
}
#endif

}  // namespace HWY_NAMESPACE
}  // namespace heddle::runtime::cpu
HWY_AFTER_NAMESPACE();

#endif
