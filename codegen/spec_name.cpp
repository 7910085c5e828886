#include "codegen/spec.h"

namespace heddle::codegen {
namespace {

std::string ops_of(const plan::Program& program) {
  std::string out;
  auto add = [&](std::string_view word) { out += out.empty() ? std::string(word) : fmt::format("_{}", word); };
  for (auto& instr : program.instrs) add(name(instr.op));
  for (auto& store : program.stores)
    if (store.kind != plan::StoreKind::buffer) add("store");
  return out;
}

/// What the loop is called, before its products.
struct LoopName {
  const plan::KernelSpec& spec;
  std::string operator()(const plan::Gemm&) const { return spec.rows == 1 ? "gemv" : fmt::format("gemm{}", spec.rows); }
  std::string operator()(const plan::Rowwise&) const { return fmt::format("rowwise_{}x{}", spec.rows, spec.parts.front().n); }
  std::string operator()(const plan::Attention& loop) const {
    return fmt::format("attention_{}x{}_{}x{}_{}{}", spec.rows, loop.heads, loop.kv_heads, loop.head_dim, spec.args[loop.kv].dtype,
                       loop.selected ? "_selected" : "");
  }
  std::string operator()(const plan::Embed& loop) const {
    const plan::Arg& table = spec.args[loop.table];
    return fmt::format("embed_{}_{}x{}", table.dtype, spec.rows, table.shape.back());
  }
  std::string operator()(const plan::TopExperts& loop) const {
    return fmt::format("route_{}x{}_of_{}", spec.rows, spec.args[loop.experts].shape.back(), spec.args[loop.logits].shape.back());
  }
  std::string operator()(const plan::GatherRows& loop) const {
    std::string name = fmt::format("select_{}of{}", spec.rows, loop.rows);
    for (const plan::GatherRows::Pair& pair : loop.pairs) {
      const plan::Arg& from = spec.args[pair.from];
      name += from.role == plan::ArgRole::buffer ? fmt::format("_{}", from.shape.back()) : fmt::format("_{}", from.role);
    }
    return name;
  }
  std::string operator()(const plan::Sample& loop) const { return fmt::format("sample_{}x{}", spec.rows, spec.args[loop.logits].shape.back()); }
};

}  // namespace

std::string name_of(const plan::KernelSpec& spec) {
  std::string name = std::visit(LoopName{spec}, spec.loop), after;
  for (const plan::Part& part : spec.parts) {
    for (const plan::Segment& segment : part.segments) {
      const plan::Arg& weight = spec.args[segment.weight];
      if (weight.shape.size() == 3)
        name += fmt::format("_{}_{}of{}x{}x{}", weight.dtype, spec.gemm()->chosen, weight.shape[0], weight.shape[1], weight.shape[2]);
      else name += fmt::format("_{}_{}x{}", weight.dtype, weight.shape[0], weight.shape[1]);
    }
    if (const std::string ops = ops_of(part.epilogue); !ops.empty()) after += "__" + ops;
  }
  std::string before;
  if (spec.gemm())
    if (const std::string ops = ops_of(spec.gemm()->prologue); !ops.empty()) before = ops + "__";
  return before + name + after;
}

}  // namespace heddle::codegen
