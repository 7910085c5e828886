// Products of a few activation rows with weight matrices, see gemv.h for the structure.
#include "codegen/cuda/kernels/gemv/gemv_kernel.h"

#include <algorithm>
#include <set>

#include "codegen/cuda/device/prelude.h"
#include "codegen/spec_text.h"
#include "ir/base/scalar_ops.h"

namespace heddle::codegen::cuda {
namespace {

constexpr std::string_view helpers = R"(
INLINE void four_of_buffer(float* to, const char* from, int i) {
  const float4 v = __ldcg((const float4*)((const float*)from + i));
  to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
}
INLINE void four_of_weight(float* to, const char* from, int i) {
  const float4 v = __ldg((const float4*)((const float*)from + i));
  to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
}
// four lanes hold 16 neighbouring columns, four each: q8_16; returns (d, d * sum)
INLINE float2 quantize_4(const float* x, int& packed) {
  u32 bits = 0;  // as integers, so that NaN is the largest
#pragma unroll
  for (int i = 0; i < 4; ++i) bits = max(bits, __float_as_uint(x[i]) & 0x7fffffff);
  bits = max(bits, __shfl_xor_sync(~0u, bits, 1));
  bits = max(bits, __shfl_xor_sync(~0u, bits, 2));
  const Scale scale = scale_for(bits);
  packed = 0;
#pragma unroll
  for (int i = 0; i < 4; ++i) packed |= (__float2int_rn(x[i] * scale.inverse) & 255) << 8 * i;
  int sum = __dp4a(packed, 0x01010101, 0);
  sum += __shfl_xor_sync(~0u, sum, 1);
  sum += __shfl_xor_sync(~0u, sum, 2);
  return make_float2(scale.d, scale.d * (float)sum);
}
// of row m: partial sums of the warps that prepared it
template <int ROWS, int WARPS> INLINE float sum_of_partials(const float* partials, int m) {
  if (ROWS == 1) {
    const int lane = threadIdx.x % 32;
    return sum_of_warp(lane < WARPS ? partials[lane] : 0);
  }
  float sum = 0;
#pragma unroll
  for (int i = 0; i < WARPS; ++i) sum += partials[m * WARPS + i];
  return sum;
}
// sums over groups of LANES lanes of N rows (a power of two): lane l gets row l % N
template <int LANES, int N> INLINE float sum_of_rows(float (&x)[N]) {
  const int lane = threadIdx.x % 32;
#pragma unroll
  for (int n = N, bit = 1; n > 1; n /= 2, bit *= 2) {
#pragma unroll
    for (int i = 0; i < n / 2; ++i) {
      const bool odd = lane & bit;
      const float kept = odd ? x[2 * i + 1] : x[2 * i], sent = odd ? x[2 * i] : x[2 * i + 1];
      x[i] = kept + __shfl_xor_sync(~0u, sent, bit);
    }
  }
#pragma unroll
  for (int i = N; i < LANES; i *= 2) x[0] += __shfl_xor_sync(~0u, x[0], i);
  return x[0];
}
)";

}  // namespace

CudaText GemvKernel::print() {
  Text out;
  out.put(spec_text(spec_));
  out.put(prelude(target_));
  out.put(format_prelude(plan_.k, plan_.x_piece));
  if (plan_.mma) out.put(tile_prelude(plan_.blocks));
  std::set<std::string> done;
  for (const GemvClass& c : plan_.classes)
    if (plan_.mma && done.insert(c.tile.text).second) out.put(c.tile.text);
  for (const GemvPart& part : plan_.parts)
    for (const Format& format : part.formats)
      if (done.insert(format.name).second) out.put(format.text);
  out.put(program_prelude);
  out.put(helpers);
  const auto programs = programs_of(spec_);
  print_ops(out, programs);
  print_rope_tables(out, programs);
  print_kernel(out);
  return {plan_.launch, spec_.name, out.str()};
}

CudaText print_gemv(const plan::KernelSpec& spec, const GemvPlan& plan, const ir::Target& target) {
  return GemvKernel(spec, plan, target).print();
}

}  // namespace heddle::codegen::cuda
