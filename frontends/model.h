#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "runtime/plan/plan_generated.h"

/// What every frontend makes of a model file: configuration, tensor table, vocabulary, chat template. Weights are not read.
namespace heddle::frontends {

struct TensorInfo {
  std::string name;
  DType dtype;
  ir::Shape shape;           // outermost first: [rows, columns]
  std::uint32_t file = 0;    // index into Model::files
  std::uint64_t offset = 0;  // of the first byte in that file
  std::uint64_t bytes = 0;
};

/// Hyper-parameters by the names of the field, the same from GGUF and Hugging Face files.
struct Config {
  std::string architecture;  // "llama", "qwen2"
  std::string name;
  std::int64_t layers = 0, width = 0, ffn = 0, heads = 0, kv_heads = 0, head_dim = 0, vocabulary = 0, trained_context = 0;
  double rms_eps = 1e-5, rope_theta = 10000;
  std::int64_t rope_dims = 0;
  bool rope_adjacent = false;  // pairing of stored weights: (2i, 2i+1), else (i, i + dims/2)
};

struct Model {
  std::string path;                     // as it was given to `open_model`: the place in errors
  std::vector<plan::ModelFileT> files;  // with absolute paths
  Config config;
  std::vector<TensorInfo> tensors;
  plan::VocabularyT vocabulary;
  std::string chat_template;
  std::string fingerprint;                                // hash of file sizes, headers, metadata and tensor table
  const TensorInfo* tensor(std::string_view name) const;  // null if there is none
  std::uint64_t parameters() const;                       // elements of all tensors
  std::uint64_t weight_bytes() const;                     // of all tensors, as stored
};

/// Opens a GGUF file, or a folder as Hugging Face lays models out (safetensors/read.h) by its path or that of one of its files.
Result<Model> open_model(const std::string& path);

/// Which entry points to build.
struct EntryRequest {
  std::string kind;  // "decode", "prefill"
  std::int64_t rows = 1;
};
struct BuildOptions {
  std::vector<EntryRequest> entries;
  DType kv = DType::f32;
  ir::Target target;
};

/// Builds the IR by the model's architecture (arch/). "architecture 'foo' is not supported (supported: llama, qwen2)"; a missing tensor or
/// one of another shape is named with both shapes; a tensor that no part of the architecture uses is an error too.
Result<std::unique_ptr<ir::Module>> build_ir(const Model& model, const BuildOptions& options);

}  // namespace heddle::frontends
