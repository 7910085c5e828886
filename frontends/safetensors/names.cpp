#include "frontends/safetensors/names.h"

#include <algorithm>
#include <vector>

namespace heddle::frontends::safetensors {
namespace {

/// What decoders of the llama family share (source: the parameter names of their classes in transformers).
constexpr TensorName shared[] = {
    {"model.embed_tokens", "token_embd"},
    {"model.norm", "output_norm"},
    {"lm_head", "output"},
    {"model.layers.{}.input_layernorm", "blk.{}.attn_norm"},
    {"model.layers.{}.self_attn.q_proj", "blk.{}.attn_q"},
    {"model.layers.{}.self_attn.k_proj", "blk.{}.attn_k"},
    {"model.layers.{}.self_attn.v_proj", "blk.{}.attn_v"},
    {"model.layers.{}.self_attn.o_proj", "blk.{}.attn_output"},
    {"model.layers.{}.self_attn.q_norm", "blk.{}.attn_q_norm"},
    {"model.layers.{}.self_attn.k_norm", "blk.{}.attn_k_norm"},
    {"model.layers.{}.post_attention_layernorm", "blk.{}.ffn_norm"},
    {"model.layers.{}.mlp.gate_proj", "blk.{}.ffn_gate"},
    {"model.layers.{}.mlp.up_proj", "blk.{}.ffn_up"},
    {"model.layers.{}.mlp.down_proj", "blk.{}.ffn_down"},
    {"model.layers.{}.self_attn.rotary_emb.inv_freq", ""},  // a buffer of old checkpoints
    {"model.rotary_emb.inv_freq", ""},
};

/// A number as it is counted: "0", "17", not "007".
bool is_index(std::string_view part) {
  const auto digit = [](char c) { return c >= '0' && c <= '9'; };
  return !part.empty() && std::ranges::all_of(part, digit) && (part.size() == 1 || part[0] != '0');
}

/// "model.layers.3.mlp" -> "model.layers.{}.mlp" and "3".
std::string pattern_of(std::string_view name, std::vector<std::string_view>& numbers) {
  std::string pattern;
  while (true) {
    const std::size_t dot = std::min(name.find('.'), name.size());
    const std::string_view part = name.substr(0, dot);
    if (is_index(part)) numbers.push_back(part);
    pattern += is_index(part) ? "{}" : part;
    if (dot == name.size()) return pattern;
    pattern += '.';
    name.remove_prefix(dot + 1);
  }
}

std::string with_numbers(std::string_view pattern, std::span<const std::string_view> numbers) {
  std::string out;
  for (std::size_t at; (at = pattern.find("{}")) != pattern.npos && !numbers.empty(); pattern.remove_prefix(at + 2)) {
    (out += pattern.substr(0, at)) += numbers.front();
    numbers = numbers.subspan(1);
  }
  return out += pattern;
}

}  // namespace

std::optional<std::string> canonical_name(std::string_view stored, const Architecture& architecture) {
  std::string_view suffix;
  for (const std::string_view end : {".weight", ".bias"}) {
    if (stored.ends_with(end)) suffix = end;
  }
  std::vector<std::string_view> numbers;
  const std::string pattern = pattern_of(stored.substr(0, stored.size() - suffix.size()), numbers);
  for (const std::span<const TensorName> rows : {architecture.tensor_names, std::span<const TensorName>(shared)}) {
    for (const TensorName& row : rows) {
      if (row.stored != pattern) continue;
      if (row.canonical.empty()) return std::string();
      return with_numbers(row.canonical, numbers) + std::string(suffix);
    }
  }
  return std::nullopt;
}

}  // namespace heddle::frontends::safetensors
