#include "codegen/spec_text.h"

#include <fmt/ranges.h>

#include "codegen/spec.h"

namespace heddle::codegen {
namespace {

class Lines {
 public:
  template <class... Args>
  void line(fmt::format_string<Args...> format, Args&&... args) {
    text_ += fmt::format(format, std::forward<Args>(args)...) + "\n";
  }
  std::string take() { return std::move(text_); }

 private:
  std::string text_;
};

void print_program(Lines& out, const plan::Program& program) {
  std::size_t number = 0;
  for (const auto& input : program.inputs) {
    const std::string what = input.kind == plan::InputKind::constant     ? fmt::format(" {}", input.value)
                             : input.kind == plan::InputKind::row_scalar ? fmt::format(" v{} of the prologue", input.index)
                             : input.kind == plan::InputKind::loop       ? fmt::format(" {}", input.index)
                                                                         : fmt::format(" a{}", input.index);
    out.line("//   v{} = {}{}", number++, plan::name(input.kind), what);
  }
  for (const auto& instr : program.instrs) {
    std::string operands, attributes;
    for (unsigned operand : instr.operands) operands += fmt::format("{} v{}", operands.empty() ? "" : ",", operand);
    for_each_attribute(instr.op,
                       [&](std::string_view, const auto& value) { attributes += fmt::format("{}{}", attributes.empty() ? "" : ", ", value); });
    if (!attributes.empty()) attributes = fmt::format(" {{{}}}", attributes);
    out.line("//   v{} = {}{}{}", number++, instr.op, operands, attributes);
  }
  for (const auto& store : program.stores) out.line("//   {} a{} = v{}", plan::name(store.kind), store.index, store.value);
}

}  // namespace

std::string spec_text(const plan::KernelSpec& spec) {
  Lines out;
  out.line("// {}", spec.name);
  out.line("// {} of {} row{}, at least {} bytes", plan::name(spec.loop), spec.rows, spec.rows == 1 ? "" : "s", min_bytes(spec));
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
    print_program(out, gemm->prologue);
  }
  for (std::size_t i = 0; i < spec.parts.size(); ++i) {
    const plan::Part& part = spec.parts[i];
    std::string segments;
    for (const auto& segment : part.segments) segments += fmt::format("{}a{}", segments.empty() ? ", products with " : ", ", segment.weight);
    out.line("// part {}: {} columns{}", i, part.n, segments);
    print_program(out, part.epilogue);
  }
  return out.take();
}

}  // namespace heddle::codegen
