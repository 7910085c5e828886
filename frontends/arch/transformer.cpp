#include "frontends/arch/transformer.h"

#include <cmath>

#include "frontends/quoted.h"

namespace heddle::frontends {

// ---- Tensors

static std::string text_of(const ir::Shape& shape) { return fmt::format("[{}]", fmt::join(shape.begin(), shape.end(), ", ")); }
static bool is_float(DType type) { return type == DType::f32 || type == DType::f16 || type == DType::bf16; }

Result<const TensorInfo*> Weights::find(const std::string& name, const ir::Shape& shape) {
  const TensorInfo* tensor = model_.tensor(name);
  if (!tensor) return nullptr;
  if (tensor->shape != shape) {
    return error("{}: tensor {}: shape is {}, the config needs {}", model_.path, quoted(name), text_of(tensor->shape), text_of(shape));
  }
  if (shape.size() == 1 && !is_float(tensor->dtype)) {
    return error("{}: tensor {}: type is {}, a vector is f32, f16 or bf16", model_.path, quoted(name), heddle::name(tensor->dtype));
  }
  used_.insert(name);
  return tensor;
}

Result<ir::Value*> Weights::take(const std::string& name, ir::Shape shape) {
  HEDDLE_ASSIGN(ir::Value * value, take_if_there(name, std::move(shape)));
  if (!value) return error("{}: tensor {} is missing", model_.path, quoted(name));
  return value;
}

Result<ir::Value*> Weights::take_if_there(const std::string& name, ir::Shape shape) {
  HEDDLE_ASSIGN(const TensorInfo* tensor, find(name, shape));
  if (!tensor) return nullptr;
  const ir::Type type{tensor->dtype, shape};
  return module_.add_weight(name, type, {{.tensor = name, .row_begin = 0, .rows = type.elements() / type.width()}});
}

Result<ir::Value*> Weights::take_gain(const std::string& name, std::int64_t n) {
  if (!model_.config.gains_less_one) return take(name, {n});
  HEDDLE_ASSIGN(const TensorInfo* tensor, find(name, {n}));
  if (!tensor) return error("{}: tensor {} is missing", model_.path, quoted(name));
  return module_.add_weight(name, {DType::f32, {n}}, {{.tensor = name, .row_begin = 0, .rows = 1, .dtype = tensor->dtype, .plus = 1}});
}

Result<ir::Value*> Weights::take_rows(const std::string& name, std::int64_t all, std::int64_t columns, const std::string& as,
                                      std::int64_t begin, std::int64_t rows) {
  HEDDLE_ASSIGN(const TensorInfo* tensor, find(name, {all, columns}));
  if (!tensor) return error("{}: tensor {} is missing", model_.path, quoted(name));
  return module_.add_weight(as, {tensor->dtype, {rows, columns}}, {{.tensor = name, .row_begin = begin, .rows = rows}});
}

Result<ir::Value*> Weights::take_stack(const std::string& prefix, std::int64_t count, std::int64_t rows, std::int64_t columns) {
  const std::string name = prefix + "_exps.weight", first = prefix + ".0.weight";
  if (has(name) || !has(first)) return take(name, {count, rows, columns});
  ir::Type type{DType::f32, {count, rows, columns}};
  std::vector<ir::WeightSource> sources;
  for (std::int64_t i = 0; i < count; ++i) {
    const std::string one = fmt::format("{}.{}.weight", prefix, i);
    HEDDLE_ASSIGN(const TensorInfo* tensor, find(one, {rows, columns}));
    if (!tensor) return error("{}: tensor {} is missing", model_.path, quoted(one));
    if (i == 0) type.dtype = tensor->dtype;
    if (tensor->dtype != type.dtype) {
      return error("{}: tensor {}: type is {}, that of {} is {}", model_.path, quoted(one), heddle::name(tensor->dtype), quoted(first),
                   heddle::name(type.dtype));
    }
    sources.push_back({.tensor = one, .row_begin = 0, .rows = rows});
  }
  return module_.add_weight(name, type, std::move(sources));
}

ir::Value* Weights::constant(const std::string& name, std::vector<float> values) {
  const ir::Type type{DType::f32, {std::int64_t(values.size())}};
  return module_.add_weight(name, type, {{.tensor = {}, .row_begin = 0, .rows = 1, .values = std::move(values)}});
}

Result<void> Weights::check_all_used() const {
  for (const TensorInfo& tensor : model_.tensors) {
    if (!used_.contains(tensor.name)) {
      return error("{}: tensor {} is not part of architecture '{}'", model_.path, quoted(tensor.name), model_.config.architecture);
    }
  }
  return {};
}

// ---- The weights of a decoder

static Result<Linear> take_linear(Weights& weights, const std::string& name, std::int64_t out, std::int64_t in, Bias bias = Bias::none) {
  Linear linear;
  HEDDLE_ASSIGN(linear.weight, weights.take(name + ".weight", {out, in}));
  if (bias == Bias::required) {
    HEDDLE_ASSIGN(linear.bias, weights.take(name + ".bias", {out}));
  }
  if (bias == Bias::optional) {
    HEDDLE_ASSIGN(linear.bias, weights.take_if_there(name + ".bias", {out}));
  }
  return linear;
}

static Result<void> take_qkv(Weights& weights, const Config& c, const Parts& parts, const std::string& blk, Layer& layer) {
  const std::int64_t q_width = c.heads * c.head_dim, kv_width = c.kv_heads * c.head_dim;
  if (parts.fused_qkv) {
    const std::string fused = blk + "attn_qkv.weight";
    const std::int64_t all = q_width + 2 * kv_width;
    HEDDLE_ASSIGN(layer.q.weight, weights.take_rows(fused, all, c.width, blk + "attn_q.weight", 0, q_width));
    HEDDLE_ASSIGN(layer.k.weight, weights.take_rows(fused, all, c.width, blk + "attn_k.weight", q_width, kv_width));
    HEDDLE_ASSIGN(layer.v.weight, weights.take_rows(fused, all, c.width, blk + "attn_v.weight", q_width + kv_width, kv_width));
  } else {
    HEDDLE_ASSIGN(layer.q, take_linear(weights, blk + "attn_q", q_width, c.width, parts.qkv_bias));
    HEDDLE_ASSIGN(layer.k, take_linear(weights, blk + "attn_k", kv_width, c.width, parts.qkv_bias));
    HEDDLE_ASSIGN(layer.v, take_linear(weights, blk + "attn_v", kv_width, c.width, parts.qkv_bias));
  }
  if (parts.head_norms) {
    HEDDLE_ASSIGN(layer.q_norm, weights.take_gain(blk + "attn_q_norm.weight", c.head_dim));
    HEDDLE_ASSIGN(layer.k_norm, weights.take_gain(blk + "attn_k_norm.weight", c.head_dim));
  }
  return {};
}

static Result<void> take_ffn(Weights& weights, const Config& c, const Parts& parts, const std::string& blk, Layer& layer) {
  if (parts.ffn == FfnTensors::experts) {
    HEDDLE_ASSIGN(layer.router, take_linear(weights, blk + "ffn_gate_inp", c.experts, c.width));
    HEDDLE_ASSIGN(layer.gate.weight, weights.take_stack(blk + "ffn_gate", c.experts, c.ffn, c.width));
    HEDDLE_ASSIGN(layer.up.weight, weights.take_stack(blk + "ffn_up", c.experts, c.ffn, c.width));
    HEDDLE_ASSIGN(layer.down.weight, weights.take_stack(blk + "ffn_down", c.experts, c.width, c.ffn));
    return {};
  }
  if (parts.ffn == FfnTensors::fused_gate_up) {
    HEDDLE_ASSIGN(layer.gate.weight, weights.take_rows(blk + "ffn_up.weight", 2 * c.ffn, c.width, blk + "ffn_gate.weight", 0, c.ffn));
    HEDDLE_ASSIGN(layer.up.weight, weights.take_rows(blk + "ffn_up.weight", 2 * c.ffn, c.width, blk + "ffn_up.weight", c.ffn, c.ffn));
  } else {
    HEDDLE_ASSIGN(layer.gate, take_linear(weights, blk + "ffn_gate", c.ffn, c.width));
    HEDDLE_ASSIGN(layer.up, take_linear(weights, blk + "ffn_up", c.ffn, c.width));
  }
  HEDDLE_ASSIGN(layer.down, take_linear(weights, blk + "ffn_down", c.width, c.ffn));
  return {};
}

static Result<Layer> take_layer(Weights& weights, const Config& c, const Parts& parts, std::int64_t index) {
  const std::string blk = fmt::format("blk.{}.", index);
  Layer layer;
  HEDDLE_ASSIGN(layer.attention_norm, weights.take_gain(blk + "attn_norm.weight", c.width));
  HEDDLE_TRY(take_qkv(weights, c, parts, blk, layer));
  HEDDLE_ASSIGN(layer.output, take_linear(weights, blk + "attn_output", c.width, c.heads * c.head_dim, parts.output_bias));
  HEDDLE_ASSIGN(layer.ffn_norm, weights.take_gain(blk + "ffn_norm.weight", c.width));
  HEDDLE_TRY(take_ffn(weights, c, parts, blk, layer));
  if (parts.post_norms) {
    HEDDLE_ASSIGN(layer.attention_post_norm, weights.take_gain(blk + "post_attention_norm.weight", c.width));
    HEDDLE_ASSIGN(layer.ffn_post_norm, weights.take_gain(blk + "post_ffw_norm.weight", c.width));
  }
  return layer;
}

/// Factors of the rotary angles: the configuration's, or a tensor's.
static Result<void> take_rope(Weights& weights, const Config& c, const BuildOptions& options, Decoder& decoder) {
  const bool is_long = wants_long_rope(c, options.context);
  const ir::Shape shape{c.rope_dims / 2};
  const std::string wanted = is_long ? "rope_factors_long.weight" : "rope_factors_short.weight";
  const std::vector<float>& given = is_long && !c.long_rope_factors.empty() ? c.long_rope_factors : c.rope_factors;
  if (!given.empty()) {
    decoder.rope_factors = weights.constant(is_long ? "rope_factors_long" : "rope_factors", given);
  } else if (weights.has(wanted)) {
    HEDDLE_ASSIGN(decoder.rope_factors, weights.take(wanted, shape));
    weights.leave(is_long ? "rope_factors_short.weight" : "rope_factors_long.weight");
  } else {
    HEDDLE_ASSIGN(decoder.rope_factors, weights.take_if_there("rope_freqs.weight", shape));
  }
  // Sines and cosines of both Q and K have the attention factor. Scores are products of the two, so that it can stand in the scale, or,
  // where a part of the head is not turned, with Q alone.
  decoder.attention_scale = c.attention_scale > 0 ? c.attention_scale : 1 / std::sqrt(double(c.head_dim));
  const double twice = c.rope_attention_factor * c.rope_attention_factor;
  if (c.rope_dims == c.head_dim) {
    decoder.attention_scale *= twice;
  } else if (twice != 1) {
    std::vector<float> factors(std::size_t(c.heads * c.head_dim), 1);
    for (std::size_t i = 0; i < factors.size(); ++i)
      if (std::int64_t(i) % c.head_dim < c.rope_dims) factors[i] = float(twice);
    decoder.q_factors = weights.constant("rope_attention_factors", std::move(factors));
  }
  return {};
}

Result<Decoder> take_decoder(Weights& weights, const Config& config, const BuildOptions& options, Parts parts) {
  Decoder decoder;
  decoder.activation = parts.activation;
  HEDDLE_ASSIGN(decoder.embedding, weights.take("token_embd.weight", {config.vocabulary, config.width}));
  for (std::int64_t i = 0; i < config.layers; ++i) {
    HEDDLE_ASSIGN(auto layer, take_layer(weights, config, parts, i));
    decoder.layers.push_back(layer);
  }
  HEDDLE_ASSIGN(decoder.output_norm, weights.take_gain("output_norm.weight", config.width));
  HEDDLE_ASSIGN(decoder.head, weights.take_if_there("output.weight", {config.vocabulary, config.width}));
  if (!decoder.head) decoder.head = decoder.embedding;
  HEDDLE_TRY(take_rope(weights, config, options, decoder));
  return decoder;
}

// ---- One entry point

Step::Step(ir::Module& module, const Config& config, const Decoder& decoder, const EntryRequest& entry, DType kv)
    : config_(config),
      decoder_(decoder),
      function_(module.add_function(fmt::format("{}_{}", entry.kind, entry.rows), entry.kind, entry.rows)),
      b_(function_.body()) {
  HEDDLE_CHECK(entry.rows >= 1, "{}", entry.rows);
  const ir::Type per_row{DType::i32, {entry.rows}};
  tokens_ = function_.add_argument("tokens", per_row);
  slot_ = function_.add_argument("slot", per_row);
  pos_ = function_.add_argument("pos", per_row);
  if (entry.kind == EntryKind::prompt) last_ = function_.add_argument("last", {DType::i32, {1}});
  const ir::Type cache{kv, {2, config.kv_heads, config.head_dim}, /*state=*/true};
  for (std::size_t i = 0; i < decoder.layers.size(); ++i) states_.push_back(function_.add_argument(fmt::format("kv.{}", i), cache));
}

ir::Value* Step::linear(const std::string& name, const Linear& linear, ir::Value* x) {
  if (!linear.bias) return b_.matmul(name, linear.weight, x);
  return b_.add(name, b_.matmul(name + "_matmul", linear.weight, x), linear.bias);
}

ir::Value* Step::rope(const std::string& name, std::size_t layer, ir::Value* x, ir::Value* pos) {
  const char* pairing = config_.rope_adjacent ? "adjacent" : "halves";
  const bool local = config_.local_rope_theta > 0 && config_.has_window(std::int64_t(layer));
  return b_.rope(name, x, pos, local ? nullptr : decoder_.rope_factors, config_.head_dim, config_.rope_dims,
                 local ? config_.local_rope_theta : config_.rope_theta, pairing);
}

/// x + y, with a norm of y in between where there is one.
ir::Value* Step::add(const std::string& name, ir::Value* x, const std::string& what, ir::Value* y, ir::Value* post_norm) {
  if (post_norm) y = b_.rms_norm(what, y, post_norm, config_.rms_eps);
  return b_.add(name, x, y);
}

ir::Value* Step::embed() {
  if (config_.embedding_scale == 1) return b_.embed("x", decoder_.embedding, tokens_);
  ir::Value* scale = b_.constant("embedding_scale", config_.embedding_scale);
  return b_.mul("x", b_.embed("embedding", decoder_.embedding, tokens_), scale);
}

ir::Value* Step::attention(std::size_t index, ir::Value* x) {
  const Layer& layer = decoder_.layers[index];
  const std::string l = fmt::format("l{}.", index);
  const bool is_last = index + 1 == decoder_.layers.size(), only_cache = function_.kind == EntryKind::prefill && is_last;
  ir::Value* norm = b_.rms_norm(l + "attn_norm", x, layer.attention_norm, config_.rms_eps);
  ir::Value *q_norm = norm, *slot = slot_, *pos = pos_;  // of the rows that go on
  if (last_ && is_last) {
    x = b_.select_rows(l + "x_last", x, last_);
    slot = b_.select_rows("slot_last", slot_, last_);
    pos = b_.select_rows("pos_last", pos_, last_);
    q_norm = b_.rms_norm(l + "attn_norm_last", x, layer.attention_norm, config_.rms_eps);
  }
  ir::Value* q = only_cache ? nullptr : linear(l + "q", layer.q, q_norm);
  ir::Value* k = linear(l + "k", layer.k, norm);
  ir::Value* v = linear(l + "v", layer.v, norm);
  if (layer.q_norm && q) q = b_.rms_norm(l + "q_norm", q, layer.q_norm, config_.rms_eps);
  if (layer.k_norm) k = b_.rms_norm(l + "k_norm", k, layer.k_norm, config_.rms_eps);
  if (decoder_.q_factors && q) q = b_.mul(l + "q_scaled", q, decoder_.q_factors);
  ir::Value* q_rope = only_cache ? nullptr : rope(l + "q_rope", index, q, pos);
  ir::Value* k_rope = rope(l + "k_rope", index, k, pos_);
  states_[index] = b_.kv_store(fmt::format("kv.{}.1", index), states_[index], k_rope, v, slot_, pos_);
  if (only_cache) return nullptr;
  const std::int64_t window = config_.has_window(std::int64_t(index)) ? config_.window : 0;
  ir::Value* mixed = b_.attention(l + "attn", q_rope, states_[index], slot, pos, config_.heads, config_.kv_heads, config_.head_dim,
                                  decoder_.attention_scale, window, config_.attention_softcap);
  return add(l + "x1", x, l + "attn_post_norm", linear(l + "o", layer.output, mixed), layer.attention_post_norm);
}

ir::Value* Step::gated_ffn(std::size_t index, ir::Value* x) {
  const Layer& layer = decoder_.layers[index];
  const std::string l = fmt::format("l{}.", index);
  ir::Value* norm = b_.rms_norm(l + "ffn_norm", x, layer.ffn_norm, config_.rms_eps);
  ir::Value *experts = nullptr, *gates = nullptr;
  if (layer.router.weight) {
    ir::Value* logits = linear(l + "router", layer.router, norm);
    experts = b_.top_k(l + "experts", logits, config_.experts_used);
    gates = b_.expert_gates(l + "gates", logits, experts, std::int64_t(config_.normalized_gates));
  }
  const auto product = [&](const std::string& name, const Linear& of, ir::Value* value, ir::Value* with) {
    return experts ? b_.matmul(name, of.weight, value, experts, with) : linear(name, of, value);
  };
  ir::Value* gate = product(l + "gate", layer.gate, norm, nullptr);
  ir::Value* up = product(l + "up", layer.up, norm, nullptr);
  const ir::Op activation = decoder_.activation;
  ir::Value* act = b_.mul(l + "act", b_.op(activation, l + std::string(ir::info(activation).name), {gate}, {}), up);
  return add(l + "x2", x, l + "ffn_post_norm", product(l + "down", layer.down, act, gates), layer.ffn_post_norm);
}

void Step::finish(ir::Value* x) {
  std::vector<ir::Value*> results;
  if (x) {
    ir::Value* norm = b_.rms_norm("output_norm", x, decoder_.output_norm, config_.rms_eps);
    const double cap = config_.logit_softcap;
    ir::Value* logits = b_.matmul(cap > 0 ? "logits_uncapped" : "logits", decoder_.head, norm);
    if (cap > 0) {
      ir::Value* c = b_.constant("logit_softcap", cap);
      logits = b_.mul("logits", b_.tanh("logits_tanh", b_.div("logits_divided", logits, c)), c);
    }
    results.push_back(logits);
  }
  results.insert(results.end(), states_.begin(), states_.end());
  b_.ret("", results);
}

void build_entries(ir::Module& module, const Config& config, const BuildOptions& options, const Decoder& decoder) {
  for (const EntryRequest& entry : options.entries) {
    Step step(module, config, decoder, entry, options.kv);
    ir::Value* x = step.embed();
    for (std::size_t layer = 0; layer < decoder.layers.size(); ++layer) {
      x = step.attention(layer, x);
      if (x) x = step.gated_ffn(layer, x);
    }
    step.finish(x);
  }
}

}  // namespace heddle::frontends
