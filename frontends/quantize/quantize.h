#pragma once
#include <functional>
#include <span>
#include <string>

#include "frontends/model.h"

/// Quantising a model's weights when it is loaded: the same model with its float matrices in a block format of GGUF files, which lie in one
/// more file of heddle's own:
///   char[16] "heddle-weights", u32 version, u32 0, u64 bytes of the file, u64[2] xxh3-128 of what it was made from, u64[2] of its data
///   then the tensors in the model's order, each at a multiple of 64
/// All little-endian. Disposable: it is made again where it does not fit.
namespace heddle::frontends {

/// "format 'q5_K' cannot be quantised to (known: q8_0, q4_0, q4_K)".
Result<DType> quantization_named(const std::string& name);

/// The model with a new last file at `path` and its float matrices there. Left as they are: vectors, matrices whose rows are no whole
/// number of blocks, and routers of experts. Nothing is read or written.
Model quantized(Model model, DType type, const std::string& path);

/// What a quantised file is made from: format and fingerprint, and size and time of last change of the files with the weights, because the
/// fingerprint does not see those.
Result<std::string> quantized_from(std::span<const plan::ModelFile> files, const std::string& fingerprint, DType type);

/// Quantises the matrices of `model`, which is not quantised, into the last file of quantized(model, type, path). `progress` is called with
/// the part that is done.
Result<void> write_quantized(const Model& model, DType type, const std::string& path, const std::string& from,
                             const std::function<void(double)>& progress);

/// Whether the file is whole and was made from that: "its checksum is wrong", "it was made from other weights" and the like.
Result<void> check_quantized(const std::string& path, const std::string& from);

}  // namespace heddle::frontends
