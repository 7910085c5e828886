// Programs without a loop. A block has a row's columns of one part: all of them where a value needs a sum over the row, some heads where
// norms or ropes of heads are computed, else as many as it has threads.
#include "codegen/cuda/kernels/rows/rowwise.h"

#include <algorithm>
#include <numeric>

#include "codegen/cuda/kernels/rows/column_program.h"
#include "codegen/cuda/device/prelude.h"
#include "codegen/spec_text.h"

namespace heddle::codegen::cuda {
namespace {

/// Columns that must be in one block; n: whole rows.
std::int64_t unit_of(const Program& program) {
  std::int64_t unit = 1;
  for (const auto& instr : program.program().instrs) {
    const std::int64_t vector = instr.as<Elementwise>() || instr.operands.size() < 2 ? 0 : program[instr.operands[1]].width;
    unit = std::lcm(unit, columns_together(instr.op, program.n(), vector));
  }
  return unit;
}

/// Of the multiples of `unit` that n is made of: the largest that is at most `wanted`, or the smallest.
std::int64_t columns_of_block(std::int64_t n, std::int64_t unit, std::int64_t wanted) {
  std::int64_t best = 0;
  for (std::int64_t columns = unit; columns <= n; columns += unit)
    if (n % columns == 0 && (best == 0 || columns <= wanted)) best = columns;
  return best;
}

}  // namespace

std::variant<RowwisePlan, Refusal> plan_rowwise(const plan::KernelSpec& spec, const ir::Target& target) {
  std::vector<Program> parts;
  std::vector<std::int64_t> units;
  std::int64_t widest = 0;
  bool heads = false;
  for (const auto& part : spec.parts) {
    parts.emplace_back(part.epilogue, spec, part.n);
    if (auto refused = check_columns(parts.back(), true)) return *refused;
    units.push_back(unit_of(parts.back()));
    widest = std::max(widest, part.n);
    heads = heads || (units.back() < part.n && (parts.back().find<RmsNorm>() || parts.back().find<heddle::Rope>()));
  }
  // Of heads a block has few, so that many multiprocessors share a row.
  const std::int64_t most = heads ? std::max<std::int64_t>(128, *std::ranges::max_element(units)) : 1024;
  const int threads = int((std::min(most, widest) + 31) / 32 * 32);
  RowwisePlan plan{.parts = {}, .threads = threads, .launch = {}};
  std::int64_t blocks = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::int64_t n = parts[i].n(), columns = columns_of_block(n, units[i], threads), first = blocks;
    blocks += n / columns;
    plan.parts.push_back({std::move(parts[i]), columns, first, blocks});
  }
  plan.launch.grid = {std::uint32_t(spec.rows), std::uint32_t(blocks), 1};
  plan.launch.block = {std::uint32_t(threads), 1, 1};
  plan.launch.programmatic = target.has("programmatic_launch");
  return plan;
}

CudaText print_rowwise(const plan::KernelSpec& spec, const RowwisePlan& plan, const ir::Target& target) {
  const auto& [parts, threads, launch] = plan;
  Text out;
  out.put(spec_text(spec));
  out.put(prelude(target));
  out.put(program_prelude);
  out.put(column_prelude);
  const auto programs = programs_of(spec);
  print_ops(out, programs);
  print_rope_tables(out, programs);
  print_signature(out, spec, threads, 1, false);
  out.line("const int row = blockIdx.x;");
  const auto names = [&](std::size_t part) { return fmt::format("{}_", part); };
  bool staged = false;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const std::string mine =
        parts.size() > 1 ? fmt::format("blockIdx.y >= {} && blockIdx.y < {}", parts[i].first, parts[i].end) : std::string();
    staged |= print_column_weights(out, parts[i].program, threads, names(i), mine);
  }
  out.line("wait();");
  out.line("trigger();");
  if (spec.slots_arg >= 0) out.line("const int slot = __ldcg(a{} + row);", spec.slots_arg);
  if (spec.positions_arg >= 0) out.line("const int position = __ldcg(a{} + row);", spec.positions_arg);
  if (staged) out.line("__syncthreads();");
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const RowwisePlan::Part& part = parts[i];
    if (parts.size() > 1) out.open("{}if (blockIdx.y < {}) {{", i == 0 ? "" : "else ", part.end);
    const std::string block = part.first == 0 ? std::string("int(blockIdx.y)") : fmt::format("int(blockIdx.y - {})", part.first);
    const std::string first = part.columns < part.program.n() ? fmt::format("{} * {}", block, part.columns) : "0";
    print_columns(out, part.program,
                  {.threads = threads, .row = "row", .loop = {}, .first = first, .count = part.columns, .staged = names(i)});
    if (parts.size() > 1) out.close();
  }
  out.close();
  return {launch, spec.name, out.str()};
}

}  // namespace heddle::codegen::cuda
