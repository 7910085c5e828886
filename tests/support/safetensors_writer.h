#pragma once
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "tests/support/gguf_writer.h"

namespace heddle::testing {

/// Makes the bytes of .safetensors files, whole ones and, with the fields changed by hand, malformed ones.
struct SafetensorsWriter {
  struct Tensor {
    std::string name, dtype;  // "F32"
    std::vector<std::int64_t> shape;
    std::string data;
    std::optional<std::pair<std::uint64_t, std::uint64_t>> offsets;  // without them behind the tensor before
  };
  std::vector<Tensor> tensors;
  std::optional<std::string> header;           // instead of what the tensors give
  std::optional<std::uint64_t> header_length;  // what the file says, if not the truth
  std::string tail;                            // behind the last tensor

  Tensor& tensor_named(const std::string& name);
  std::string bytes() const;
};

/// A folder as Hugging Face lays models out.
struct FolderWriter {
  std::map<std::string, std::string> config;         // key, value as JSON
  std::map<std::string, SafetensorsWriter> weights;  // by file name
  std::map<std::string, std::string> files;          // others by name: tokenizer.json

  SafetensorsWriter& model() { return weights["model.safetensors"]; }
  /// Into a folder that is there.
  void write(const std::string& folder) const;
};

/// A model with tiny_model's weights (of float types), without a tokenizer.
FolderWriter tiny_folder(const TinyModel& model = {});

}  // namespace heddle::testing
