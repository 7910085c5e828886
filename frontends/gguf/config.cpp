#include "frontends/gguf/config.h"

#include <cmath>

#include "frontends/arch/architecture.h"
#include "frontends/quoted.h"

namespace heddle::frontends::gguf {
namespace {

/// Keys that are read below, and keys that change nothing that is computed.
constexpr std::string_view known_keys[] = {"attention.head_count",
                                           "attention.head_count_kv",
                                           "attention.key_length",
                                           "attention.layer_norm_rms_epsilon",
                                           "attention.scale",
                                           "attention.sliding_window",
                                           "attention.sliding_window_pattern",
                                           "attention.value_length",
                                           "attn_logit_softcapping",
                                           "block_count",
                                           "context_length",
                                           "embedding_length",
                                           "embedding_scale",
                                           "feed_forward_length",
                                           "final_logit_softcapping",
                                           "rope.dimension_count",
                                           "rope.freq_base",
                                           "rope.freq_base_swa",
                                           "rope.scaling.attn_factor",
                                           "rope.scaling.factor",
                                           "rope.scaling.finetuned",
                                           "rope.scaling.original_context_length",
                                           "rope.scaling.type",
                                           "tensor_data_layout",
                                           "vocab_size"};

/// The same of a mixture of experts.
constexpr std::string_view known_expert_keys[] = {"expert_count", "expert_feed_forward_length", "expert_used_count", "expert_weights_norm"};

/// Settings that heddle knows and does not support: fine with the value that switches them off.
constexpr struct {
  std::string_view key;
  double off;
  std::string_view what;
} switched_off[] = {{"attention.causal", 1, "attention that is not causal"},
                    {"attention.clamp_kqv", 0, "clamping of q, k and v"},
                    {"attention.max_alibi_bias", 0, "a position bias"},
                    {"expert_count", 0, "a mixture of experts"},
                    {"expert_shared_count", 0, "a mixture of experts"},
                    {"expert_gating_func", 1, "a router without a softmax"},
                    {"expert_used_count", 0, "a mixture of experts"},
                    {"expert_weights_scale", 1, "a scale of the experts' weights"},
                    {"leading_dense_block_count", 0, "a mixture of experts"},
                    {"logit_scale", 1, "scaled logits"},
                    {"nextn_predict_layers", 0, "prediction of further tokens"},
                    {"residual_scale", 1, "scaled residuals"},
                    {"rope.scale_linear", 1, "rope scaling"},
                    {"use_parallel_residual", 0, "a parallel residual"}};

constexpr std::int64_t largest = 0x7fffffff;

/// Reads the keys under "<architecture>.".
class Reader {
 public:
  Reader(const Metadata& metadata, const std::string& architecture) : metadata_(metadata), prefix_(architecture + ".") {}

  std::string full(std::string_view key) const { return prefix_ + std::string(key); }
  bool has(std::string_view key) const { return metadata_.has(full(key)); }
  Error bad(std::string_view key, std::string_view message) const { return metadata_.bad(full(key), message); }

  Result<std::int64_t> size(std::string_view key) const {
    HEDDLE_ASSIGN(const auto value, metadata_.integer(full(key)));
    return in_range(key, value);
  }
  Result<std::int64_t> size_or(std::string_view key, std::int64_t otherwise) const {
    if (!has(key)) return otherwise;
    return size(key);
  }
  /// A number for all layers, or an array with the same number for each.
  Result<std::int64_t> size_of_layers(std::string_view key, std::int64_t layers) const {
    const Value* value = metadata_.find(full(key));
    if (!value || value->type != ValueType::array) return size(key);
    HEDDLE_ASSIGN(const auto entries, metadata_.integers(full(key), std::uint64_t(layers)));
    for (const auto entry : entries) {
      if (entry != entries[0]) return bad(key, fmt::format("found {} and {}, layers that differ are not supported", entries[0], entry));
    }
    return in_range(key, entries[0]);
  }
  Result<double> positive(std::string_view key) const {
    HEDDLE_ASSIGN(const auto value, metadata_.number(full(key)));
    if (!(value > 0) || !std::isfinite(value)) return bad(key, fmt::format("found {}, wanted a number above 0", value));
    return value;
  }

  Result<double> positive_or(std::string_view key, double otherwise) const {
    if (!has(key)) return otherwise;
    return positive(key);
  }
  /// A number that 0 switches off.
  Result<double> positive_or_off(std::string_view key, double otherwise = 0) const {
    if (!has(key)) return otherwise;
    HEDDLE_ASSIGN(const auto value, metadata_.number(full(key)));
    if (!(value >= 0) || !std::isfinite(value)) return bad(key, fmt::format("found {}, wanted 0 or a number above", value));
    return value;
  }
  Result<std::string> text_or(std::string_view key, const std::string& otherwise) const {
    return metadata_.string_or(full(key), otherwise);
  }
  Result<bool> flag_or(std::string_view key, bool otherwise) const {
    if (!has(key)) return otherwise;
    return metadata_.boolean(full(key));
  }
  Result<std::int64_t> size_or_off(std::string_view key, std::int64_t otherwise = 0) const {
    HEDDLE_ASSIGN(const auto value, metadata_.integer_or(full(key), otherwise));
    if (value == 0) return value;
    return in_range(key, value);
  }
  /// A flag for each layer.
  Result<std::vector<bool>> flags(std::string_view key, std::int64_t layers) const {
    return metadata_.booleans(full(key), std::uint64_t(layers));
  }
  const Value* find(std::string_view key) const { return metadata_.find(full(key)); }

  /// Refuses what heddle does not know or does not support.
  Result<void> check_settings(bool experts) const {
    for (auto it = metadata_.values().lower_bound(prefix_); it != metadata_.values().end() && it->first.starts_with(prefix_); ++it) {
      HEDDLE_TRY(check_setting(std::string_view(it->first).substr(prefix_.size()), it->second, experts));
    }
    return {};
  }

 private:
  Result<std::int64_t> in_range(std::string_view key, std::int64_t value) const {
    if (value < 1 || value > largest) return bad(key, fmt::format("found {}, wanted 1 to {}", value, largest));
    return value;
  }

  Result<void> check_setting(std::string_view key, const Value& value, bool experts) const {
    for (const auto known : known_keys) {
      if (key == known) return {};
    }
    for (const auto known : known_expert_keys) {
      if (experts && key == known) return {};
    }
    for (const auto& setting : switched_off) {
      if (key != setting.key) continue;
      HEDDLE_ASSIGN(const auto number, any_number(key, value));
      if (number != setting.off)
        return bad(key, fmt::format("found {}, wanted {}: {} is not supported", number, setting.off, setting.what));
      return {};
    }
    return bad(key, "the setting is not supported");
  }

  Result<double> any_number(std::string_view key, const Value& value) const {
    if (value.type == ValueType::boolean) {
      HEDDLE_ASSIGN(const bool on, metadata_.boolean(full(key)));
      return on ? 1.0 : 0.0;
    }
    if (value.type == ValueType::f32 || value.type == ValueType::f64) return metadata_.number(full(key));
    HEDDLE_ASSIGN(const auto number, metadata_.integer(full(key)));
    return double(number);
  }

  const Metadata& metadata_;
  std::string prefix_;
};

Result<std::int64_t> vocabulary_of(const File& file, const Reader& read) {
  if (read.has("vocab_size")) return read.size("vocab_size");
  for (const TensorInfo& tensor : file.tensors) {
    if (tensor.name == "token_embd.weight" && tensor.shape[0] <= largest) return tensor.shape[0];
  }
  return file.metadata.missing(read.full("vocab_size"));
}

/// What says where attention looks, and how scores and logits are scaled and capped.
Result<void> read_attention(const Reader& read, const Architecture& known, Config& c) {
  HEDDLE_ASSIGN(c.attention_softcap, read.positive_or_off("attn_logit_softcapping", known.attention_softcap));
  HEDDLE_ASSIGN(c.logit_softcap, read.positive_or_off("final_logit_softcapping", known.logit_softcap));
  HEDDLE_ASSIGN(c.embedding_scale, read.positive_or("embedding_scale", known.scaled_embeddings ? std::sqrt(double(c.width)) : 1));
  HEDDLE_ASSIGN(c.attention_scale, read.positive_or_off("attention.scale"));
  if (c.attention_scale == 0 && known.layers_scaled_by_width == c.layers)
    c.attention_scale = 1 / std::sqrt(double(c.width) / double(c.heads));

  HEDDLE_ASSIGN(c.window, read.size_or_off("attention.sliding_window", known.window));
  c.windowed = windowed_layers(c.layers, known.full_attention_every);
  if (const Value* pattern = read.find("attention.sliding_window_pattern")) {  // a period, or a flag for every layer
    if (pattern->type == ValueType::array) {
      HEDDLE_ASSIGN(c.windowed, read.flags("attention.sliding_window_pattern", c.layers));
    } else {
      HEDDLE_ASSIGN(const auto every, read.size("attention.sliding_window_pattern"));
      c.windowed = windowed_layers(c.layers, every);
    }
  }
  HEDDLE_ASSIGN(c.local_rope_theta, read.positive_or("rope.freq_base_swa", known.local_rope_theta));
  return {};
}

Result<void> read_rope_scaling(const Reader& read, const Architecture& known, Config& c) {
  HEDDLE_ASSIGN(const auto scaling, read.text_or("rope.scaling.type", "none"));
  HEDDLE_ASSIGN(const auto factor, read.positive_or("rope.scaling.factor", 1));
  HEDDLE_ASSIGN(c.rope_attention_factor, read.positive_or("rope.scaling.attn_factor", 1));
  if (c.rope_attention_factor != 1 && !known.has_long_rope)
    return read.bad("rope.scaling.attn_factor", fmt::format("found {}, wanted 1: rope scaling is not supported", c.rope_attention_factor));
  if (known.has_long_rope) {  // its factors are tensors
    HEDDLE_ASSIGN(c.original_context, read.size_or_off("rope.scaling.original_context_length"));
  }
  if (factor == 1 || scaling == "none") {
    if (factor != 1) return read.bad("rope.scaling.factor", fmt::format("found {}, wanted 1: rope.scaling.type is 'none'", factor));
    const bool plain = scaling == "none" || read.has("rope.scaling.factor") || (scaling == "longrope" && known.has_long_rope);
    if (!plain)
      return read.bad("rope.scaling.type", fmt::format("found {}, wanted 'none': rope scaling is not supported", quoted(scaling)));
    return {};
  }
  if (scaling != "linear")
    return read.bad("rope.scaling.type", fmt::format("found {}, wanted 'none' or 'linear': others are not supported", quoted(scaling)));
  c.rope_factors.assign(std::size_t(c.rope_dims / 2), float(factor));
  return {};
}

Result<void> read_experts(const Reader& read, Config& c) {
  HEDDLE_ASSIGN(c.experts, read.size("expert_count"));
  HEDDLE_ASSIGN(c.experts_used, read.size("expert_used_count"));
  if (c.experts_used > c.experts)
    return read.bad("expert_used_count", fmt::format("found {}, there are {} experts", c.experts_used, c.experts));
  HEDDLE_ASSIGN(c.ffn, read.size("expert_feed_forward_length"));
  HEDDLE_ASSIGN(c.normalized_gates, read.flag_or("expert_weights_norm", true));
  return {};
}

}  // namespace

Result<Config> read_config(const File& file, const std::string& architecture, std::int64_t vocabulary) {
  const Architecture* known = architecture_named(architecture);
  HEDDLE_CHECK(known, "{}", architecture);
  const Reader read(file.metadata, architecture);
  Config c;
  c.architecture = architecture;
  c.rope_adjacent = known->gguf_rope_adjacent;
  HEDDLE_ASSIGN(c.layers, read.size("block_count"));
  HEDDLE_ASSIGN(c.trained_context, read.size("context_length"));
  HEDDLE_ASSIGN(c.width, read.size("embedding_length"));
  HEDDLE_ASSIGN(c.ffn, read.size_of_layers("feed_forward_length", c.layers));
  HEDDLE_ASSIGN(c.rms_eps, read.positive("attention.layer_norm_rms_epsilon"));
  HEDDLE_TRY(read.check_settings(known->has_experts));

  HEDDLE_ASSIGN(c.heads, read.size_of_layers("attention.head_count", c.layers));
  c.kv_heads = c.heads;
  if (read.has("attention.head_count_kv")) {
    HEDDLE_ASSIGN(c.kv_heads, read.size_of_layers("attention.head_count_kv", c.layers));
  }
  if (c.heads % c.kv_heads != 0)
    return read.bad("attention.head_count_kv", fmt::format("{} does not divide {} heads", c.kv_heads, c.heads));

  if (!read.has("attention.key_length") && c.width % c.heads != 0) {
    return read.bad("attention.head_count", fmt::format("{} heads do not divide a width of {}", c.heads, c.width));
  }
  HEDDLE_ASSIGN(c.head_dim, read.size_or("attention.key_length", c.width / c.heads));
  HEDDLE_ASSIGN(const auto value_length, read.size_or("attention.value_length", c.head_dim));
  if (value_length != c.head_dim) {
    return read.bad("attention.value_length",
                    fmt::format("{} is not the key length {}, different ones are not supported", value_length, c.head_dim));
  }
  HEDDLE_ASSIGN(c.rope_dims, read.size_or("rope.dimension_count", c.head_dim));
  if (c.rope_dims % 2 != 0 || c.rope_dims > c.head_dim) {
    return read.bad("rope.dimension_count",
                    fmt::format("found {}, wanted an even number up to the head dimension {}", c.rope_dims, c.head_dim));
  }
  if (read.has("rope.freq_base")) {
    HEDDLE_ASSIGN(c.rope_theta, read.positive("rope.freq_base"));
  }
  HEDDLE_TRY(read_attention(read, *known, c));
  HEDDLE_TRY(read_rope_scaling(read, *known, c));
  if (known->has_experts) HEDDLE_TRY(read_experts(read, c));
  c.vocabulary = vocabulary;
  if (vocabulary == 0) {
    HEDDLE_ASSIGN(c.vocabulary, vocabulary_of(file, read));
  }
  return c;
}

}  // namespace heddle::frontends::gguf
