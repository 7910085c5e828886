#pragma once
#include <set>
#include <string>
#include <vector>

#include "frontends/model.h"
#include "ir/builder.h"

/// What decoders of the llama family have in common, as pieces that an architecture's file puts together.
namespace heddle::frontends {

/// Makes weight symbols out of a model's tensors. Shapes are outermost first.
class Weights {
 public:
  Weights(const Model& model, ir::Module& module) : model_(model), module_(module) {}

  /// The tensor as a symbol of the same name; an error if it is missing or has another shape. A vector must be of a float type.
  Result<ir::Value*> take(const std::string& name, ir::Shape shape);
  /// The same, but null for a tensor that the model does not have.
  Result<ir::Value*> take_if_there(const std::string& name, ir::Shape shape);
  /// The gain of a norm, [n], as the configuration says it is stored.
  Result<ir::Value*> take_gain(const std::string& name, std::int64_t n);
  /// Rows [begin, begin + rows) of a matrix [all, columns] as the symbol `as`.
  Result<ir::Value*> take_rows(const std::string& name, std::int64_t all, std::int64_t columns, const std::string& as, std::int64_t begin,
                               std::int64_t rows);
  /// A stack of matrices [count, rows, columns]: the tensor "PREFIX_exps.weight", or "PREFIX.0.weight", "PREFIX.1.weight" and so on.
  Result<ir::Value*> take_stack(const std::string& prefix, std::int64_t count, std::int64_t rows, std::int64_t columns);
  /// Numbers that are in no tensor.
  ir::Value* constant(const std::string& name, std::vector<float> values);
  bool has(const std::string& name) const { return model_.tensor(name) != nullptr; }
  /// Says of a tensor that it may be there and is not needed.
  void leave(const std::string& name) { used_.insert(name); }
  /// An error that names a tensor which nobody took.
  Result<void> check_all_used() const;

 private:
  /// The tensor, marked as used; null if it is not there, an error if it has another shape.
  Result<const TensorInfo*> find(const std::string& name, const ir::Shape& shape);

  const Model& model_;
  ir::Module& module_;
  std::set<std::string, std::less<>> used_;
};

struct Linear {
  ir::Value* weight = nullptr;  // [out, in]
  ir::Value* bias = nullptr;    // [out], or null
};
struct Layer {
  ir::Value* attention_norm = nullptr;  // [width]
  Linear q, k, v, output;
  ir::Value *q_norm = nullptr, *k_norm = nullptr;  // [head_dim], or null: gains of a norm over each head, before the rotary embedding
  ir::Value* attention_post_norm = nullptr;        // [width], or null: of what the attention adds
  ir::Value* ffn_norm = nullptr;                   // [width]
  Linear router;                                   // [experts, width], or none
  Linear gate, up, down;                           // of a mixture of experts [experts, out, in]
  ir::Value* ffn_post_norm = nullptr;              // [width], or null
};
struct Decoder {
  ir::Op activation = ir::Op::silu;  // of the gate
  ir::Value* embedding = nullptr;    // [vocabulary, width]
  std::vector<Layer> layers;
  ir::Value* output_norm = nullptr;   // [width]
  ir::Value* head = nullptr;          // [vocabulary, width]; the embedding where the model is tied
  ir::Value* rope_factors = nullptr;  // [rope_dims / 2], or null
  ir::Value* q_factors = nullptr;     // [heads * head_dim], or null: of Q before the rotary embedding
  double attention_scale = 1;
};

/// What the layers of an architecture have beyond the four matrices of attention and the three of the FFN.
enum class Bias { none, optional, required };
enum class FfnTensors {
  apart,          // ffn_gate, ffn_up
  fused_gate_up,  // ffn_up: rows of gate, then of up
  experts         // ffn_gate_inp; ffn_gate, ffn_up, ffn_down of every expert
};
struct Parts {
  Bias qkv_bias = Bias::none, output_bias = Bias::none;
  bool fused_qkv = false;   // attn_qkv: rows of Q, K and V
  bool head_norms = false;  // of q and k: attn_q_norm, attn_k_norm
  bool post_norms = false;  // post_attention_norm, post_ffw_norm
  FfnTensors ffn = FfnTensors::apart;
  ir::Op activation = ir::Op::silu;
};

/// The weights of a decoder under the names of GGUF files: token_embd, blk.N.{attn_norm, attn_q, attn_k, attn_v, attn_output, ffn_norm,
/// ffn_gate, ffn_up, ffn_down} and what `parts` says; output_norm, output (tied to token_embd where it is missing); rope_freqs, or
/// rope_factors_short and rope_factors_long (optional).
Result<Decoder> take_decoder(Weights& weights, const Config& config, const BuildOptions& options, Parts parts);

/// One entry point while it is being built: a function with arguments %tokens, %slot, %pos, in a prompt %last (the row whose logits are
/// wanted, i32[1]), and one state per layer.
class Step {
 public:
  Step(ir::Module& module, const Config& config, const Decoder& decoder, const EntryRequest& entry, DType kv);

  ir::Value* embed();  // [rows, width]
  /// Norm, attention over the cache, residual: [rows, width] of the same. Null where the step needs no more than this layer's cache: the
  /// last layer of a prefill. In the last layer of a prompt keys and values are stored for all rows, and the result is that of the one row
  /// %last: [1, width].
  ir::Value* attention(std::size_t layer, ir::Value* x);
  /// Norm, activation(gate) * up, down, residual: [rows, width] of the same. With a router of the experts it chooses.
  ir::Value* gated_ffn(std::size_t layer, ir::Value* x);
  /// Ends the function: logits of the rows of `x` (not in a prefill), then all states.
  void finish(ir::Value* x);

 private:
  ir::Value* linear(const std::string& name, const Linear& linear, ir::Value* x);
  ir::Value* rope(const std::string& name, std::size_t layer, ir::Value* x, ir::Value* pos);
  ir::Value* add(const std::string& name, ir::Value* x, const std::string& what, ir::Value* y, ir::Value* post_norm);

  const Config& config_;
  const Decoder& decoder_;
  ir::Function& function_;
  ir::Builder b_;
  ir::Value *tokens_, *slot_, *pos_;  // i32[rows]
  ir::Value* last_ = nullptr;         // i32[1], of a prompt
  std::vector<ir::Value*> states_;    // the latest version of each layer's cache
};

/// Every entry point of a decoder whose layers are attention, then a gated FFN.
void build_entries(ir::Module& module, const Config& config, const BuildOptions& options, const Decoder& decoder);

}  // namespace heddle::frontends
