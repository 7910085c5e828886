#include <numeric>

#include "codegen/spec.h"

namespace heddle::codegen {
namespace {

std::int64_t elements(const plan::ArgT& arg) {
  return std::accumulate(arg.shape.begin(), arg.shape.end(), std::int64_t{1}, std::multiplies<>());
}

std::string ops_of(const plan::ProgramT& program) {
  std::string out;
  auto add = [&](std::string_view word) { out += out.empty() ? std::string(word) : fmt::format("_{}", word); };
  for (auto& instr : program.instrs) add(instr->op);
  for (auto& store : program.stores)
    if (store->kind != plan::StoreKind::buffer) add("store");
  return out;
}

}  // namespace

std::string name_of(const plan::KernelSpecT& spec) {
  std::string name, after;
  switch (spec.loop) {
    case plan::LoopKind::gemm: name = spec.rows == 1 ? "gemv" : fmt::format("gemm{}", spec.rows); break;
    case plan::LoopKind::rowwise: name = fmt::format("rowwise_{}x{}", spec.rows, spec.parts.front()->n); break;
    case plan::LoopKind::attention:
      name = fmt::format("attention_{}x{}_{}x{}_{}", spec.rows, spec.attention->heads, spec.attention->kv_heads, spec.attention->head_dim,
                         spec.args[spec.attention->kv]->dtype);
      if (spec.attention->selected) name += "_selected";
      break;
    case plan::LoopKind::embed: {
      const plan::ArgT& table = *spec.args[spec.embed->table];
      name = fmt::format("embed_{}_{}x{}", table.dtype, spec.rows, table.shape.back());
      break;
    }
    case plan::LoopKind::route:
      name = fmt::format("route_{}x{}_of_{}", spec.rows, spec.args[spec.route->experts]->shape.back(),
                         spec.args[spec.route->logits]->shape.back());
      break;
    case plan::LoopKind::select: {
      name = fmt::format("select_{}of{}", spec.rows, spec.select->rows);
      for (const auto& pair : spec.select->pairs) {
        const plan::ArgT& from = *spec.args[pair->from];
        name += from.role == plan::ArgRole::buffer ? fmt::format("_{}", from.shape.back()) : fmt::format("_{}", plan::EnumNameArgRole(from.role));
      }
      break;
    }
    case plan::LoopKind::sample: name = fmt::format("sample_{}x{}", spec.rows, spec.args[spec.sample->logits]->shape.back()); break;
  }
  for (auto& part : spec.parts) {
    for (auto& segment : part->segments) {
      const plan::ArgT& weight = *spec.args[segment->weight];
      if (weight.shape.size() == 3)
        name += fmt::format("_{}_{}of{}x{}x{}", weight.dtype, spec.gemm->chosen, weight.shape[0], weight.shape[1], weight.shape[2]);
      else name += fmt::format("_{}_{}x{}", weight.dtype, weight.shape[0], weight.shape[1]);
    }
    if (const std::string ops = ops_of(*part->epilogue); !ops.empty()) after += "__" + ops;
  }
  std::string before;
  if (spec.prologue)
    if (const std::string ops = ops_of(*spec.prologue); !ops.empty()) before = ops + "__";
  return before + name + after;
}

std::int64_t min_bytes(const plan::KernelSpecT& spec) {
  std::int64_t bytes = 0;
  if (spec.select) {  // of what it takes rows from only those
    for (const auto& pair : spec.select->pairs)
      bytes += 2 * bytes_of(*dtype_named(spec.args[pair->to]->dtype), elements(*spec.args[pair->to]));
    return bytes + std::int64_t(sizeof(std::int32_t)) * spec.rows;
  }
  for (std::size_t i = 0; i < spec.args.size(); ++i) {
    const plan::ArgT& arg = *spec.args[i];
    const DType dtype = *dtype_named(arg.dtype);
    if (arg.role == plan::ArgRole::state) {
      // What a step adds; what attention reads besides grows with the position and is no constant of the kernel.
      if (arg.written) bytes += spec.rows * bytes_of(dtype, elements(arg));
    } else if (spec.embed && i == spec.embed->table) {
      bytes += spec.rows * bytes_of(dtype, arg.shape.back());
    } else if (arg.role == plan::ArgRole::weight && spec.gemm && arg.shape.size() == 3) {
      // Rows may choose the same experts: what they must read is what one of them chose.
      bytes += bytes_of(dtype, elements(arg) / arg.shape[0] * std::min(spec.gemm->chosen, arg.shape[0]));
    } else {
      bytes += bytes_of(dtype, elements(arg));
    }
  }
  return bytes;
}

}  // namespace heddle::codegen
