#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "runtime/plan/plan.h"

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
  std::string architecture;  // a row of arch/: "llama", "qwen2"
  std::string name;
  std::int64_t layers = 0, width = 0, ffn = 0, heads = 0, kv_heads = 0, head_dim = 0, vocabulary = 0, trained_context = 0;
  double rms_eps = 1e-5, rope_theta = 10000;
  std::int64_t rope_dims = 0;
  bool rope_adjacent = false;  // pairing of stored weights: (2i, 2i+1), else (i, i + dims/2)

  // Rotary embeddings that are stretched. Factors divide the angles, [rope_dims / 2]; empty: ones (or the file's tensor).
  std::vector<float> rope_factors;
  std::vector<float> long_rope_factors;  // instead, where the cache holds more than original_context positions
  std::int64_t original_context = 0;
  double rope_attention_factor = 1;  // of all sines and cosines

  // Attention. A layer with a window attends to the last `window` positions.
  std::int64_t window = 0;       // 0: no layer has one
  std::vector<bool> windowed;    // [layers], which have it; empty: all
  double local_rope_theta = 0;   // of layers with a window, whose angles have no factors; 0: as all
  double attention_scale = 0;    // 0: 1 / sqrt(head_dim)
  double attention_softcap = 0;  // c * tanh(score / c); 0: none
  double logit_softcap = 0;      // likewise
  double embedding_scale = 1;
  bool gains_less_one = false;  // norm gains are stored less 1

  // Mixture of experts; `ffn` is the width of one.
  std::int64_t experts = 0, experts_used = 0;
  bool normalized_gates = true;  // over the experts used, else over all

  bool has_window(std::int64_t layer) const { return window > 0 && (windowed.empty() || windowed[std::size_t(layer)]); }
};

struct Model {
  std::string path;                     // as it was given to `open_model`: the place in errors
  std::vector<plan::ModelFile> files;  // with absolute paths
  Config config;
  std::vector<TensorInfo> tensors;
  plan::Vocabulary vocabulary;
  std::string chat_template;
  std::string fingerprint;                                // hash of file sizes, headers, metadata and tensor table
  const TensorInfo* tensor(std::string_view name) const;  // null if there is none
  std::uint64_t parameters() const;                       // elements of all tensors
  std::uint64_t weight_bytes() const;                     // of all tensors, as stored
};

/// Opens a GGUF file by its content (a part of a split model opens all of it), or a folder as Hugging Face lays models out
/// (safetensors/read.h) by its path or that of one of its files.
Result<Model> open_model(const std::string& path);

/// Which entry points to build.
struct EntryRequest {
  EntryKind kind = EntryKind::decode;
  std::int64_t rows = 1;
};
struct BuildOptions {
  std::vector<EntryRequest> entries;
  DType kv = DType::f32;
  std::int64_t context = 0;  // positions that the cache will hold, for models that have rotary factors for long ones; 0: not many
  ir::Target target;
};

/// Whether a cache of so many positions takes the model's rotary factors for long contexts.
bool wants_long_rope(const Config& config, std::int64_t context);

/// Builds the IR by the model's architecture (arch/). "architecture 'foo' is not supported (supported: llama, qwen2)"; a missing tensor or
/// one of another shape is named with both shapes; a tensor that no part of the architecture uses is an error too.
Result<std::unique_ptr<ir::Module>> build_ir(const Model& model, const BuildOptions& options);

}  // namespace heddle::frontends
