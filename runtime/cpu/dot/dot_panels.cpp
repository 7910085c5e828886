// Integer dot products of weights in panels with q8_1 activations: lanes are weight rows, and four activation bytes are broadcast to all of
// them. Sums of 32 (or 16) products are exact integers; the float operations on them come in the same order whatever the number of
// activation rows, so a result depends on nothing but its two rows.
#include <algorithm>
#include <vector>

#include "runtime/cpu/dot/dot.h"
#include "runtime/cpu/simd.h"
#include "runtime/cpu/dot/amx_tiles.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/dot/dot_panels.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "runtime/cpu/dot/panels-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::runtime::cpu {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR
void dot_panels(DType weight, const std::byte* w, std::int64_t panels, std::int64_t k, const Q8Group* x, std::int64_t x_stride,
                std::int64_t rows, float* out, std::int64_t out_stride) {
  const DTypeInfo& format = info(weight);
  std::vector<std::byte> blocks(std::size_t(bytes_of(weight, k)));
  std::vector<float> values(static_cast<std::size_t>(k));
  for (std::int64_t c = 0; c < panels * plan::panel_rows; ++c) {
    plan::row_from_panels(weight, w, c, k, blocks.data());
    format.dequantize(blocks.data(), values.data(), k / format.elements);
    for (std::int64_t r = 0; r < rows; ++r) {
      float sum = 0;
      for (std::int64_t i = 0; i < k; ++i) {
        const Q8Group& a = x[i / 256 * x_stride + r];
        sum += values[std::size_t(i)] * (a.d[i % 256 / 32] * float(a.q[i % 256]));
      }
      out[r * out_stride + c] = sum;
    }
  }
}
#else

HWY_INLINE hn::Vec<SignedBytes> word_of(const std::int8_t* at) {
  std::int32_t word;
  std::memcpy(&word, at, sizeof(word));
  return hn::BitCast(SignedBytes(), hn::Set(Ints(), word));
}

/// Minus 2^bias times a sum of activations: where the products' sum begins.
template <class Format>
HWY_INLINE Int begin_sum(std::int32_t negative_sum) {
  if constexpr (Format::bias < 0) return hn::Zero(Ints());
  else return hn::ShiftLeft<Format::bias>(hn::Set(Ints(), negative_sum));
}

template <class Format>
HWY_INLINE Int add_word(Int sum, Byte w, hn::Vec<SignedBytes> x) {
  if constexpr (Format::is_signed && Format::bias < 0) {
    const auto signed_w = hn::BitCast(SignedBytes(), w);
    return add_products(sum, hn::BitCast(Bytes(), hn::Abs(signed_w)), hn::IfNegativeThenElse(signed_w, hn::Neg(x), x));
  } else {
    return add_products(sum, w, x);
  }
}

/// Adds the offsets of the first and of the last 16 of 32 columns, each times its activations' sum.
HWY_INLINE Float add_offsets(Float value, const Q8Group& a, std::int64_t b, const float* HWY_RESTRICT offset) {
  const auto sum = [&](std::int64_t half) HWY_ATTR { return hn::ConvertTo(Floats(), hn::Set(Ints(), a.n16[2 * b + half])); };
  value = hn::NegMulAdd(sum(0), hn::Load(Floats(), offset), value);  // sums are stored negative
  return hn::NegMulAdd(sum(1), hn::Load(Floats(), offset + lanes), value);
}

/// `panels` panels that lie `apart` bytes from each other with `rows` activation rows; their sums go `out_apart` floats from each other.
template <DType dtype, int rows, int panels = 1>
HWY_INLINE void dot_panel(const std::byte* HWY_RESTRICT w, std::int64_t apart, std::int64_t k, const Q8Group* HWY_RESTRICT x,
                          std::int64_t x_stride, float* HWY_RESTRICT out, std::int64_t out_apart, std::int64_t out_stride) {
  using Format = Panel<dtype>;
  const Floats df;
  const std::int64_t whole_group = plan::panel_group_bytes(dtype, 256);
  for (int part = 0; part < parts; ++part) {
    Float sums[panels][rows];
    HEDDLE_UNROLL
    for (int p = 0; p < panels; ++p) HEDDLE_UNROLL
    for (int r = 0; r < rows; ++r) sums[p][r] = hn::Zero(df);
    const std::byte* group = w;
    const Q8Group* activations = x;
    for (std::int64_t done = 0; done < k; done += 256, group += whole_group, activations += x_stride) {
      const std::int64_t blocks = std::min(k - done, std::int64_t(256)) / 32;
      alignas(64) float scales[panels][16 * lanes], offsets[panels][16 * lanes];
      HEDDLE_UNROLL
      for (int p = 0; p < panels; ++p) Format::scales(group + p * apart, blocks, part, scales[p], offsets[p]);
      for (std::int64_t b = 0; b < blocks; ++b) HEDDLE_UNROLL
      for (int p = 0; p < panels; ++p) {
        const float* const scale = scales[p];
        const float* const offset = offsets[p];
        if constexpr (rows == 1)
          if (part == 0) prefetch_piece(group + p * apart, whole_group, b);
        Byte q[8];
        Format::quants(group + p * apart, blocks, b, part, q);
        HEDDLE_UNROLL
        for (int r = 0; r < rows; ++r) {
          const Q8Group& a = activations[r];
          const std::int8_t* const at = a.q + b * 32;
          Float value;
          if constexpr (Format::halves) {
            Int first = begin_sum<Format>(a.n16[2 * b]), second = begin_sum<Format>(a.n16[2 * b + 1]);
            HEDDLE_UNROLL
            for (int i = 0; i < 4; ++i) {
              first = add_word<Format>(first, q[i], word_of(at + 4 * i));
              second = add_word<Format>(second, q[4 + i], word_of(at + 16 + 4 * i));
            }
            value = hn::Mul(hn::ConvertTo(df, first), hn::Load(df, scale + 2 * b * lanes));
            value = hn::MulAdd(hn::ConvertTo(df, second), hn::Load(df, scale + (2 * b + 1) * lanes), value);
            if constexpr (Format::has_offset) value = add_offsets(value, a, b, offset + 2 * b * lanes);
          } else {
            Int sum = begin_sum<Format>(a.n32[b]);
            HEDDLE_UNROLL
            for (int i = 0; i < 8; ++i) sum = add_word<Format>(sum, q[i], word_of(at + 4 * i));
            value = hn::Mul(hn::ConvertTo(df, sum), hn::Load(df, scale + b * lanes));
          }
          sums[p][r] = hn::MulAdd(value, hn::Set(df, a.d[b]), sums[p][r]);
          if constexpr (Format::has_offset && !Format::halves)
            sums[p][r] = hn::MulAdd(hn::Load(df, offset + b * lanes), hn::Set(df, a.s[b]), sums[p][r]);
        }
      }
    }
    HEDDLE_UNROLL
    for (int p = 0; p < panels; ++p) HEDDLE_UNROLL
    for (int r = 0; r < rows; ++r) hn::StoreU(sums[p][r], df, out + p * out_apart + r * out_stride + part * lanes);
  }
}

#if HWY_TARGET == HWY_AVX3_DL
/// One panel with `rows` activation rows, 16 at a time in the processor's matrix unit: the integers are the same, and so is the order of
/// the float operations on them.
template <DType dtype>
void dot_panel_tiles(const std::byte* HWY_RESTRICT w, std::int64_t k, const Q8Group* HWY_RESTRICT x, std::int64_t x_stride,
                     std::int64_t rows, float* HWY_RESTRICT out, std::int64_t out_stride) {
  using Format = Panel<dtype>;
  constexpr int sums_per_group = Format::halves ? 16 : 8;
  const Floats df;
  const std::int64_t whole_group = plan::panel_group_bytes(dtype, 256);
  alignas(64) std::uint8_t quants[64 * 64];
  alignas(64) float scale[16 * lanes] = {}, offset[16 * lanes] = {};
  alignas(64) std::int32_t products[sums_per_group][16 * lanes] = {};
  for (std::int64_t done = 0; done < k; done += 256, w += whole_group, x += x_stride) {
    const std::int64_t blocks = std::min(k - done, std::int64_t(256)) / 32;
    if (blocks < 8) std::fill_n(scale, 16 * lanes, 0.0f), std::fill_n(offset, 16 * lanes, 0.0f);  // for what the group does not have
    Format::scales(w, blocks, 0, scale, offset);
    for (std::int64_t b = 0; b < blocks; ++b) {
      Byte q[8];
      Format::quants(w, blocks, b, 0, q);
      HEDDLE_UNROLL
      for (int i = 0; i < 8; ++i) {
        if constexpr (Format::bias >= 0) q[i] = hn::Sub(q[i], hn::Set(Bytes(), std::uint8_t(1 << Format::bias)));
        hn::Store(q[i], Bytes(), quants + (b * 8 + i) * 64);
      }
    }
    Float scales[sums_per_group], offsets[8];
    HEDDLE_UNROLL
    for (int i = 0; i < sums_per_group; ++i) scales[i] = hn::Load(df, scale + i * lanes);
    HEDDLE_UNROLL
    for (int i = 0; i < 8; ++i) offsets[i] = hn::Load(df, offset + i * lanes);
    const auto finish_row = [&](std::int64_t row) HWY_ATTR {
      const Q8Group& a = x[row];
      float* const to = out + row * out_stride;
      Float sum = done == 0 ? hn::Zero(df) : hn::LoadU(df, to);
      HEDDLE_UNROLL
      for (int b = 0; b < 8; ++b) {
        const auto product = [&](int i) HWY_ATTR { return hn::ConvertTo(df, hn::Load(Ints(), products[i] + row % 16 * lanes)); };
        Float value;
        if constexpr (Format::halves) {
          value = hn::Mul(product(2 * b), scales[2 * b]);
          value = hn::MulAdd(product(2 * b + 1), scales[2 * b + 1], value);
          if constexpr (Format::has_offset) value = add_offsets(value, a, b, offset + 2 * b * lanes);
        } else {
          value = hn::Mul(product(b), scales[b]);
        }
        sum = hn::MulAdd(value, hn::Set(df, a.d[b]), sum);
        if constexpr (Format::has_offset && !Format::halves) sum = hn::MulAdd(offsets[b], hn::Set(df, a.s[b]), sum);
      }
      hn::StoreU(sum, df, to);
    };
    for (std::int64_t first = 0; first < rows; first += 16) {
      const std::int8_t* const a = x[first].q;
      for (std::int64_t b = 0; b < blocks; ++b) {
        if constexpr (Format::halves) {
          tiles::multiply<0>(a + b * 32, sizeof(Q8Group), quants + b * 512, products[2 * b]);
          tiles::multiply<1>(a + b * 32 + 16, sizeof(Q8Group), quants + b * 512 + 256, products[2 * b + 1]);
        } else if (b % 2 == 0) {
          tiles::multiply<0>(a + b * 32, sizeof(Q8Group), quants + b * 512, products[b]);
        } else {
          tiles::multiply<1>(a + b * 32, sizeof(Q8Group), quants + b * 512, products[b]);
        }
      }
      const std::int64_t end = std::min(first + 16, rows);
      for (std::int64_t row = first; row < end; ++row) finish_row(row);
    }
  }
}
#endif

void dot_panels(DType weight, const std::byte* w, std::int64_t panels, std::int64_t k, const Q8Group* x, std::int64_t x_stride,
                std::int64_t rows, float* out, std::int64_t out_stride) {
  visit_panel(weight, [&]<DType dtype>() HWY_ATTR {
    const std::int64_t bytes = plan::panel_bytes(weight, k);
#if HWY_TARGET == HWY_AVX3_DL
    if (rows >= tiles::least_rows && tiles::usable()) {
      const tiles::Session session(Panel<dtype>::halves ? 4 : 8);
      for (std::int64_t p = 0; p < panels; ++p)
        dot_panel_tiles<dtype>(w + p * bytes, k, x, x_stride, rows, out + p * plan::panel_rows, out_stride);
      return;
    }
#endif
    if (rows == 1) {  // each panel is read once: side by side from a few places
      const std::int64_t each = panels / streams, apart = each * bytes;
      for (std::int64_t p = 0; p < each; ++p)
        dot_panel<dtype, 1, streams>(w + p * bytes, apart, k, x, x_stride, out + p * plan::panel_rows, each * plan::panel_rows, out_stride);
      for (std::int64_t p = each * streams; p < panels; ++p)
        dot_panel<dtype, 1>(w + p * bytes, 0, k, x, x_stride, out + p * plan::panel_rows, 0, out_stride);
      return;
    }
    for (std::int64_t p = 0; p < panels; ++p) {  // a panel stays in a cache while all activations pass by
      std::int64_t r = 0;
      const auto block = [&]<int size>() HWY_ATTR {
        for (; r + size <= rows; r += size)
          dot_panel<dtype, size>(w + p * bytes, 0, k, x + r, x_stride, out + r * out_stride + p * plan::panel_rows, 0, out_stride);
      };
      if constexpr (HWY_TARGET == HWY_AVX3_DL || HWY_TARGET == HWY_AVX3) block.template operator()<8>();
      block.template operator()<4>();
      block.template operator()<1>();
    }
  });
}
#endif

void unpack_q8_1(const std::byte* row, std::int64_t k, Q8Group* out, std::int64_t stride) {
  for (std::int64_t done = 0; done < k; done += 256, out += stride) {
    for (std::int64_t b = 0; b < 8; ++b) {
      if (done + b * 32 >= k) {
        std::memset(out->q + b * 32, 0, 32);
        out->d[b] = out->s[b] = 0;
        out->n32[b] = out->n16[2 * b] = out->n16[2 * b + 1] = 0;
        continue;
      }
      const auto* block = reinterpret_cast<const BlockQ8_1*>(row) + done / 32 + b;
      const float scale = to_float(block->d);
      std::memcpy(out->q + b * 32, block->qs, 32);
      int sums[2] = {};
      for (std::int64_t i = 0; i < 16; ++i) sums[0] += block->qs[i], sums[1] += block->qs[16 + i];
      out->d[b] = scale;
      out->s[b] = scale * float(sums[0] + sums[1]);
      out->n16[2 * b] = -sums[0], out->n16[2 * b + 1] = -sums[1];
      out->n32[b] = -sums[0] - sums[1];
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace heddle::runtime::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::runtime::cpu {

HWY_EXPORT(dot_panels);
HWY_EXPORT(unpack_q8_1);

void dot_panels(DType weight, const std::byte* w, std::int64_t panels, std::int64_t k, const Q8Group* x, std::int64_t x_stride,
                std::int64_t rows, float* out, std::int64_t out_stride) {
  HWY_DYNAMIC_DISPATCH(dot_panels)(weight, w, panels, k, x, x_stride, rows, out, out_stride);
}

void unpack_q8_1(const std::byte* row, std::int64_t k, Q8Group* out, std::int64_t stride) {
  HWY_DYNAMIC_DISPATCH(unpack_q8_1)(row, k, out, stride);
}

}  // namespace heddle::runtime::cpu
#endif
