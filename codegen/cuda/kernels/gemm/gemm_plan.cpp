#include <algorithm>
#include <bit>
#include <limits>
#include <optional>

#include "codegen/cuda/device/matrix_units.h"
#include "codegen/cuda/target.h"
#include "codegen/cuda/kernels/rows/tile_epilogue.h"
#include "codegen/cuda/kernels/gemm/gemm.h"
#include "runtime/plan/layout.h"

namespace heddle::codegen::cuda {
namespace {

using Refused = std::optional<Refusal>;

Refused check_prologue(const plan::KernelSpec& spec) {
  const plan::Program& prologue = spec.gemm()->prologue;
  constexpr auto nothing = "in front of a product on the matrix units nothing is computed: its activations come from memory";
  if (!prologue.instrs.empty()) return Program(prologue, spec, spec.gemm()->k).refused(prologue.instrs.back(), nothing);
  if (!prologue.stores.empty() || prologue.inputs.size() != 1) return refused_loop(spec, nothing);
  return std::nullopt;
}

/// What is the same for tiles of all shapes: whether weights and epilogues can be in tiles at all.
Refused check_parts(const plan::KernelSpec& spec, std::vector<TilePart>& parts) {
  const std::int64_t k = spec.gemm()->k;
  for (const auto& part : spec.parts) {
    TilePart out{.spec = &part, .epilogue = Program(part.epilogue, spec, part.n), .formats = {}};
    if (auto refused = check_tile_epilogue(out.epilogue, "matmul", out.together)) return refused;
    for (const auto& segment : part.segments) {
      const plan::Arg& weight = spec.args[segment.weight];
      const DType type = weight.dtype;
      if (!has_tiles(type, k))
        return refused_loop(spec, fmt::format("rows of {} {} are not multiplied on the matrix units", k, weight.dtype));
      auto format = format_of(type, weight.layout, part.n, k);
      if (!format.ok()) return refused_loop(spec, format.error().message());
      if (!out.formats.empty() && out.formats.front().type != type)
        return refused_loop(spec, fmt::format("weights in {} and {} do not share a tile", out.formats.front().name, format->name));
      if (!format->planes.empty() && format->planes.back() > std::numeric_limits<std::uint32_t>::max())
        return refused_loop(spec, fmt::format("a weight of {} rows is too large for addresses of 32 bits within it", part.n));
      out.formats.push_back(std::move(*format));
    }
    parts.push_back(std::move(out));
  }
  return std::nullopt;
}

/// Parts, which are checked, in tiles of the plan's shape.
Refused lay_out_parts(const plan::KernelSpec& spec, TilePlan& plan) {
  for (TilePart& part : plan.parts) {
    const std::size_t segments = part.spec->segments.size();
    if (int(segments) > plan.warps) return refused_loop(spec, fmt::format("{} products do not share a tile", segments));
    part.share = plan.warps * 16 / int(std::bit_ceil(segments));
    if (part.together > part.share) {
      std::string reason = fmt::format("it works on {} columns together, and a tile has {}", part.together, part.share);
      if (const plan::Instr* rope = part.epilogue.find<heddle::Rope>()) return part.epilogue.refused(*rope, std::move(reason));
      return refused_loop(spec, std::move(reason));
    }
    part.columns = int(part.share / part.together * part.together);
    if (const plan::Instr* quantize = part.epilogue.find<Quantize>(); quantize && part.columns % 32 != 0)
      return part.epilogue.refused(*quantize, fmt::format("a tile has {} columns, which are not whole pieces of 32", part.columns));
    part.begin = plan.tiles;
    part.end = plan.tiles += (part.spec->n + part.columns - 1) / part.columns;
  }
  return std::nullopt;
}

DType weight_type(const plan::KernelSpec& spec, const TilePart& part) { return spec.args[part.spec->segments.front().weight].dtype; }

/// About the microseconds that a kernel takes, to choose among its plans; the figures were measured on an H100. One team goes through a
/// block of 128 columns in no less than `alone`: the time of memory's answer and of making halves. The teams of a multiprocessor need for
/// it, one behind the other, the time in which activations and weights come out of the second-level cache, or that of the matrix units with
/// all that stands around them.
double about_us(const plan::KernelSpec& spec, const TilePlan& plan, const ir::Target& target) {
  double weight_bytes = 0;  // of an element
  for (const TilePart& part : plan.parts) {
    const DTypeInfo& type = info(weight_type(spec, part));
    weight_bytes = std::max(weight_bytes, double(type.bytes) / type.elements);
  }
  const double weight_rows = plan.warps * 16, tokens = plan.tokens;
  const double alone = 0.9 + 0.003 * tokens;
  const double from_cache = (tokens * 2 + weight_rows * weight_bytes) * 128 / 39e3;
  const double busy = std::max(from_cache, (0.34 + 0.0052 * tokens) * weight_rows / 128 * (plan.warpgroups ? 1 : 1.6));
  const std::int64_t blocks = plan.tiles * (spec.rows / plan.tokens) * plan.splits;
  const std::int64_t of_one = (blocks + target.workers - 1) / target.workers;
  const double together = double(std::min<std::int64_t>(plan.per_sm, of_one));
  const auto columns_of_one = (plan.k / 128 + plan.teams * plan.splits - 1) / (plan.teams * plan.splits);
  const double columns = double(columns_of_one);
  // Two barriers, and sums through other blocks' shared memory about as fast as out of the second-level cache.
  const double merging = plan.splits == 1 ? 0 : double(of_one) * (1.5 + tokens * weight_rows * 4 / 39e3);
  return double(of_one) / together * columns * std::max(alone, together * plan.teams * busy) + plan.teams + merging;
}

/// `parts`: checked; their formats stay behind.
std::variant<TilePlan, Refusal> plan_with(const plan::KernelSpec& spec, const ir::Target& target, const std::vector<TilePart>& parts, int tokens,
                                          int warps, int teams, int splits) {
  const plan::Gemm& loop = *spec.gemm();
  TilePlan plan{};
  plan.k = loop.k;
  plan.tokens = tokens, plan.warps = warps, plan.teams = teams, plan.splits = splits;
  plan.warpgroups = has_warpgroups(target);
  plan.x = loop.prologue.inputs[loop.activation].index;
  for (const TilePart& part : parts)
    plan.parts.push_back({.spec = part.spec, .epilogue = part.epilogue, .formats = {}, .together = part.together});
  if (auto refused = lay_out_parts(spec, plan)) return *refused;
  const int room = limits_of(target).shared_bytes;
  const int stage = tokens * 256, sums = tokens * plan.pitch() * 4, least = plan.warpgroups ? 3 : 2;
  // Two blocks leave 128 registers, which pieces of q8_0 exceed by a few.
  const bool large = std::ranges::any_of(plan.parts, [&](const TilePart& part) { return weight_type(spec, part) == DType::q8_0; });
  const int wanted_per_sm =
      plan.warpgroups && warps * teams == 8 && !large && 2 * (least * stage + tokens * 8 + 1024) <= room + 1024 ? 2 : 1;
  plan.per_sm = wanted_per_sm;
  plan.stages = std::clamp((room / wanted_per_sm - 1024 - tokens * 8) / (teams * stage), least, tokens >= 128 ? 3 : 6);
  plan.ring_bytes = plan.stages * stage;
  plan.shared_bytes = std::max(teams * plan.ring_bytes, sums);
  if (plan.shared_bytes + tokens * 8 > room)
    return refused_loop(spec, fmt::format("a tile of {} rows does not fit into the {} KiB of a block's shared memory", tokens, room / 1024));
  return plan;
}

}  // namespace

bool has_tiles(DType type, std::int64_t k) {
  return k % 128 == 0 && (type == DType::f16 || type == DType::bf16 || !plan::planes_of(type).empty());
}

namespace {

Launch launch_of(const TilePlan& plan, std::int64_t rows, const ir::Target& target) {
  const int threads = plan.teams * plan.warps * 32;
  Launch launch;
  launch.grid = {std::uint32_t(rows / plan.tokens), std::uint32_t(plan.tiles), std::uint32_t(plan.splits)};
  launch.block = {std::uint32_t(threads), 1, 1};
  launch.cluster = std::uint32_t(plan.splits);
  launch.dynamic_shared_bytes = std::uint32_t(plan.shared_bytes + plan.tokens * 8);
  launch.programmatic = target.has("programmatic_launch");
  launch.even_start = threads <= 256;  // more threads have all registers of a multiprocessor
  launch.architecture_only = plan.warpgroups;
  return launch;
}

/// Whether weights take more of the second-level cache's time than activations: a team of 16 warps then reads the latter half as often. For
/// others it loses (267 us against 219 for gate and up of Llama-3.1-8B at 512 rows): all its warps wait at one barrier.
bool wide_weights(const plan::KernelSpec& spec) {
  return std::ranges::all_of(spec.args, [](const auto& arg) {
    return arg.role != plan::ArgRole::weight || arg.shape.size() < 2 || !is_block_type(arg.dtype);
  });
}

}  // namespace

std::variant<TilePlan, Refusal> plan_tiles(const plan::KernelSpec& spec, const ir::Target& target) {
  if (spec.rows % least_tile_rows != 0)
    return refused_loop(spec, fmt::format("{} rows are not whole tiles of {}", spec.rows, least_tile_rows));
  // Two teams or two blocks on a multiprocessor: one turns weights into halves while the other multiplies. Four teams where few rows leave
  // each waiting for memory. Clusters where large tiles, which read the least, are too few: of two blocks, which always find two neighbours
  // free; of four an H100 holds 30, so that 32 took twice as long. The first of equals is taken.
  struct Shape {
    int warps, teams, splits;
  };
  constexpr Shape shapes[] = {{8, 1, 1}, {16, 1, 1}, {8, 2, 1}, {4, 4, 1}, {8, 1, 2}, {16, 1, 2}, {8, 2, 2}, {4, 4, 2}};
  std::vector<TilePart> parts;
  std::optional<Refusal> refused = check_prologue(spec);
  if (!refused) refused = check_parts(spec, parts);
  if (refused) return *refused;
  std::optional<TilePlan> best;
  for (int tokens = 128; tokens >= least_tile_rows; tokens /= 2) {
    if (spec.rows % tokens != 0) continue;
    for (const Shape& shape : shapes) {
      if (shape.warps * shape.teams > 8 && !has_warpgroups(target)) continue;  // products by warps need more registers
      if (shape.teams > 2 && tokens > 64) continue;                            // registers
      if (shape.warps > 8 && !wide_weights(spec)) continue;
      if (shape.splits > 1 && !has_warpgroups(target)) continue;
      auto made = plan_with(spec, target, parts, tokens, shape.warps, shape.teams, shape.splits);
      if (auto* why = std::get_if<Refusal>(&made)) {
        if (!refused) refused = std::move(*why);
        continue;
      }
      TilePlan& plan = std::get<TilePlan>(made);
      plan.us = about_us(spec, plan, target);
      if (best && plan.us >= best->us * 0.99) continue;
      best = std::move(plan);
    }
  }
  if (!best) return *refused;
  for (std::size_t i = 0; i < parts.size(); ++i) best->parts[i].formats = std::move(parts[i].formats);
  best->launch = launch_of(*best, spec.rows, target);
  return std::move(*best);
}

}  // namespace heddle::codegen::cuda
