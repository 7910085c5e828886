#include "codegen/estimates.h"

#include "ir/base/shape.h"

namespace heddle::codegen {
namespace {

/// Of a row with one key.
std::int64_t attention_operations(const plan::Attention& attention) { return 4 * attention.heads * attention.head_dim; }

}  // namespace

std::int64_t min_bytes(const plan::KernelSpec& spec) {
  const auto whole = [](const plan::Arg& arg) { return bytes_of(arg.dtype, elements_of(arg.shape)); };
  std::int64_t bytes = 0;
  if (spec.gather_rows()) {  // of what it takes rows from only those
    for (const auto& pair : spec.gather_rows()->pairs) bytes += 2 * whole(spec.args[pair.to]);
    return bytes + std::int64_t(sizeof(std::int32_t)) * spec.rows;
  }
  for (std::size_t i = 0; i < spec.args.size(); ++i) {
    const plan::Arg& arg = spec.args[i];
    if (arg.role == plan::ArgRole::state) {
      // What a step adds; what attention reads besides grows with the position and is no constant of the kernel.
      if (arg.written) bytes += bytes_of_positions(arg.dtype, arg.shape, spec.rows);
    } else if (spec.embed() && i == spec.embed()->table) {
      bytes += bytes_of_rows(arg.dtype, arg.shape.back(), spec.rows);
    } else if (arg.role == plan::ArgRole::weight && spec.gemm() && arg.shape.size() == 3) {
      // Rows may choose the same experts: what they must read is what one of them chose.
      bytes += bytes_of_matrices(arg.dtype, arg.shape, spec.gemm()->chosen);
    } else {
      bytes += whole(arg);
    }
  }
  return bytes;
}

std::int64_t positions_seen(const plan::Attention& attention, std::span<const std::int64_t> at) {
  std::int64_t first = INT64_MAX, end = 0;
  for (const std::int64_t position : at) {
    end = std::max(end, position + 1);
    first = std::min(first, attention.window > 0 ? std::max<std::int64_t>(0, position + 1 - attention.window) : 0);
  }
  return std::max<std::int64_t>(0, end - first);
}

std::int64_t attended_bytes(const plan::KernelSpec& spec, std::span<const std::int64_t> at) {
  const plan::Attention* attention = spec.attention();
  if (!attention) return 0;
  const plan::Arg& state = spec.args[attention->kv];
  return bytes_of_positions(state.dtype, state.shape, positions_seen(*attention, at));
}

std::int64_t operations(const plan::KernelSpec& spec, std::span<const std::int64_t> at) {
  std::int64_t sum = 0;
  if (spec.attention())
    for (const std::int64_t& position : at)
      sum += attention_operations(*spec.attention()) * positions_seen(*spec.attention(), {&position, 1});
  if (spec.gemm()) {
    const std::int64_t slices = spec.gemm()->gates >= 0 ? spec.gemm()->chosen : 1;
    for (const auto& part : spec.parts)
      sum += std::int64_t(at.size()) * 2 * part.n * std::int64_t(part.segments.size()) * spec.gemm()->k * slices;
  }
  return sum;
}

double operations_per_key(const plan::KernelSpec& spec) {
  return spec.attention() && spec.attention()->window <= 0 ? double(attention_operations(*spec.attention())) : 0;
}

std::uint64_t file_bytes(const plan::Weight& weight) {
  std::uint64_t sum = 0;
  for (const auto& source : weight.sources) sum += source.bytes;
  return sum;
}

std::uint64_t cache_bytes(const plan::State& state, std::int64_t positions) {
  return std::uint64_t(bytes_of_positions(state.dtype, state.shape, positions));
}

std::uint64_t streamed_bytes(const plan::Plan& plan, const plan::Node& node, std::int64_t positions) {
  const plan::KernelSpec& spec = plan.kernels[node.kernel].spec;
  std::uint64_t bytes = 0;
  for (const auto& ref : node.args) {
    if (ref.where == plan::Where::weight && !spec.embed()) bytes += file_bytes(plan.weights[ref.index]);
    if (ref.where == plan::Where::state && spec.attention()) bytes += cache_bytes(plan.states[ref.index], positions);
  }
  return bytes;
}

}  // namespace heddle::codegen
