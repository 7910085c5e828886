// Dot products with float activations: weights of every format become floats in registers.
#include <algorithm>
#include <type_traits>

#include "runtime/cpu/dot/dot.h"
#include "runtime/cpu/prefetch.h"
#include "runtime/cpu/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/dot/dot_f32.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "runtime/cpu/dot/formats-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::runtime::cpu {
namespace HWY_NAMESPACE {

using Float = hn::Vec<Floats>;

/// Running sums of `rows` activation rows, two each: additions do not wait for one another.
template <int rows>
struct Sums {
  Float even[rows], odd[rows];

  HWY_INLINE Sums() {
    HEDDLE_UNROLL
    for (int r = 0; r < rows; ++r) even[r] = odd[r] = hn::Zero(Floats());
  }
  HWY_INLINE void store(float* out, std::int64_t stride) const {
    HEDDLE_UNROLL
    for (int r = 0; r < rows; ++r) out[r * stride] = hn::GetLane(hn::SumOfLanes(Floats(), hn::Add(even[r], odd[r])));
  }
};

/// A plain element type: `load` gives a vector of floats.
struct PlainF32 {
  using Element = float;
  static HWY_INLINE Float load(const float* in) { return hn::LoadU(Floats(), in); }
};
struct PlainF16 {
  using Element = std::uint16_t;
  static HWY_INLINE Float load(const std::uint16_t* in) {
    const hn::Rebind<hwy::float16_t, Floats> half;
    return hn::PromoteTo(Floats(), hn::LoadU(half, reinterpret_cast<const hwy::float16_t*>(in)));
  }
};
struct PlainBF16 {
  using Element = std::uint16_t;
  static HWY_INLINE Float load(const std::uint16_t* in) {
    const hn::Rebind<std::uint16_t, Floats> half;
    const hn::Rebind<std::uint32_t, Floats> wide;
    return hn::BitCast(Floats(), hn::ShiftLeft<16>(hn::PromoteTo(wide, hn::LoadU(half, in))));
  }
};

/// `columns` weight rows that lie `apart` bytes from each other with `rows` activation rows; their sums go `out_apart` floats from each
/// other. The sum of a pair of rows is made the same way whatever `columns` is: in two parts where a few rows leave additions waiting for
/// one another, else in one.
template <class Plain, int columns, int rows>
HWY_INLINE void dot_plain(const std::byte* HWY_RESTRICT weight, std::int64_t apart, std::int64_t k, const float* HWY_RESTRICT x,
                          std::int64_t x_stride, float* out, std::int64_t out_apart, std::int64_t out_stride) {
  using Element = typename Plain::Element;
  constexpr int chains = rows >= 4 ? 1 : 2;
  const auto element = [&](int c, std::int64_t i) { return reinterpret_cast<const Element*>(weight + c * apart) + i; };
  Float sums[chains][columns][rows];
  HEDDLE_UNROLL
  for (int chain = 0; chain < chains; ++chain) HEDDLE_UNROLL
  for (int c = 0; c < columns; ++c) HEDDLE_UNROLL
  for (int r = 0; r < rows; ++r) sums[chain][c][r] = hn::Zero(Floats());
  std::int64_t i = 0;
  for (; i + chains * float_lanes <= k; i += chains * float_lanes) {
    if constexpr (rows == 1) HEDDLE_UNROLL
    for (int c = 0; c < columns; ++c) prefetch_stream(element(c, i), chains * float_lanes * sizeof(Element));
    HEDDLE_UNROLL
    for (int chain = 0; chain < chains; ++chain) {
      const std::int64_t at = i + chain * float_lanes;
      Float w[columns];
      HEDDLE_UNROLL
      for (int c = 0; c < columns; ++c) w[c] = Plain::load(element(c, at));
      HEDDLE_UNROLL
      for (int r = 0; r < rows; ++r) {
        const Float v = hn::LoadU(Floats(), x + r * x_stride + at);
        HEDDLE_UNROLL
        for (int c = 0; c < columns; ++c) sums[chain][c][r] = hn::MulAdd(w[c], v, sums[chain][c][r]);
      }
    }
  }
  for (; i < k; i += float_lanes) {  // at most two vectors, the last one padded with zeros
    const std::int64_t count = std::min(k - i, float_lanes);
    HEDDLE_UNROLL
    for (int c = 0; c < columns; ++c) {
      Element padded_w[float_lanes] = {};
      std::memcpy(padded_w, element(c, i), std::size_t(count) * sizeof(Element));
      HEDDLE_UNROLL
      for (int r = 0; r < rows; ++r) {
        float padded_x[float_lanes] = {};
        std::memcpy(padded_x, x + r * x_stride + i, std::size_t(count) * sizeof(float));
        sums[0][c][r] = hn::MulAdd(Plain::load(padded_w), hn::LoadU(Floats(), padded_x), sums[0][c][r]);
      }
    }
  }
  HEDDLE_UNROLL
  for (int c = 0; c < columns; ++c) HEDDLE_UNROLL
  for (int r = 0; r < rows; ++r)
    out[r * out_stride + c * out_apart] =
        hn::GetLane(hn::SumOfLanes(Floats(), chains == 1 ? sums[0][c][r] : hn::Add(sums[0][c][r], sums[chains - 1][c][r])));
}

#if HWY_TARGET != HWY_SCALAR
template <class Format, int rows>
HWY_INLINE void dot_quantised(const std::byte* HWY_RESTRICT w, std::int64_t k, const float* HWY_RESTRICT x, std::int64_t x_stride,
                              float* out, std::int64_t out_stride) {
  constexpr std::int64_t block = Format::elements, block_bytes = sizeof(typename Format::Block);
  const hn::Rebind<std::int32_t, Floats> d32;
  using Quant = std::conditional_t<Format::is_signed, std::int8_t, std::uint8_t>;
  const hn::Rebind<Quant, Floats> d8;
  Sums<rows> sums;
  for (std::int64_t done = 0; done < k; done += 256) {
    Group group;
    const std::int64_t left = std::min(k - done, std::int64_t(256));
    const std::byte* const from = w + done / block * block_bytes;
    if constexpr (rows == 1) prefetch_stream(from, 256 / block * block_bytes);
    Format::decode(from, left / block, group);
    const auto value = [&](std::int64_t i) HWY_ATTR {
      const auto quant = hn::ConvertTo(Floats(), hn::PromoteTo(d32, hn::LoadU(d8, reinterpret_cast<const Quant*>(group.quants) + i)));
      return hn::MulAdd(quant, hn::Set(Floats(), group.scale[i / 16]), hn::Set(Floats(), group.offset[i / 16]));
    };
    for (std::int64_t i = 0; i < left; i += 2 * float_lanes) {  // whole blocks of 32: no rest
      const Float w0 = value(i), w1 = value(i + float_lanes);
      HEDDLE_UNROLL
      for (int r = 0; r < rows; ++r) {
        const float* from = x + r * x_stride + done + i;
        sums.even[r] = hn::MulAdd(w0, hn::LoadU(Floats(), from), sums.even[r]);
        sums.odd[r] = hn::MulAdd(w1, hn::LoadU(Floats(), from + float_lanes), sums.odd[r]);
      }
    }
  }
  sums.store(out, out_stride);
}
#endif

/// Any other block type by its dequantiser, whole blocks of up to 256 elements.
template <int rows>
HWY_INLINE void dot_any(DType dtype, const std::byte* w, std::int64_t k, const float* x, std::int64_t x_stride, float* out,
                        std::int64_t out_stride) {
  const DTypeInfo& format = info(dtype);
  Sums<rows> sums;
  alignas(64) float values[256];
  for (std::int64_t done = 0; done < k; done += 256) {
    const std::int64_t left = std::min(k - done, std::int64_t(256));
    format.dequantize(w + done / format.elements * format.bytes, values, left / format.elements);
    for (std::int64_t i = 0; i < left; i += float_lanes) {  // blocks are whole vectors
      const Float v = hn::Load(Floats(), values + i);
      HEDDLE_UNROLL
      for (int r = 0; r < rows; ++r) sums.even[r] = hn::MulAdd(v, hn::LoadU(Floats(), x + r * x_stride + done + i), sums.even[r]);
    }
  }
  sums.store(out, out_stride);
}

void dot_f32(DType weight, const std::byte* w, std::int64_t columns, std::int64_t k, const float* x, std::int64_t x_stride,
             std::int64_t rows, float* out, std::int64_t out_stride) {
  const std::int64_t row_bytes = bytes_of(weight, k);
  const auto each_row = [&](const auto& dot) HWY_ATTR {  // dot.operator()<rows>(weight row, x, out) for blocks of activation rows
    std::int64_t r = 0;
    const auto block = [&]<int size>() HWY_ATTR {
      for (; r + size <= rows; r += size)
        for (std::int64_t c = 0; c < columns; ++c)
          dot.template operator()<size>(w + c * row_bytes, x + r * x_stride, out + r * out_stride + c);
    };
    block.template operator()<8>();
    block.template operator()<4>();
    block.template operator()<2>();
    block.template operator()<1>();
  };
  const auto plain = [&](auto type) HWY_ATTR {
    std::int64_t r = 0;
    // `together` columns at a time, `gap` columns from each other, in rounds from column `c` on.
    const auto some = [&]<int size, int together>(std::int64_t& c, std::int64_t rounds, std::int64_t gap, std::int64_t next) HWY_ATTR {
      for (; rounds > 0; --rounds, c += next)
        dot_plain<decltype(type), together, size>(w + c * row_bytes, gap * row_bytes, k, x + r * x_stride, x_stride,
                                                  out + r * out_stride + c, gap, out_stride);
    };
    const auto block = [&]<int size>() HWY_ATTR {
      constexpr int together = HWY_TARGET == HWY_AVX3_DL || HWY_TARGET == HWY_AVX3 ? 4 : 2;  // as registers allow
      for (; r + size <= rows; r += size) {
        std::int64_t c = 0;
        if constexpr (size >= 4) {
          some.template operator()<size, together>(c, columns / together, 1, together);
        } else if constexpr (size == 1) {  // side by side from a few places
          some.template operator()<size, streams>(c, columns / streams, columns / streams, 1);
          c *= streams;
        }
        some.template operator()<size, 1>(c, columns - c, 1, 1);
      }
    };
    block.template operator()<4>();
    block.template operator()<2>();
    block.template operator()<1>();
  };
  if (weight == DType::f32) return plain(PlainF32());
  if (weight == DType::f16) return plain(PlainF16());
  if (weight == DType::bf16) return plain(PlainBF16());
#if HWY_TARGET != HWY_SCALAR
  const bool known = visit_format(weight, [&](auto format) HWY_ATTR {
    each_row([&]<int size>(const std::byte* from, const float* at, float* to)
                 HWY_ATTR { dot_quantised<decltype(format), size>(from, k, at, x_stride, to, out_stride); });
  });
  if (known) return;
#endif
  each_row([&]<int size>(const std::byte* from, const float* at, float* to)
               HWY_ATTR { dot_any<size>(weight, from, k, at, x_stride, to, out_stride); });
}

}  // namespace HWY_NAMESPACE
}  // namespace heddle::runtime::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::runtime::cpu {

HWY_EXPORT(dot_f32);

void dot_f32(DType weight, const std::byte* w, std::int64_t columns, std::int64_t k, const float* x, std::int64_t x_stride,
             std::int64_t rows, float* out, std::int64_t out_stride) {
  HWY_DYNAMIC_DISPATCH(dot_f32)(weight, w, columns, k, x, x_stride, rows, out, out_stride);
}

}  // namespace heddle::runtime::cpu
#endif
