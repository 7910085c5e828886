#include "codegen/cuda/target.h"

#include <fmt/ranges.h>

namespace heddle::codegen::cuda {
namespace {

/// One row for each architecture, with the figures of its best-known card (sources: NVIDIA's tuning guides and data sheets; the memory rate
/// is what a plain read reaches there, about nine tenths of the data sheet's).
struct Row {
  std::string_view architecture;
  int workers;
  double memory_gbps;
  bool programmatic_launch;
  bool warpgroups;
  int shared_kib;  // a block's most
};
constexpr Row rows[] = {
    {"sm_80", 108, 1400, false, false, 163},  // A100 40 GB
    {"sm_86", 82, 850, false, false, 99},     // RTX 3090
    {"sm_89", 128, 920, false, false, 99},    // RTX 4090
    {"sm_90", 132, 3000, true, true, 227},    // H100
    {"sm_100", 148, 7000, true, false, 227},  // B200
    {"sm_120", 170, 1600, true, false, 99},   // RTX 5090
};
constexpr std::string_view prefix = "cuda:";

const Row* row_of(std::string_view name) {
  for (const Row& row : rows)
    if (name.starts_with(prefix) && name.substr(prefix.size()) == row.architecture) return &row;
  return nullptr;
}

}  // namespace

std::vector<std::string> target_names() {
  std::vector<std::string> names;
  for (const Row& row : rows) names.push_back(fmt::format("{}{}", prefix, row.architecture));
  return names;
}

Result<ir::Target> target_named(std::string_view name, DType activations) {
  const Row* row = row_of(name);
  if (!row) return error("target '{}' is not known (known: {})", name, fmt::join(target_names(), ", "));
  if (activations != DType::q8_16 && activations != DType::f32)
    return error("target '{}': activations are {}, wanted q8_16 or f32", name, activations);
  ir::Target target;
  target.name = std::string(name);
  target.activations = activations;
  target.features = {"async_copy"};
  if (row->programmatic_launch) target.features.push_back("programmatic_launch");
  if (row->warpgroups) target.features.push_back("warpgroups");
  target.workers = row->workers;
  // What one more dependent kernel costs: its start, and the activation's way through the second-level cache into every multiprocessor.
  target.launch_us = row->programmatic_launch ? 2.5 : 3.2;
  target.memory_gbps = row->memory_gbps;
  target.worker_gflops = 125;  // of one multiprocessor, in the short programs around a loop
  return target;
}

std::string architecture_of(const ir::Target& target) {
  const Row* row = row_of(target.name);
  HEDDLE_CHECK(row, "{} is no CUDA target", target.name);
  return std::string(row->architecture);
}

Limits limits_of(const ir::Target& target) {
  const Row* row = row_of(target.name);
  HEDDLE_CHECK(row, "{} is no CUDA target", target.name);
  return {row->shared_kib * 1024};
}

}  // namespace heddle::codegen::cuda
