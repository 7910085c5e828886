#include "frontends/safetensors/config.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "frontends/quoted.h"

namespace heddle::frontends::safetensors {
namespace {

/// Keys that are read below.
constexpr std::string_view read_keys[] = {
    "head_dim",     "hidden_act",    "hidden_size",  "intermediate_size",       "layer_types",     "max_position_embeddings",
    "model_type",   "num_attention_heads", "num_hidden_layers", "num_key_value_heads", "rms_norm_eps", "rope_parameters",
    "rope_scaling", "rope_theta",    "sliding_window", "tie_word_embeddings",    "use_sliding_window", "vocab_size"};

/// Keys that change nothing that is computed: about training, about how transformers runs or draws tokens, or said by the tensors as well.
constexpr std::string_view idle_keys[] = {
    "_attn_implementation_autoset", "_name_or_path", "architectures", "attention_bias", "attention_dropout", "auto_map", "bos_token_id",
    "dtype", "embd_pdrop", "eos_token_id", "hidden_dropout", "hidden_dropout_prob", "initializer_range", "max_length", "max_window_layers",
    "output_attentions", "output_hidden_states", "pad_token_id", "pretraining_tp", "resid_pdrop", "return_dict", "router_aux_loss_coef",
    "torch_dtype", "transformers_version", "unsloth_fixed", "unsloth_version", "use_cache"};

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

  /// Refuses what heddle does not know or does not support.
  Result<void> check_settings(std::int64_t trained_context) const {
    for (const std::string& key : json_.keys()) HEDDLE_TRY(check_setting(key));
    HEDDLE_ASSIGN(const auto act, json_.string_or("hidden_act", "silu"));
    if (act != "silu") return json_.bad("hidden_act", fmt::format("found {}, wanted 'silu': other activations are not supported", frontends::quoted(act)));
    return check_window(trained_context);
  }

 private:
  Result<void> check_setting(std::string_view key) const {
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
      if (value != setting.off) return json_.bad(key, fmt::format("found {}, wanted {}: {} is not supported", value, setting.off, setting.what));
      return {};
    }
    return json_.bad(key, "the setting is not supported");
  }

  /// A window that reaches over the whole context is none.
  Result<void> check_window(std::int64_t trained_context) const {
    if (const auto* types = json_.find("layer_types")) {
      for (const auto& type : *types) {
        if (type != "full_attention")
          return json_.bad("layer_types", fmt::format("found {}, wanted 'full_attention': other layers are not supported",
                                                      type.is_string() ? frontends::quoted(type.get<std::string>()) : std::string("no text")));
      }
    }
    HEDDLE_ASSIGN(const bool used, json_.boolean_or("use_sliding_window", true));
    HEDDLE_ASSIGN(const auto window, json_.integer_or("sliding_window", 0));
    if (!used || window == 0 || window >= trained_context) return {};
    return json_.bad("sliding_window", fmt::format("found {}, less than the context of {}: a sliding window is not supported", window, trained_context));
  }

  const JsonObject& json_;
};

/// `rope_type`, which older files call `type`.
Result<std::string> rope_type(const JsonObject& rope) { return rope.string_or(rope.has("rope_type") ? "rope_type" : "type", "default"); }

/// The settings of the rotary embedding in one spelling or the other.
Result<void> read_rope(const JsonObject& json, Config& c) {
  if (json.has("rope_theta")) {
    HEDDLE_ASSIGN(c.rope_theta, Reader::positive(json, "rope_theta"));
  }
  for (const std::string_view key : {"rope_scaling", "rope_parameters"}) {
    if (!json.has(key)) continue;
    HEDDLE_ASSIGN(const auto rope, json.object(key));
    if (rope.has("rope_theta")) {
      HEDDLE_ASSIGN(c.rope_theta, Reader::positive(rope, "rope_theta"));
    }
    HEDDLE_ASSIGN(const auto type, rope_type(rope));
    if (type != "default")
      return rope.bad(rope.has("rope_type") ? "rope_type" : "type", fmt::format("found {}, wanted 'default': rope scaling is not supported", frontends::quoted(type)));
    for (const std::string& setting : rope.keys()) {
      if (setting != "rope_theta" && setting != "rope_type" && setting != "type" && rope.has(setting))
        return rope.bad(setting, "the setting is not supported");
    }
  }
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
  HEDDLE_TRY(read.check_settings(c.trained_context));

  HEDDLE_ASSIGN(c.heads, read.size("num_attention_heads"));
  HEDDLE_ASSIGN(c.kv_heads, read.size_or("num_key_value_heads", c.heads));
  if (c.heads % c.kv_heads != 0) return json.bad("num_key_value_heads", fmt::format("{} does not divide {} heads", c.kv_heads, c.heads));
  if (!json.has("head_dim") && c.width % c.heads != 0)
    return json.bad("num_attention_heads", fmt::format("{} heads do not divide a width of {}", c.heads, c.width));
  HEDDLE_ASSIGN(c.head_dim, read.size_or("head_dim", c.width / c.heads));
  if (c.head_dim % 2 != 0) return json.bad("head_dim", fmt::format("found {}, wanted an even number", c.head_dim));
  c.rope_dims = c.head_dim;
  HEDDLE_TRY(read_rope(json, c));
  return c;
}

}  // namespace heddle::frontends::safetensors
