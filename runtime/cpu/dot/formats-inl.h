// Weight formats: how 256 elements of a row become bytes with scales. Compiled once per instruction set (see simd.h); without vectors
// (HWY_SCALAR) there are no pieces, and the products use the formats' own dequantisers.
#if defined(HEDDLE_RUNTIME_CPU_FORMATS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef HEDDLE_RUNTIME_CPU_FORMATS_INL_H_
#undef HEDDLE_RUNTIME_CPU_FORMATS_INL_H_
#else
#define HEDDLE_RUNTIME_CPU_FORMATS_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>
#include <cstring>

#include "ir/base/blocks.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::runtime::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Bytes = hn::ScalableTag<std::uint8_t>;
using Floats = hn::ScalableTag<float>;
inline constexpr std::int64_t byte_lanes = HWY_LANES(std::uint8_t);
inline constexpr std::int64_t float_lanes = HWY_LANES(float);

#if HWY_TARGET != HWY_SCALAR

/// 256 elements: element e is scale[e / 16] * quant[e] + offset[e / 16]. Quants are signed bytes where the format says so.
struct Group {
  alignas(64) std::uint8_t quants[256];
  alignas(64) float scale[16];
  alignas(64) float offset[16];
};

HWY_INLINE float half_to_float(const f16* h) {
  const hn::CappedTag<float, 1> d;
  const hn::Rebind<hwy::float16_t, decltype(d)> dh;
  return hn::GetLane(hn::PromoteTo(d, hn::LoadU(dh, reinterpret_cast<const hwy::float16_t*>(h))));
}

/// out[0..15] = values[0], values[0], values[1], values[1], ...
HWY_INLINE void store_twice_each(const float* HWY_RESTRICT values, float* HWY_RESTRICT out) {
  const hn::ScalableTag<std::uint64_t> wide;
  const hn::Rebind<std::uint32_t, decltype(wide)> narrow;
  HEDDLE_UNROLL
  for (std::int64_t i = 0; i < 16; i += float_lanes) {
    const auto v = hn::PromoteTo(wide, hn::LoadU(narrow, reinterpret_cast<const std::uint32_t*>(values) + i / 2));
    hn::StoreU(hn::BitCast(Floats(), hn::Or(v, hn::ShiftLeft<32>(v))), Floats(), out + i);
  }
}

/// out[0..15]: the eight bytes of `packed` times `factor`, each twice.
HWY_INLINE void store_scaled_bytes(std::uint64_t packed, float factor, float* HWY_RESTRICT out) {
  const hn::CappedTag<float, 8> d;
  const hn::Rebind<std::int32_t, decltype(d)> d32;
  const hn::Rebind<std::uint8_t, decltype(d)> d8;
  alignas(32) float values[8];
  constexpr std::int64_t lanes = float_lanes < 8 ? float_lanes : 8;
  alignas(8) std::uint8_t bytes[8];
  std::memcpy(bytes, &packed, 8);
  HEDDLE_UNROLL
  for (std::int64_t i = 0; i < 8; i += lanes)
    hn::Store(hn::Mul(hn::ConvertTo(d, hn::PromoteTo(d32, hn::LoadU(d8, bytes + i))), hn::Set(d, factor)), d, values + i);
  store_twice_each(values, out);
}

/// The f16 scales at the head of `blocks` (at most 8) blocks of `stride` bytes, each twice; zero for missing blocks.
HWY_INLINE void store_block_scales(const std::byte* HWY_RESTRICT in, std::int64_t blocks, std::int64_t stride, float* HWY_RESTRICT out) {
  const auto load = [&](std::int64_t block) -> std::uint64_t {
    std::uint16_t bits = 0;
    if (block < blocks) std::memcpy(&bits, in + block * stride, 2);
    return bits;
  };
  // Joined in registers: eight two-byte stores would stall the load of the vector.
  const std::uint64_t low = load(0) | load(1) << 16 | load(2) << 32 | load(3) << 48,
                      high = load(4) | load(5) << 16 | load(6) << 32 | load(7) << 48;
  const hn::Full64<std::uint64_t> half;
  const hn::Full128<std::uint64_t> both;
  alignas(16) std::uint16_t halves[8];
  hn::Store(hn::BitCast(hn::Full128<std::uint16_t>(), hn::Combine(both, hn::Set(half, high), hn::Set(half, low))),
            hn::Full128<std::uint16_t>(), halves);
  const hn::CappedTag<float, 8> d;
  const hn::Rebind<hwy::float16_t, decltype(d)> dh;
  constexpr std::int64_t lanes = float_lanes < 8 ? float_lanes : 8;
  alignas(32) float values[8];
  HEDDLE_UNROLL
  for (std::int64_t i = 0; i < 8; i += lanes)
    hn::Store(hn::PromoteTo(d, hn::LoadU(dh, reinterpret_cast<const hwy::float16_t*>(halves) + i)), d, values + i);
  store_twice_each(values, out);
}

HWY_INLINE void store_product(const float* HWY_RESTRICT values, float factor, float* HWY_RESTRICT out) {
  HEDDLE_UNROLL
  for (std::int64_t i = 0; i < 16; i += float_lanes)
    hn::Store(hn::Mul(hn::Load(Floats(), values + i), hn::Set(Floats(), factor)), Floats(), out + i);
}

/// The 8 scales and 8 mins of q4_K and q5_K (scale_min in blocks.h), four at a time.
HWY_INLINE void store_scale_min(const std::uint8_t* packed, float d, float dmin, Group& out) {
  std::uint32_t a, b, c;
  std::memcpy(&a, packed, 4), std::memcpy(&b, packed + 4, 4), std::memcpy(&c, packed + 8, 4);
  const std::uint64_t scales = (a & 0x3f3f3f3fu) | std::uint64_t((c & 0x0f0f0f0fu) | ((a >> 2) & 0x30303030u)) << 32;
  const std::uint64_t mins = (b & 0x3f3f3f3fu) | std::uint64_t(((c >> 4) & 0x0f0f0f0fu) | ((b >> 2) & 0x30303030u)) << 32;
  store_scaled_bytes(scales, d, out.scale);
  store_scaled_bytes(mins, -dmin, out.offset);
}

/// What every format below provides:
///   Block, elements   its block and how many elements that holds
///   is_signed         quants are signed bytes and offsets are zero
///   decode(in, blocks, out)   `blocks` blocks at `in`, at most 256 elements; what is missing becomes zero scales and zero quants
struct FormatQ8_0 {
  using Block = BlockQ8_0;
  static constexpr std::int64_t elements = 32;
  static constexpr bool is_signed = true;
  static HWY_INLINE void decode(const std::byte* HWY_RESTRICT in, std::int64_t blocks, Group& out) {
    store_block_scales(in, blocks, sizeof(BlockQ8_0), out.scale);
    const Bytes d;
    if constexpr (byte_lanes == 64) {
      const hn::Half<Bytes> half;
      HEDDLE_UNROLL
      for (std::int64_t b = 0; b < 8; b += 2, in += 2 * sizeof(BlockQ8_0)) {
        const auto low = b < blocks ? hn::LoadU(half, reinterpret_cast<const std::uint8_t*>(in) + 2) : hn::Zero(half);
        const auto high =
            b + 1 < blocks ? hn::LoadU(half, reinterpret_cast<const std::uint8_t*>(in) + sizeof(BlockQ8_0) + 2) : hn::Zero(half);
        hn::Store(hn::Combine(d, high, low), d, out.quants + b * 32);
      }
    } else {
      HEDDLE_UNROLL
      for (std::int64_t b = 0; b < 8; ++b, in += sizeof(BlockQ8_0)) HEDDLE_UNROLL
      for (std::int64_t i = 0; i < 32; i += byte_lanes)
        hn::Store(b < blocks ? hn::LoadU(d, reinterpret_cast<const std::uint8_t*>(in) + 2 + i) : hn::Zero(d), d, out.quants + b * 32 + i);
    }
    HEDDLE_UNROLL
    for (std::int64_t i = 0; i < 16; i += float_lanes) hn::Store(hn::Zero(Floats()), Floats(), out.offset + i);
  }
};

struct FormatQ4_0 {
  using Block = BlockQ4_0;
  static constexpr std::int64_t elements = 32;
  static constexpr bool is_signed = false;
  static HWY_INLINE void decode(const std::byte* HWY_RESTRICT in, std::int64_t blocks, Group& out) {
    store_block_scales(in, blocks, sizeof(BlockQ4_0), out.scale);
    store_product(out.scale, -8, out.offset);
    const hn::FixedTag<std::uint8_t, 16> d;
    const auto load = [&](std::int64_t b) HWY_ATTR {
      return b < blocks ? hn::LoadU(d, reinterpret_cast<const std::uint8_t*>(in + b * std::int64_t(sizeof(BlockQ4_0))) + 2) : hn::Zero(d);
    };
    const auto nibbles = hn::Set(d, 15);
#if HWY_CAP_GE512
    const hn::Half<Bytes> half;
    HEDDLE_UNROLL
    for (std::int64_t b = 0; b < 8; b += 2) {
      const auto v = load(b), w = load(b + 1);
      const auto low = hn::Combine(half, hn::ShiftRight<4>(v), hn::And(v, nibbles));
      const auto high = hn::Combine(half, hn::ShiftRight<4>(w), hn::And(w, nibbles));
      hn::Store(hn::Combine(Bytes(), high, low), Bytes(), out.quants + b * 32);
    }
#else
    HEDDLE_UNROLL
    for (std::int64_t b = 0; b < 8; ++b) {
      const auto v = load(b);
      hn::Store(hn::And(v, nibbles), d, out.quants + b * 32);
      hn::Store(hn::ShiftRight<4>(v), d, out.quants + b * 32 + 16);
    }
#endif
  }
};

struct FormatQ4_K {
  using Block = BlockQ4_K;
  static constexpr std::int64_t elements = 256;
  static constexpr bool is_signed = false;
  static HWY_INLINE void decode(const std::byte* HWY_RESTRICT in, std::int64_t, Group& out) {
    const auto* block = reinterpret_cast<const BlockQ4_K*>(in);
    store_scale_min(block->scales, half_to_float(&block->d), half_to_float(&block->dmin), out);
    const Bytes d;
    const auto nibbles = hn::Set(d, 15);
    if constexpr (byte_lanes == 64) {
      HEDDLE_UNROLL
      for (std::int64_t h = 0; h < 2; ++h) {
        const auto v = hn::LoadU(d, block->qs + h * 64), low = hn::And(v, nibbles), high = hn::ShiftRight<4>(v);
        hn::Store(hn::ConcatLowerLower(d, high, low), d, out.quants + h * 128);
        hn::Store(hn::ConcatUpperUpper(d, high, low), d, out.quants + h * 128 + 64);
      }
    } else {
      HEDDLE_UNROLL
      for (std::int64_t h = 0; h < 4; ++h) HEDDLE_UNROLL
      for (std::int64_t i = 0; i < 32; i += byte_lanes) {
        const auto v = hn::LoadU(d, block->qs + h * 32 + i);
        hn::Store(hn::And(v, nibbles), d, out.quants + h * 64 + i);
        hn::Store(hn::ShiftRight<4>(v), d, out.quants + h * 64 + 32 + i);
      }
    }
  }
};

struct FormatQ5_K {
  using Block = BlockQ5_K;
  static constexpr std::int64_t elements = 256;
  static constexpr bool is_signed = false;
  static HWY_INLINE void decode(const std::byte* HWY_RESTRICT in, std::int64_t, Group& out) {
    const auto* block = reinterpret_cast<const BlockQ5_K*>(in);
    store_scale_min(block->scales, half_to_float(&block->d), half_to_float(&block->dmin), out);
    const Bytes d;
    const auto nibbles = hn::Set(d, 15), sixteen = hn::Set(d, 16);
    if constexpr (byte_lanes == 64) {
      const hn::Half<Bytes> half;
      const auto qh = hn::Combine(d, hn::LoadU(half, block->qh), hn::LoadU(half, block->qh));
      const auto add_bit = [&](auto v, unsigned j) HWY_ATTR {  // bit j for the lower half, j + 1 for the upper
        const auto bit = hn::Combine(d, hn::Set(half, std::uint8_t(2u << j)), hn::Set(half, std::uint8_t(1u << j)));
        return hn::Or(v, hn::IfThenElseZero(hn::TestBit(qh, bit), sixteen));
      };
      for (unsigned h = 0; h < 2; ++h) {
        const auto v = hn::LoadU(d, block->qs + h * 64), low = hn::And(v, nibbles), high = hn::ShiftRight<4>(v);
        hn::Store(add_bit(hn::ConcatLowerLower(d, high, low), h * 4), d, out.quants + h * 128);
        hn::Store(add_bit(hn::ConcatUpperUpper(d, high, low), h * 4 + 2), d, out.quants + h * 128 + 64);
      }
    } else {
      for (unsigned h = 0; h < 4; ++h) HEDDLE_UNROLL
      for (std::int64_t i = 0; i < 32; i += byte_lanes) {
        const auto v = hn::LoadU(d, block->qs + h * 32 + i), qh = hn::LoadU(d, block->qh + i);
        const auto bit = [&](unsigned j)
                             HWY_ATTR { return hn::IfThenElseZero(hn::TestBit(qh, hn::Set(d, std::uint8_t(1u << j))), sixteen); };
        hn::Store(hn::Or(hn::And(v, nibbles), bit(2 * h)), d, out.quants + h * 64 + i);
        hn::Store(hn::Or(hn::ShiftRight<4>(v), bit(2 * h + 1)), d, out.quants + h * 64 + 32 + i);
      }
    }
  }
};

struct FormatQ6_K {
  using Block = BlockQ6_K;
  static constexpr std::int64_t elements = 256;
  static constexpr bool is_signed = false;
  static HWY_INLINE void decode(const std::byte* HWY_RESTRICT in, std::int64_t, Group& out) {
    const auto* block = reinterpret_cast<const BlockQ6_K*>(in);
    const float scale = half_to_float(&block->d);
    const hn::Rebind<std::int32_t, Floats> d32;
    const hn::Rebind<std::int8_t, Floats> d8;
    HEDDLE_UNROLL
    for (std::int64_t i = 0; i < 16; i += float_lanes) {
      const auto s = hn::Mul(hn::ConvertTo(Floats(), hn::PromoteTo(d32, hn::LoadU(d8, block->scales + i))), hn::Set(Floats(), scale));
      hn::Store(s, Floats(), out.scale + i);
      hn::Store(hn::Mul(s, hn::Set(Floats(), -32.0f)), Floats(), out.offset + i);
    }
    const Bytes d;
    const auto nibbles = hn::Set(d, 15), bits = hn::Set(d, 0x30);
    // The high bits of quarter j of a half (32 elements each), moved to bits 4 and 5.
    const auto quarters = [&](auto qh, auto&& use) HWY_ATTR {
      const auto left = [&](auto v) HWY_ATTR { return hn::And(v, bits); };
      use(left(hn::ShiftLeft<4>(qh)), left(hn::ShiftLeft<2>(qh)), left(qh), left(hn::ShiftRight<2>(qh)));
    };
    if constexpr (byte_lanes == 64) {
      quarters(hn::LoadU(d, block->qh), [&](auto q0, auto q1, auto q2, auto q3) HWY_ATTR {  // both halves of the block at once
        const auto low = hn::LoadU(d, block->ql), high = hn::LoadU(d, block->ql + 64);
        hn::Store(hn::Or(hn::And(low, nibbles), hn::ConcatLowerLower(d, q1, q0)), d, out.quants);
        hn::Store(hn::Or(hn::ShiftRight<4>(low), hn::ConcatLowerLower(d, q3, q2)), d, out.quants + 64);
        hn::Store(hn::Or(hn::And(high, nibbles), hn::ConcatUpperUpper(d, q1, q0)), d, out.quants + 128);
        hn::Store(hn::Or(hn::ShiftRight<4>(high), hn::ConcatUpperUpper(d, q3, q2)), d, out.quants + 192);
      });
    } else {
      HEDDLE_UNROLL
      for (std::int64_t h = 0; h < 2; ++h) HEDDLE_UNROLL
      for (std::int64_t i = 0; i < 32; i += byte_lanes)
        quarters(hn::LoadU(d, block->qh + h * 32 + i), [&](auto q0, auto q1, auto q2, auto q3) HWY_ATTR {
          const auto low = hn::LoadU(d, block->ql + h * 64 + i), high = hn::LoadU(d, block->ql + h * 64 + 32 + i);
          std::uint8_t* to = out.quants + h * 128 + i;
          hn::Store(hn::Or(hn::And(low, nibbles), q0), d, to);
          hn::Store(hn::Or(hn::And(high, nibbles), q1), d, to + 32);
          hn::Store(hn::Or(hn::ShiftRight<4>(low), q2), d, to + 64);
          hn::Store(hn::Or(hn::ShiftRight<4>(high), q3), d, to + 96);
        });
    }
  }
};

/// Calls `visit(Format{})` for a quantised weight format that is one of the above; false if there is none.
template <class Visit>
HWY_INLINE bool visit_format(DType dtype, const Visit& visit) {
  switch (dtype) {
    case DType::q8_0:
      visit(FormatQ8_0());
      return true;
    case DType::q4_0:
      visit(FormatQ4_0());
      return true;
    case DType::q4_K:
      visit(FormatQ4_K());
      return true;
    case DType::q5_K:
      visit(FormatQ5_K());
      return true;
    case DType::q6_K:
      visit(FormatQ6_K());
      return true;
    default:
      return false;
  }
}
#endif

}  // namespace HWY_NAMESPACE
}  // namespace heddle::runtime::cpu
HWY_AFTER_NAMESPACE();

#endif
