#include "frontends/safetensors/config.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "frontends/quoted.h"

namespace heddle::frontends::safetensors {
namespace {

/// Keys that are read below.
constexpr std::string_view read_keys[] = {"_sliding_window_pattern",
                                          "attn_logit_softcapping",
                                          "final_logit_softcapping",
                                          "head_dim",
                                          "hidden_act",
                                          "hidden_activation",
                                          "hidden_size",
                                          "intermediate_size",
                                          "layer_types",
                                          "max_position_embeddings",
                                          "max_window_layers",
                                          "model_type",
                                          "num_attention_heads",
                                          "num_hidden_layers",
                                          "num_key_value_heads",
                                          "original_max_position_embeddings",
                                          "partial_rotary_factor",
                                          "query_pre_attn_scalar",
                                          "rms_norm_eps",
                                          "rope_local_base_freq",
                                          "rope_parameters",
                                          "rope_scaling",
                                          "rope_theta",
                                          "sliding_window",
                                          "sliding_window_pattern",
                                          "tie_word_embeddings",
                                          "use_sliding_window",
                                          "vocab_size"};

/// The same of a mixture of experts.
constexpr std::string_view expert_keys[] = {"decoder_sparse_step", "mlp_only_layers",     "moe_intermediate_size", "norm_topk_prob",
                                            "num_experts",         "num_experts_per_tok", "num_local_experts"};

/// Keys that change nothing that is computed: about training, about how transformers runs or draws tokens, or said by the tensors as well.
constexpr std::string_view idle_keys[] = {"_attn_implementation_autoset",
                                          "_name_or_path",
                                          "architectures",
                                          "attention_bias",
                                          "attention_dropout",
                                          "auto_map",
                                          "bos_token_id",
                                          "dtype",
                                          "embd_pdrop",
                                          "eos_token_id",
                                          "hidden_dropout",
                                          "hidden_dropout_prob",
                                          "cache_implementation",
                                          "initializer_range",
                                          "max_length",
                                          "output_attentions",
                                          "output_hidden_states",
                                          "output_router_logits",
                                          "pad_token_id",
                                          "pretraining_tp",
                                          "resid_pdrop",
                                          "return_dict",
                                          "router_aux_loss_coef",
                                          "torch_dtype",
                                          "transformers_version",
                                          "unsloth_fixed",
                                          "unsloth_version",
                                          "use_cache"};

/// Settings that heddle does not support, fine with the value that switches them off.
constexpr struct {
  std::string_view key;
  bool off;
  std::string_view what;
} switched_off[] = {{"is_encoder_decoder", false, "an encoder"},
                    {"mlp_bias", false, "biases in the feed-forward layer"},
                    {"use_qk_norm", false, "norms of Q and K"},
                    {"use_bidirectional_attention", false, "attention that is not causal"}};

constexpr std::int64_t largest = 0x7fffffff;

class Reader {
 public:
  explicit Reader(const JsonObject& json) : json_(json) {}

  Result<std::int64_t> size(std::string_view key) const {
    HEDDLE_ASSIGN(const auto value, json_.integer(key));
    if (value < 1 || value > largest) return json_.bad(key, fmt::format("found {}, wanted 1 to {}", value, largest));
    return value;
  }
  Result<std::int64_t> size_or(std::string_view key, std::int64_t otherwise) const {
    if (!json_.has(key)) return otherwise;
    return size(key);
  }
  static Result<double> positive(const JsonObject& json, std::string_view key) {
    HEDDLE_ASSIGN(const auto value, json.number(key));
    if (!(value > 0) || !std::isfinite(value)) return json.bad(key, fmt::format("found {}, wanted a number above 0", value));
    return value;
  }

  Result<std::int64_t> size_or_off(std::string_view key) const {
    HEDDLE_ASSIGN(const auto value, json_.integer_or(key, 0));
    if (value == 0) return value;
    return size(key);
  }
  /// A number that 0 or null switches off.
  Result<double> positive_or_off(std::string_view key) const {
    HEDDLE_ASSIGN(const auto value, json_.number_or(key, 0));
    if (value == 0) return value;
    return positive(json_, key);
  }

  /// Refuses what heddle does not know or does not support.
  Result<void> check_settings(const Architecture& architecture) const {
    for (const std::string& key : json_.keys()) HEDDLE_TRY(check_setting(key, architecture.has_experts));
    const std::string_view key = json_.has("hidden_activation") ? "hidden_activation" : "hidden_act";
    HEDDLE_ASSIGN(const auto act, json_.string_or(key, std::string(architecture.activation)));
    if (act != architecture.activation)
      return json_.bad(key, fmt::format("found {}, wanted {}: other activations are not supported", frontends::quoted(act),
                                        frontends::quoted(architecture.activation)));
    return {};
  }

 private:
  Result<void> check_setting(std::string_view key, bool experts) const {
    if (experts && std::ranges::find(expert_keys, key) != std::end(expert_keys)) return {};
    if (std::ranges::find(read_keys, key) != std::end(read_keys) || std::ranges::find(idle_keys, key) != std::end(idle_keys)) return {};
    if (key == "quantization_config" && json_.has(key)) {
      HEDDLE_ASSIGN(const auto quantization, json_.object(key));
      HEDDLE_ASSIGN(const auto method, quantization.string_or("quant_method", "unnamed"));
      return json_.bad(key, fmt::format("weights quantised by {} are not supported", frontends::quoted(method)));
    }
    if (!json_.has(key)) return {};  // null
    for (const auto& setting : switched_off) {
      if (key != setting.key) continue;
      HEDDLE_ASSIGN(const bool value, json_.boolean(key));
      if (value != setting.off)
        return json_.bad(key, fmt::format("found {}, wanted {}: {} is not supported", value, setting.off, setting.what));
      return {};
    }
    return json_.bad(key, "the setting is not supported");
  }

  const JsonObject& json_;
};

/// `rope_type`, which older files call `type`.
Result<std::string> rope_type(const JsonObject& rope) { return rope.string_or(rope.has("rope_type") ? "rope_type" : "type", "default"); }

/// Which layers have a window by `layer_types`.
Result<std::vector<bool>> windows_of(const JsonObject& json, const nlohmann::json& types, std::int64_t layers) {
  if (!types.is_array() || std::int64_t(types.size()) != layers)
    return json.bad("layer_types", fmt::format("wanted a list of {} texts", layers));
  std::vector<bool> out;
  for (const auto& type : types) {
    if (type != "full_attention" && type != "sliding_attention")
      return json.bad("layer_types", fmt::format("found {}, wanted 'full_attention' or 'sliding_attention': other layers are not supported",
                                                 type.is_string() ? frontends::quoted(type.get<std::string>()) : std::string("no text")));
    out.push_back(type == "sliding_attention");
  }
  return out;
}

/// The part of a head that the rotary embedding turns.
Result<void> read_turning_part(const JsonObject& json, Config& c) {
  if (!json.has("partial_rotary_factor")) return {};
  HEDDLE_ASSIGN(const auto part, Reader::positive(json, "partial_rotary_factor"));
  c.rope_dims = std::int64_t(double(c.head_dim) * part);
  if (part > 1 || c.rope_dims < 2 || c.rope_dims % 2 != 0)
    return json.bad("partial_rotary_factor", fmt::format("found {}, wanted an even number of the {} elements of a head", part, c.head_dim));
  return {};
}

/// What says where attention looks, and how scores and logits are scaled and capped.
Result<void> read_attention(const JsonObject& json, const Reader& read, const Architecture& architecture, Config& c) {
  HEDDLE_ASSIGN(c.attention_softcap, read.positive_or_off("attn_logit_softcapping"));
  HEDDLE_ASSIGN(c.logit_softcap, read.positive_or_off("final_logit_softcapping"));
  HEDDLE_ASSIGN(const auto scalar, read.positive_or_off("query_pre_attn_scalar"));
  if (scalar > 0) c.attention_scale = 1 / std::sqrt(scalar);
  if (architecture.scaled_embeddings) c.embedding_scale = std::sqrt(double(c.width));
  c.gains_less_one = architecture.gains_less_one;

  HEDDLE_ASSIGN(const bool used, json.boolean_or("use_sliding_window", !architecture.window_on_request));
  if (!used) return {};
  HEDDLE_ASSIGN(c.window, read.size_or_off("sliding_window"));
  if (c.window == 0) return {};
  if (const auto* types = json.find("layer_types")) {
    HEDDLE_ASSIGN(c.windowed, windows_of(json, *types, c.layers));
    return {};
  }
  // Older files: a period, or the first layer that has a window.
  const std::string_view key = json.has("sliding_window_pattern") ? "sliding_window_pattern" : "_sliding_window_pattern";
  std::int64_t every = architecture.full_attention_every;
  if (json.has(key)) {
    HEDDLE_ASSIGN(every, read.size(key));
  }
  c.windowed = windowed_layers(c.layers, every);
  if (c.windowed.empty() && json.has("max_window_layers")) {
    HEDDLE_ASSIGN(const auto first, json.integer("max_window_layers"));
    for (std::int64_t i = 0; i < c.layers; ++i) c.windowed.push_back(i >= first);
  }
  return {};
}

Result<std::vector<float>> factors_of(const JsonObject& rope, std::string_view key, std::int64_t count) {
  const auto* list = rope.find(key);
  if (!list) return rope.missing(key);
  if (!list->is_array() || std::int64_t(list->size()) != count || !std::ranges::all_of(*list, [](const auto& x) { return x.is_number(); }))
    return rope.bad(key, fmt::format("wanted a list of {} numbers", count));
  std::vector<float> out;
  for (const auto& factor : *list) out.push_back(factor.template get<float>());
  for (const float factor : out)
    if (!(factor > 0) || !std::isfinite(factor)) return rope.bad(key, fmt::format("found {}, wanted numbers above 0", factor));
  return out;
}

/// Llama 3: long wavelengths are stretched by `factor`, short ones are not, between them a blend (source: transformers'
/// modeling_rope_utils.py, _compute_llama3_parameters).
Result<void> read_llama3(const JsonObject& rope, Config& c) {
  HEDDLE_ASSIGN(const auto factor, Reader::positive(rope, "factor"));
  HEDDLE_ASSIGN(const auto low, Reader::positive(rope, "low_freq_factor"));
  HEDDLE_ASSIGN(const auto high, Reader::positive(rope, "high_freq_factor"));
  HEDDLE_ASSIGN(const auto original, Reader(rope).size("original_max_position_embeddings"));
  if (high <= low) return rope.bad("high_freq_factor", fmt::format("found {}, wanted more than low_freq_factor {}", high, low));
  c.rope_factors.clear();
  for (std::int64_t i = 0; i < c.rope_dims / 2; ++i) {
    const double wavelength = 2 * M_PI * std::pow(c.rope_theta, 2.0 * double(i) / double(c.rope_dims));
    const double turns = double(original) / wavelength;  // over the original context
    const double blend = std::clamp((turns - low) / (high - low), 0.0, 1.0);
    c.rope_factors.push_back(float(1 / ((1 - blend) / factor + blend)));
  }
  return {};
}

/// Factors for short and for long contexts; the attention factor follows from how much longer the latter are where it is not given.
Result<void> read_longrope(const JsonObject& json, const JsonObject& rope, Config& c) {
  const JsonObject& at = rope.has("original_max_position_embeddings") ? rope : json;
  HEDDLE_ASSIGN(c.original_context, Reader(at).size("original_max_position_embeddings"));
  HEDDLE_ASSIGN(c.rope_factors, factors_of(rope, "short_factor", c.rope_dims / 2));
  HEDDLE_ASSIGN(c.long_rope_factors, factors_of(rope, "long_factor", c.rope_dims / 2));
  double factor = double(c.trained_context) / double(c.original_context);
  if (rope.has("factor")) {
    HEDDLE_ASSIGN(factor, Reader::positive(rope, "factor"));
  }
  if (rope.has("attention_factor")) {
    HEDDLE_ASSIGN(c.rope_attention_factor, Reader::positive(rope, "attention_factor"));
  } else if (factor > 1) {
    c.rope_attention_factor = std::sqrt(1 + std::log(factor) / std::log(double(c.original_context)));
  }
  return {};
}

/// One object of settings: of all layers, or of those without a window.
Result<void> read_scaling(const JsonObject& json, const JsonObject& rope, const Architecture& architecture, Config& c) {
  if (rope.has("rope_theta")) {
    HEDDLE_ASSIGN(c.rope_theta, Reader::positive(rope, "rope_theta"));
  }
  std::vector<std::string_view> known = {"rope_theta", "rope_type", "type", "partial_rotary_factor"};
  HEDDLE_ASSIGN(const auto type, rope_type(rope));
  if (type == "linear") {
    HEDDLE_ASSIGN(const auto factor, Reader::positive(rope, "factor"));
    c.rope_factors.assign(std::size_t(c.rope_dims / 2), float(factor));
    known.push_back("factor");
  } else if (type == "llama3") {
    HEDDLE_TRY(read_llama3(rope, c));
    known.insert(known.end(), {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"});
  } else if ((type == "longrope" || type == "su") && architecture.has_long_rope) {
    HEDDLE_TRY(read_longrope(json, rope, c));
    known.insert(known.end(), {"factor", "short_factor", "long_factor", "attention_factor", "original_max_position_embeddings"});
  } else if (type != "default") {
    return rope.bad(rope.has("rope_type") ? "rope_type" : "type",
                    fmt::format("found {}, wanted 'default', 'linear', 'llama3' or, of some architectures, 'longrope': others are not "
                                "supported",
                                frontends::quoted(type)));
  }
  for (const std::string& setting : rope.keys()) {
    if (std::ranges::find(known, setting) == known.end() && rope.has(setting)) return rope.bad(setting, "the setting is not supported");
  }
  return {};
}

/// The settings of the rotary embedding in one spelling or the other; rope_parameters may have an object for each type of layer.
Result<void> read_rope(const JsonObject& json, const Architecture& architecture, Config& c) {
  if (architecture.local_rope_theta > 0) {
    c.local_rope_theta = architecture.local_rope_theta;
    c.rope_theta = 1e6;  // transformers' default where there are two
  }
  if (json.has("rope_theta")) {
    HEDDLE_ASSIGN(c.rope_theta, Reader::positive(json, "rope_theta"));
  }
  if (json.has("rope_local_base_freq")) {
    HEDDLE_ASSIGN(c.local_rope_theta, Reader::positive(json, "rope_local_base_freq"));
  }
  HEDDLE_TRY(read_turning_part(json, c));
  for (const std::string_view key : {"rope_scaling", "rope_parameters"}) {
    if (!json.has(key)) continue;
    HEDDLE_ASSIGN(const auto rope, json.object(key));
    if (!rope.has("full_attention")) {
      HEDDLE_TRY(read_turning_part(rope, c));
      HEDDLE_TRY(read_scaling(json, rope, architecture, c));
      continue;
    }
    for (const std::string& type : rope.keys()) {
      if (type != "full_attention" && type != "sliding_attention") return rope.bad(type, "the setting is not supported");
    }
    HEDDLE_ASSIGN(const auto full, rope.object("full_attention"));
    HEDDLE_TRY(read_scaling(json, full, architecture, c));
    if (!rope.has("sliding_attention")) continue;
    HEDDLE_ASSIGN(const auto sliding, rope.object("sliding_attention"));
    HEDDLE_ASSIGN(const auto type, rope_type(sliding));
    if (type != "default")
      return sliding.bad("rope_type", fmt::format("found {}, wanted 'default': rope scaling of layers with a window is not supported",
                                                  frontends::quoted(type)));
    HEDDLE_ASSIGN(c.local_rope_theta, Reader::positive(sliding, "rope_theta"));
  }
  return {};
}

Result<void> read_experts(const JsonObject& json, const Reader& read, Config& c) {
  HEDDLE_ASSIGN(c.experts, read.size(json.has("num_experts") ? "num_experts" : "num_local_experts"));
  HEDDLE_ASSIGN(c.experts_used, read.size("num_experts_per_tok"));
  if (c.experts_used > c.experts)
    return json.bad("num_experts_per_tok", fmt::format("found {}, there are {} experts", c.experts_used, c.experts));
  HEDDLE_ASSIGN(c.ffn, read.size("moe_intermediate_size"));
  HEDDLE_ASSIGN(c.normalized_gates, json.boolean_or("norm_topk_prob", false));
  HEDDLE_ASSIGN(const auto step, read.size_or("decoder_sparse_step", 1));
  if (step != 1) return json.bad("decoder_sparse_step", fmt::format("found {}, wanted 1: layers without experts are not supported", step));
  if (const auto* dense = json.find("mlp_only_layers"); dense && !dense->empty())
    return json.bad("mlp_only_layers", "layers without experts are not supported");
  return {};
}

}  // namespace

Result<Config> read_config(const JsonObject& json, const Architecture& architecture) {
  const Reader read(json);
  Config c;
  c.architecture = architecture.name;
  c.rope_adjacent = false;  // weights are stored as they were trained: pairs half a head apart
  HEDDLE_ASSIGN(c.layers, read.size("num_hidden_layers"));
  HEDDLE_ASSIGN(c.trained_context, read.size("max_position_embeddings"));
  HEDDLE_ASSIGN(c.width, read.size("hidden_size"));
  HEDDLE_ASSIGN(c.ffn, read.size("intermediate_size"));
  HEDDLE_ASSIGN(c.vocabulary, read.size("vocab_size"));
  HEDDLE_ASSIGN(c.rms_eps, Reader::positive(json, "rms_norm_eps"));
  HEDDLE_TRY(read.check_settings(architecture));

  HEDDLE_ASSIGN(c.heads, read.size("num_attention_heads"));
  HEDDLE_ASSIGN(c.kv_heads, read.size_or("num_key_value_heads", c.heads));
  if (c.heads % c.kv_heads != 0) return json.bad("num_key_value_heads", fmt::format("{} does not divide {} heads", c.kv_heads, c.heads));
  if (!json.has("head_dim") && c.width % c.heads != 0)
    return json.bad("num_attention_heads", fmt::format("{} heads do not divide a width of {}", c.heads, c.width));
  HEDDLE_ASSIGN(c.head_dim, read.size_or("head_dim", c.width / c.heads));
  if (c.head_dim % 2 != 0) return json.bad("head_dim", fmt::format("found {}, wanted an even number", c.head_dim));
  c.rope_dims = c.head_dim;
  HEDDLE_TRY(read_attention(json, read, architecture, c));
  HEDDLE_TRY(read_rope(json, architecture, c));
  if (architecture.has_experts) HEDDLE_TRY(read_experts(json, read, c));
  return c;
}

}  // namespace heddle::frontends::safetensors
