#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "ir/base/dtype.h"

namespace heddle::testing {

/// Makes the bytes of GGUF files, whole ones and, with the fields changed by hand, malformed ones.
struct GgufWriter {
  struct Tensor {
    std::string name;
    std::vector<std::uint64_t> dims;      // as in the file: innermost first
    std::uint32_t type = 0;               // ggml id
    std::string data;                     // as stored
    std::optional<std::uint64_t> offset;  // in the data section; without it behind the tensor before
  };
  std::string magic = "GGUF";
  std::uint32_t version = 3;
  std::optional<std::uint64_t> tensor_count, key_count;   // what the header says, if not the truth
  std::uint64_t alignment = 32;                           // of the data section (the key is not set by this)
  std::vector<std::pair<std::string, std::string>> keys;  // key, its type id and value as stored
  std::vector<Tensor> tensors;

  // Each replaces the key if it is there.
  GgufWriter& u32(const std::string& key, std::uint32_t value);
  GgufWriter& u64(const std::string& key, std::uint64_t value);
  GgufWriter& i32(const std::string& key, std::int32_t value);
  GgufWriter& f32(const std::string& key, float value);
  GgufWriter& flag(const std::string& key, bool value);
  GgufWriter& text(const std::string& key, const std::string& value);
  GgufWriter& texts(const std::string& key, const std::vector<std::string>& values);
  GgufWriter& i32s(const std::string& key, const std::vector<std::int32_t>& values);
  GgufWriter& f32s(const std::string& key, const std::vector<float>& values);
  GgufWriter& raw(const std::string& key, std::uint32_t type, const std::string& stored);
  GgufWriter& erase(const std::string& key);

  /// `shape` is outermost first. Values are small random numbers around `centre`, made from the tensor's name; random blocks in a type
  /// that heddle does not write.
  GgufWriter& tensor(const std::string& name, const std::vector<std::int64_t>& shape, DType type = DType::f32, float centre = 0);
  Tensor& tensor_named(const std::string& name);
  GgufWriter& erase_tensor(const std::string& name);

  std::string bytes() const;
  void write(const std::string& path) const;
  /// The file in `count` parts as gguf-split makes them: the first has the keys, tensors are dealt out in turn.
  std::vector<GgufWriter> split(int count) const;
};

/// `value` as it is stored, little-endian.
template <class T>
std::string stored(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}
std::string stored_string(const std::string& text);  // u64 length, then the text

/// A whole model with random weights, for tests that want one of their own shape. No tokenizer.
struct TinyModel {
  /// qwen2 has biases on Q, K and V; qwen3 norms of heads; gemma2, gemma3 and phi3 the tensors of theirs; qwen3moe a mixture of experts.
  std::string architecture = "llama";
  std::int64_t layers = 2, width = 32, ffn = 64, heads = 4, kv_heads = 2, head_dim = 8, vocabulary = 48, context = 128;
  bool tied = false;
  bool rope_factors = false;
  std::int64_t window = 0;                     // of attention; 0: none
  std::int64_t experts = 6, experts_used = 2;  // qwen3moe; `ffn` is the width of one
  DType matrices = DType::f32;  // vectors are f32
};
GgufWriter tiny_model(const TinyModel& model = {});

}  // namespace heddle::testing
