#include "tests/support/gguf_writer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <random>

#include "ir/base/check.h"
#include "tests/support/weight_formats.h"

namespace heddle::testing {

std::string stored_string(const std::string& text) { return stored(std::uint64_t(text.size())) + text; }

GgufWriter& GgufWriter::raw(const std::string& key, std::uint32_t type, const std::string& stored_value) {
  const std::string value = stored(type) + stored_value;
  const auto it = std::find_if(keys.begin(), keys.end(), [&](const auto& entry) { return entry.first == key; });
  if (it != keys.end()) it->second = value;
  else keys.emplace_back(key, value);
  return *this;
}

GgufWriter& GgufWriter::erase(const std::string& key) {
  std::erase_if(keys, [&](const auto& entry) { return entry.first == key; });
  return *this;
}

static std::string stored_array(std::uint32_t type, std::size_t count, const std::string& values) {
  return stored(type) + stored(std::uint64_t(count)) + values;
}

GgufWriter& GgufWriter::u32(const std::string& key, std::uint32_t value) { return raw(key, 4, stored(value)); }
GgufWriter& GgufWriter::u64(const std::string& key, std::uint64_t value) { return raw(key, 10, stored(value)); }
GgufWriter& GgufWriter::i32(const std::string& key, std::int32_t value) { return raw(key, 5, stored(value)); }
GgufWriter& GgufWriter::f32(const std::string& key, float value) { return raw(key, 6, stored(value)); }
GgufWriter& GgufWriter::flag(const std::string& key, bool value) { return raw(key, 7, std::string(1, char(value))); }
GgufWriter& GgufWriter::text(const std::string& key, const std::string& value) { return raw(key, 8, stored_string(value)); }

GgufWriter& GgufWriter::texts(const std::string& key, const std::vector<std::string>& values) {
  std::string all;
  for (const auto& value : values) all += stored_string(value);
  return raw(key, 9, stored_array(8, values.size(), all));
}
GgufWriter& GgufWriter::i32s(const std::string& key, const std::vector<std::int32_t>& values) {
  std::string all;
  for (const auto value : values) all += stored(value);
  return raw(key, 9, stored_array(5, values.size(), all));
}
GgufWriter& GgufWriter::f32s(const std::string& key, const std::vector<float>& values) {
  std::string all;
  for (const auto value : values) all += stored(value);
  return raw(key, 9, stored_array(6, values.size(), all));
}

static std::string stored_floats(const std::vector<float>& values, DType type) {
  const DTypeInfo& row = info(type);
  HEDDLE_CHECK(values.size() % row.elements == 0, "{}", row.name);
  std::string bytes(bytes_of(type, std::int64_t(values.size())), '\0');
  row.quantize(values.data(), reinterpret_cast<std::byte*>(bytes.data()), std::int64_t(values.size()) / row.elements);
  return bytes;
}

GgufWriter& GgufWriter::tensor(const std::string& name, const std::vector<std::int64_t>& shape, DType type, float centre) {
  std::uint32_t seed = 2166136261u;
  for (const char c : name) seed = (seed ^ static_cast<unsigned char>(c)) * 16777619u;
  std::mt19937 random(seed);
  std::size_t elements = 1;
  for (const auto dim : shape) elements *= std::size_t(dim);
  const float spread = 1 / std::sqrt(float(shape.back()));
  if (!info(type).quantize) {
    const auto blocks = random_blocks(type, std::int64_t(elements) / info(type).elements, spread, random);
    tensors.push_back({.name = name,
                       .dims = {shape.rbegin(), shape.rend()},
                       .type = std::uint32_t(info(type).ggml),
                       .data = std::string(reinterpret_cast<const char*>(blocks.data()), blocks.size()),
                       .offset = {}});
    return *this;
  }
  std::vector<float> values(elements);
  for (float& value : values) value = centre + spread * (float(random()) / float(1u << 31) - 1);
  tensors.push_back({.name = name,
                     .dims = {shape.rbegin(), shape.rend()},
                     .type = std::uint32_t(info(type).ggml),
                     .data = stored_floats(values, type),
                     .offset = {}});
  return *this;
}

GgufWriter::Tensor& GgufWriter::tensor_named(const std::string& name) {
  const auto it = std::find_if(tensors.begin(), tensors.end(), [&](const Tensor& tensor) { return tensor.name == name; });
  HEDDLE_CHECK(it != tensors.end(), "{}", name);
  return *it;
}

GgufWriter& GgufWriter::erase_tensor(const std::string& name) {
  std::erase_if(tensors, [&](const Tensor& tensor) { return tensor.name == name; });
  return *this;
}

std::string GgufWriter::bytes() const {
  std::string out = magic + stored(version) + stored(tensor_count.value_or(tensors.size())) + stored(key_count.value_or(keys.size()));
  for (const auto& [key, value] : keys) out += stored_string(key) + value;
  std::string data;
  for (const Tensor& tensor : tensors) {
    out += stored_string(tensor.name) + stored(std::uint32_t(tensor.dims.size()));
    for (const auto dim : tensor.dims) out += stored(dim);
    out += stored(tensor.type) + stored(tensor.offset.value_or(data.size()));
    data += tensor.data;
    data.resize((data.size() + alignment - 1) / alignment * alignment);
  }
  out.resize((out.size() + alignment - 1) / alignment * alignment);
  return out + data;
}

void GgufWriter::write(const std::string& path) const {
  std::ofstream file(path, std::ios::binary);
  file << bytes();
  HEDDLE_CHECK(file.flush().good(), "{}", path);
}

std::vector<GgufWriter> GgufWriter::split(int count) const {
  std::vector<GgufWriter> parts(static_cast<std::size_t>(count));
  parts[0].keys = keys;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    parts[i].raw("split.no", 2, stored(std::uint16_t(i))).raw("split.count", 2, stored(std::uint16_t(count)));
    parts[i].i32("split.tensors.count", std::int32_t(tensors.size()));
    for (std::size_t t = i; t < tensors.size(); t += parts.size()) parts[i].tensors.push_back(tensors[t]);
  }
  return parts;
}

namespace {

void add_attention(GgufWriter& w, const TinyModel& m, const std::string& blk) {
  const std::int64_t q = m.heads * m.head_dim, kv = m.kv_heads * m.head_dim;
  if (m.architecture == "phi3") {
    w.tensor(blk + "attn_qkv.weight", {q + 2 * kv, m.width}, m.matrices);
  } else {
    w.tensor(blk + "attn_q.weight", {q, m.width}, m.matrices);
    w.tensor(blk + "attn_k.weight", {kv, m.width}, m.matrices);
    w.tensor(blk + "attn_v.weight", {kv, m.width}, m.matrices);
  }
  if (m.architecture == "qwen2") w.tensor(blk + "attn_q.bias", {q}).tensor(blk + "attn_k.bias", {kv}).tensor(blk + "attn_v.bias", {kv});
  if (m.architecture.starts_with("qwen3") || m.architecture == "gemma3")
    w.tensor(blk + "attn_q_norm.weight", {m.head_dim}, DType::f32, 1).tensor(blk + "attn_k_norm.weight", {m.head_dim}, DType::f32, 1);
  w.tensor(blk + "attn_output.weight", {m.width, q}, m.matrices);
}

void add_ffn(GgufWriter& w, const TinyModel& m, const std::string& blk) {
  if (m.architecture == "qwen3moe") {
    w.tensor(blk + "ffn_gate_inp.weight", {m.experts, m.width});
    w.tensor(blk + "ffn_gate_exps.weight", {m.experts, m.ffn, m.width}, m.matrices);
    w.tensor(blk + "ffn_up_exps.weight", {m.experts, m.ffn, m.width}, m.matrices);
    w.tensor(blk + "ffn_down_exps.weight", {m.experts, m.width, m.ffn}, m.matrices);
    return;
  }
  if (m.architecture != "phi3") w.tensor(blk + "ffn_gate.weight", {m.ffn, m.width}, m.matrices);
  w.tensor(blk + "ffn_up.weight", {m.architecture == "phi3" ? 2 * m.ffn : m.ffn, m.width}, m.matrices);
  w.tensor(blk + "ffn_down.weight", {m.width, m.ffn}, m.matrices);
}

}  // namespace

GgufWriter tiny_model(const TinyModel& m) {
  GgufWriter w;
  const std::string a = m.architecture + ".";
  const bool gemma = m.architecture.starts_with("gemma");
  w.text("general.architecture", m.architecture).text("general.name", "tiny");
  w.u32(a + "block_count", m.layers).u32(a + "context_length", m.context).u32(a + "embedding_length", m.width);
  w.u32(a + "feed_forward_length", m.ffn).u32(a + "attention.head_count", m.heads).u32(a + "attention.head_count_kv", m.kv_heads);
  w.u32(a + "attention.key_length", m.head_dim).u32(a + "attention.value_length", m.head_dim);
  w.f32(a + "attention.layer_norm_rms_epsilon", 1e-5f);
  if (m.window > 0) w.u32(a + "attention.sliding_window", m.window);
  if (m.architecture == "gemma2") w.f32(a + "attn_logit_softcapping", 20).f32(a + "final_logit_softcapping", 9);
  if (m.architecture == "qwen3moe")
    w.u32(a + "expert_count", m.experts).u32(a + "expert_used_count", m.experts_used).u32(a + "expert_feed_forward_length", m.ffn);

  w.tensor("token_embd.weight", {m.vocabulary, m.width}, m.matrices);
  for (std::int64_t layer = 0; layer < m.layers; ++layer) {
    const std::string blk = "blk." + std::to_string(layer) + ".";
    w.tensor(blk + "attn_norm.weight", {m.width}, DType::f32, 1);
    add_attention(w, m, blk);
    if (gemma) w.tensor(blk + "post_attention_norm.weight", {m.width}, DType::f32, 1);
    w.tensor(blk + "ffn_norm.weight", {m.width}, DType::f32, 1);
    add_ffn(w, m, blk);
    if (gemma) w.tensor(blk + "post_ffw_norm.weight", {m.width}, DType::f32, 1);
  }
  w.tensor("output_norm.weight", {m.width}, DType::f32, 1);
  if (!m.tied) w.tensor("output.weight", {m.vocabulary, m.width}, m.matrices);
  if (m.rope_factors) w.tensor("rope_freqs.weight", {m.head_dim / 2}, DType::f32, 4);
  return w;
}

}  // namespace heddle::testing
