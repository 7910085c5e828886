// The header of a .safetensors file.
#include "fuzz.h"

#include "frontends/safetensors/header.h"

using namespace heddle;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto header = frontends::safetensors::parse_header({reinterpret_cast<const std::byte*>(data), size}, "fuzz.safetensors");
  if (!header.ok()) return 0;
  HEDDLE_CHECK(header->bytes <= size);
  for (const auto& tensor : header->tensors) HEDDLE_CHECK(tensor.offset <= size && tensor.bytes <= size - tensor.offset, "{}", tensor.name);
  return 0;
}
