#pragma once
#include <span>
#include <string>
#include <vector>

#include "frontends/model.h"

namespace heddle::frontends::safetensors {

/// The front part of a .safetensors file (source: the format section of the safetensors repository's README). Little-endian:
///   u64 length of the header, the header: a JSON object, then the tensors' bytes without gaps
///   per tensor: "name": {"dtype": "BF16", "shape": [rows, columns], "data_offsets": [begin, end]}, offsets in the tensors' bytes
///   "__metadata__": {"key": "text", ...}, which says nothing about the weights
struct Header {
  std::vector<TensorInfo> tensors;  // by the names in the file, `file` 0
  std::uint64_t bytes = 0;          // of everything before the tensors' bytes
};

/// Reads only the header. Lengths, shapes and offsets are checked against the bytes that are there; the tensors lie one after the other and
/// fill the file. Nothing in it makes this allocate more than a small multiple of the header. `path` is the place in errors.
Result<Header> parse_header(std::span<const std::byte> bytes, const std::string& path);

}  // namespace heddle::frontends::safetensors
