#include "graphs.h"

#include "ir/builder.h"
#include "ir/verify.h"

namespace heddle::testing {

using ir::Value;

std::unique_ptr<ir::Module> small_model(const SmallModel& model) {
  auto module = std::make_unique<ir::Module>();
  module->name = "small";
  module->target.activations = model.activations;
  const DType dtype = model.weights;
  auto weight = [&](std::string name, DType type, ir::Shape shape) {
    return module->add_weight(name, {type, shape}, {{name, 0, shape.size() > 1 ? shape[0] : 1}});
  };
  auto matrix = [&](std::string name, std::int64_t rows, std::int64_t columns) { return weight(std::move(name), dtype, {rows, columns}); };
  auto vector = [&](std::string name, std::int64_t n) { return weight(std::move(name), DType::f32, {n}); };

  ir::Function& f = module->add_function(fmt::format("{}_{}", model.kind, model.rows), model.kind, model.rows);
  Value* tokens = f.add_argument("tokens", {DType::i32, {model.rows}});
  Value* slot = f.add_argument("slot", {DType::i32, {model.rows}});
  Value* pos = f.add_argument("pos", {DType::i32, {model.rows}});
  Value* last = model.kind == EntryKind::prompt ? f.add_argument("last", {DType::i32, {1}}) : nullptr;
  std::vector<Value*> states;
  for (int i = 0; i < model.layers; ++i) states.push_back(f.add_argument(fmt::format("kv.{}", i), {DType::f32, {2, 1, 32}, true}));

  ir::Builder b(f.body());
  Value* x = b.embed("x", weight("token_embd", dtype, {48, 64}), tokens);
  for (int i = 0; i < model.layers; ++i) {
    auto name = [&](const char* what) { return fmt::format("l{}.{}", i, what); };
    auto projection = [&](const char* what, std::int64_t rows, Value* input, bool bias) {
      Value* y = b.matmul(name(what), matrix(name(what) + ".weight", rows, input->type.width()), input);
      return bias ? b.add(name(what) + ".b", y, vector(name(what) + ".bias", rows)) : y;
    };
    Value* gain = vector(name("attn_norm.weight"), 64);
    Value* n = b.rms_norm(name("attn_norm"), x, gain, 1e-5);
    Value *q_n = n, *q_slot = slot, *q_pos = pos;
    if (last && i + 1 == model.layers) {
      x = b.select_rows("x_last", x, last), q_slot = b.select_rows("slot_last", slot, last), q_pos = b.select_rows("pos_last", pos, last);
      q_n = b.rms_norm("norm_last", x, gain, 1e-5);
    }
    Value* q = b.rope(name("q_rope"), projection("q", 64, q_n, model.biases), q_pos, 32, 32, 10000.0, "adjacent");
    Value* k = b.rope(name("k_rope"), projection("k", 32, n, model.biases), pos, 32, 32, 10000.0, "adjacent");
    states[i] = b.kv_store(name("kv"), states[i], k, projection("v", 32, n, model.biases), slot, pos);
    Value* a = b.attention(name("attn"), q, states[i], q_slot, q_pos, 2, 1, 32, 0.2, 0, 0.0);
    x = b.add(name("x1"), x, projection("o", 64, a, false));
    Value* m = b.rms_norm(name("ffn_norm"), x, vector(name("ffn_norm.weight"), 64), 1e-5);
    Value* gate = projection("gate", 96, m, false);
    Value* up = projection("up", 96, m, false);
    Value* act = b.mul(name("act"), b.silu(name("silu"), gate), up);
    x = b.add(name("x2"), x, projection("down", 64, act, false));
  }
  std::vector<Value*> returned;
  if (model.kind != EntryKind::prefill) {
    Value* n = b.rms_norm("norm", x, vector("norm.weight", 64), 1e-5);
    returned.push_back(b.matmul("logits", matrix("output", 48, 64), n));
  }
  returned.insert(returned.end(), states.begin(), states.end());
  b.ret("", llvm::ArrayRef<Value*>(returned));
  auto valid = ir::verify(*module);
  HEDDLE_CHECK(valid.ok(), "{}", valid.error().message());
  return module;
}

}  // namespace heddle::testing
