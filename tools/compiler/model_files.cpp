#include "tools/compiler/model_files.h"

#include <filesystem>

#include "frontends/quantize/quantize.h"
#include "ir/verify.h"
#include "runtime/plan/cache.h"
#include "tools/compiler/entries.h"
#include "tools/compiler/targets.h"

namespace heddle::tools {

std::string absolute(const std::string& path) {
  std::error_code ignored;
  const std::filesystem::path full = std::filesystem::canonical(path, ignored);
  return full.empty() ? path : full.string();
}

Result<frontends::Model> open_model(const std::string& path, const CompileOptions& options) {
  HEDDLE_ASSIGN(auto model, frontends::open_model(path));
  if (options.quantize.empty()) return model;
  HEDDLE_ASSIGN(const DType type, frontends::quantization_named(options.quantize));
  if (!options.use_cache) return error("--quantize keeps what it makes in the cache, which --no-cache forbids");
  const plan::PlanCache cache(cache_dir_of(options));
  return frontends::quantized(std::move(model), type, cache.weights_path(absolute(path), options.quantize));
}

Result<std::unique_ptr<ir::Module>> lower(const frontends::Model& model, const CompileOptions& options) {
  frontends::BuildOptions build;
  HEDDLE_ASSIGN(build.target, target_named(options.target, options.activations));
  HEDDLE_ASSIGN(build.entries, entries_for(build.target, options));
  const auto kv = dtype_named(cache_type_name(build.target, options));
  if (kv != DType::f32 && kv != DType::f16) return error("cache type '{}' is not known (known: auto, f16, f32)", options.kv);
  build.kv = *kv;
  build.context = options.context;
  HEDDLE_ASSIGN(auto module, frontends::build_ir(model, build));
  HEDDLE_TRY(ir::verify(*module));
  return module;
}

void fill_model(const frontends::Model& model, plan::Plan& plan) {
  plan::ModelInfo& info = plan.model;
  info.name = model.config.name;
  info.architecture = model.config.architecture;
  info.vocabulary = std::uint32_t(model.config.vocabulary);
  info.trained_context = std::uint32_t(model.config.trained_context);
  info.layers = std::uint32_t(model.config.layers);
  for (const auto& tensor : model.tensors) {
    std::uint64_t elements = 1;
    for (auto d : tensor.shape) elements *= std::uint64_t(d);
    info.parameters += elements;
    info.weight_bytes += tensor.bytes;
  }
  for (const auto& file : model.files) {
    plan.files.push_back(file);
    plan.files.back().path = absolute(file.path);
  }
  plan.vocabulary = model.vocabulary;
  plan.chat_template = model.chat_template;
}

}  // namespace heddle::tools
