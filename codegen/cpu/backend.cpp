#include "codegen/cpu/backend.h"

#include "codegen/cpu/questions.h"

namespace heddle::codegen::cpu {
namespace {

class CpuBackend : public Backend {
 public:
  std::vector<std::string> target_names() const override { return {std::string(heddle::name(BackendKind::cpu))}; }

  Result<ir::Target> target_named(std::string_view name, DType activations) const override {
    if (name != heddle::name(BackendKind::cpu)) return error("target '{}' is not known (known: {})", name, heddle::name(BackendKind::cpu));
    ir::Target target;
    target.name = std::string(name);
    target.activations = activations;
    // Round numbers for a small server: an operator boundary is a barrier among a few threads.
    target.workers = 4;
    target.launch_us = 2;
    target.memory_gbps = 25;
    target.worker_gflops = 10;
    return target;
  }

  DType eight_bit_activations() const override { return DType::q8_1; }

  std::unique_ptr<Questions> questions(const ir::Target& target) const override { return std::make_unique<CpuQuestions>(target.activations); }

  /// Wide prefills too: weights are read and unpacked once a step.
  std::vector<EntryShape> default_entries(const ir::Target&) const override {
    return {{EntryKind::decode, 1}, {EntryKind::decode, 8}, {EntryKind::prefill, 32}, {EntryKind::prefill, 128}};
  }

  DType cache_type(const ir::Target&) const override { return DType::f32; }

  Result<FinishReport> finish(plan::Plan&, const ir::Target&, const Tuning&, const FinishOptions&) const override { return FinishReport(); }
};

}  // namespace

const Backend& backend() {
  static const CpuBackend one;
  return one;
}

}  // namespace heddle::codegen::cpu
