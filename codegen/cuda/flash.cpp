// Attention of many rows on the matrix units: a block has 64 rows of one query head, each warp 16 of them. Keys and values come in tiles
// through shared memory, as halves; scores, weights and sums stay in registers, with a running maximum for every row. The rows of a tile
// may belong to several sequences: one after the other, with the rows of the others masked.
#include <algorithm>

#include "codegen/cuda/flash.h"
#include "codegen/cuda/matrix_units.h"
#include "codegen/cuda/prelude.h"
#include "codegen/cuda/targets.h"
#include "codegen/cuda/tile_epilogue.h"

namespace heddle::codegen::cuda {
namespace {

constexpr int tile_rows = 64;

/// Copies a tile of keys and values into a stage. Halves asynchronously; floats on the way through registers. Rows behind the last key
/// are zeros: their weight is 0, but a value of NaN would show.
constexpr std::string_view fetch_f16 = R"(
auto fetch = [&](int key, int stage) {
  char* const to = shared + stage * STAGE;
#pragma unroll
  for (int n = 0; n < KEYS * (HEAD_DIM / 8) / 128; ++n) {
    const int i = n * 128 + threadIdx.x, k = i / (HEAD_DIM / 8), piece = i % (HEAD_DIM / 8);
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
  for (int n = 0; n < KEYS * (HEAD_DIM / 4) / 128; ++n) {
    const int i = n * 128 + threadIdx.x, k = i / (HEAD_DIM / 4), piece = i % (HEAD_DIM / 4);
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

constexpr std::string_view body = R"(
MATRIX_SHARED;
constexpr float LOWEST = -1e30f;
wait();
trigger();
const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
const int first_row = (gridDim.x - 1 - blockIdx.x) * ROWS;  // later rows look at more keys: they begin first
const int head = blockIdx.y, first = head * HEAD_DIM;

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
    const float2 x = __ldcg((const float2*)((const float*)a$q + (long long)(first_row + warp * 16 + lane / 4 + j % 2 * 8) * (HEADS * HEAD_DIM) +
                                            first + i * 16 + j / 2 * 8 + lane % 4 * 2));
    q[i][j] = pack_f16(x.x * $scale, x.y * $scale);
  }
__syncthreads();
int my_slot[2], my_position[2];
#pragma unroll
for (int r = 0; r < 2; ++r) my_slot[r] = slots[warp * 16 + lane / 4 + r * 8], my_position[r] = positions[warp * 16 + lane / 4 + r * 8];

float best[2] = {LOWEST, LOWEST}, sum[2] = {0, 0}, out[HEAD_DIM / 2];
#pragma unroll
for (int i = 0; i < HEAD_DIM / 2; ++i) out[i] = 0;

#pragma unroll 1
for (int last_slot = -1;;) {
  // the next sequence, and the keys that its rows here look at
  int slot = 0x7fffffff, begin = 0x7fffffff, end = 0;
  for (int r = 0; r < ROWS; ++r) slot = slots[r] > last_slot ? min(slot, slots[r]) : slot;
  if (slot == 0x7fffffff) break;
  for (int r = 0; r < ROWS; ++r)
    if (slots[r] == slot) end = max(end, positions[r] + 1), begin = min(begin, $begin);
  last_slot = slot;
  const long long base = ((long long)slot * KV_HEADS + head / SHARED) * a$kv.capacity;
  $fetch
  fetch(begin, 0);
#pragma unroll 1
  for (int key = begin, stage = 0; key < end; key += KEYS, stage ^= 1) {
    if (key + KEYS < end) fetch(key + KEYS, stage ^ 1);
    else end_group();
    groups_left<1>();
    __syncthreads();
    const char* const keys = shared + stage * STAGE;
    const char* const values = keys + KEYS * PITCH;
    float scores[KEYS / 2];
#pragma unroll
    for (int i = 0; i < KEYS / 2; ++i) scores[i] = 0;
#pragma unroll
    for (int d = 0; d < HEAD_DIM / 16; ++d)
#pragma unroll
      for (int k = 0; k < KEYS; k += 16) {
        u32 b[4];
        load_matrices(b, keys + (k + lane / 16 * 8 + lane % 8) * PITCH + d * 32 + lane / 8 % 2 * 16);
        multiply_16x8x16(scores + k / 2, q[d], b[0], b[1]);
        multiply_16x8x16(scores + k / 2 + 4, q[d], b[2], b[3]);
      }
    float top[2] = {best[0], best[1]};
#pragma unroll
    for (int i = 0; i < KEYS / 2; ++i) {
      const int r = i / 2 % 2, at = key + i / 4 * 8 + lane % 4 * 2 + i % 2;
      const float s = scores[i];
      scores[i] = my_slot[r] == slot && at <= my_position[r]$window ? $score : LOWEST;
      top[r] = fmaxf(top[r], scores[i]);
    }
    float keep[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      top[r] = fmaxf(top[r], __shfl_xor_sync(~0u, top[r], 1));
      top[r] = fmaxf(top[r], __shfl_xor_sync(~0u, top[r], 2));
      keep[r] = power_of_2(best[r] - top[r]);
      best[r] = top[r];
      sum[r] *= keep[r];
    }
#pragma unroll
    for (int i = 0; i < HEAD_DIM / 2; ++i) out[i] *= keep[i / 2 % 2];
#pragma unroll
    for (int i = 0; i < KEYS / 2; ++i) {
      const int r = i / 2 % 2;
      scores[i] = scores[i] > LOWEST ? power_of_2(scores[i] - top[r]) : 0;
      sum[r] += scores[i];
    }
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
    __syncthreads();
  }
  groups_left<0>();
  __syncthreads();
}

float* const results = (float*)shared;  // [ROWS][RESULTS]
#pragma unroll
for (int r = 0; r < 2; ++r) {
  sum[r] += __shfl_xor_sync(~0u, sum[r], 1);
  sum[r] += __shfl_xor_sync(~0u, sum[r], 2);
  sum[r] = sum[r] > 0 ? 1 / sum[r] : 0;
}
#pragma unroll
for (int i = 0; i < HEAD_DIM / 2; ++i)
  results[(warp * 16 + lane / 4 + i / 2 % 2 * 8) * RESULTS + i / 4 * 8 + lane % 4 * 2 + i % 2] = out[i] * sum[i / 2 % 2];
__syncthreads();
)";

}  // namespace

bool flash_wanted(const plan::KernelSpecT& spec) {
  const plan::AttentionLoopT& loop = *spec.attention;
  return spec.rows % (2 * tile_rows) == 0 && loop.head_dim % 16 == 0 && loop.head_dim <= 128;
}

Emitted emit_flash(const plan::KernelSpecT& spec, const ir::Target& target) {
  const plan::AttentionLoopT& loop = *spec.attention;
  const Program program(*spec.parts.front()->epilogue, spec, spec.parts.front()->n);
  std::int64_t together = 1;
  if (auto refused = check_tile_epilogue(spec, program, "attention", together)) return *refused;
  if (together > loop.head_dim)
    return CannotEmit{"rope", fmt::format("it works on {} columns together, and a head has {}", together, loop.head_dim)};
  const std::string& dtype = spec.args[loop.kv]->dtype;
  if (dtype != "f16" && dtype != "f32") return CannotEmit{"attention", fmt::format("a cache of {} cannot be read", dtype)};

  const std::int64_t head_dim = loop.head_dim, keys = 64, pitch = head_dim * 2 + 16, results = head_dim + 4;
  const std::int64_t stage = 2 * keys * pitch, meta = std::max(2 * stage, tile_rows * results * 4), shared = meta + tile_rows * 8;
  if (shared > limits_of(target).shared_bytes)
    return CannotEmit{"attention", fmt::format("heads of {} elements do not fit into shared memory", head_dim)};

  // Scores in powers of two.
  constexpr double log2e = 1.4426950408889634;
  const bool capped = loop.softcap > 0;
  const std::string kv = std::to_string(loop.kv);
  const plan::KernelSpecT one = of_one_tile(spec, tile_rows, "tile_");
  Text out;
  out.put(header_comment(one));
  out.line("// tiles of {} rows, of which there are as many as the grid says", tile_rows);
  out.put(prelude(target, matrix_prelude(0)));
  out.put(program_prelude);
  const auto programs = programs_of(one);
  print_ops(out, programs);
  print_rope_tables(out, programs);
  print_signature(out, one, 128, 1, false);
  out.line("constexpr int ROWS = {}, HEADS = {}, KV_HEADS = {}, SHARED = {}, HEAD_DIM = {}, KEYS = {};", tile_rows, loop.heads,
           loop.kv_heads, loop.heads / loop.kv_heads, head_dim, keys);
  out.line("constexpr int PITCH = {}, STAGE = {}, RESULTS = {}, META = {};", pitch, stage, results, meta);
  out.put(body, {{"slots", std::to_string(spec.slots_arg)},
                 {"positions", std::to_string(spec.positions_arg)},
                 {"q", std::to_string(loop.q)},
                 {"kv", kv},
                 {"scale", float_literal(capped ? loop.scale / loop.softcap : loop.scale * log2e)},
                 {"score", capped ? fmt::format("tanhf(s) * {}", float_literal(loop.softcap * log2e)) : "s"},
                 {"begin", loop.window > 0 ? fmt::format("max(0, positions[r] + 1 - {})", loop.window) : "0"},
                 {"window", loop.window > 0 ? fmt::format(" && at > my_position[r] - {}", loop.window) : ""},
                 {"fetch", filled(dtype == "f16" ? fetch_f16 : fetch_f32, {{"kv", kv}})}});
  print_tile_epilogue(out, one, program, {tile_rows, 4, int(results), 0, head_dim, program.n(), true});
  out.close();

  CudaText text;
  text.entry = one.name;
  text.text = out.str();
  text.grid = {std::uint32_t(spec.rows / tile_rows), std::uint32_t(loop.heads), 1};
  text.block = {128, 1, 1};
  text.dynamic_shared_bytes = std::uint32_t(shared);
  text.programmatic = target.has("programmatic_launch");
  return text;
}

}  // namespace heddle::codegen::cuda
