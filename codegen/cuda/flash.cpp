// Attention of many rows on the matrix units: a block has 64 rows of one query head, each warp 16 of them. Keys and values come in tiles
// through shared memory, as halves; scores, weights and sums stay in registers, with a running maximum for every row. The rows of a tile
// may belong to several sequences: one after the other, with the rows of the others masked.
//
// Of heads above 128 elements the queries, sums and scores of 16 rows are more than a warp's registers: two warps have the same rows, each
// with all of the queries, half of the keys' scores and half of the sums' columns. What the queries take could lie in shared memory
// instead, but that is what bounds the loop: 64 KB more beside 256 KB of keys and values for a stage.
#include <algorithm>

#include "codegen/cuda/flash.h"
#include "codegen/cuda/flash_text.h"
#include "codegen/cuda/matrix_units.h"
#include "codegen/cuda/prelude.h"
#include "codegen/cuda/targets.h"
#include "codegen/cuda/tile_epilogue.h"

namespace heddle::codegen::cuda {
namespace {

constexpr int tile_rows = 64;
constexpr std::int64_t most_of_warps = 128, most_of_pairs = 256;  // elements of a head

/// Where things lie in shared memory, in bytes but for `keys` of a stage and `results` (floats of a row).
struct Room {
  FlashForm form;
  std::int64_t keys, pitch, stage, results, meta, weights, weight_pitch, met, bytes;
};

Room room_for(std::int64_t head_dim, std::int64_t keys) {
  Room room{};
  room.form = head_dim > most_of_warps ? FlashForm::pairs : FlashForm::warps;
  room.keys = keys, room.pitch = head_dim * 2 + 16, room.results = head_dim + 4;
  room.stage = 2 * keys * room.pitch;
  room.meta = std::max(2 * room.stage, tile_rows * room.results * 4);
  room.bytes = room.meta + tile_rows * 8;
  if (room.form == FlashForm::warps) return room;
  room.weights = room.bytes, room.weight_pitch = keys * 2 + 16;
  room.met = room.weights + tile_rows * room.weight_pitch;
  room.bytes = room.met + 4 * tile_rows * 8;  // two floats for each of 256 threads
  return room;
}

}  // namespace

bool flash_wanted(const plan::KernelSpecT& spec) {
  const plan::AttentionLoopT& loop = *spec.attention;
  return spec.rows % (2 * tile_rows) == 0 && loop.head_dim % 16 == 0 && loop.head_dim <= most_of_pairs;
}

Emitted emit_flash(const plan::KernelSpecT& spec, const ir::Target& target) {
  const plan::AttentionLoopT& loop = *spec.attention;
  const Program program(*spec.parts.front()->epilogue, spec, spec.parts.front()->n);
  std::int64_t together = 1;
  if (auto refused = check_tile_epilogue(spec, program, "attention", together)) return *refused;
  if (together > loop.head_dim)
    return CannotEmit{"rope", fmt::format("it works on {} columns together, and a head has {}", together, loop.head_dim)};
  if (program.find("quantize") && loop.head_dim % 32 != 0)
    return CannotEmit{"quantize", fmt::format("it stores pieces of 32 columns, and a head has {}", loop.head_dim)};
  const std::string& dtype = spec.args[loop.kv]->dtype;
  if (dtype != "f16" && dtype != "f32") return CannotEmit{"attention", fmt::format("a cache of {} cannot be read", dtype)};

  const std::int64_t head_dim = loop.head_dim;
  Room room = room_for(head_dim, 64);
  if (room.form == FlashForm::pairs && room.bytes > limits_of(target).shared_bytes) room = room_for(head_dim, 32);
  if (room.bytes > limits_of(target).shared_bytes)
    return CannotEmit{"attention", fmt::format("heads of {} elements do not fit into shared memory", head_dim)};

  // Scores in powers of two. A pair's cap is made of a power and an inverse, 1 - 2 / (e^2x + 1): off by 2e-7 at most, which 2^x does not
  // see, where tanhf takes two branches.
  constexpr double log2e = 1.4426950408889634;
  double scale = loop.scale * log2e;
  std::string score = "s";
  if (loop.softcap > 0) {
    const bool pairs = room.form == FlashForm::pairs;
    scale = loop.scale / loop.softcap * (pairs ? 2 * log2e : 1);
    score = fmt::format("{} * {}", pairs ? "(1 - 2 * about_inverse(power_of_2(s) + 1))" : "tanhf(s)", float_literal(loop.softcap * log2e));
  }
  const plan::KernelSpecT one = of_one_tile(spec, tile_rows, "tile_");
  Text out;
  out.put(header_comment(one));
  out.line("// tiles of {} rows, of which there are as many as the grid says", tile_rows);
  out.put(prelude(target, matrix_prelude(0)));
  out.put(program_prelude);
  const auto programs = programs_of(one);
  print_ops(out, programs);
  print_rope_tables(out, programs);
  const int warps = room.form == FlashForm::pairs ? 8 : 4;
  print_signature(out, one, warps * 32, 1, false);
  out.line("constexpr int ROWS = {}, HEADS = {}, KV_HEADS = {}, SHARED = {}, HEAD_DIM = {}, KEYS = {};", tile_rows, loop.heads,
           loop.kv_heads, loop.heads / loop.kv_heads, head_dim, room.keys);
  out.line("constexpr int PITCH = {}, STAGE = {}, RESULTS = {}, META = {};", room.pitch, room.stage, room.results, room.meta);
  if (room.form == FlashForm::pairs)
    out.line("constexpr int WARPS = {}, OWN_KEYS = {}, COLUMNS = {}, WEIGHTS = {}, WEIGHT_PITCH = {}, MET = {};", warps, room.keys / 2,
             (head_dim / 16 + 1) / 2 * 16, room.weights, room.weight_pitch, room.met);
  out.put(flash_text(room.form, dtype, std::to_string(loop.kv),
                     {{"slots", std::to_string(spec.slots_arg)},
                      {"positions", std::to_string(spec.positions_arg)},
                      {"q", std::to_string(loop.q)},
                      {"scale", float_literal(scale)},
                      {"score", score},
                      {"begin", loop.window > 0 ? fmt::format("max(0, positions[r] + 1 - {})", loop.window) : "0"},
                      {"window", loop.window > 0 ? fmt::format(" && at > my_position[r] - {}", loop.window) : ""}}));
  print_tile_epilogue(out, one, program, {tile_rows, warps, int(room.results), 0, head_dim, program.n(), true});
  out.close();

  CudaText text;
  text.entry = one.name;
  text.text = out.str();
  text.grid = {std::uint32_t(spec.rows / tile_rows), std::uint32_t(loop.heads), 1};
  text.block = {std::uint32_t(warps * 32), 1, 1};
  text.dynamic_shared_bytes = std::uint32_t(room.bytes);
  text.programmatic = target.has("programmatic_launch");
  return text;
}

}  // namespace heddle::codegen::cuda
