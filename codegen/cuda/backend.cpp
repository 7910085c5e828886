#include "codegen/cuda/backend.h"

#include "codegen/cuda/kernel_cache.h"
#include "codegen/cuda/kernels/attention/prefill_attention.h"
#include "codegen/cuda/kernels/sample/sampler.h"
#include "codegen/cuda/nvrtc.h"
#include "codegen/cuda/questions.h"
#include "codegen/cuda/target.h"
#include "codegen/cuda/tuning.h"

namespace heddle::codegen::cuda {
namespace {

class CudaBackend : public Backend {
 public:
  std::vector<std::string> target_names() const override {
    std::vector<std::string> out = cuda::card_names();
    for (std::string& name : cuda::target_names()) out.push_back(std::move(name));
    return out;
  }

  Result<ir::Target> target_named(std::string_view name, DType activations) const override { return cuda::target_named(name, activations); }
  DType eight_bit_activations() const override { return DType::q8_16; }
  std::string card_of(std::string_view target) const override { return cuda::card_of(target); }

  std::vector<std::string> remarks(const ir::Target& target) const override {
    const std::string figures = figures_remark(target);
    return figures.empty() ? std::vector<std::string>() : std::vector{figures};
  }

  std::unique_ptr<Questions> questions(const ir::Target& target) const override { return std::make_unique<CudaQuestions>(target); }

  /// A GPU's block must know the whole row before it can normalise it; the row's scale passes through the product and is needed only at its
  /// end, which saves a barrier in front of every product. (The CPU's workers have no barrier there.) After the fusions, whose patterns it
  /// would hide.
  /// Products on its matrix units read their activation from memory, so a norm and the quantize behind it are a kernel; that goes first, since
  /// a scale that has left a norm alone at the top level would be a kernel of its own.
  std::vector<ExtraPass> extra_passes() const override {
    return {{"fuse_quantize", "group_rest"}, {"norm_scale_through_matmul", "group_rest"}};
  }

  /// Many rows of logits serve perplexity; prompts go through steps without a head. Matrix units want many rows; their kernels are the same
  /// for all numbers of rows from 128 on. With activations in f32 they are not used.
  std::vector<EntryShape> default_entries(const ir::Target& target) const override {
    if (target.activations == DType::f32) return {{EntryKind::decode, 1}, {EntryKind::decode, 8}, {EntryKind::prefill, 8}};
    std::vector<EntryShape> out;
    for (const int rows : {1, 8, 16, 32, 64}) out.push_back({EntryKind::decode, rows});
    for (const int rows : {8, 16, 32, 64, 128, 256, 512, 1024, 2048}) out.push_back({EntryKind::prefill, rows});
    return out;
  }

  /// A cache in f16 halves what attention reads at depth.
  DType cache_type(const ir::Target& target) const override { return target.activations == DType::f32 ? DType::f32 : DType::f16; }

  Result<std::string> kernel_compiler() const override {
    HEDDLE_ASSIGN(const auto nvrtc, Nvrtc::open());
    return nvrtc->version();
  }

  std::span<const std::string_view> knobs() const override { return knob_names(); }
  const Tuning& shipped_tuning(const ir::Target& target) const override { return cuda::shipped_tuning(target); }

  Result<FinishReport> finish(plan::Plan& plan, const ir::Target& target, const Tuning& tuning, const FinishOptions& options) const override {
    add_sampling(plan);
    apply(tuning, plan);
    HEDDLE_ASSIGN(const CompileReport report, compile_kernels(plan, target, options.cache_dir, options.threads));
    return FinishReport{report.kernels, report.compiled};
  }

  bool multiplies_halves(const plan::KernelSpec& spec) const override {
    if (spec.gemm()) return spec.gemm()->activations == DType::f16_128;
    return spec.attention() && (spec.args[spec.attention()->kv].dtype == DType::f16 || flash_wanted(spec));
  }
};

}  // namespace

const Backend& backend() {
  static const CudaBackend one;
  return one;
}

}  // namespace heddle::codegen::cuda
