#include "codegen/cuda/kernel_text.h"

#include <fmt/ranges.h>

#include "codegen/cuda/expression.h"
#include "codegen/spec.h"

namespace heddle::codegen::cuda {

std::string header_comment(const plan::KernelSpec& spec) {
  Text out;
  out.line("// {}", spec.name);
  out.line("// {} of {} row{}, at least {} bytes", plan::name(spec.loop), spec.rows, spec.rows == 1 ? "" : "s",
           min_bytes(spec));
  for (std::size_t i = 0; i < spec.args.size(); ++i) {
    const plan::Arg& arg = spec.args[i];
    out.line("//   a{}: {} {}[{}]{}{}", i, plan::name(arg.role), arg.dtype, fmt::join(arg.shape, ", "),
             arg.role == plan::ArgRole::weight ? fmt::format(" in {}", arg.layout) : "", arg.written ? ", written" : "");
  }
  if (spec.sample()) out.line("// sample: top_k up to {} (-1: any)", spec.sample()->max_top_k);
  if (spec.gemm()) out.line("// gemm: k {}, activations {}", spec.gemm()->k, spec.gemm()->activations);
  if (const auto* a = spec.attention())
    out.line("// attention: {} heads of {} on {} kv heads, scale {}, window {}, softcap {}{}", a->heads, a->head_dim, a->kv_heads, a->scale,
             a->window, a->softcap, a->selected ? ", of selected rows" : "");
  if (spec.gather_rows())
    for (const auto& pair : spec.gather_rows()->pairs) out.line("// select: a{} = rows of a{} by a{}", pair.to, pair.from, spec.gather_rows()->index);
  if (const plan::Gemm* gemm = spec.gemm(); gemm && !(gemm->prologue.inputs.empty() && gemm->prologue.instrs.empty())) {
    out.line("// prologue, the product is of v{}", gemm->activation);
    print_listing(out, gemm->prologue, "//   ");
  }
  for (std::size_t i = 0; i < spec.parts.size(); ++i) {
    const plan::Part& part = spec.parts[i];
    std::string segments;
    for (const auto& segment : part.segments)
      segments += fmt::format("{}a{}", segments.empty() ? ", products with " : ", ", segment.weight);
    out.line("// part {}: {} columns{}", i, part.n, segments);
    print_listing(out, part.epilogue, "//   ");
  }
  return out.str();
}

void print_signature(Text& out, const plan::KernelSpec& spec, int threads, int blocks_per_sm, bool scratch, int cluster) {
  std::string parameters;
  for (std::size_t i = 0; i < spec.args.size(); ++i) {
    if (i > 0) parameters += ", ";
    switch (spec.args[i].role) {
      case plan::ArgRole::weight:
        parameters += fmt::format("const char* a{}", i);
        break;
      case plan::ArgRole::buffer:
        parameters += fmt::format("char* a{}", i);
        break;
      case plan::ArgRole::state:
        parameters += fmt::format("State a{}", i);
        break;
      default:
        parameters += fmt::format("int* a{}", i);
    }
  }
  if (scratch) parameters += ", char* scratch";
  if (spec.sample()) parameters += ", const SampleControl* control";
  out.open("extern \"C\" __global__ void {}__launch_bounds__({}, {}) {}({}) {{",
           cluster > 1 ? fmt::format("__cluster_dims__(1, 1, {}) ", cluster) : "", threads, blocks_per_sm, spec.name, parameters);
}

}  // namespace heddle::codegen::cuda
