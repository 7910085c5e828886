#pragma once
#include <span>
#include <string>

#include "frontends/model.h"

namespace heddle::frontends::gguf {

bool is_gguf(std::span<const std::byte> bytes);  // by its magic

/// The model in the bytes of a GGUF file. Only header, metadata and tensor table are touched. Of an architecture that heddle does not
/// support, and of a file without tensors (a vocabulary), everything but the hyper-parameters is read: `build_ir` refuses those.
/// One part of a split model is refused.
Result<Model> read_model(std::span<const std::byte> bytes, const std::string& path);

/// The same from a file. A part of a split model stands for the whole: all of it are opened, by the names that gguf-split gives them
/// (`split_path` in llama.cpp): NAME-00001-of-00003.gguf and so on. A part that is missing, misnamed or of another split is an error.
Result<Model> open_model(const std::string& path);

}  // namespace heddle::frontends::gguf
