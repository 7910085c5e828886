#include "tools/measure/floor.h"

#include <algorithm>
#include <map>
#include <numeric>

#include "codegen/cuda/measure/read_rate.h"
#include "codegen/cuda/target.h"
#include "codegen/estimates.h"
#include "ir/base/dtype.h"

namespace heddle::tools {
namespace {

using Operators = std::vector<runtime::Streams::Operator>;
constexpr int repeats = 20;

/// "blk.7.attn_q.weight": layer 7 and "attn_q.weight".
std::optional<std::pair<int, std::string>> layer_of(const std::string& name) {
  int layer = 0, used = 0;
  if (std::sscanf(name.c_str(), "blk.%d.%n", &layer, &used) != 1 || used == 0) return std::nullopt;
  return std::pair(layer, name.substr(std::size_t(used)));
}

/// Where a layer's matrix belongs among the five operators.
std::size_t operator_of(const std::string& part) {
  if (part.starts_with("attn_output")) return 2;
  if (part.starts_with("attn")) return 0;
  if (part.starts_with("ffn_down")) return 4;
  return 3;
}

Operators chained(const std::vector<std::uint64_t>& bytes) {
  Operators out;
  for (const std::uint64_t n : bytes) {
    auto& one = out.emplace_back(runtime::Streams::Operator{n, {}});
    if (out.size() > 1) one.after.push_back(std::uint32_t(out.size() - 2));
  }
  return out;
}

Operators fixed_operators(const plan::Plan& plan, std::int64_t positions) {
  std::map<int, std::array<std::uint64_t, 5>> layers;
  std::uint64_t table = 0, head = 0;
  for (const auto& weight : plan.weights) {
    if (const auto place = layer_of(weight.name)) layers[place->first][operator_of(place->second)] += codegen::file_bytes(weight);
    else if (weight.name.starts_with("token_embd")) table = codegen::file_bytes(weight);
    else if (weight.name.starts_with("output.")) head = codegen::file_bytes(weight);
  }
  std::vector<std::uint64_t> bytes;
  std::uint32_t state = 0;
  for (auto& [index, layer] : layers) {
    if (state < plan.states.size()) layer[1] = codegen::cache_bytes(plan.states[state++], positions);
    bytes.insert(bytes.end(), layer.begin(), layer.end());
  }
  bytes.push_back(head ? head : table);
  return chained(bytes);
}

Operators plan_operators(const plan::Plan& plan, std::int64_t positions) {
  Operators out;
  for (const auto& entry : plan.entries) {
    if (entry.kind != EntryKind::decode || entry.rows != 1) continue;
    for (const auto& node : entry.nodes) out.push_back({codegen::streamed_bytes(plan, node, positions), node.after});
  }
  return out;
}

std::uint64_t total(const Operators& operators) {
  return std::accumulate(operators.begin(), operators.end(), std::uint64_t(0),
                         [](std::uint64_t sum, const auto& one) { return sum + one.bytes; });
}

}  // namespace

Result<FloorBench> FloorBench::open(const plan::Plan& plan, std::int64_t depth, std::int64_t sequences, const std::string& cache_dir) {
  if (plan.backend != BackendKind::cuda) return error("--floor: the plan is for target {}, a floor is measured on cuda only", plan.target);
  HEDDLE_ASSIGN(const auto target, codegen::cuda::target_named(plan.target, DType::f32));
  HEDDLE_ASSIGN(const auto kernels, codegen::cuda::stream_plan(target, cache_dir));
  const std::uint64_t most = std::max(total(fixed_operators(plan, depth * sequences)), total(plan_operators(plan, depth * sequences)));
  FloorBench out;
  out.plan_ = &plan;
  HEDDLE_ASSIGN(out.streams_, runtime::Streams::open(0, kernels, most));
  return out;
}

Result<FloorBench::Floor> FloorBench::at(std::int64_t depth, std::int64_t sequences) const {
  Floor out;
  HEDDLE_ASSIGN(out.fixed, streams_->chain(fixed_operators(*plan_, depth * sequences), repeats));
  HEDDLE_ASSIGN(out.plan, streams_->chain(plan_operators(*plan_, depth * sequences), repeats));
  return out;
}

}  // namespace heddle::tools
