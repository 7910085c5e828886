#include <algorithm>
#include <bit>
#include <numeric>

#include "codegen/cuda/kernels/gemv/gemv.h"
#include "codegen/cuda/target.h"
#include "codegen/cuda/tuning.h"
#include "ir/base/scalar_ops.h"

namespace heddle::codegen::cuda {
namespace {

using Refused = std::optional<Refusal>;

Refused check_prologue(const plan::KernelSpec& spec, const Program& program) {
  const unsigned activation = spec.gemm()->activation;
  for (unsigned v = 0; v < program.size(); ++v) {
    const Value& value = program[v];
    if (value.input && value.dtype != DType::f32 && value.input->kind == plan::InputKind::rows && v != activation)
      return refused_loop(spec, fmt::format("its prologue reads {} as numbers", name(value.dtype)));
    if (!value.instr) continue;
    const plan::Instr& instr = *value.instr;
    if (instr.as<heddle::Rope>()) return program.refused(instr, "in front of a product it is not emitted");
    if (instr.as<Quantize>() && (v != activation || value.dtype != DType::q8_16))
      return program.refused(instr, "in front of a product it makes q8_16 for the product and nothing else");
    if (instr.as<RmsNorm>() && program[instr.operands[1]].width != program.n())
      return program.refused(instr, "in front of a product a norm of heads is not emitted");
  }
  if (!program.program().stores.empty()) return refused_loop(spec, "its prologue stores");
  return std::nullopt;
}

Refused check_epilogue(const plan::KernelSpec& spec, const Program& program) {
  const plan::Instr* rope = nullptr;
  for (const auto& instr : program.program().instrs) {
    if (instr.as<Elementwise>()) continue;
    const auto* op = instr.as<heddle::Rope>();
    if (!op) return program.refused(instr, "behind a product it needs more columns together than a unit has");
    if (rope) return program.refused(instr, "behind a product there may be one");
    if (op->head_dim % 2 != 0) return program.refused(instr, fmt::format("a head has {} elements, which is odd", op->head_dim));
    rope = &instr;
  }
  for (unsigned v = 0; v < program.inputs(); ++v)
    if (program[v].input->kind == plan::InputKind::rows && program[v].dtype != DType::f32)
      return refused_loop(spec, fmt::format("its epilogue reads {} as numbers", name(program[v].dtype)));
  for (const auto& store : program.program().stores) {
    if (!program[store.value].columns) return refused_loop(spec, "its epilogue stores a value of one column");
    const DType dtype = spec.args[store.index].dtype;
    if (dtype != DType::f32 && !(store.kind != plan::StoreKind::buffer && dtype == DType::f16))
      return refused_loop(spec, fmt::format("its epilogue stores {}", dtype));
  }
  return std::nullopt;
}

/// Columns that products with the activation need; also says what forms of it there must be.
Refused plan_parts(const plan::KernelSpec& spec, GemvPlan& plan) {
  const bool quantized = spec.gemm()->activations == DType::q8_16;
  for (const auto& part : spec.parts) {
    GemvPart out{.spec = &part, .epilogue = Program(part.epilogue, spec, part.n), .rope = {}, .formats = {}};
    if (auto refused = check_epilogue(spec, out.epilogue)) return refused;
    if (const plan::Instr* rope = out.epilogue.find<heddle::Rope>()) out.rope = rope_of(out.epilogue, *rope);
    for (const auto& segment : part.segments) {
      const plan::Arg& weight = spec.args[segment.weight];
      auto format = format_of(weight.dtype, weight.layout, part.n, plan.k);
      if (!format.ok()) return refused_loop(spec, format.error().message());
      (format->integers && quantized ? plan.bytes : plan.floats) = true;
      if (!out.formats.empty() && out.formats.front().elements != format->elements)
        return refused_loop(spec, fmt::format("weights in {} and {} do not share a unit", out.formats.front().name, format->name));
      out.formats.push_back(std::move(*format));
    }
    plan.parts.push_back(std::move(out));
  }
  return std::nullopt;
}

void plan_classes(GemvPlan& plan) {
  const bool any_rope = std::ranges::any_of(plan.parts, [](const GemvPart& part) { return part.rope.has_value(); });
  for (unsigned i = 0; i < plan.parts.size(); ++i) {
    GemvPart& part = plan.parts[i];
    // Beside units of two rows, others are made as large where they can be, so that all use the ring alike.
    const int pair = part.rope || (any_rope && part.formats.size() == 1 && part.spec->n % 2 == 0) ? 2 : 1;
    part.units = part.spec->n / pair;
    auto same = std::ranges::find_if(plan.classes, [&](const GemvClass& c) {
      const auto& other = plan.parts[c.parts.front()].formats;
      return c.pair == pair && std::ranges::equal(other, part.formats, {}, &Format::type, &Format::type);
    });
    if (same == plan.classes.end()) {
      GemvClass c{.parts = {},
                  .pair = pair,
                  .streams = pair * int(part.formats.size()),
                  .elements = part.formats.front().elements,
                  .stage_offsets = {},
                  .tile = {}};
      same = plan.classes.insert(plan.classes.end(), c);
    }
    same->parts.push_back(i);
  }
  for (GemvClass& c : plan.classes) {
    int bytes = 0;
    for (const Format& format : plan.parts[c.parts.front()].formats)
      for (int i = 0; i < c.pair; ++i) {
        c.stage_offsets.push_back(bytes);
        bytes += format.stage_bytes;
      }
    plan.stage_bytes = std::max(plan.stage_bytes, bytes);
  }
}

/// Lanes on a row, and warps: as make the longest warp's work shortest; then as few idle lanes as possible; then as many lanes as possible.
/// Several warps on a row put their sums together at the end, which costs about half a round.
void choose_lanes(GemvPlan& plan, const ir::Target& target) {
  std::int64_t next = 0;
  // Measured on an H100: a step of a 1B model in q8_0 gains 1.8 %, one in q4_K and q6_K, whose rounds are half as long, loses 1.1 %.
  const bool long_rounds = plan.stage_bytes >= 1024 * plan.classes.front().streams;
  const bool may_split =
      long_rounds && plan.classes.size() == 1 && plan.rows == plan.chunk && plan.classes.front().streams <= 2 && plan.warps == 32;
  plan.slices = 1;
  for (GemvClass& c : plan.classes) {
    int together = 1;
    for (unsigned p : c.parts)
      for (const Format& format : plan.parts[p].formats) together = std::max(together, format.lanes_together);
    const std::int64_t pieces = plan.k / c.elements;
    std::int64_t best_cost = 0, best_work = 0;
    for (int slices = 1; slices <= (may_split ? 4 : 1); slices *= 2)
      for (int lanes = 32; lanes >= std::max(plan.padded, together); lanes /= 2) {
        std::int64_t warp_units = 0;
        for (unsigned p : c.parts) warp_units += (plan.parts[p].units + 32 / lanes - 1) / (32 / lanes);
        const std::int64_t rounds_each = (pieces + lanes * slices - 1) / (lanes * slices);
        const std::int64_t teams = std::int64_t(target.workers) * (plan.warps / slices);
        const std::int64_t cost = (warp_units + teams - 1) / teams * (2 * rounds_each + (slices > 1)),
                           work = warp_units * rounds_each * slices;
        const bool first = slices == 1 && lanes == 32;
        if (!first && std::pair(cost, work) >= std::pair(best_cost, best_work)) continue;
        best_cost = cost, best_work = work;
        c.lanes = lanes;
        c.pieces = int(rounds_each);
        plan.slices = slices;
      }
    c.tail = pieces % (c.lanes * plan.slices) != 0;
    c.begin = next;
    for (unsigned p : c.parts) {
      plan.parts[p].begin = next;
      next += (plan.parts[p].units + c.teams() - 1) / c.teams();
      plan.parts[p].end = next;
    }
    c.end = next;
  }
}

/// Whether tensor cores can do it: integer weights in tiles of 16 whole rows, streams of a unit in one format.
bool tiles_fit(GemvPlan& plan) {
  if (plan.floats || !plan.bytes || plan.chunk < 3) return false;
  for (GemvClass& c : plan.classes) {
    if (c.streams > 2) return false;
    for (unsigned p : c.parts) {
      const GemvPart& part = plan.parts[p];
      if (part.units % c.tile_units() != 0) return false;
      for (const Format& format : part.formats)
        if (format.type != part.formats.front().type) return false;
    }
    auto tile = tile_format_of(plan.parts[c.parts.front()].formats.front(), plan.k, plan.blocks);
    if (!tile) return false;
    c.tile = std::move(*tile);
  }
  return true;
}

/// Warps that share a tile: as many as make the longest team's work shortest; a tile's end costs about a stage.
void choose_slices(GemvPlan& plan, const ir::Target& target) {
  std::int64_t next = 0;
  plan.stage_bytes = 0;
  for (GemvClass& c : plan.classes) {
    c.begin = next;
    for (unsigned p : c.parts) {
      plan.parts[p].begin = next;
      next += plan.parts[p].units / c.tile_units();
      plan.parts[p].end = next;
    }
    c.end = next;
    plan.stage_bytes = std::max(plan.stage_bytes, c.tile.stage_bytes);
  }
  std::int64_t best = 0;
  for (int slices = 1; slices <= plan.warps && slices <= plan.tile_stages(); slices *= 2) {
    const std::int64_t teams = std::int64_t(target.workers) * (plan.warps / slices);
    const std::int64_t work = (next + teams - 1) / teams * ((plan.tile_stages() + slices - 1) / slices + 1);
    if (slices > 1 && work >= best) continue;
    best = work, plan.slices = slices;
  }
}

/// Stages of the ring: about 64 KiB for a block, two at least, and no more than a warp will ever fill: a larger ring keeps the next kernel
/// from starting.
int wanted_stages(const GemvPlan& plan, const ir::Target& target) {
  std::int64_t rounds = 0;
  for (const GemvClass& c : plan.classes) rounds += (c.end - c.begin) * c.pieces;
  const std::int64_t warps = std::int64_t(target.workers) * plan.warps / plan.slices;
  const int most_useful = int(std::min<std::int64_t>((rounds + warps - 1) / warps, 4));
  int longest = 1;
  for (const GemvClass& c : plan.classes) longest = std::max(longest, c.pieces);
  const int by_size = (65536 + plan.warps * plan.stage_bytes - 1) / (plan.warps * plan.stage_bytes);
  return std::clamp(by_size, 2, std::clamp(std::max(most_useful, longest), 2, plan.warps > 16 ? 3 : 4));
}

void lay_out(GemvPlan& plan) {
  int end = 0;
  const auto take = [&](std::int64_t bytes) {
    const int at = end;
    end += int((bytes + 15) / 16 * 16);
    return at;
  };
  // Rows of tiles lie apart by a bank's width more, and there are always eight.
  plan.x_row = plan.k / 2 + (plan.mma ? 16 : 0);
  const std::int64_t half = plan.bytes ? (plan.mma ? 8 : plan.chunk) * plan.x_row : 0;
  plan.first_at = take(half), plan.last_at = take(half), plan.ds_at = take(half);
  plan.x_at = take(plan.floats ? plan.chunk * plan.k * 4 : 0);
  plan.partials_at = take(std::int64_t(plan.reductions.size()) * plan.warps * 4);
  // Of tiles their factors, or what warps of a team have summed up, twice.
  plan.factors_at = take(plan.mma ? plan.warps * 1024 : plan.slices > 1 ? 2 * plan.warps * plan.classes.front().streams * 128 : 0);
  plan.ring_at = end;
  plan.shared_bytes = end + plan.warps * plan.stages * plan.stage_bytes;
}

GemvPlan with_launch(GemvPlan plan, const ir::Target& target) {
  plan.launch.grid_per_sm = 1;
  plan.launch.block = {std::uint32_t(plan.warps * 32), 1, 1};
  plan.launch.dynamic_shared_bytes = std::uint32_t(plan.shared_bytes);
  plan.launch.programmatic = target.has("programmatic_launch");
  return plan;
}

}  // namespace

std::variant<GemvPlan, Refusal> plan_gemv(const plan::KernelSpec& spec, const ir::Target& target) {
  GemvPlan plan{};
  plan.k = spec.gemm()->k;
  plan.rows = int(spec.rows);
  if (spec.gemm()->activations != DType::f32 && spec.gemm()->activations != DType::q8_16)
    return refused_loop(spec, fmt::format("activations in {} are not of this target", spec.gemm()->activations));
  plan.prologue.emplace(spec.gemm()->prologue, spec, plan.k);
  if (auto refused = check_prologue(spec, *plan.prologue)) return *refused;
  for (unsigned v = 0; v < plan.prologue->size(); ++v)
    if (const plan::Instr* instr = (*plan.prologue)[v].instr; instr && (instr->as<RmsScale>() || instr->as<RmsNorm>()))
      plan.reductions.push_back(v);
  if (auto refused = plan_parts(spec, plan)) return *refused;
  plan_classes(plan);
  plan.x_piece = plan.parts.front().formats.front().elements;

  const int lane_stage_bytes = plan.stage_bytes;
  int streams = 1;
  for (const GemvClass& c : plan.classes) streams = std::max(streams, c.streams);
  // Activation rows at once: up to 8, fewer where shared memory has no room for them. Each pass reads the weights anew.
  const int room = limits_of(target).shared_bytes;
  for (int passes = (plan.rows + 7) / 8; passes <= plan.rows; ++passes) {
    plan.chunk = (plan.rows + passes - 1) / passes;
    plan.padded = int(std::bit_ceil(unsigned(plan.chunk)));
    for (const auto& [warps, blocks] : {std::pair{16, 8}, {8, 8}, {8, 4}}) {
      plan.warps = warps, plan.blocks = blocks;
      plan.mma = tiles_fit(plan);
      if (!plan.mma) break;
      choose_slices(plan, target);
      plan.stages = blocks == 8 ? 2 : 3;
      lay_out(plan);
      if (plan.shared_bytes <= room) return with_launch(std::move(plan), target);
    }
    plan.mma = false;
    plan.stage_bytes = lane_stage_bytes;
    // 32 warps have 64 registers a lane, 16 have 128. Float products of blocks unpack 32 numbers.
    const bool unpacks = plan.floats && plan.x_piece == 32;
    const int most_warps = plan.chunk * streams <= (unpacks ? 2 : 4) ? 32 : 16;
    for (plan.warps = std::clamp(knob(spec, "warps", most_warps), 8, most_warps); plan.warps >= 8; plan.warps -= 4) {
      choose_lanes(plan, target);
      for (plan.stages = std::clamp(knob(spec, "stages", wanted_stages(plan, target)), 2, 8); plan.stages >= 2; --plan.stages) {
        lay_out(plan);
        if (plan.shared_bytes <= room) return with_launch(std::move(plan), target);
      }
    }
  }
  return refused_loop(spec, fmt::format("{} activations do not fit into the {} KiB of a block's shared memory", plan.k, room / 1024));
}

}  // namespace heddle::codegen::cuda
