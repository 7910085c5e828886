#pragma once
#include <string>
#include <vector>

#include "tests/support/gguf_writer.h"

namespace heddle::testing {

/// A small model with random weights of every architecture, with what is special about it: windows shorter than a test's prompts, partial
/// rotary embeddings with factors, widths that fill no block. "_q8" ones have quantised matrices.
struct TinyArchitecture {
  std::string name;
  GgufWriter file;
};
std::vector<TinyArchitecture> tiny_architectures();

}  // namespace heddle::testing
