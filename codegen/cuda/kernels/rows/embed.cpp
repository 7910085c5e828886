// Rows of a table: one block for each; the row is dequantised into shared memory, then the program runs over its columns.
#include <algorithm>

#include "codegen/cuda/kernels/rows/column_program.h"
#include "codegen/cuda/emit.h"
#include "codegen/cuda/device/lane_formats.h"
#include "codegen/cuda/device/prelude.h"
#include "codegen/cuda/target.h"

namespace heddle::codegen::cuda {

Emitted emit_embed(const plan::KernelSpec& spec, const ir::Target& target) {
  const Program program(spec.parts.front().epilogue, spec, spec.parts.front().n);
  if (auto refused = check_columns(program, false)) return *refused;
  const std::int64_t n = program.n();
  const plan::Arg& table = spec.args[spec.embed()->table];
  auto format = format_of(table.dtype, table.layout, table.shape[0], n);
  if (!format.ok()) return CannotEmit{"embed", format.error().message()};
  if (n * 4 > limits_of(target).shared_bytes) return CannotEmit{"embed", fmt::format("a row of {} does not fit into shared memory", n)};
  const std::int64_t pieces = n / format->elements;
  const int threads = int(std::min<std::int64_t>(1024, (n / 4 + 31) / 32 * 32));

  Text out;
  out.put(header_comment(spec));
  out.put(prelude(target));
  out.put(format_prelude(n, 4));
  out.put(format->text);
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
  out.line("const auto w = unpack_{0}(load_{0}({1}, token * {2}u + piece), piece);", format->name,
           format->planes_of(fmt::format("a{}", spec.embed()->table)), pieces);
  out.line("#pragma unroll");
  out.line("for (int i = 0; i < {0}; ++i) x[piece * {0} + i] = {1};", format->elements,
           format->integers ? fmt::format("element<{}, {}>(w, i)", format->halves, format->offset) : "w.w[i]");
  out.close();
  out.line("__syncthreads();");
  print_columns(out, program, {.threads = threads, .row = "row", .loop = "x[i]", .first = "0", .count = n});
  out.close();

  CudaText text;
  text.entry = spec.name;
  text.text = out.str();
  text.grid = {std::uint32_t(spec.rows), 1, 1};
  text.block = {std::uint32_t(threads), 1, 1};
  text.dynamic_shared_bytes = std::uint32_t(n * 4);
  text.programmatic = target.has("programmatic_launch");
  return text;
}

}  // namespace heddle::codegen::cuda
