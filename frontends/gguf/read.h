#pragma once
#include <span>
#include <string>

#include "frontends/model.h"

namespace heddle::frontends::gguf {

bool is_gguf(std::span<const std::byte> bytes);  // by its magic

/// The model in the bytes of a GGUF file. Only header, metadata and tensor table are touched. Of an architecture that heddle does not
/// support, and of a file without tensors (a vocabulary), everything but the hyper-parameters is read: `build_ir` refuses those.
/// A part of a split model is refused.
Result<Model> read_model(std::span<const std::byte> bytes, const std::string& path);

}  // namespace heddle::frontends::gguf
