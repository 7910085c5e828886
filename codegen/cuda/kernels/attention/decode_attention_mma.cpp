#include "codegen/cuda/kernels/attention/decode_attention_mma.h"

namespace heddle::codegen::cuda {

// A warp takes 16 positions at a time. Rows 0..7 of a tile are the query heads that share the keys, rows 8..15 what their rounding to f16
// left over, so that the products are as good as in float32 at no cost: the rows would be empty. The same with the weights of the values.
//
// In an mma lane 4g + j holds, of the right-hand side, column g at rows 2j, 2j + 1, 2j + 8, 2j + 9. Which element of a head stands in which
// row is free as long as the queries agree: so that a lane reads 16 bytes at once, its eight elements of a key are u * 32 + j * 8 + 0..7 of
// key g, two mma's rows. Of the values a lane reads elements v * 64 + g * 8 + 0..7 of its four keys; element e is column g of the e-th
// tile.
//
// The warp's ring in shared memory is filled by its lanes, eight of them 128 neighbouring bytes of a value: a sector of 32 bytes whose
// halves were copied to places apart would be asked for twice. A value's pieces are turned round by its place, so that reads do not meet in
// a bank. Positions that no row of this step writes are copied before the wait. Of selected rows neither is known by then: their slots and
// positions are written in this step, and so may be the cache before them.
const std::string_view mma_body = R"(
constexpr int KEYS16 = 16, U = HEAD_DIM / 32, V = HEAD_DIM / 64, STAGE = 2 * KEYS16 * HEAD_DIM * 2;
const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, g = lane / 4, j = lane % 4;
const int split = blockIdx.x, group = blockIdx.y, row = blockIdx.z;
$first
const int slot = __ldcg(a$slots + row), position = __ldcg(a$positions + row);  // no other kernel of this step writes them
int old = position;  // positions before it were there before this step, or before the wait
if (ROWS > 1) {
  for (int r = lane; r < ROWS; r += 32) {
    const int of = __ldcg(a$slots + r), at = __ldcg(a$positions + r);
    if (of == slot) old = min(old, at);
  }
  for (int i = 16; i > 0; i /= 2) old = min(old, __shfl_xor_sync(~0u, old, i));
}
// the positions of this block
const int begin_all = $begin, length = slot < 0 ? 0 : position + 1 - begin_all;
const int wanted = max((length + SPLITS - 1) / SPLITS, min((length + 15) / 16, 4 * ROUND));
const int share = length <= ALONE ? ALONE : (wanted + ROUND - 1) / ROUND * ROUND;
const int splits = max(1, (length + share - 1) / share);
if (split >= splits) {
  $later
  return;
}
const int begin = begin_all + split * share, end = min(begin + share, begin_all + length);
const long long base = ((long long)max(slot, 0) * KV_HEADS + group * HEADS / SHARED) * a$kv.capacity * (HEAD_DIM * 2);
const char* const keys = a$kv.keys + base + j * 16;
const char* const values = a$kv.values + base + lane % 8 * 16;
char* const ring = shared + RING + warp * (STAGES * STAGE);
const int mine = lane * 16, copied = (lane / 8 * 8 + (lane % 8 ^ 2 * (lane / 8))) * 16, read = (j * 8 + (g ^ 2 * j)) * 16;

int next = begin + warp * KEYS16, next_slot = 0;
auto fetch = [&]() {
  if (next < end) {
    char* const to = ring + next_slot * STAGE;
#pragma unroll
    for (int t = 0; t < 2; ++t)
#pragma unroll
      for (int u = 0; u < U; ++u) copy16(to + (t * U + u) * 512 + mine, keys + (long long)min(next + t * 8 + g, end - 1) * (HEAD_DIM * 2) + u * 64);
#pragma unroll
    for (int r = 0; r < 4; ++r)
#pragma unroll
      for (int v = 0; v < V; ++v)
        copy16(to + (2 * U + r * V + v) * 512 + copied, values + (long long)min(next + 2 * (lane / 8) + r % 2 + r / 2 * 8, end - 1) * (HEAD_DIM * 2) + v * 128);
    next += ROUND;
    if (++next_slot == STAGES) next_slot = 0;
  }
  end_group();
};
int filled = 0;
for (; filled < STAGES && (next >= end || min(next + KEYS16, end) <= old); ++filled) fetch();
$later
trigger();
for (; filled < STAGES; ++filled) fetch();

u32 q[U][2][4];
#pragma unroll
for (int u = 0; u < U; ++u) {
  float x[8] = {};
  if (g < HEADS) {
    const float* const from = (const float*)a$q + (row * GROUPS + group) * (HEADS * HEAD_DIM) + g * HEAD_DIM + u * 32 + j * 8;
    const float4 first = __ldcg((const float4*)from), last = __ldcg((const float4*)(from + 4));
    x[0] = first.x * $scale, x[1] = first.y * $scale, x[2] = first.z * $scale, x[3] = first.w * $scale;
    x[4] = last.x * $scale, x[5] = last.y * $scale, x[6] = last.z * $scale, x[7] = last.w * $scale;
  }
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const u32 high = pack_f16(x[2 * i], x[2 * i + 1]);
    q[u][i / 2][i % 2 * 2] = high;
    q[u][i / 2][i % 2 * 2 + 1] = pack_f16(x[2 * i] - low_f16(high), x[2 * i + 1] - high_f16(high));
  }
}

float best = LOWEST, sum = 0, out[V][8][4] = {};  // of head g; sums of this lane's keys
int at = 0;
#pragma unroll 1
for (int first = begin + warp * KEYS16; first < end; first += ROUND) {
  groups_left<STAGES - 1>();
  __syncwarp();
  const char* const from = ring + at * STAGE;
  if (++at == STAGES) at = 0;
  float score[2][2];
#pragma unroll
  for (int t = 0; t < 2; ++t) {
    float c[4] = {};
#pragma unroll
    for (int u = 0; u < U; ++u) {
      const uint4 k = *(const uint4*)(from + (t * U + u) * 512 + mine);
      mma_f16(c, q[u][0], k.x, k.y);
      mma_f16(c, q[u][1], k.z, k.w);
    }
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      const float s = c[i] + c[i + 2];
      score[t][i] = first + t * 8 + 2 * j + i < end ? $score : LOWEST;
    }
  }
  float top = fmaxf(fmaxf(best, fmaxf(score[0][0], score[0][1])), fmaxf(score[1][0], score[1][1]));
  top = fmaxf(top, __shfl_xor_sync(~0u, top, 1));
  top = fmaxf(top, __shfl_xor_sync(~0u, top, 2));
  const float keep = power_of_2(best - top);
  best = top, sum *= keep;
  u32 p[4];
#pragma unroll
  for (int t = 0; t < 2; ++t) {
    float w[2];
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      w[i] = first + t * 8 + 2 * j + i < end ? power_of_2(score[t][i] - top) : 0;
      sum += w[i];
    }
    p[2 * t] = pack_f16(w[0], w[1]);
    p[2 * t + 1] = pack_f16(w[0] - low_f16(p[2 * t]), w[1] - high_f16(p[2 * t]));
  }
#pragma unroll
  for (int v = 0; v < V; ++v) {
    uint4 x[4];
#pragma unroll
    for (int r = 0; r < 4; ++r) x[r] = *(const uint4*)(from + (2 * U + r * V + v) * 512 + read);
#pragma unroll
    for (int e = 0; e < 8; ++e) {
#pragma unroll
      for (int i = 0; i < 4; ++i) out[v][e][i] *= keep;
      const u32 order = e % 2 ? 0x7632 : 0x5410;
      const u32 a = word(x[0], e / 2), b = word(x[1], e / 2), c = word(x[2], e / 2), d = word(x[3], e / 2);
      mma_f16(out[v][e], p, __byte_perm(a, b, order), __byte_perm(c, d, order));
    }
  }
  __syncwarp();
  fetch();
}

sum += __shfl_xor_sync(~0u, sum, 1);
sum += __shfl_xor_sync(~0u, sum, 2);
if (g < HEADS) {
  if (j == 0) warp_best[warp * HEADS + g] = best, warp_sum[warp * HEADS + g] = sum;
  float* const to = warp_out + (warp * HEADS + g) * STRIDE + j * 16;
#pragma unroll
  for (int v = 0; v < V; ++v)
#pragma unroll
    for (int i = 0; i < 16; i += 4)
      *(float4*)(to + v * 64 + i) =
          make_float4(out[v][i % 8][i / 8] + out[v][i % 8][i / 8 + 2], out[v][i % 8 + 1][i / 8] + out[v][i % 8 + 1][i / 8 + 2],
                      out[v][i % 8 + 2][i / 8] + out[v][i % 8 + 2][i / 8 + 2], out[v][i % 8 + 3][i / 8] + out[v][i % 8 + 3][i / 8 + 2]);
}
)";

}  // namespace heddle::codegen::cuda
