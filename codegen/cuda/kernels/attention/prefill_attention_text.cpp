#include "codegen/cuda/kernels/attention/prefill_attention_text.h"

namespace heddle::codegen::cuda {
namespace {

// ---- Copies of a tile of keys and values into a stage. Halves asynchronously; floats on the way through registers. Rows behind the last
// key are zeros: their weight is 0, but a value of NaN would show.

constexpr std::string_view fetch_f16 = R"(
auto fetch = [&](int key, int stage) {
  char* const to = shared + stage * STAGE;
#pragma unroll
  for (int n = 0; n < (KEYS * (HEAD_DIM / 8) + THREADS - 1) / THREADS; ++n) {
    const int i = n * THREADS + threadIdx.x, k = i / (HEAD_DIM / 8), piece = i % (HEAD_DIM / 8);
    if (KEYS * (HEAD_DIM / 8) % THREADS != 0 && k >= KEYS) continue;
    char* const place = to + k * PITCH + piece * 16;
    if (key + k < end) {
      const long long from = ((base + key + k) * HEAD_DIM + piece * 8) * 2;
      copy16(place, a$kv.keys + from), copy16(place + KEYS * PITCH, a$kv.values + from);
    } else {
      *(uint4*)place = *(uint4*)(place + KEYS * PITCH) = make_uint4(0, 0, 0, 0);
    }
  }
  end_group();
};
)";
constexpr std::string_view fetch_f32 = R"(
auto fetch = [&](int key, int stage) {
  char* const to = shared + stage * STAGE;
#pragma unroll 4
  for (int n = 0; n < (KEYS * (HEAD_DIM / 4) + THREADS - 1) / THREADS; ++n) {
    const int i = n * THREADS + threadIdx.x, k = i / (HEAD_DIM / 4), piece = i % (HEAD_DIM / 4);
    if (KEYS * (HEAD_DIM / 4) % THREADS != 0 && k >= KEYS) continue;
    char* const place = to + k * PITCH + piece * 8;
    float4 x = make_float4(0, 0, 0, 0), y = x;
    if (key + k < end) {
      const long long from = (base + key + k) * HEAD_DIM + piece * 4;
      x = __ldcg((const float4*)((const float*)a$kv.keys + from)), y = __ldcg((const float4*)((const float*)a$kv.values + from));
    }
    *(uint2*)place = make_uint2(pack_f16(x.x, x.y), pack_f16(x.z, x.w));
    *(uint2*)(place + KEYS * PITCH) = make_uint2(pack_f16(y.x, y.y), pack_f16(y.z, y.w));
  }
};
)";
/// Of wide heads: a warp copies whole keys, a lane 8 elements.
constexpr std::string_view fetch_wide_f16 = R"(
auto fetch = [&](int key, int stage) {
  char* const to = shared + stage * STAGE + lane * 16;
#pragma unroll
  for (int n = 0; n < KEYS / WARPS; ++n) {
    if (lane >= HEAD_DIM / 8) continue;
    const int k = n * WARPS + warp;
    char* const place = to + k * PITCH;
    if (key + k < end) {
      const long long from = ((base + key + k) * HEAD_DIM + lane * 8) * 2;
      copy16(place, a$kv.keys + from), copy16(place + KEYS * PITCH, a$kv.values + from);
    } else {
      *(uint4*)place = *(uint4*)(place + KEYS * PITCH) = make_uint4(0, 0, 0, 0);
    }
  }
  end_group();
};
)";
constexpr std::string_view fetch_wide_f32 = R"(
auto fetch = [&](int key, int stage) {
  char* const to = shared + stage * STAGE + lane * 16;
#pragma unroll 2
  for (int n = 0; n < KEYS / WARPS; ++n) {
    if (lane >= HEAD_DIM / 8) continue;
    const int k = n * WARPS + warp;
    float4 x[2] = {}, y[2] = {};
    if (key + k < end) {
      const long long from = (base + key + k) * HEAD_DIM + lane * 8;
#pragma unroll
      for (int i = 0; i < 2; ++i)
        x[i] = __ldcg((const float4*)((const float*)a$kv.keys + from) + i),
        y[i] = __ldcg((const float4*)((const float*)a$kv.values + from) + i);
    }
    char* const place = to + k * PITCH;
    *(uint4*)place = make_uint4(pack_f16(x[0].x, x[0].y), pack_f16(x[0].z, x[0].w), pack_f16(x[1].x, x[1].y), pack_f16(x[1].z, x[1].w));
    *(uint4*)(place + KEYS * PITCH) =
        make_uint4(pack_f16(y[0].x, y[0].y), pack_f16(y[0].z, y[0].w), pack_f16(y[1].x, y[1].y), pack_f16(y[1].z, y[1].w));
  }
};
)";

// ---- The pieces of the kernel, in the order of its text. $mine: the first of the warp's 16 rows; $keys: how many of a stage's keys it
// scores, $before: those in front of them; $columns: how many of the head's columns it adds up, $from: those in front of them.

constexpr std::string_view places = R"(
MATRIX_SHARED;
constexpr float LOWEST = -1e30f;
wait();
trigger();
const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
const int first_row = (gridDim.y - 1 - blockIdx.y) * ROWS;  // later rows look at more keys: theirs of all heads begin first
const int head = blockIdx.x, first = head * HEAD_DIM;
)";

/// Two warps have the same rows. Each scores half of a stage's keys and adds up half of the head's columns, of which the middle 16 are
/// both's where the head has an odd number of sixteens.
constexpr std::string_view pairs = R"(
const int pair = warp / 2, half = warp % 2, first_column = half * (HEAD_DIM - COLUMNS);
float2* const met = (float2*)(shared + MET);  // what each thread has for the one of the same rows in the other warp
char* const weights = shared + WEIGHTS + pair * 16 * WEIGHT_PITCH;
)";

constexpr std::string_view rows = R"(

// slots and positions of all rows of the tile; this lane's two rows
int* const slots = (int*)(shared + META);
int* const positions = slots + ROWS;
if (threadIdx.x < ROWS) {
  slots[threadIdx.x] = __ldcg(a$slots + first_row + threadIdx.x);
  positions[threadIdx.x] = __ldcg(a$positions + first_row + threadIdx.x);
}
u32 q[HEAD_DIM / 16][4];
#pragma unroll
for (int i = 0; i < HEAD_DIM / 16; ++i)
#pragma unroll
  for (int j = 0; j < 4; ++j) {
    const float2 x = __ldcg((const float2*)((const float*)a$q + (long long)(first_row + $mine + lane / 4 + j % 2 * 8) * (HEADS * HEAD_DIM) +
                                            first + i * 16 + j / 2 * 8 + lane % 4 * 2));
    q[i][j] = pack_f16(x.x * $scale, x.y * $scale);
  }
__syncthreads();

float best[2] = {LOWEST, LOWEST}, sum[2] = {0, 0}, out[$columns / 2];
#pragma unroll
for (int i = 0; i < $columns / 2; ++i) out[i] = 0;

#pragma unroll 1
for (int last_slot = -1;;) {
  // the next sequence, and the keys that its rows here look at
  int slot = 0x7fffffff, begin = 0x7fffffff, end = 0;
#pragma unroll
  for (int r = lane; r < ROWS; r += 32) slot = slots[r] > last_slot ? min(slot, slots[r]) : slot;
  slot = least_of_warp(slot);
  if (slot == 0x7fffffff) break;
#pragma unroll
  for (int r = lane; r < ROWS; r += 32)
    if (slots[r] == slot) end = max(end, positions[r] + 1), begin = min(begin, $begin);
  begin = least_of_warp(begin), end = -least_of_warp(-end);
  last_slot = slot;
  // of this warp's rows: keys before `all` are in front of all of them, none is in front of any from `none` on
  const int row = $mine + lane % 16;
  const bool here = slots[row] == slot;
  const int all = least_of_warp(here ? positions[row] + 1 : 0), none = -least_of_warp(here ? -positions[row] - 1 : 0);
  $nearest
  const long long base = ((long long)slot * KV_HEADS + head / SHARED) * a$kv.capacity;
  $fetch
  fetch(begin, 0);
#pragma unroll 1
  for (int key = begin, stage = 0; key < end; key += KEYS, stage ^= 1) {
    if (key + KEYS < end) fetch(key + KEYS, stage ^ 1);
    else end_group();
    groups_left<1>();
    __syncthreads();
    if (key < none) {
)";

constexpr std::string_view stage = R"(
    const char* const keys = shared + stage * STAGE;
    const char* const values = keys + KEYS * PITCH;
)";

constexpr std::string_view stage_of_pairs = R"(
    const char* const keys = shared + stage * STAGE + half * OWN_KEYS * PITCH;
    const char* const values = shared + stage * STAGE + KEYS * PITCH + first_column * 2;
)";

constexpr std::string_view scores = R"(
    float scores[$keys / 2];
#pragma unroll
    for (int i = 0; i < $keys / 2; ++i) scores[i] = 0;
#pragma unroll
    for (int d = 0; d < HEAD_DIM / 16; ++d)
#pragma unroll
      for (int k = 0; k < $keys; k += 16) {
        u32 b[4];
        load_matrices(b, keys + (k + lane / 16 * 8 + lane % 8) * PITCH + d * 32 + lane / 8 % 2 * 16);
        multiply_16x8x16(scores + k / 2, q[d], b[0], b[1]);
        multiply_16x8x16(scores + k / 2 + 4, q[d], b[2], b[3]);
      }
    $capped
    if (key + KEYS > all$partly) {
      int my_slot[2], my_position[2];
#pragma unroll
      for (int r = 0; r < 2; ++r) my_slot[r] = slots[$mine + lane / 4 + r * 8], my_position[r] = positions[$mine + lane / 4 + r * 8];
#pragma unroll
      for (int i = 0; i < $keys / 2; ++i) {
        const int r = i / 2 % 2, at = key$before + i / 4 * 8 + lane % 4 * 2 + i % 2;
        if (my_slot[r] != slot || at > my_position[r]$window) scores[i] = LOWEST;
      }
    }
    float top[2] = {best[0], best[1]};
#pragma unroll
    for (int i = 0; i < $keys / 2; ++i) top[i / 2 % 2] = fmaxf(top[i / 2 % 2], scores[i]);
)";

/// The maximum is that of all keys of the stage: both warps' sums of values are scaled alike.
constexpr std::string_view meet = R"(
    met[threadIdx.x] = make_float2(top[0], top[1]);
    team_barrier<64>(pair);
    top[0] = fmaxf(top[0], met[threadIdx.x ^ 32].x), top[1] = fmaxf(top[1], met[threadIdx.x ^ 32].y);
)";

constexpr std::string_view weights = R"(
    float keep[2], origin[2];  // a row without keys so far has weights of 0
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      top[r] = fmaxf(top[r], __shfl_xor_sync(~0u, top[r], 1));
      top[r] = fmaxf(top[r], __shfl_xor_sync(~0u, top[r], 2));
      origin[r] = top[r] > LOWEST ? top[r] : 0;
      keep[r] = power_of_2(best[r] - origin[r]);
      best[r] = top[r];
      sum[r] *= keep[r];
    }
#pragma unroll
    for (int i = 0; i < $columns / 2; ++i) out[i] *= keep[i / 2 % 2];
#pragma unroll
    for (int i = 0; i < $keys / 2; ++i) {
      const int r = i / 2 % 2;
      scores[i] = power_of_2(scores[i] - origin[r]);
      sum[r] += scores[i];
    }
)";

constexpr std::string_view values = R"(
#pragma unroll
    for (int k = 0; k < KEYS; k += 16) {
      const u32 weights[4] = {pack_f16(scores[k / 2], scores[k / 2 + 1]), pack_f16(scores[k / 2 + 2], scores[k / 2 + 3]),
                              pack_f16(scores[k / 2 + 4], scores[k / 2 + 5]), pack_f16(scores[k / 2 + 6], scores[k / 2 + 7])};
#pragma unroll
      for (int d = 0; d < HEAD_DIM; d += 16) {
        u32 b[4];
        load_transposed(b, values + (k + lane / 8 % 2 * 8 + lane % 8) * PITCH + d * 2 + lane / 16 * 16);
        multiply_16x8x16(out + d / 2, weights, b[0], b[1]);
        multiply_16x8x16(out + d / 2 + 4, weights, b[2], b[3]);
      }
    }
)";

/// The weights of all keys of the stage, through shared memory.
constexpr std::string_view values_of_pairs = R"(
#pragma unroll
    for (int i = 0; i < OWN_KEYS / 2; i += 2)
      *(u32*)(weights + (lane / 4 + i / 2 % 2 * 8) * WEIGHT_PITCH + (half * OWN_KEYS + i / 4 * 8 + lane % 4 * 2) * 2) =
          pack_f16(scores[i], scores[i + 1]);
    team_barrier<64>(pair);
#pragma unroll
    for (int k = 0; k < KEYS; k += 16) {
      u32 a[4];
      load_matrices(a, weights + lane % 16 * WEIGHT_PITCH + k * 2 + lane / 16 * 16);
#pragma unroll
      for (int d = 0; d < COLUMNS; d += 16) {
        u32 b[4];
        load_transposed(b, values + (k + lane / 8 % 2 * 8 + lane % 8) * PITCH + d * 2 + lane / 16 * 16);
        multiply_16x8x16(out + d / 2, a, b[0], b[1]);
        multiply_16x8x16(out + d / 2 + 4, a, b[2], b[3]);
      }
    }
)";

constexpr std::string_view end = R"(
    }
    __syncthreads();
  }
  groups_left<0>();
  __syncthreads();
}

float* const results = (float*)shared;  // [ROWS][RESULTS]
)";

/// Each warp has added up the weights of its own keys.
constexpr std::string_view sums_of_pairs = R"(
met[threadIdx.x] = make_float2(sum[0], sum[1]);
team_barrier<64>(pair);
sum[0] += met[threadIdx.x ^ 32].x, sum[1] += met[threadIdx.x ^ 32].y;
)";

constexpr std::string_view results = R"(
#pragma unroll
for (int r = 0; r < 2; ++r) {
  sum[r] += __shfl_xor_sync(~0u, sum[r], 1);
  sum[r] += __shfl_xor_sync(~0u, sum[r], 2);
  sum[r] = sum[r] > 0 ? 1 / sum[r] : 0;
}
#pragma unroll
for (int i = 0; i < $columns / 2; ++i)
  results[($mine + lane / 4 + i / 2 % 2 * 8) * RESULTS$from + i / 4 * 8 + lane % 4 * 2 + i % 2] = out[i] * sum[i / 2 % 2];
__syncthreads();
)";

std::string joined(std::initializer_list<std::string_view> pieces) {
  std::string out;
  for (const std::string_view piece : pieces) out += piece.substr(1);
  return out;
}

}  // namespace

std::string flash_text(FlashForm form, DType cache, std::string_view kv, const Words& words) {
  const bool halves = cache == DType::f16, pair = form == FlashForm::pairs;
  const std::string_view fetch = pair ? halves ? fetch_wide_f16 : fetch_wide_f32 : halves ? fetch_f16 : fetch_f32;
  Words all = words;
  all.emplace_back("kv", kv);
  all.emplace_back("fetch", filled(fetch, {{"kv", std::string(kv)}}));
  all.emplace_back("mine", pair ? "pair * 16" : "warp * 16");
  all.emplace_back("keys", pair ? "OWN_KEYS" : "KEYS");
  all.emplace_back("before", pair ? " + half * OWN_KEYS" : "");
  all.emplace_back("columns", pair ? "COLUMNS" : "HEAD_DIM");
  all.emplace_back("from", pair ? " + first_column" : "");
  if (pair)
    return filled(joined({places, pairs, rows, stage_of_pairs, scores, meet, weights, values_of_pairs, end, sums_of_pairs, results}), all);
  return filled(joined({places, rows, stage, scores, weights, values, end, results}), all);
}

}  // namespace heddle::codegen::cuda
