#include "tests/support/safetensors_writer.h"

#include <algorithm>
#include <fstream>

#include "ir/base/check.h"

namespace heddle::testing {

SafetensorsWriter::Tensor& SafetensorsWriter::tensor_named(const std::string& name) {
  const auto it = std::find_if(tensors.begin(), tensors.end(), [&](const Tensor& tensor) { return tensor.name == name; });
  HEDDLE_CHECK(it != tensors.end(), "{}", name);
  return *it;
}

std::string SafetensorsWriter::bytes() const {
  std::string text = R"({"__metadata__":{"format":"pt"})", data;
  for (const Tensor& tensor : tensors) {
    const auto [begin, end] =
        tensor.offsets.value_or(std::pair<std::uint64_t, std::uint64_t>(data.size(), data.size() + tensor.data.size()));
    text += fmt::format(R"(,"{}":{{"dtype":"{}","shape":[{}],"data_offsets":[{},{}]}})", tensor.name, tensor.dtype,
                        fmt::join(tensor.shape, ","), begin, end);
    data += tensor.data;
  }
  text += "}";
  text = header.value_or(text);
  if (!header) text.resize((text.size() + 7) / 8 * 8, ' ');
  return stored(header_length.value_or(text.size())) + text + data + tail;
}

static void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file << bytes;
  HEDDLE_CHECK(file.flush().good(), "{}", path);
}

void FolderWriter::write(const std::string& folder) const {
  std::string json;
  for (const auto& [key, value] : config) json += fmt::format("{}\n  \"{}\": {}", json.empty() ? "" : ",", key, value);
  write_file(folder + "/config.json", "{" + json + "\n}\n");
  for (const auto& [name, writer] : weights) write_file(folder + "/" + name, writer.bytes());
  for (const auto& [name, text] : files) write_file(folder + "/" + name, text);
}

/// blk.0.attn_q.weight -> model.layers.0.self_attn.q_proj.weight
static std::string stored_name(std::string name) {
  static const std::pair<std::string, std::string> parts[] = {
      {"token_embd", "model.embed_tokens"}, {"output_norm", "model.norm"},
      {"attn_output", "self_attn.o_proj"},  {"attn_q_norm", "self_attn.q_norm"},
      {"attn_k_norm", "self_attn.k_norm"},  {"attn_norm", "input_layernorm"},
      {"attn_q", "self_attn.q_proj"},       {"attn_k", "self_attn.k_proj"},
      {"attn_v", "self_attn.v_proj"},       {"ffn_norm", "post_attention_layernorm"},
      {"ffn_gate", "mlp.gate_proj"},        {"ffn_up", "mlp.up_proj"},
      {"ffn_down", "mlp.down_proj"},        {"blk.", "model.layers."}};
  if (name == "output.weight") return "lm_head.weight";
  for (const auto& [from, to] : parts) {
    if (const auto at = name.find(from); at != name.npos && (from != "blk." || at == 0)) name.replace(at, from.size(), to);
  }
  return name;
}

FolderWriter tiny_folder(const TinyModel& m) {
  FolderWriter out;
  out.config = {{"architectures", R"(["TinyForCausalLM"])"},
                {"model_type", '"' + m.architecture + '"'},
                {"hidden_size", std::to_string(m.width)},
                {"intermediate_size", std::to_string(m.ffn)},
                {"num_hidden_layers", std::to_string(m.layers)},
                {"num_attention_heads", std::to_string(m.heads)},
                {"num_key_value_heads", std::to_string(m.kv_heads)},
                {"head_dim", std::to_string(m.head_dim)},
                {"vocab_size", std::to_string(m.vocabulary)},
                {"max_position_embeddings", std::to_string(m.context)},
                {"rms_norm_eps", "1e-05"},
                {"rope_theta", "10000.0"},
                {"rope_scaling", "null"},
                {"hidden_act", R"("silu")"},
                {"tie_word_embeddings", m.tied ? "true" : "false"}};
  for (const GgufWriter::Tensor& tensor : tiny_model(m).tensors) {
    std::vector<std::int64_t> shape(tensor.dims.rbegin(), tensor.dims.rend());
    const char* dtype = tensor.type == 30 ? "BF16" : tensor.type == 1 ? "F16" : "F32";
    out.model().tensors.push_back({.name = stored_name(tensor.name), .dtype = dtype, .shape = shape, .data = tensor.data, .offsets = {}});
  }
  return out;
}

}  // namespace heddle::testing
