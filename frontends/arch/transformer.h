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
  /// An error that names a tensor which nobody took.
  Result<void> check_all_used() const;

 private:
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
  ir::Value* ffn_norm = nullptr;                   // [width]
  Linear gate, up, down;
};
struct Decoder {
  ir::Value* embedding = nullptr;  // [vocabulary, width]
  std::vector<Layer> layers;
  ir::Value* output_norm = nullptr;   // [width]
  ir::Value* head = nullptr;          // [vocabulary, width]; the embedding where the model is tied
  ir::Value* rope_factors = nullptr;  // [rope_dims / 2], or null
};

/// What the attention of an architecture has beyond its four matrices.
enum class Bias { none, optional, required };
struct AttentionParts {
  Bias qkv = Bias::none, output = Bias::none;
  bool head_norms = false;  // of q and k
};

/// The weights of a decoder under the names of GGUF files: token_embd, blk.N.{attn_norm, attn_q, attn_k, attn_v, attn_output, ffn_norm,
/// ffn_gate, ffn_up, ffn_down}, with `parts` blk.N.{attn_q_norm, attn_k_norm}; output_norm, output (tied to token_embd where it is
/// missing), rope_freqs (optional).
Result<Decoder> take_decoder(Weights& weights, const Config& config, AttentionParts parts);

/// One entry point while it is being built: a function with arguments %tokens, %slot, %pos and one state per layer.
class Step {
 public:
  Step(ir::Module& module, const Config& config, const Decoder& decoder, const EntryRequest& entry, DType kv);

  ir::Value* embed();  // [rows, width]
  /// Norm, attention over the cache, residual: [rows, width] of the same. Null where the step needs no more than this layer's cache: the
  /// last layer of a prefill.
  ir::Value* attention(std::size_t layer, ir::Value* x);
  /// Norm, silu(gate) * up, down, residual: [rows, width] of the same.
  ir::Value* gated_ffn(std::size_t layer, ir::Value* x);
  /// Ends the function: logits [rows, vocabulary] of `x` (not in a prefill), then all states.
  void finish(ir::Value* x);

 private:
  ir::Value* linear(const std::string& name, const Linear& linear, ir::Value* x);
  ir::Value* rope(const std::string& name, ir::Value* x);

  const Config& config_;
  const Decoder& decoder_;
  ir::Function& function_;
  ir::Builder b_;
  ir::Value *tokens_, *slot_, *pos_;  // i32[rows]
  std::vector<ir::Value*> states_;    // the latest version of each layer's cache
};

/// Every entry point of a decoder whose layers are attention, then a gated FFN.
void build_entries(ir::Module& module, const Config& config, const BuildOptions& options, const Decoder& decoder);

}  // namespace heddle::frontends
