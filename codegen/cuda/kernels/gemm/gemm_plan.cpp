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

using Refused = std::optional<CannotEmit>;

Refused check_prologue(const plan::KernelSpec& spec, TilePlan& plan) {
  const plan::Program& prologue = spec.gemm()->prologue;
  const unsigned activation = spec.gemm()->activation;
  if (!prologue.instrs.empty() || !prologue.stores.empty() || prologue.inputs.size() != 1)
    return CannotEmit{prologue.instrs.empty() ? "matmul" : std::string(name(prologue.instrs.back().op)),
                      "in front of a product on the matrix units nothing is computed: its activations come from memory"};
  plan.x = prologue.inputs[activation].index;
  return std::nullopt;
}

Refused plan_parts(const plan::KernelSpec& spec, TilePlan& plan) {
  for (const auto& part : spec.parts) {
    TilePart out{.spec = &part, .epilogue = Program(part.epilogue, spec, part.n), .formats = {}};
    std::int64_t together = 1;
    if (auto refused = check_tile_epilogue(spec, out.epilogue, "matmul", together)) return refused;
    for (const auto& segment : part.segments) {
      const plan::Arg& weight = spec.args[segment.weight];
      const DType type = weight.dtype;
      if (!has_tiles(type, plan.k))
        return CannotEmit{"matmul", fmt::format("rows of {} {} are not multiplied on the matrix units", plan.k, weight.dtype)};
      auto format = format_of(type, weight.layout, part.n, plan.k);
      if (!format.ok()) return CannotEmit{"matmul", format.error().message()};
      if (!out.formats.empty() && out.formats.front().type != type)
        return CannotEmit{"matmul", fmt::format("weights in {} and {} do not share a tile", out.formats.front().name, format->name)};
      if (!format->planes.empty() && format->planes.back() > std::numeric_limits<std::uint32_t>::max())
        return CannotEmit{"matmul", fmt::format("a weight of {} rows is too large for addresses of 32 bits within it", part.n)};
      out.formats.push_back(std::move(*format));
    }
    if (int(out.formats.size()) > plan.warps)
      return CannotEmit{"matmul", fmt::format("{} products do not share a tile", out.formats.size())};
    out.share = plan.warps * 16 / int(std::bit_ceil(out.formats.size()));
    if (together > out.share) {
      const std::string op = out.epilogue.find<heddle::Rope>() ? "rope" : "matmul";
      return CannotEmit{op, fmt::format("it works on {} columns together, and a tile has {}", together, out.share)};
    }
    out.columns = int(out.share / together * together);
    if (out.epilogue.find<Quantize>() && out.columns % 32 != 0)
      return CannotEmit{"quantize", fmt::format("a tile has {} columns, which are not whole pieces of 32", out.columns)};
    out.begin = plan.tiles;
    out.end = plan.tiles += (part.n + out.columns - 1) / out.columns;
    plan.parts.push_back(std::move(out));
  }
  return std::nullopt;
}

/// About the microseconds that a kernel takes, to choose among its plans; the figures were measured on an H100. One team goes through a
/// block of 128 columns in no less than `alone`: the time of memory's answer and of making halves. The teams of a multiprocessor need for
/// it, one behind the other, the time in which activations and weights come out of the second-level cache, or that of the matrix units with
/// all that stands around them.
double about_us(const TilePlan& plan, std::int64_t rows, const ir::Target& target) {
  double weight_bytes = 0;  // of an element
  for (const TilePart& part : plan.parts) {
    const DTypeInfo& type = info(part.formats.front().type);
    weight_bytes = std::max(weight_bytes, double(type.bytes) / type.elements);
  }
  const double weight_rows = plan.warps * 16, tokens = plan.tokens;
  const double alone = 0.9 + 0.003 * tokens;
  const double from_cache = (tokens * 2 + weight_rows * weight_bytes) * 128 / 39e3;
  const double busy = std::max(from_cache, (0.34 + 0.0052 * tokens) * weight_rows / 128 * (plan.warpgroups ? 1 : 1.6));
  const std::int64_t blocks = plan.tiles * (rows / plan.tokens) * plan.splits;
  const std::int64_t of_one = (blocks + target.workers - 1) / target.workers;
  const double together = double(std::min<std::int64_t>(plan.per_sm, of_one));
  const auto columns_of_one = (plan.k / 128 + plan.teams * plan.splits - 1) / (plan.teams * plan.splits);
  const double columns = double(columns_of_one);
  // Two barriers, and sums through other blocks' shared memory about as fast as out of the second-level cache.
  const double merging = plan.splits == 1 ? 0 : double(of_one) * (1.5 + tokens * weight_rows * 4 / 39e3);
  return double(of_one) / together * columns * std::max(alone, together * plan.teams * busy) + plan.teams + merging;
}

std::variant<TilePlan, CannotEmit> plan_with(const plan::KernelSpec& spec, const ir::Target& target, int tokens, int warps, int teams,
                                             int splits) {
  TilePlan plan{};
  plan.k = spec.gemm()->k;
  plan.tokens = tokens, plan.warps = warps, plan.teams = teams, plan.splits = splits;
  plan.warpgroups = has_warpgroups(target);
  if (auto refused = check_prologue(spec, plan)) return *refused;
  if (auto refused = plan_parts(spec, plan)) return *refused;
  const int room = limits_of(target).shared_bytes;
  const int stage = tokens * 256, sums = tokens * plan.pitch() * 4, least = plan.warpgroups ? 3 : 2;
  // Two blocks leave 128 registers, which pieces of q8_0 exceed by a few.
  const bool large = std::ranges::any_of(plan.parts, [](const TilePart& part) { return part.formats.front().type == DType::q8_0; });
  const int wanted_per_sm =
      plan.warpgroups && warps * teams == 8 && !large && 2 * (least * stage + tokens * 8 + 1024) <= room + 1024 ? 2 : 1;
  plan.per_sm = wanted_per_sm;
  plan.stages = std::clamp((room / wanted_per_sm - 1024 - tokens * 8) / (teams * stage), least, tokens >= 128 ? 3 : 6);
  plan.ring_bytes = plan.stages * stage;
  plan.shared_bytes = std::max(teams * plan.ring_bytes, sums);
  if (plan.shared_bytes + tokens * 8 > room)
    return CannotEmit{"matmul",
                      fmt::format("a tile of {} rows does not fit into the {} KiB of a block's shared memory", tokens, room / 1024)};
  return plan;
}

}  // namespace

bool has_tiles(DType type, std::int64_t k) {
  return k % 128 == 0 && (type == DType::f16 || type == DType::bf16 || !plan::planes_of(type).empty());
}

namespace {

/// Whether weights take more of the second-level cache's time than activations: a team of 16 warps then reads the latter half as often. For
/// others it loses (267 us against 219 for gate and up of Llama-3.1-8B at 512 rows): all its warps wait at one barrier.
bool wide_weights(const plan::KernelSpec& spec) {
  return std::ranges::all_of(spec.args, [](const auto& arg) {
    return arg.role != plan::ArgRole::weight || arg.shape.size() < 2 || !is_block_type(arg.dtype);
  });
}

}  // namespace

std::variant<TilePlan, CannotEmit> plan_tiles(const plan::KernelSpec& spec, const ir::Target& target) {
  if (spec.rows % least_tile_rows != 0)
    return CannotEmit{"matmul", fmt::format("{} rows are not whole tiles of {}", spec.rows, least_tile_rows)};
  // Two teams or two blocks on a multiprocessor: one turns weights into halves while the other multiplies. Four teams where few rows leave
  // each waiting for memory. Clusters where large tiles, which read the least, are too few: of two blocks, which always find two neighbours
  // free; of four an H100 holds 30, so that 32 took twice as long. The first of equals is taken.
  struct Shape {
    int warps, teams, splits;
  };
  constexpr Shape shapes[] = {{8, 1, 1}, {16, 1, 1}, {8, 2, 1}, {4, 4, 1}, {8, 1, 2}, {16, 1, 2}, {8, 2, 2}, {4, 4, 2}};
  std::optional<TilePlan> best;
  std::optional<CannotEmit> refused;
  double best_us = 0;
  for (int tokens = 128; tokens >= least_tile_rows; tokens /= 2) {
    if (spec.rows % tokens != 0) continue;
    for (const Shape& shape : shapes) {
      if (shape.warps * shape.teams > 8 && !has_warpgroups(target)) continue;  // products by warps need more registers
      if (shape.teams > 2 && tokens > 64) continue;                            // registers
      if (shape.warps > 8 && !wide_weights(spec)) continue;
      if (shape.splits > 1 && !has_warpgroups(target)) continue;
      auto made = plan_with(spec, target, tokens, shape.warps, shape.teams, shape.splits);
      if (auto* why = std::get_if<CannotEmit>(&made)) {
        if (!refused) refused = std::move(*why);
        continue;
      }
      TilePlan& plan = std::get<TilePlan>(made);
      const double us = about_us(plan, spec.rows, target);
      if (best && us >= best_us * 0.99) continue;
      best = std::move(plan), best_us = us;
    }
  }
  if (!best) return *refused;
  return std::move(*best);
}

std::optional<double> tiles_us(const plan::KernelSpec& spec, const ir::Target& target) {
  const auto plan = plan_tiles(spec, target);
  if (!std::holds_alternative<TilePlan>(plan)) return std::nullopt;
  return about_us(std::get<TilePlan>(plan), spec.rows, target);
}

}  // namespace heddle::codegen::cuda
