#pragma once
#include <span>
#include <string>
#include <vector>

#include "frontends/gguf/metadata.h"
#include "frontends/model.h"

namespace heddle::frontends::gguf {

/// The front part of a GGUF file, version 2 or 3 (source: docs/gguf.md of the ggml repository). Little-endian:
///   "GGUF", u32 version, u64 tensors, u64 keys
///   per key:    string key, u32 type, value           string: u64 length, bytes; array: u32 element type, u64 count, elements
///   per tensor: string name, u32 dimensions, u64 dimension (innermost first) each, u32 ggml type, u64 offset in the data section
///   zeros up to a multiple of `general.alignment` (32 where it is missing), then the data section
struct File {
  Metadata metadata;  // views of the bytes given to `parse`
  std::vector<TensorInfo> tensors;
  std::uint64_t data_begin = 0;  // where the data section begins; past the end of a file that has none
};

/// Reads only what comes before the data section. Every count, length and offset is checked against the bytes that are there before it is
/// used, so no size in the file makes this allocate more than a small multiple of the header. `path` is the place in errors.
Result<File> parse(std::span<const std::byte> bytes, const std::string& path);

}  // namespace heddle::frontends::gguf
