#pragma once
#include <string>

#include "frontends/model.h"

namespace heddle::frontends::safetensors {

/// Whether a path is a folder as Hugging Face lays models out, or one of its files: then that folder, else nothing.
std::string folder_of(const std::string& path);

/// The model in a folder: config.json; model.safetensors, or the parts that model.safetensors.index.json names; tokenizer.json,
/// tokenizer_config.json, generation_config.json, chat_template.jinja where they are there. Of weights only headers are read. Tensors get
/// the names that architectures take them by (names.h). Of an architecture that heddle does not support everything but the hyper-parameters
/// is read: `build_ir` refuses it, and a folder without weights. `path` is the place in errors.
Result<Model> read_model(const std::string& folder, const std::string& path);

}  // namespace heddle::frontends::safetensors
