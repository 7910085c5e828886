// Programs without a loop: one block for each row, or several where no value needs a sum over the row.
#include <algorithm>

#include "codegen/cuda/columns.h"
#include "codegen/cuda/emit.h"
#include "codegen/cuda/prelude.h"

namespace heddle::codegen::cuda {

Emitted emit_rowwise(const plan::KernelSpecT& spec, const ir::Target& target) {
  const Program program(*spec.parts.front()->epilogue, spec, spec.parts.front()->n);
  if (auto refused = check_columns(program, true)) return *refused;
  const std::int64_t n = program.n();
  const int threads = int(std::min<std::int64_t>(1024, (n + 31) / 32 * 32));
  const bool sums = std::ranges::any_of(program.program().instrs, [](const auto& i) { return i->op == "rms_norm" || i->op == "rms_scale"; });
  const std::int64_t blocks = sums || n % threads != 0 ? 1 : n / threads;

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
  print_columns(out, program, {.threads = threads, .row = "row", .loop = {}, .first = fmt::format("int(blockIdx.y) * {}", n / blocks), .count = n / blocks});
  out.close();

  CudaText text;
  text.entry = spec.name;
  text.text = out.str();
  text.grid = {std::uint32_t(spec.rows), std::uint32_t(blocks), 1};
  text.block = {std::uint32_t(threads), 1, 1};
  text.programmatic = target.has("programmatic_launch");
  return text;
}

}  // namespace heddle::codegen::cuda
