// Products of 16-bit weights with floats in the processor's matrix unit (AMX: bf16 with f32 sums). A float is the sum of three bf16
// numbers, an f16 that of two, so nothing is lost before the products. A tile is 16 rows of 64 bytes: activations as 16 rows of 32 columns,
// weights as 16 pairs of columns for 16 weight rows, sums as 16 activation rows by 16 weight rows.
#include <algorithm>

#include "ir/base/check.h"
#include "runtime/cpu/dot/dot.h"
#include "runtime/cpu/prefetch.h"
#include "runtime/cpu/simd.h"
#include "runtime/cpu/dot/amx_tiles.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/dot/dot_tiles.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace heddle::runtime::cpu {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_AVX3_DL
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::FixedTag<float, 16>;
using Float = hn::Vec<Floats>;
using Words = hn::FixedTag<std::uint32_t, 16>;
using Word = hn::Vec<Words>;
using Shorts = hn::FixedTag<std::uint16_t, 32>;

constexpr std::int64_t tile_bytes = 1024, tile_rows = 16, tile_columns = 32;
constexpr int x_parts = 3;
constexpr std::int64_t most_steps = 4;  // tiles along k at a time: two bands of activations then stay in the first cache

/// The first half of the bits of 32 floats, as bf16 rounded to nearest; a and b become what that leaves of them, exactly.
HWY_INLINE hn::Vec<Shorts> take_bf16(Float& a, Float& b) {
  const Words d;
  const Shorts d16;
  const auto take = [&](Float& x) HWY_ATTR {
    const Word rounded = hn::Add(hn::BitCast(d, x), hn::Set(d, 0x8000u));
    const Float high = hn::BitCast(Floats(), hn::And(rounded, hn::Set(d, 0xffff0000u)));
    x = hn::IfThenZeroElse(hn::Eq(x, high), hn::Sub(x, high));  // nothing is left of infinity
    return hn::BitCast(d16, rounded);
  };
  const auto low = take(a), high = take(b);
  return hn::ConcatOdd(d16, high, low);
}

void split_row(const float* x, std::int64_t k, std::int64_t row, std::byte* tiles) {
  auto* out = reinterpret_cast<std::uint16_t*>(tiles + row / tile_rows * std::int64_t(split_bytes(tile_rows, k)) + row % tile_rows * 64);
  constexpr std::int64_t tile = tile_bytes / std::int64_t(sizeof(*out));
  for (std::int64_t i = 0; i < k; i += tile_columns) {
    Float a = hn::LoadU(Floats(), x + i), b = hn::LoadU(Floats(), x + i + 16);
    for (int part = 0; part < x_parts; ++part, out += tile) hn::Store(take_bf16(a, b), Shorts(), out);
  }
}

/// Transposes 16 rows of 16 words, `stride` bytes apart.
HWY_INLINE void transpose(const std::byte* HWY_RESTRICT from, std::int64_t stride, std::byte* HWY_RESTRICT to) {
  HEDDLE_UNROLL
  for (int q = 0; q < 4; ++q) {  // words 4q to 4q + 3: quarter b of vector i is of row 4b + i
    __m512i v[4];
    HEDDLE_UNROLL
    for (int i = 0; i < 4; ++i) {
      const auto quarter = [&](int b)
                               HWY_ATTR { return _mm_load_si128(reinterpret_cast<const __m128i*>(from + (4 * b + i) * stride + 16 * q)); };
      v[i] = _mm512_inserti32x4(_mm512_castsi128_si512(quarter(0)), quarter(1), 1);
      v[i] = _mm512_inserti32x4(_mm512_inserti32x4(v[i], quarter(2), 2), quarter(3), 3);
    }
    const __m512i low_01 = _mm512_unpacklo_epi32(v[0], v[1]), high_01 = _mm512_unpackhi_epi32(v[0], v[1]);
    const __m512i low_23 = _mm512_unpacklo_epi32(v[2], v[3]), high_23 = _mm512_unpackhi_epi32(v[2], v[3]);
    std::byte* const out = to + q * 256;
    _mm512_store_si512(out, _mm512_unpacklo_epi64(low_01, low_23));
    _mm512_store_si512(out + 64, _mm512_unpackhi_epi64(low_01, low_23));
    _mm512_store_si512(out + 128, _mm512_unpacklo_epi64(high_01, high_23));
    _mm512_store_si512(out + 192, _mm512_unpackhi_epi64(high_01, high_23));
  }
}

/// Rows side by side a line more than their length apart: a power of two apart, as weight rows often are, 16 of them do not lie in the
/// first cache together.
HWY_INLINE std::int64_t row_apart(std::int64_t k) { return k * 2 + line_bytes; }

/// 16 rows of weights as tiles, [k / 32, parts]: `parts` bf16 tiles whose sum they are. Rows are read one by one and whole, as memory likes
/// it. `rows`: 16 * parts * row_apart(k) bytes.
template <int parts>
void unpack_rows(const std::byte* from, std::int64_t k, std::byte* rows, std::byte* to) {
  const std::int64_t apart = row_apart(k);
  for (std::int64_t r = 0; r < tile_rows; ++r) {
    const auto* const in = reinterpret_cast<const std::uint16_t*>(from) + r * k;
    const auto out = [&](int part) HWY_ATTR { return reinterpret_cast<std::uint16_t*>(rows + (part * tile_rows + r) * apart); };
    for (std::int64_t i = 0; i < k; i += tile_columns) {
      prefetch_stream(in + i);
      if constexpr (parts == 1) {
        hn::Store(hn::LoadU(Shorts(), in + i), Shorts(), out(0) + i);
      } else {
        const hn::Rebind<hwy::float16_t, Floats> half;
        const auto* const at = reinterpret_cast<const hwy::float16_t*>(in + i);
        Float a = hn::PromoteTo(Floats(), hn::LoadU(half, at)), b = hn::PromoteTo(Floats(), hn::LoadU(half, at + 16));
        for (int part = 0; part < parts; ++part) hn::Store(take_bf16(a, b), Shorts(), out(part) + i);
      }
    }
  }
  for (std::int64_t i = 0; i < k; i += tile_columns) {
    for (int part = 0; part < parts; ++part, to += tile_bytes) {
      for (std::int64_t at = 0; at < tile_bytes; at += line_bytes) __builtin_prefetch(to + 3 * tile_bytes + at, 1, 3);  // to write there
      transpose(rows + part * tile_rows * apart + i * 2, apart, to);
    }
  }
}

/// out += `tall` tiles of activation rows, `x_apart` bytes from each other, times `wide` of weights, over `steps` tiles along k.
template <int parts, int tall, int wide>
void add_block(const std::byte* x, std::int64_t x_apart, const std::byte* w, std::int64_t w_apart, std::int64_t steps, bool first,
               float* out, std::int64_t out_stride) {
  using namespace tiles;
  const auto each_sum = [&](const auto& visit) HWY_ATTR {  // tiles 0 to 3: 2 * row of tiles + column of tiles
    visit.template operator()<0>(out);
    if constexpr (wide > 1) visit.template operator()<1>(out + tile_rows);
    if constexpr (tall > 1) visit.template operator()<2>(out + tile_rows * out_stride);
    if constexpr (tall > 1 && wide > 1) visit.template operator()<3>(out + tile_rows * out_stride + tile_rows);
  };
  const auto load_x = [&](const std::byte* at) HWY_ATTR {
    load<4>(at, 64);
    if constexpr (tall > 1) load<5>(at + x_apart, 64);
  };
  const auto load_w = [&](const std::byte* at) HWY_ATTR {
    load<6>(at, 64);
    if constexpr (wide > 1) load<7>(at + w_apart, 64);
  };
  const auto multiply = [&]() HWY_ATTR {
    multiply_bf16<0, 4, 6>();
    if constexpr (wide > 1) multiply_bf16<1, 4, 7>();
    if constexpr (tall > 1) multiply_bf16<2, 5, 6>();
    if constexpr (tall > 1 && wide > 1) multiply_bf16<3, 5, 7>();
  };
  each_sum([&]<int tile>(float* at) HWY_ATTR {
    if (first) zero<tile>();
    else load<tile>(at, out_stride * std::int64_t(sizeof(float)));
  });
  for (std::int64_t s = 0; s < steps; ++s, x += x_parts * tile_bytes, w += parts * tile_bytes) {
    load_w(w);
    load_x(x + 2 * tile_bytes), multiply();  // the smallest first
    load_x(x + tile_bytes), multiply();
    load_x(x), multiply();
    if constexpr (parts > 1) {  // the last parts of both give nothing that a sum would keep
      load_w(w + tile_bytes), multiply();
      load_x(x + tile_bytes), multiply();
    }
  }
  each_sum([&]<int tile>(float* at) HWY_ATTR { store<tile>(at, out_stride * std::int64_t(sizeof(float))); });
}

template <int parts>
void dot(const std::byte* w, std::int64_t columns, std::int64_t k, const std::byte* x, std::int64_t rows, std::byte* scratch, float* out,
         std::int64_t out_stride) {
  const tiles::Session session(16);
  const std::int64_t all_steps = k / tile_columns, bands = (rows + tile_rows - 1) / tile_rows, panels = columns / tile_rows;
  const std::int64_t x_apart = std::int64_t(split_bytes(tile_rows, k)), w_apart = all_steps * parts * tile_bytes;
  for (std::int64_t p = 0; p < panels; ++p)
    unpack_rows<parts>(w + p * tile_rows * k * 2, k, scratch + panels * w_apart, scratch + p * w_apart);
  for (std::int64_t begin = 0; begin < all_steps; begin += most_steps) {
    const std::int64_t steps = std::min(most_steps, all_steps - begin);
    for (std::int64_t band = 0; band < bands; band += 2) {
      for (std::int64_t p = 0; p < panels; p += 2) {
        const std::byte* const x_at = x + band * x_apart + begin * x_parts * tile_bytes;
        const std::byte* const w_at = scratch + p * w_apart + begin * parts * tile_bytes;
        float* const to = out + band * tile_rows * out_stride + p * tile_rows;
        const auto add = [&]<int tall, int wide>()
                             HWY_ATTR { add_block<parts, tall, wide>(x_at, x_apart, w_at, w_apart, steps, begin == 0, to, out_stride); };
        if (band + 1 < bands) p + 1 < panels ? add.template operator()<2, 2>() : add.template operator()<2, 1>();
        else p + 1 < panels ? add.template operator()<1, 2>() : add.template operator()<1, 1>();
      }
    }
  }
}

void dot_tiles(DType weight, const std::byte* w, std::int64_t columns, std::int64_t k, const std::byte* x, std::int64_t rows,
               std::byte* scratch, float* out, std::int64_t out_stride) {
  if (weight == DType::bf16) dot<1>(w, columns, k, x, rows, scratch, out, out_stride);
  else dot<2>(w, columns, k, x, rows, scratch, out, out_stride);
}

bool has_dot_tiles() { return tiles::usable_bf16(); }

#else

void split_row(const float*, std::int64_t, std::int64_t, std::byte*) { HEDDLE_CHECK(false, "no matrix unit"); }
void dot_tiles(DType, const std::byte*, std::int64_t, std::int64_t, const std::byte*, std::int64_t, std::byte*, float*, std::int64_t) {
  HEDDLE_CHECK(false, "no matrix unit");
}
bool has_dot_tiles() { return false; }

#endif

}  // namespace HWY_NAMESPACE
}  // namespace heddle::runtime::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::runtime::cpu {

HWY_EXPORT(split_row);
HWY_EXPORT(dot_tiles);
HWY_EXPORT(has_dot_tiles);

bool has_dot_tiles(DType weight, std::int64_t columns, std::int64_t k) {
  return (weight == DType::bf16 || weight == DType::f16) && columns % 16 == 0 && k % 32 == 0 && HWY_DYNAMIC_DISPATCH(has_dot_tiles)();
}

std::size_t split_bytes(std::int64_t rows, std::int64_t k) { return std::size_t((rows + 15) / 16 * 16 * k * 6); }

std::size_t dot_tiles_scratch_bytes(DType weight, std::int64_t columns, std::int64_t k) {
  return std::size_t((weight == DType::f16 ? 2 : 1) * (columns * k * 2 + 16 * (k * 2 + line_bytes)));
}

void split_row(const float* x, std::int64_t k, std::int64_t row, std::byte* tiles) { HWY_DYNAMIC_DISPATCH(split_row)(x, k, row, tiles); }

void dot_tiles(DType weight, const std::byte* w, std::int64_t columns, std::int64_t k, const std::byte* x, std::int64_t rows,
               std::byte* scratch, float* out, std::int64_t out_stride) {
  HWY_DYNAMIC_DISPATCH(dot_tiles)(weight, w, columns, k, x, rows, scratch, out, out_stride);
}

}  // namespace heddle::runtime::cpu
#endif
