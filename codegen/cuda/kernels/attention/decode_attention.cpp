// Attention of a few rows over a cache: one block for each row, key/value head and split of the context. Every warp runs over positions of
// its own with its own running maximum and sums: on tensor cores where the cache is f16 and heads fit their tiles
// (decode_attention_mma.cpp), otherwise on lanes, which share a key by 16 bytes each, with the keys of several positions side by side in a
// warp. The block merges its warps; of several splits the last block to finish merges all and runs the epilogue.
#include "codegen/cuda/kernels/attention/decode_attention.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "codegen/cuda/kernels/rows/column_program.h"
#include "codegen/cuda/device/prelude.h"
#include "codegen/cuda/target.h"
#include "codegen/cuda/tuning.h"
#include "codegen/spec_text.h"

namespace heddle::codegen::cuda {
namespace {

DecodeAttentionPlan shape_of(const plan::KernelSpec& spec, const ir::Target& target) {
  const plan::Attention& loop = *spec.attention();
  DecodeAttentionPlan shape{};
  shape.head_dim = loop.head_dim;
  const std::int64_t shared = loop.heads / loop.kv_heads;
  for (shape.group = std::min<std::int64_t>(shared, 8); shared % shape.group != 0;) --shape.group;
  shape.groups = loop.heads / shape.group;
  const int size = spec.args[loop.kv].dtype == DType::f16 ? 2 : 4;
  shape.bytes = int(std::gcd(loop.head_dim * size, std::int64_t{16}));
  shape.elements = shape.bytes / size;
  const std::int64_t loads = loop.head_dim / shape.elements;
  shape.lanes = int(std::min<std::int64_t>(32, std::int64_t(std::bit_ceil(std::uint64_t(loads)))));
  shape.chunks = int((loads + shape.lanes - 1) / shape.lanes);
  // What a lane holds: queries and sums, the keys and values of a round.
  const std::int64_t held = 2 * shape.group * shape.chunks * shape.elements;
  shape.mma = size == 2 && mma_fits(loop.head_dim, shape.group);
  shape.stages = 2;
  shape.warps = 8, shape.unroll = 4;
  if (shape.mma) shape.warps = loop.head_dim <= 64 ? 16 : 12, shape.unroll = 1;
  else if (held > 64) shape.unroll = 2;
  if (!shape.mma && held > 128) shape.warps = 4, shape.unroll = 1;
  // One block for each multiprocessor at most: its registers fill half of one, and a second wave would begin behind the first. What the
  // blocks of a split context tell each other takes the time of about two rounds; once it is split, one round each is best, up to 16
  // splits: more take longer to merge than four rounds do.
  shape.splits = int(std::clamp<std::int64_t>(target.workers / (shape.groups * spec.rows), 1, 64));
  // Of many rows, several blocks share a multiprocessor: their rings must fit side by side.
  const std::int64_t side_by_side = (shape.groups * spec.rows + target.workers - 1) / target.workers;
  if (shape.mma && side_by_side > 1) shape.warps = int(std::max<std::int64_t>(4, shape.warps / side_by_side / 4 * 4));
  while (shape.mma && shape.warps > 4 && shape.shared_bytes() > limits_of(target).shared_bytes) shape.warps -= 4;
  const int rounds = std::clamp(knob(spec, "rounds", shape.mma ? 3 : 2), 1, 64);
  shape.alone = shape.mma ? rounds * shape.round() : std::max(64, rounds * shape.round());
  return shape;
}

/// Where warps leave what they found, for the tail; behind it the ring of the tensor cores' loop.
constexpr std::string_view places = R"(
float* const warp_best = (float*)shared;               // [WARPS][HEADS]
float* const warp_sum = warp_best + WARPS * HEADS;
float* const split_best = warp_sum + WARPS * HEADS;    // [SPLITS][HEADS]
float* const split_sum = split_best + SPLITS * HEADS;
float* const warp_out = split_sum + SPLITS * HEADS;    // [WARPS][HEADS][STRIDE]
float* const result = warp_out + WARPS * HEADS * STRIDE;
)";

/// Any head size and cache type, on lanes.
constexpr std::string_view lanes_body = R"(
const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, part = lane % LANES, key = lane / LANES;
const int split = blockIdx.x, group = blockIdx.y, row = blockIdx.z;
wait();
trigger();
const int slot = __ldcg(a$slots + row), position = __ldcg(a$positions + row);
float q[HEADS][CHUNKS * ELEMENTS];
#pragma unroll
for (int h = 0; h < HEADS; ++h)
#pragma unroll
  for (int c = 0; c < CHUNKS; ++c)
#pragma unroll
    for (int e = 0; e < ELEMENTS; e += WIDE) {
      const int at = (part + c * LANES) * ELEMENTS + e;
      float* const to = q[h] + c * ELEMENTS + e;
      const float* const from = (const float*)a$q + (row * GROUPS + group) * (HEADS * HEAD_DIM) + h * HEAD_DIM + (at < HEAD_DIM ? at : 0);
      if (WIDE == 4) {
        const float4 four = __ldcg((const float4*)from);
        to[0] = four.x, to[1] = four.y, to[2] = four.z, to[3] = four.w;
      } else {
        to[0] = __ldcg(from);
      }
#pragma unroll
      for (int i = 0; i < WIDE; ++i) to[i] = at < HEAD_DIM ? to[i] * $scale : 0;
    }
// the positions of this block
const int begin_all = $begin, length = slot < 0 ? 0 : position + 1 - begin_all;
const int wanted = max((length + SPLITS - 1) / SPLITS, min((length + 15) / 16, 4 * ROUND));
const int share = length <= ALONE ? ALONE : (wanted + ROUND - 1) / ROUND * ROUND;
const int splits = max(1, (length + share - 1) / share);
if (split >= splits) return;
const int begin = begin_all + split * share, end = min(begin + share, begin_all + length);
const long long base = ((long long)max(slot, 0) * KV_HEADS + group * HEADS / SHARED) * a$kv.capacity;

float best[HEADS], sum[HEADS], out[HEADS][CHUNKS * ELEMENTS];
#pragma unroll
for (int h = 0; h < HEADS; ++h) {
  best[h] = LOWEST, sum[h] = 0;
#pragma unroll
  for (int e = 0; e < CHUNKS * ELEMENTS; ++e) out[h][e] = 0;
}
#pragma unroll 1
for (int first = begin + warp * (KEYS * UNROLL); first < end; first += ROUND) {
  Piece k[UNROLL][CHUNKS], v[UNROLL][CHUNKS];
#pragma unroll
  for (int j = 0; j < UNROLL; ++j) {
    const long long at = (base + min(first + j * KEYS + key, end - 1)) * HEAD_DIM;
#pragma unroll
    for (int c = 0; c < CHUNKS; ++c) {
      const int load = part + c * LANES < LOADS ? part + c * LANES : 0;
      k[j][c] = __ldcg((const Piece*)((const Element*)a$kv.keys + at) + load);
      v[j][c] = __ldcg((const Piece*)((const Element*)a$kv.values + at) + load);
    }
  }
  float score[HEADS][UNROLL];
#pragma unroll
  for (int j = 0; j < UNROLL; ++j) {
    float x[CHUNKS * ELEMENTS];
#pragma unroll
    for (int c = 0; c < CHUNKS; ++c) numbers(x + c * ELEMENTS, k[j][c]);
#pragma unroll
    for (int h = 0; h < HEADS; ++h) {
      float s = 0;
#pragma unroll
      for (int e = 0; e < CHUNKS * ELEMENTS; ++e) s += q[h][e] * x[e];
#pragma unroll
      for (int i = LANES / 2; i > 0; i /= 2) s += __shfl_xor_sync(~0u, s, i);
      score[h][j] = first + j * KEYS + key < end ? $score : LOWEST;
    }
  }
  float weight[HEADS][UNROLL];
#pragma unroll
  for (int h = 0; h < HEADS; ++h) {
    float top = best[h];
#pragma unroll
    for (int j = 0; j < UNROLL; ++j) top = fmaxf(top, score[h][j]);
    const float keep = power_of_2(best[h] - top);
    best[h] = top;
    sum[h] *= keep;
#pragma unroll
    for (int e = 0; e < CHUNKS * ELEMENTS; ++e) out[h][e] *= keep;
#pragma unroll
    for (int j = 0; j < UNROLL; ++j) {
      weight[h][j] = first + j * KEYS + key < end ? power_of_2(score[h][j] - top) : 0;
      sum[h] += weight[h][j];
    }
  }
#pragma unroll
  for (int j = 0; j < UNROLL; ++j) {
    float x[CHUNKS * ELEMENTS];
#pragma unroll
    for (int c = 0; c < CHUNKS; ++c) numbers(x + c * ELEMENTS, v[j][c]);
#pragma unroll
    for (int h = 0; h < HEADS; ++h)
#pragma unroll
      for (int e = 0; e < CHUNKS * ELEMENTS; ++e) out[h][e] += weight[h][j] * x[e];
  }
}

// the keys of a warp, then the warps of the block
#pragma unroll
for (int h = 0; h < HEADS; ++h) {
#pragma unroll
  for (int i = LANES; i < 32; i *= 2) {
    const float top = fmaxf(best[h], __shfl_xor_sync(~0u, best[h], i)), keep = power_of_2(best[h] - top);
    best[h] = top;
    sum[h] *= keep;
    sum[h] += __shfl_xor_sync(~0u, sum[h], i);
#pragma unroll
    for (int e = 0; e < CHUNKS * ELEMENTS; ++e) {
      out[h][e] *= keep;
      out[h][e] += __shfl_xor_sync(~0u, out[h][e], i);
    }
  }
  if (lane == 0) warp_best[warp * HEADS + h] = best[h], warp_sum[warp * HEADS + h] = sum[h];
#pragma unroll
  for (int c = 0; c < CHUNKS; ++c)
#pragma unroll
    for (int e = 0; e < ELEMENTS; ++e) {
      const int at = (part + c * LANES) * ELEMENTS + e;
      if (key == 0 && at < HEAD_DIM) warp_out[(warp * HEADS + h) * STRIDE + at] = out[h][c * ELEMENTS + e];
    }
}
)";

/// The warps of the block, then the splits: the last block to finish merges them all. It asks for all that it needs of a split at once: the
/// way to the cache is long.
constexpr std::string_view tail = R"(
__syncthreads();
int* const counter = (int*)scratch + row * GROUPS + group;
float* const partials = (float*)(scratch + COUNTERS) + (long long)(row * GROUPS + group) * (SPLITS * HEADS * (HEAD_DIM + 2));
for (int i = threadIdx.x; i < HEADS * HEAD_DIM; i += WARPS * 32) {
  const int h = i / HEAD_DIM;
  float top = LOWEST, all = 0, x = 0;
#pragma unroll
  for (int w = 0; w < WARPS; ++w) top = fmaxf(top, warp_best[w * HEADS + h]);
#pragma unroll
  for (int w = 0; w < WARPS; ++w) {
    const float keep = power_of_2(warp_best[w * HEADS + h] - top);
    all += keep * warp_sum[w * HEADS + h];
    x += keep * warp_out[(w * HEADS + h) * STRIDE + i % HEAD_DIM];
  }
  if (splits == 1) {
    result[i] = all > 0 ? x / all : 0;
  } else {
    float* const to = partials + split * (HEADS * (HEAD_DIM + 2));
    to[2 * HEADS + i] = x;
    if (i % HEAD_DIM == 0) to[h] = top, to[HEADS + h] = all;
  }
}
if (splits > 1) {
  __shared__ bool last;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) last = atomicAdd(counter, 1) == splits - 1;
  __syncthreads();
  if (!last) return;
  __threadfence();
  for (int i = threadIdx.x; i < splits * HEADS; i += WARPS * 32) {
    const float* const from = partials + i / HEADS * (HEADS * (HEAD_DIM + 2)) + i % HEADS;
    split_best[i] = __ldcg(from), split_sum[i] = __ldcg(from + HEADS);
  }
  constexpr int TOGETHER = SPLITS < 16 ? SPLITS : 16;
  bool ready = false;
  for (int i = threadIdx.x; i < (HEADS * HEAD_DIM + WARPS * 32 - 1) / (WARPS * 32) * (WARPS * 32); i += WARPS * 32) {
    const int at = min(i, HEADS * HEAD_DIM - 1), h = at / HEAD_DIM;
    float top = LOWEST, all = 0, x = 0;
    for (int first = 0; first < splits; first += TOGETHER) {
      float part[TOGETHER];
#pragma unroll
      for (int s = 0; s < TOGETHER; ++s)
        part[s] = first + s < splits ? __ldcg(partials + (first + s) * (HEADS * (HEAD_DIM + 2)) + 2 * HEADS + at) : 0;
      if (!ready) __syncthreads();  // split_best and split_sum are there
      ready = true;
      if (first == 0)
        for (int s = 0; s < splits; ++s) top = fmaxf(top, split_best[s * HEADS + h]);
#pragma unroll
      for (int s = 0; s < TOGETHER; ++s) {
        if (first + s >= splits) break;
        const float keep = power_of_2(split_best[(first + s) * HEADS + h] - top);
        all += keep * split_sum[(first + s) * HEADS + h];
        x += keep * part[s];
      }
    }
    if (i < HEADS * HEAD_DIM) result[i] = x / all;
  }
  if (threadIdx.x == 0) *counter = 0;
}
__syncthreads();
)";

/// `numbers(float*, Piece)`: the elements of a load.
constexpr std::string_view pieces_f16 = R"(
typedef $word Piece;
typedef u16 Element;
INLINE void numbers(float* x, const Piece& p) {
  const u32 w[] = {$words};
#pragma unroll
  for (int i = 0; i < $count; ++i) x[2 * i] = low_f16(w[i]), x[2 * i + 1] = high_f16(w[i]);
}
)";
constexpr std::string_view pieces_f32 = R"(
typedef $word Piece;
typedef float Element;
INLINE void numbers(float* x, const Piece& p) {
  const u32 w[] = {$words};
#pragma unroll
  for (int i = 0; i < $count; ++i) x[i] = __uint_as_float(w[i]);
}
)";

std::string pieces(const DecodeAttentionPlan& shape, bool f16) {
  const int words = shape.bytes / 4;
  return filled(f16 ? pieces_f16 : pieces_f32, {{"word", words == 4   ? "uint4"
                                                         : words == 2 ? "uint2"
                                                                      : "u32"},
                                                {"words", words == 4   ? "p.x, p.y, p.z, p.w"
                                                          : words == 2 ? "p.x, p.y"
                                                                       : "p"},
                                                {"count", std::to_string(words)}});
}

}  // namespace

std::variant<DecodeAttentionPlan, Refusal> plan_decode_attention(const plan::KernelSpec& spec, const ir::Target& target) {
  const plan::Attention& loop = *spec.attention();
  const Program program(spec.parts.front().epilogue, spec, spec.parts.front().n);
  if (auto refused = check_columns(program, false)) return *refused;
  const DType dtype = spec.args[loop.kv].dtype;
  if (dtype != DType::f16 && dtype != DType::f32) return refused_loop(spec, fmt::format("a cache of {} cannot be read", dtype));
  DecodeAttentionPlan shape = shape_of(spec, target);
  if (shape.bytes < 4)
    return refused_loop(spec, fmt::format("a head of {} elements in {} is no multiple of 4 bytes", loop.head_dim, dtype));
  const std::int64_t shared = shape.shared_bytes();
  if ((!shape.mma && 2 * shape.group * shape.chunks * shape.elements > 192) || shared > limits_of(target).shared_bytes)
    return refused_loop(spec, fmt::format("{} heads of {} elements on one key do not fit into registers", shape.group, loop.head_dim));
  shape.counters = (spec.rows * shape.groups * 4 + 255) / 256 * 256;
  shape.launch.grid = {std::uint32_t(shape.splits), std::uint32_t(shape.groups), std::uint32_t(spec.rows)};
  shape.launch.block = {std::uint32_t(shape.warps * 32), 1, 1};
  shape.launch.dynamic_shared_bytes = std::uint32_t(shared);
  shape.launch.scratch_bytes =
      std::uint64_t(shape.counters + spec.rows * shape.groups * shape.splits * shape.group * (loop.head_dim + 2) * 4);
  shape.launch.programmatic = target.has("programmatic_launch");
  return shape;
}

CudaText print_decode_attention(const plan::KernelSpec& spec, const DecodeAttentionPlan& shape, const ir::Target& target) {
  const plan::Attention& loop = *spec.attention();
  const Program program(spec.parts.front().epilogue, spec, spec.parts.front().n);
  const DType dtype = spec.args[loop.kv].dtype;
  // Scores in powers of two.
  constexpr double log2e = 1.4426950408889634;
  const bool capped = loop.softcap > 0;
  const std::string scale = float_literal(capped ? loop.scale / loop.softcap : loop.scale * log2e);
  const std::string score = capped ? fmt::format("tanhf(s) * {}", float_literal(loop.softcap * log2e)) : "s";
  const std::string begin = loop.window > 0 ? fmt::format("max(0, position + 1 - {})", loop.window) : "0";

  Text out;
  out.put(spec_text(spec));
  out.put(prelude(target));
  if (!shape.mma) out.put(pieces(shape, dtype == DType::f16));
  out.put(program_prelude);
  const auto programs = programs_of(spec);
  print_ops(out, programs);
  print_rope_tables(out, programs);
  print_signature(out, spec, shape.warps * 32, 1, true);
  out.line("DYNAMIC_SHARED;");
  out.line("constexpr int HEADS = {}, HEAD_DIM = {}, GROUPS = {}, KV_HEADS = {}, SHARED = {};", shape.group, loop.head_dim, shape.groups,
           loop.kv_heads, loop.heads / loop.kv_heads);
  out.line("constexpr int ELEMENTS = {}, LANES = {}, CHUNKS = {}, LOADS = {}, KEYS = {}, UNROLL = {}, WIDE = {};", shape.elements,
           shape.lanes, shape.chunks, loop.head_dim / shape.elements, shape.keys(), shape.unroll, shape.elements % 4 == 0 ? 4 : 1);
  out.line("constexpr int WARPS = {}, ROUND = {}, SPLITS = {}, ALONE = {}, COUNTERS = {};", shape.warps, shape.round(), shape.splits,
           shape.alone, shape.counters);
  out.line("constexpr float LOWEST = -1e30f;");
  out.line("constexpr int ROWS = {}, STRIDE = {}, STAGES = {}, RING = {};", spec.rows, shape.stride(), shape.stages, shape.ring_at());
  out.put(places);
  out.put(shape.mma ? mma_body : lanes_body, {{"slots", std::to_string(spec.slots_arg)},
                                              {"positions", std::to_string(spec.positions_arg)},
                                              {"first", loop.selected ? "wait();" : ""},  // of those with work before it
                                              {"later", loop.selected ? "" : "wait();"},
                                              {"q", std::to_string(loop.q)},
                                              {"kv", std::to_string(loop.kv)},
                                              {"scale", scale},
                                              {"score", score},
                                              {"begin", begin}});
  out.put(tail);
  print_columns(out, program,
                {.threads = shape.warps * 32,
                 .row = "row",
                 .loop = "result[i - group * (HEADS * HEAD_DIM)]",
                 .first = "group * (HEADS * HEAD_DIM)",
                 .count = shape.columns()});
  out.close();
  return {shape.launch, spec.name, out.str()};
}

}  // namespace heddle::codegen::cuda
