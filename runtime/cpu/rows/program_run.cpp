// The ops of expression programs on vectors. Every op treats an element the same wherever it stands in a slice, so results do not depend
// on how the columns are cut.
#include <cmath>
#include <cstring>

#include "ir/base/blocks.h"
#include "ir/base/scalar_ops.h"
#include "runtime/cpu/rows/program.h"
#include "runtime/cpu/simd.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/rows/program_run.cpp"
#include <hwy/foreach_target.h>  // before all else of Highway

#include <hwy/contrib/math/math-inl.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace heddle::runtime::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using Floats = hn::ScalableTag<float>;
using Ints = hn::Rebind<std::int32_t, Floats>;
using Float = hn::Vec<Floats>;
inline constexpr std::int64_t lanes = HWY_LANES(float);
static_assert(lanes <= scalar_lanes);

/// A vector as a number: what the expressions of scalar_ops.def are made of.
struct Lanes {
  Float v;
  HWY_INLINE Lanes(Float vector) : v(vector) {}
  HWY_INLINE explicit Lanes(double number) : v(hn::Set(Floats(), float(number))) {}

  friend HWY_INLINE Lanes operator+(Lanes x, Lanes y) { return hn::Add(x.v, y.v); }
  friend HWY_INLINE Lanes operator-(Lanes x, Lanes y) { return hn::Sub(x.v, y.v); }
  friend HWY_INLINE Lanes operator*(Lanes x, Lanes y) { return hn::Mul(x.v, y.v); }
  friend HWY_INLINE Lanes operator/(Lanes x, Lanes y) { return hn::Div(x.v, y.v); }
  friend HWY_INLINE Lanes max(Lanes x, Lanes y) { return hn::Max(x.v, y.v); }
  friend HWY_INLINE Lanes min(Lanes x, Lanes y) { return hn::Min(x.v, y.v); }
  friend HWY_INLINE Lanes sqrt(Lanes x) { return hn::Sqrt(x.v); }
  friend HWY_INLINE Lanes exp(Lanes x) {
    const Floats d;
    const Float e = hn::Exp(d, hn::Min(x.v, hn::Set(d, 104.0f)));  // above, Highway's result is not infinity
    return hn::IfThenElse(hn::Eq(x.v, x.v), e, x.v);               // nor NaN for NaN
  }
  friend HWY_INLINE Lanes tanh(Lanes x) {
    const Floats d;
    const Float limit = hn::Set(d, 20.0f);  // float(tanh(20)) is 1
    const Float t = hn::Tanh(d, hn::Max(hn::Min(x.v, limit), hn::Neg(limit)));
    return hn::IfThenElse(hn::Eq(x.v, x.v), t, x.v);
  }
  friend HWY_INLINE Lanes erf(Lanes x) {  // Highway has none
    alignas(64) float values[lanes];
    hn::Store(x.v, Floats(), values);
    for (float& value : values) value = std::erf(value);
    return hn::Load(Floats(), values);
  }
};

// Not `apply` of scalar_ops.h: a function compiled for no vector unit cannot take in these operators.
#define HEDDLE_SCALAR_OP(name, arity, ...)                                                     \
  struct Scalar_##name {                                                                       \
    template <class F>                                                                         \
    static HWY_INLINE F of([[maybe_unused]] F x, [[maybe_unused]] F y, [[maybe_unused]] F z) { \
      return __VA_ARGS__;                                                                      \
    }                                                                                          \
  };
#include "ir/base/scalar_ops.def"

/// The last `count` < lanes elements of an array, and zeros.
HWY_INLINE Float load_rest(const float* from, std::int64_t count) {
  alignas(64) float values[lanes] = {};
  std::memcpy(values, from, std::size_t(count) * sizeof(float));
  return hn::Load(Floats(), values);
}
HWY_INLINE void store_rest(Float v, std::int64_t count, float* to) {
  alignas(64) float values[lanes];
  hn::Store(v, Floats(), values);
  std::memcpy(to, values, std::size_t(count) * sizeof(float));
}

template <class Op>
HWY_NOINLINE void elementwise(const float* x, bool x_scalar, const float* y, bool y_scalar, const float* z, bool z_scalar,
                              std::int64_t columns, float* out) {
  const Floats d;
  const std::int64_t x_step = x_scalar ? 0 : 1, y_step = y_scalar ? 0 : 1, z_step = z_scalar ? 0 : 1;
  std::int64_t c = 0;
  for (; c + lanes <= columns; c += lanes)
    hn::StoreU(Op::of(Lanes(hn::LoadU(d, x + c * x_step)), Lanes(hn::LoadU(d, y + c * y_step)), Lanes(hn::LoadU(d, z + c * z_step))).v, d,
               out + c);
  if (const std::int64_t rest = columns - c; rest > 0) {
    const Lanes a = load_rest(x + c * x_step, rest), b = load_rest(y + c * y_step, rest), e = load_rest(z + c * z_step, rest);
    store_rest(Op::of(a, b, e).v, rest, out + c);
  }
}

void scalar_op(const Step& step, std::byte* const* at, std::int64_t columns) {
  // Operands that are not there are the first one again: read, and not used.
  const unsigned i[3] = {step.operands[0], step.operands[step.operand_count > 1 ? 1 : 0], step.operands[step.operand_count > 2 ? 2 : 0]};
  const bool scalar[3] = {step.scalar_operand[0], step.scalar_operand[step.operand_count > 1 ? 1 : 0],
                          step.scalar_operand[step.operand_count > 2 ? 2 : 0]};
  const float *x = reinterpret_cast<const float*>(at[i[0]]), *y = reinterpret_cast<const float*>(at[i[1]]),
              *z = reinterpret_cast<const float*>(at[i[2]]);
  float* out = reinterpret_cast<float*>(at[step.result]);
  if (step.scalar) columns = scalar_lanes;
  switch (step.op) {
#define HEDDLE_SCALAR_OP(name, arity, ...)                                              \
  case ScalarOp::name:                                                                  \
    elementwise<Scalar_##name>(x, scalar[0], y, scalar[1], z, scalar[2], columns, out); \
    break;
#include "ir/base/scalar_ops.def"
  }
}

/// 1 / sqrt(mean of squares + eps)
float inverse_rms(const float* x, std::int64_t n, float eps) {
  const Floats d;
  Float sums[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
  std::int64_t i = 0;
  for (; i + 4 * lanes <= n; i += 4 * lanes) {
    HEDDLE_UNROLL
    for (int j = 0; j < 4; ++j) {
      const Float v = hn::LoadU(d, x + i + j * lanes);
      sums[j] = hn::MulAdd(v, v, sums[j]);
    }
  }
  for (; i < n; i += lanes) {
    const Float v = i + lanes <= n ? hn::LoadU(d, x + i) : load_rest(x + i, n - i);
    sums[0] = hn::MulAdd(v, v, sums[0]);
  }
  const float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(sums[0], sums[1]), hn::Add(sums[2], sums[3]))));
  return float(1 / std::sqrt(double(sum) / double(n) + double(eps)));
}

void rms_norm(const Step& step, const float* x, const float* gain, std::int64_t columns, float* out) {
  const Floats d;
  for (std::int64_t begin = 0; begin < columns; begin += step.period, x += step.period, out += step.period) {
    const Float scale = hn::Set(d, inverse_rms(x, step.period, step.eps));
    std::int64_t c = 0;
    for (; c + lanes <= step.period; c += lanes)
      hn::StoreU(hn::Mul(hn::Mul(hn::LoadU(d, x + c), scale), hn::LoadU(d, gain + c)), d, out + c);
    if (const std::int64_t rest = step.period - c; rest > 0)
      store_rest(hn::Mul(hn::Mul(load_rest(x + c, rest), scale), load_rest(gain + c, rest)), rest, out + c);
  }
}

void rope(const Step& step, const float* x, std::int64_t columns, std::int64_t position, float* out) {
  const Floats d;
  const std::int64_t head_dim = step.period, half = step.table->dims() / 2;
  const float *cosine = step.table->row(position), *sine = cosine + half;
  const auto turn_one = [&](std::int64_t a, std::int64_t b, std::int64_t i) {
    const float u = x[a], v = x[b];
    out[a] = u * cosine[i] - v * sine[i];
    out[b] = u * sine[i] + v * cosine[i];
  };
  const auto turn = [&](Float u, Float v, std::int64_t i, Float& first, Float& second) HWY_ATTR {
    const Float c = hn::LoadU(d, cosine + i), s = hn::LoadU(d, sine + i);
    first = hn::Sub(hn::Mul(u, c), hn::Mul(v, s));
    second = hn::MulAdd(u, s, hn::Mul(v, c));
  };
  for (std::int64_t head = 0; head < columns; head += head_dim, x += head_dim, out += head_dim) {
    std::int64_t i = 0;
    for (; i + lanes <= half; i += lanes) {
      Float u, v, first, second;
      if (step.adjacent) {
        hn::LoadInterleaved2(d, x + 2 * i, u, v);
        turn(u, v, i, first, second);
        hn::StoreInterleaved2(first, second, d, out + 2 * i);
      } else {
        turn(hn::LoadU(d, x + i), hn::LoadU(d, x + half + i), i, first, second);
        hn::StoreU(first, d, out + i);
        hn::StoreU(second, d, out + half + i);
      }
    }
    for (; i < half; ++i) step.adjacent ? turn_one(2 * i, 2 * i + 1, i) : turn_one(i, half + i, i);
    if (x != out) std::memcpy(out + 2 * half, x + 2 * half, std::size_t(head_dim - 2 * half) * sizeof(float));
  }
}

/// One block as info(q8_1).quantize makes it, bit for bit.
HWY_INLINE void quantize_q8_1_block(const float* x, BlockQ8_1* out) {
  const Floats d;
  const Ints di;
  const hn::Rebind<std::int8_t, Floats> d8;
  auto largest = hn::Zero(di);
  HEDDLE_UNROLL
  for (std::int64_t i = 0; i < 32; i += lanes)
    largest = hn::Max(largest, hn::And(hn::BitCast(di, hn::LoadU(d, x + i)), hn::Set(di, 0x7fffffff)));
  const std::int32_t bits = hn::GetLane(hn::MaxOfLanes(di, largest));
  // Zero and infinite numbers, NaN, and scales without a finite inverse are rare, and the reference knows what they give.
  if (bits < 0x08000000 || bits >= 0x7f800000) return info(DType::q8_1).quantize(x, reinterpret_cast<std::byte*>(out), 1);
  float magnitude;
  std::memcpy(&magnitude, &bits, sizeof(magnitude));
  const float scale = magnitude / 127, inverse = 1 / scale;
  auto sum = hn::Zero(di);
  HEDDLE_UNROLL
  for (std::int64_t i = 0; i < 32; i += lanes) {
    const auto q = hn::NearestInt(hn::Mul(hn::LoadU(d, x + i), hn::Set(d, inverse)));  // within +-127: |x| is at most 127 scales
    sum = hn::Add(sum, q);
    hn::StoreU(hn::DemoteTo(d8, q), d8, out->qs + i);
  }
  out->d = to_f16(scale);
  out->s = to_f16(scale * float(hn::GetLane(hn::SumOfLanes(di, sum))));
}

void quantize(const Step& step, const float* x, std::int64_t columns, std::byte* out) {
  if (step.format != DType::q8_1) return info(step.format).quantize(x, out, columns / info(step.format).elements);
  for (std::int64_t c = 0; c < columns; c += 32) quantize_q8_1_block(x + c, reinterpret_cast<BlockQ8_1*>(out) + c / 32);
}

void run_steps(std::span<const Step> steps, std::byte* const* at, std::int64_t columns, std::int64_t position) {
  for (const Step& step : steps) {
    const auto* x = reinterpret_cast<const float*>(at[step.operands[0]]);
    auto* out = reinterpret_cast<float*>(at[step.result]);
    switch (step.kind) {
      case Step::scalar_op:
        scalar_op(step, at, columns);
        break;
      case Step::rms_norm:
        rms_norm(step, x, reinterpret_cast<const float*>(at[step.operands[1]]), columns, out);
        break;
      case Step::rms_scale: {
        const Float scale = hn::Set(Floats(), inverse_rms(x, columns, step.eps));
        for (std::int64_t i = 0; i < scalar_lanes; i += lanes) hn::StoreU(scale, Floats(), out + i);
        break;
      }
      case Step::rope:
        rope(step, x, columns, position, out);
        break;
      case Step::quantize:
        quantize(step, x, columns, at[step.result]);
        break;
    }
  }
}

void store_f16(const float* from, std::int64_t count, std::byte* to) {
  const Floats d;
  const hn::Rebind<hwy::float16_t, Floats> half;
  auto* out = reinterpret_cast<f16*>(to);
  std::int64_t i = 0;
  for (; i + lanes <= count; i += lanes)
    hn::StoreU(hn::DemoteTo(half, hn::LoadU(d, from + i)), half, reinterpret_cast<hwy::float16_t*>(out + i));
  for (; i < count; ++i) out[i] = to_f16(from[i]);
}

const char* instruction_set() { return hwy::TargetName(HWY_TARGET); }

}  // namespace HWY_NAMESPACE
}  // namespace heddle::runtime::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::runtime::cpu {

HWY_EXPORT(run_steps);
HWY_EXPORT(store_f16);
HWY_EXPORT(instruction_set);

void run_steps(std::span<const Step> steps, std::byte* const* at, std::int64_t columns, std::int64_t position) {
  HWY_DYNAMIC_DISPATCH(run_steps)(steps, at, columns, position);
}
void store_f16(const float* from, std::int64_t count, std::byte* to) { HWY_DYNAMIC_DISPATCH(store_f16)(from, count, to); }
const char* instruction_set() { return HWY_DYNAMIC_DISPATCH(instruction_set)(); }

}  // namespace heddle::runtime::cpu
#endif
