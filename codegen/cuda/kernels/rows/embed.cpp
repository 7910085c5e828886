// Rows of a table: one block for each; the row is dequantised into shared memory, then the program runs over its columns.
#include "codegen/cuda/kernels/rows/embed.h"

#include <algorithm>

#include "codegen/cuda/kernels/rows/column_program.h"
#include "codegen/cuda/device/prelude.h"
#include "codegen/cuda/target.h"
#include "codegen/spec_text.h"

namespace heddle::codegen::cuda {

std::variant<EmbedPlan, Refusal> plan_embed(const plan::KernelSpec& spec, const ir::Target& target) {
  Program program(spec.parts.front().epilogue, spec, spec.parts.front().n);
  if (auto refused = check_columns(program, false)) return *refused;
  const std::int64_t n = program.n();
  const plan::Arg& table = spec.args[spec.embed()->table];
  auto format = format_of(table.dtype, table.layout, table.shape[0], n);
  if (!format.ok()) return refused_loop(spec, format.error().message());
  if (n * 4 > limits_of(target).shared_bytes) return refused_loop(spec, fmt::format("a row of {} does not fit into shared memory", n));
  const int threads = int(std::min<std::int64_t>(1024, (n / 4 + 31) / 32 * 32));
  Launch launch;
  launch.grid = {std::uint32_t(spec.rows), 1, 1};
  launch.block = {std::uint32_t(threads), 1, 1};
  launch.dynamic_shared_bytes = std::uint32_t(n * 4);
  launch.programmatic = target.has("programmatic_launch");
  return EmbedPlan{std::move(program), std::move(*format), threads, launch};
}

CudaText print_embed(const plan::KernelSpec& spec, const EmbedPlan& plan, const ir::Target& target) {
  const auto& [program, format, threads, launch] = plan;
  const std::int64_t n = program.n(), pieces = n / format.elements;
  Text out;
  out.put(spec_text(spec));
  out.put(prelude(target));
  out.put(format_prelude(n, 4));
  out.put(format.text);
  out.put(program_prelude);
  const auto programs = programs_of(spec);
  print_ops(out, programs);
  print_rope_tables(out, programs);
  print_signature(out, spec, threads, 1, false);
  out.line("DYNAMIC_SHARED;");
  out.line("float* const x = (float*)shared;  // [{}]", n);
  out.line("wait();");
  out.line("trigger();");
  out.line("const int row = blockIdx.x;");
  out.line("const int token = __ldcg(a{} + row);", spec.embed()->tokens);
  if (spec.slots_arg >= 0) out.line("const int slot = __ldcg(a{} + row);", spec.slots_arg);
  if (spec.positions_arg >= 0) out.line("const int position = __ldcg(a{} + row);", spec.positions_arg);
  out.open("for (u32 piece = threadIdx.x; piece < {}; piece += {}) {{", pieces, threads);
  out.line("const auto w = unpack_{0}(load_{0}({1}, token * {2}u + piece), piece);", format.name,
           format.planes_of(fmt::format("a{}", spec.embed()->table)), pieces);
  out.line("#pragma unroll");
  out.line("for (int i = 0; i < {0}; ++i) x[piece * {0} + i] = {1};", format.elements,
           format.integers ? fmt::format("element<{}, {}>(w, i)", format.halves, format.offset) : "w.w[i]");
  out.close();
  out.line("__syncthreads();");
  print_columns(out, program, {.threads = threads, .row = "row", .loop = "x[i]", .first = "0", .count = n});
  out.close();
  return {launch, spec.name, out.str()};
}

}  // namespace heddle::codegen::cuda
