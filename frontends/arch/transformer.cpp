#include "frontends/arch/transformer.h"

#include <cmath>

#include "frontends/quoted.h"

namespace heddle::frontends {

static std::string text_of(const ir::Shape& shape) { return fmt::format("[{}]", fmt::join(shape.begin(), shape.end(), ", ")); }

Result<ir::Value*> Weights::take(const std::string& name, ir::Shape shape) {
  HEDDLE_ASSIGN(ir::Value * value, take_if_there(name, std::move(shape)));
  if (!value) return error("{}: tensor {} is missing", model_.path, quoted(name));
  return value;
}

Result<ir::Value*> Weights::take_if_there(const std::string& name, ir::Shape shape) {
  const TensorInfo* tensor = model_.tensor(name);
  if (!tensor) return nullptr;
  if (tensor->shape != shape) {
    return error("{}: tensor {}: shape is {}, the config needs {}", model_.path, quoted(name), text_of(tensor->shape), text_of(shape));
  }
  const bool plain = tensor->dtype == DType::f32 || tensor->dtype == DType::f16 || tensor->dtype == DType::bf16;
  if (shape.size() == 1 && !plain) {
    return error("{}: tensor {}: type is {}, a vector is f32, f16 or bf16", model_.path, quoted(name), heddle::name(tensor->dtype));
  }
  used_.insert(name);
  const ir::Type type{tensor->dtype, shape};
  return module_.add_weight(name, type, {{.tensor = name, .row_begin = 0, .rows = type.rows()}});
}

Result<void> Weights::check_all_used() const {
  for (const TensorInfo& tensor : model_.tensors) {
    if (!used_.contains(tensor.name)) {
      return error("{}: tensor {} is not part of architecture '{}'", model_.path, quoted(tensor.name), model_.config.architecture);
    }
  }
  return {};
}

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

static Result<Layer> take_layer(Weights& weights, const Config& c, AttentionParts parts, std::int64_t index) {
  const std::string blk = fmt::format("blk.{}.", index);
  const std::int64_t q_width = c.heads * c.head_dim, kv_width = c.kv_heads * c.head_dim;
  Layer layer;
  HEDDLE_ASSIGN(layer.attention_norm, weights.take(blk + "attn_norm.weight", {c.width}));
  HEDDLE_ASSIGN(layer.q, take_linear(weights, blk + "attn_q", q_width, c.width, parts.qkv));
  HEDDLE_ASSIGN(layer.k, take_linear(weights, blk + "attn_k", kv_width, c.width, parts.qkv));
  HEDDLE_ASSIGN(layer.v, take_linear(weights, blk + "attn_v", kv_width, c.width, parts.qkv));
  HEDDLE_ASSIGN(layer.output, take_linear(weights, blk + "attn_output", c.width, q_width, parts.output));
  if (parts.head_norms) {
    HEDDLE_ASSIGN(layer.q_norm, weights.take(blk + "attn_q_norm.weight", {c.head_dim}));
    HEDDLE_ASSIGN(layer.k_norm, weights.take(blk + "attn_k_norm.weight", {c.head_dim}));
  }
  HEDDLE_ASSIGN(layer.ffn_norm, weights.take(blk + "ffn_norm.weight", {c.width}));
  HEDDLE_ASSIGN(layer.gate, take_linear(weights, blk + "ffn_gate", c.ffn, c.width));
  HEDDLE_ASSIGN(layer.up, take_linear(weights, blk + "ffn_up", c.ffn, c.width));
  HEDDLE_ASSIGN(layer.down, take_linear(weights, blk + "ffn_down", c.width, c.ffn));
  return layer;
}

Result<Decoder> take_decoder(Weights& weights, const Config& config, AttentionParts parts) {
  Decoder decoder;
  HEDDLE_ASSIGN(decoder.embedding, weights.take("token_embd.weight", {config.vocabulary, config.width}));
  for (std::int64_t i = 0; i < config.layers; ++i) {
    HEDDLE_ASSIGN(auto layer, take_layer(weights, config, parts, i));
    decoder.layers.push_back(layer);
  }
  HEDDLE_ASSIGN(decoder.output_norm, weights.take("output_norm.weight", {config.width}));
  HEDDLE_ASSIGN(decoder.head, weights.take_if_there("output.weight", {config.vocabulary, config.width}));
  if (!decoder.head) decoder.head = decoder.embedding;
  HEDDLE_ASSIGN(decoder.rope_factors, weights.take_if_there("rope_freqs.weight", {config.rope_dims / 2}));
  return decoder;
}

Step::Step(ir::Module& module, const Config& config, const Decoder& decoder, const EntryRequest& entry, DType kv)
    : config_(config),
      decoder_(decoder),
      function_(module.add_function(fmt::format("{}_{}", entry.kind, entry.rows), entry.kind, entry.rows)),
      b_(function_.body()) {
  HEDDLE_CHECK(entry.kind == "decode" || entry.kind == "prefill", "{}", entry.kind);
  HEDDLE_CHECK(entry.rows >= 1, "{}", entry.rows);
  const ir::Type per_row{DType::i32, {entry.rows}};
  tokens_ = function_.add_argument("tokens", per_row);
  slot_ = function_.add_argument("slot", per_row);
  pos_ = function_.add_argument("pos", per_row);
  const ir::Type cache{kv, {2, config.kv_heads, config.head_dim}, /*state=*/true};
  for (std::size_t i = 0; i < decoder.layers.size(); ++i) states_.push_back(function_.add_argument(fmt::format("kv.{}", i), cache));
}

ir::Value* Step::linear(const std::string& name, const Linear& linear, ir::Value* x) {
  if (!linear.bias) return b_.matmul(name, linear.weight, x);
  return b_.add(name, b_.matmul(name + "_matmul", linear.weight, x), linear.bias);
}

ir::Value* Step::rope(const std::string& name, ir::Value* x) {
  const char* pairing = config_.rope_adjacent ? "adjacent" : "halves";
  return b_.rope(name, x, pos_, decoder_.rope_factors, config_.head_dim, config_.rope_dims, config_.rope_theta, pairing);
}

ir::Value* Step::embed() { return b_.embed("x", decoder_.embedding, tokens_); }

ir::Value* Step::attention(std::size_t index, ir::Value* x) {
  const Layer& layer = decoder_.layers[index];
  const std::string l = fmt::format("l{}.", index);
  const bool only_cache = function_.kind == "prefill" && index + 1 == decoder_.layers.size();
  ir::Value* norm = b_.rms_norm(l + "attn_norm", x, layer.attention_norm, config_.rms_eps);
  ir::Value* q = only_cache ? nullptr : linear(l + "q", layer.q, norm);
  ir::Value* k = linear(l + "k", layer.k, norm);
  ir::Value* v = linear(l + "v", layer.v, norm);
  if (layer.q_norm && q) q = b_.rms_norm(l + "q_norm", q, layer.q_norm, config_.rms_eps);
  if (layer.k_norm) k = b_.rms_norm(l + "k_norm", k, layer.k_norm, config_.rms_eps);
  ir::Value* q_rope = only_cache ? nullptr : rope(l + "q_rope", q);
  ir::Value* k_rope = rope(l + "k_rope", k);
  states_[index] = b_.kv_store(fmt::format("kv.{}.1", index), states_[index], k_rope, v, slot_, pos_);
  if (only_cache) return nullptr;
  const double scale = 1 / std::sqrt(double(config_.head_dim));
  ir::Value* mixed = b_.attention(l + "attn", q_rope, states_[index], slot_, pos_, config_.heads, config_.kv_heads, config_.head_dim, scale,
                                  /*window=*/0, /*softcap=*/0.0);
  return b_.add(l + "x1", x, linear(l + "o", layer.output, mixed));
}

ir::Value* Step::gated_ffn(std::size_t index, ir::Value* x) {
  const Layer& layer = decoder_.layers[index];
  const std::string l = fmt::format("l{}.", index);
  ir::Value* norm = b_.rms_norm(l + "ffn_norm", x, layer.ffn_norm, config_.rms_eps);
  ir::Value* gate = linear(l + "gate", layer.gate, norm);
  ir::Value* up = linear(l + "up", layer.up, norm);
  ir::Value* act = b_.mul(l + "act", b_.silu(l + "silu", gate), up);
  return b_.add(l + "x2", x, linear(l + "down", layer.down, act));
}

void Step::finish(ir::Value* x) {
  std::vector<ir::Value*> results;
  if (function_.kind == "decode") {
    ir::Value* norm = b_.rms_norm("output_norm", x, decoder_.output_norm, config_.rms_eps);
    results.push_back(b_.matmul("logits", decoder_.head, norm));
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
