// Attention of many rows on the matrix units: a block has 64 or 128 rows of one query head, each warp 16 of them. Keys and values come in
// tiles through shared memory, as halves; scores, weights and sums stay in registers, with a running maximum for every row. The rows of a
// tile may belong to several sequences: one after the other, with the rows of the others masked. Keys that all rows of a warp look at are
// not masked, those that none does are left out.
//
// Of heads above 128 elements the queries, sums and scores of 16 rows are more than a warp's registers: two warps have the same rows, each
// with all of the queries, half of the keys' scores and half of the sums' columns. What the queries take could lie in shared memory
// instead, but that is what bounds the loop: 64 KB more beside 256 KB of keys and values for a stage.
#include <algorithm>

#include "codegen/cuda/kernels/attention/prefill_attention.h"
#include "codegen/cuda/kernels/attention/prefill_attention_text.h"
#include "codegen/cuda/device/matrix_units.h"
#include "codegen/cuda/device/prelude.h"
#include "codegen/cuda/target.h"
#include "codegen/cuda/kernels/rows/tile_epilogue.h"
#include "codegen/spec_text.h"

namespace heddle::codegen::cuda {
namespace {

constexpr int least_rows = 64, most_rows = 128;  // of a tile
constexpr std::int64_t most_of_warps = 128, most_of_pairs = 256;  // elements of a head

constexpr std::string_view functions = R"(
INLINE int least_of_warp(int x) {
#pragma unroll
  for (int o = 16; o > 0; o /= 2) x = min(x, __shfl_xor_sync(~0u, x, o));
  return x;
}
)";

PrefillAttentionPlan room_for(std::int64_t head_dim, int rows, std::int64_t keys) {
  PrefillAttentionPlan room{};
  room.form = head_dim > most_of_warps ? FlashForm::pairs : FlashForm::warps;
  room.rows = rows, room.warps = rows / (room.form == FlashForm::pairs ? 8 : 16);
  room.keys = keys, room.pitch = head_dim * 2 + 16, room.results = head_dim + 4;
  room.stage = 2 * keys * room.pitch;
  room.meta = std::max(2 * room.stage, room.rows * room.results * 4);
  room.bytes = room.meta + rows * 8;
  if (room.form == FlashForm::warps) return room;
  room.weights = room.bytes, room.weight_pitch = keys * 2 + 16;
  room.met = room.weights + room.rows * room.weight_pitch;
  room.bytes = room.met + 4 * rows * 8;  // two floats for each of 256 threads
  return room;
}

}  // namespace

bool flash_wanted(const plan::KernelSpec& spec) {
  const plan::Attention& loop = *spec.attention();
  return spec.rows % most_rows == 0 && loop.head_dim % 16 == 0 && loop.head_dim <= most_of_pairs;
}

std::variant<PrefillAttentionPlan, Refusal> plan_prefill_attention(const plan::KernelSpec& spec, const ir::Target& target) {
  const plan::Attention& loop = *spec.attention();
  const Program program(spec.parts.front().epilogue, spec, spec.parts.front().n);
  std::int64_t together = 1;
  if (auto refused = check_tile_epilogue(program, "attention", together)) return *refused;
  if (together > loop.head_dim)
    return program.refused(*program.find<heddle::Rope>(),
                           fmt::format("it works on {} columns together, and a head has {}", together, loop.head_dim));
  if (const plan::Instr* quantize = program.find<Quantize>(); quantize && loop.head_dim % 32 != 0)
    return program.refused(*quantize, fmt::format("it stores pieces of 32 columns, and a head has {}", loop.head_dim));
  const DType dtype = spec.args[loop.kv].dtype;
  if (dtype != DType::f16 && dtype != DType::f32) return refused_loop(spec, fmt::format("a cache of {} cannot be read", dtype));

  const std::int64_t head_dim = loop.head_dim;
  PrefillAttentionPlan room = room_for(head_dim, least_rows, 64);
  if (room.form == FlashForm::pairs && room.bytes > limits_of(target).shared_bytes) room = room_for(head_dim, least_rows, 32);
  // Every block reads the keys and values of its rows: large tiles read less, as long as there is work for all multiprocessors.
  if (room.form == FlashForm::warps && spec.rows / most_rows * loop.heads >= 2 * target.workers) {
    const PrefillAttentionPlan large = room_for(head_dim, most_rows, 64);
    if (large.bytes <= limits_of(target).shared_bytes) room = large;
  }
  if (room.bytes > limits_of(target).shared_bytes)
    return refused_loop(spec, fmt::format("heads of {} elements do not fit into shared memory", head_dim));
  room.launch.grid = {std::uint32_t(loop.heads), std::uint32_t(spec.rows / room.rows), 1};
  room.launch.block = {std::uint32_t(room.warps * 32), 1, 1};
  room.launch.dynamic_shared_bytes = std::uint32_t(room.bytes);
  room.launch.programmatic = target.has("programmatic_launch");
  return room;
}

CudaText print_prefill_attention(const plan::KernelSpec& spec, const PrefillAttentionPlan& room, const ir::Target& target) {
  const plan::Attention& loop = *spec.attention();
  const Program program(spec.parts.front().epilogue, spec, spec.parts.front().n);
  const std::int64_t head_dim = loop.head_dim;
  const DType dtype = spec.args[loop.kv].dtype;
  // Scores in powers of two. A pair's cap is made of a power and an inverse, 1 - 2 / (e^2x + 1): off by 2e-7 at most, which 2^x does not
  // see, where tanhf takes two branches.
  constexpr double log2e = 1.4426950408889634;
  double scale = loop.scale * log2e;
  std::string capped;
  if (loop.softcap > 0) {
    const bool pairs = room.form == FlashForm::pairs;
    scale = loop.scale / loop.softcap * (pairs ? 2 * log2e : 1);
    capped = fmt::format("#pragma unroll\n    for (float& s : scores) s = {} * {};",
                         pairs ? "(1 - 2 * about_inverse(power_of_2(s) + 1))" : "tanhf(s)", float_literal(loop.softcap * log2e));
  }
  const plan::KernelSpec one = of_one_tile(spec, room.rows, "tile_");
  Text out;
  out.put(spec_text(one));
  out.line("// tiles of {} rows, of which there are as many as the grid says", room.rows);
  out.put(prelude(target, matrix_prelude(0)));
  out.put(program_prelude);
  out.put(functions);
  const auto programs = programs_of(one);
  print_ops(out, programs);
  print_rope_tables(out, programs);
  const int threads = room.warps * 32;
  // Two blocks of 8 warps where 128 registers are enough for them.
  print_signature(out, one, threads, room.rows == most_rows && head_dim <= 64 ? 2 : 1, false);
  out.line("constexpr int ROWS = {}, HEADS = {}, KV_HEADS = {}, SHARED = {}, HEAD_DIM = {}, KEYS = {};", room.rows, loop.heads,
           loop.kv_heads, loop.heads / loop.kv_heads, head_dim, room.keys);
  out.line("constexpr int THREADS = {}, PITCH = {}, STAGE = {}, RESULTS = {}, META = {};", threads, room.pitch, room.stage, room.results, room.meta);
  if (room.form == FlashForm::pairs)
    out.line("constexpr int WARPS = {}, OWN_KEYS = {}, COLUMNS = {}, WEIGHTS = {}, WEIGHT_PITCH = {}, MET = {};", room.warps, room.keys / 2,
             (head_dim / 16 + 1) / 2 * 16, room.weights, room.weight_pitch, room.met);
  out.put(flash_text(room.form, dtype, std::to_string(loop.kv),
                     {{"slots", std::to_string(spec.slots_arg)},
                      {"positions", std::to_string(spec.positions_arg)},
                      {"q", std::to_string(loop.q)},
                      {"scale", float_literal(scale)},
                      {"capped", capped},
                      {"begin", loop.window > 0 ? fmt::format("max(0, positions[r] + 1 - {})", loop.window) : "0"},
                      {"window", loop.window > 0 ? fmt::format(" || at <= my_position[r] - {}", loop.window) : ""},
                      {"nearest", loop.window > 0 ? fmt::format("const int nearest = none - {};  // key that all of them look at", loop.window) : ""},
                      {"partly", loop.window > 0 ? " || key < nearest" : ""}}));
  print_tile_epilogue(out, one, program, {room.rows, room.warps, int(room.results), 0, head_dim, program.n(), true});
  out.close();
  return {room.launch, one.name, out.str()};
}

}  // namespace heddle::codegen::cuda
