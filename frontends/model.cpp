#include "frontends/model.h"

#include "frontends/arch/architecture.h"
#include "frontends/arch/transformer.h"
#include "frontends/gguf/read.h"
#include "frontends/quoted.h"
#include "frontends/safetensors/read.h"

namespace heddle::frontends {

const TensorInfo* Model::tensor(std::string_view name) const {
  for (const TensorInfo& tensor : tensors) {
    if (tensor.name == name) return &tensor;
  }
  return nullptr;
}

std::uint64_t Model::parameters() const {
  std::uint64_t sum = 0;
  for (const TensorInfo& tensor : tensors) {
    std::uint64_t elements = 1;
    for (const std::int64_t dim : tensor.shape) elements *= std::uint64_t(dim);
    sum += elements;
  }
  return sum;
}

std::uint64_t Model::weight_bytes() const {
  std::uint64_t sum = 0;
  for (const TensorInfo& tensor : tensors) sum += tensor.bytes;
  return sum;
}

bool wants_long_rope(const Config& config, std::int64_t context) {
  return config.original_context > 0 && context > config.original_context;
}

Result<Model> open_model(const std::string& path) {
  if (const std::string folder = safetensors::folder_of(path); !folder.empty()) return safetensors::read_model(folder, path);
  return gguf::open_model(path);
}

Result<std::unique_ptr<ir::Module>> build_ir(const Model& model, const BuildOptions& options) {
  const Architecture* architecture = architecture_named(model.config.architecture);
  if (!architecture) {
    std::string supported;
    for (const Architecture* other : architectures()) supported += fmt::format("{}{}", supported.empty() ? "" : ", ", other->name);
    return error("{}: architecture {} is not supported (supported: {})", model.path, quoted(model.config.architecture), supported);
  }
  if (model.files.empty()) return error("{}: the folder has no .safetensors file", model.path);
  if (model.tensors.empty()) return error("{}: the file holds a vocabulary and no tensors", model.path);
  auto module = std::make_unique<ir::Module>();
  module->name = model.config.name;
  module->target = options.target;
  Weights weights(model, *module);
  HEDDLE_TRY(architecture->build(model.config, options, weights, *module));
  HEDDLE_TRY(weights.check_all_used());
  return module;
}

}  // namespace heddle::frontends
