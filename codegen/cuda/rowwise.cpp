// Programs without a loop: one block for each row and part, or several where there is one part and no value needs a sum over the row.
#include <algorithm>

#include "codegen/cuda/columns.h"
#include "codegen/cuda/emit.h"
#include "codegen/cuda/prelude.h"

namespace heddle::codegen::cuda {

Emitted emit_rowwise(const plan::KernelSpecT& spec, const ir::Target& target) {
  std::vector<Program> parts;
  std::int64_t widest = 0;
  for (const auto& part : spec.parts) {
    parts.emplace_back(*part->epilogue, spec, part->n);
    widest = std::max(widest, part->n);
    if (auto refused = check_columns(parts.back(), true)) return *refused;
  }
  const int threads = int(std::min<std::int64_t>(1024, (widest + 31) / 32 * 32));
  const plan::ProgramT& first = *spec.parts.front()->epilogue;
  const bool sums = std::ranges::any_of(first.instrs, [](const auto& i) { return i->op == "rms_norm" || i->op == "rms_scale"; });
  const std::int64_t blocks = parts.size() > 1 || sums || widest % threads != 0 ? 1 : widest / threads;

  Text out;
  out.put(header_comment(spec));
  out.put(prelude(target));
  out.put(program_prelude);
  out.put(column_prelude);
  const auto programs = programs_of(spec);
  print_ops(out, programs);
  print_rope_tables(out, programs);
  print_signature(out, spec, threads, 1, false);
  out.line("wait();");
  out.line("trigger();");
  out.line("const int row = blockIdx.x;");
  if (spec.slots_arg >= 0) out.line("const int slot = __ldcg(a{} + row);", spec.slots_arg);
  if (spec.positions_arg >= 0) out.line("const int position = __ldcg(a{} + row);", spec.positions_arg);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    if (parts.size() > 1) out.open("if (blockIdx.y == {}) {{", i);
    const std::int64_t count = parts[i].n() / blocks;
    const std::string begin = blocks > 1 ? fmt::format("int(blockIdx.y) * {}", count) : "0";
    print_columns(out, parts[i], {.threads = threads, .row = "row", .loop = {}, .first = begin, .count = count});
    if (parts.size() > 1) out.close();
  }
  out.close();

  CudaText text;
  text.entry = spec.name;
  text.text = out.str();
  text.grid = {std::uint32_t(spec.rows), std::uint32_t(parts.size() * std::size_t(blocks)), 1};
  text.block = {std::uint32_t(threads), 1, 1};
  text.programmatic = target.has("programmatic_launch");
  return text;
}

}  // namespace heddle::codegen::cuda
