#include "codegen/cuda/emit.h"

#include <fmt/ranges.h>

#include "codegen/cuda/kernels/attention/prefill_attention.h"
#include "codegen/cuda/kernels/gemm/gemm.h"
#include "codegen/spec.h"
#include "runtime/plan/layout.h"

namespace heddle::codegen::cuda {

std::vector<const plan::ProgramT*> programs_of(const plan::KernelSpecT& spec) {
  std::vector<const plan::ProgramT*> programs;
  if (spec.prologue) programs.push_back(spec.prologue.get());
  for (const auto& part : spec.parts)
    if (part->epilogue) programs.push_back(part->epilogue.get());
  return programs;
}

std::string header_comment(const plan::KernelSpecT& spec) {
  Text out;
  out.line("// {}", spec.name);
  out.line("// {} of {} row{}, at least {} bytes", plan::EnumNameLoopKind(spec.loop), spec.rows, spec.rows == 1 ? "" : "s",
           min_bytes(spec));
  for (std::size_t i = 0; i < spec.args.size(); ++i) {
    const plan::ArgT& arg = *spec.args[i];
    out.line("//   a{}: {} {}[{}]{}{}", i, plan::EnumNameArgRole(arg.role), arg.dtype, fmt::join(arg.shape, ", "),
             arg.role == plan::ArgRole::weight ? " in " + arg.layout : "", arg.written ? ", written" : "");
  }
  if (spec.sample) out.line("// sample: top_k up to {} (-1: any)", spec.sample->max_top_k);
  if (spec.gemm) out.line("// gemm: k {}, activations {}", spec.gemm->k, spec.gemm->activations);
  if (const auto* a = spec.attention.get())
    out.line("// attention: {} heads of {} on {} kv heads, scale {}, window {}, softcap {}{}", a->heads, a->head_dim, a->kv_heads, a->scale,
             a->window, a->softcap, a->selected ? ", of selected rows" : "");
  if (spec.select)
    for (const auto& pair : spec.select->pairs) out.line("// select: a{} = rows of a{} by a{}", pair->to, pair->from, spec.select->index);
  if (spec.prologue && !(spec.prologue->inputs.empty() && spec.prologue->instrs.empty())) {
    out.line("// prologue{}", spec.gemm ? fmt::format(", the product is of v{}", spec.gemm->activation) : "");
    print_listing(out, *spec.prologue, "//   ");
  }
  for (std::size_t i = 0; i < spec.parts.size(); ++i) {
    const plan::PartT& part = *spec.parts[i];
    std::string segments;
    for (const auto& segment : part.segments)
      segments += fmt::format("{}a{}", segments.empty() ? ", products with " : ", ", segment->weight);
    out.line("// part {}: {} columns{}", i, part.n, segments);
    print_listing(out, *part.epilogue, "//   ");
  }
  return out.str();
}

void print_signature(Text& out, const plan::KernelSpecT& spec, int threads, int blocks_per_sm, bool scratch, int cluster) {
  std::string parameters;
  for (std::size_t i = 0; i < spec.args.size(); ++i) {
    if (i > 0) parameters += ", ";
    switch (spec.args[i]->role) {
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
  if (spec.sample) parameters += ", const SampleControl* control";
  out.open("extern \"C\" __global__ void {}__launch_bounds__({}, {}) {}({}) {{",
           cluster > 1 ? fmt::format("__cluster_dims__(1, 1, {}) ", cluster) : "", threads, blocks_per_sm, spec.name, parameters);
}

std::string layout_of(DType type) { return plan::planes_of(type).empty() ? "rows" : "planes"; }

void set_layouts(plan::KernelSpecT& spec) {
  for (auto& arg : spec.args)
    if (arg->role == plan::ArgRole::weight) arg->layout = layout_of(*dtype_named(arg->dtype));
}

namespace {

Emitted emit_any(const plan::KernelSpecT& spec, const ir::Target& target) {
  switch (spec.loop) {
    case plan::LoopKind::gemm:
      if (spec.gemm->experts >= 0) return emit_experts(spec, target);
      return spec.gemm->activations == tile_activations ? emit_tiles(spec, target) : emit_gemm(spec, target);
    case plan::LoopKind::attention:
      return flash_wanted(spec) ? emit_flash(spec, target) : emit_attention(spec, target);
    case plan::LoopKind::rowwise:
      return emit_rowwise(spec, target);
    case plan::LoopKind::embed:
      return emit_embed(spec, target);
    case plan::LoopKind::sample:
      return emit_sample(spec, target);
    case plan::LoopKind::route:
      return emit_route(spec, target);
    case plan::LoopKind::select:
      return emit_select(spec, target);
  }
  return CannotEmit{"", fmt::format("loop kind {} is not known", int(spec.loop))};
}

}  // namespace

Result<CudaText> emit(const plan::KernelSpecT& spec, const ir::Target& target) {
  Emitted emitted = emit_any(spec, target);
  if (const auto* refused = std::get_if<CannotEmit>(&emitted)) return error("{}: {}: {}", spec.name, refused->op, refused->reason);
  return std::get<CudaText>(std::move(emitted));
}

std::optional<CannotEmit> cannot_emit(const plan::KernelSpecT& spec, const ir::Target& target) {
  Emitted emitted = emit_any(spec, target);
  if (auto* refused = std::get_if<CannotEmit>(&emitted)) return std::move(*refused);
  return std::nullopt;
}

}  // namespace heddle::codegen::cuda
