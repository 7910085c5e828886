#pragma once
#include <memory>
#include <string>

#include "frontends/model.h"
#include "tools/compiler/compile_options.h"

namespace heddle::tools {

/// The path in full, without links; as it is where there is no such file.
std::string absolute(const std::string& path);

/// The model at a path as the options want it: with `quantize` its matrices are in a file of the cache that is made when weights are loaded
/// (prepare_weights). "--quantize keeps what it makes in the cache, which --no-cache forbids".
Result<frontends::Model> open_model(const std::string& path, const CompileOptions& options);

/// The module a model is lowered to before any pass.
Result<std::unique_ptr<ir::Module>> lower(const frontends::Model& model, const CompileOptions& options);

/// What a plan keeps of its model beside weights: its figures, files, vocabulary and chat template.
void fill_model(const frontends::Model& model, plan::Plan& plan);

}  // namespace heddle::tools
