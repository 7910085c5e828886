// passes/group_qkv.cpp: the products (with their biases) of one activation that feed one attention become one kernel.
//   before  %q = matmul @wq, %n  %k = matmul @wk, %n  %v = matmul @wv, %n  ...  %kv.1 = kv_store %kv, %k_rope, %v, ...  %a = attention ...
//   after   %q, %k, %v = group "qkv" { %q = matmul @wq, %n; %k = matmul @wk, %n; %v = matmul @wv, %n; yield %q, %k, %v }  ...
// Where nothing attends to the store any more (the last layer of a prefill), or q is of other rows (the last layer of a prompt, which goes on
// with one of them), k and v become one: "kv".
#include <llvm/ADT/STLExtras.h>

#include "passes/builtin.h"
#include "passes/match.h"

namespace heddle::passes {
namespace {

using ir::Node;
using ir::Op;
using ir::Value;

/// The product that a value comes from, through biases, per-head norms and rotary embeddings; `bias` is the add right behind it.
struct Projection {
  Node* matmul = nullptr;
  Node* bias = nullptr;
};
Projection projection_of(const Value& value) {
  Node* bias = nullptr;
  for (Node* node = value.producer(); node;) {
    if (node->op() == Op::matmul) return {node, bias};
    bias = biased(*node) ? node : nullptr;
    const bool keeps_heads = node->op() == Op::rope || node->op() == Op::rms_norm;
    Value* next = bias ? biased(*node) : keeps_heads ? node->operand("x") : nullptr;
    node = next ? next->producer() : nullptr;
  }
  return {};
}

Outcome group(Node& store, Context& context) {
  if (store.enclosing_group()) return no_match();
  llvm::SmallVector<std::pair<std::string, Value*>> sources;
  for (Node* reader : store.result()->readers_in(*store.block()))
    if (reader->op() == Op::attention && sources.empty() && reader->operand("q")->type.rows() == store.operand("k")->type.rows())
      sources.emplace_back("q", reader->operand("q"));
  sources.emplace_back("k", store.operand("k"));
  sources.emplace_back("v", store.operand("v"));

  llvm::SmallVector<Node*> members, matmuls;
  std::string label;
  for (auto& [name, value] : sources) {
    label += name;
    const Projection found = projection_of(*value);
    if (!found.matmul) return declined(store, "{} does not come straight from a product", name);
    if (llvm::is_contained(matmuls, found.matmul)) continue;
    if (!matmuls.empty() && found.matmul->operand("x") != matmuls.front()->operand("x"))
      return declined(store, "{} is a product of %{}, {} of %{}", sources.front().first, matmuls.front()->operand("x")->name, name,
                      found.matmul->operand("x")->name);
    matmuls.push_back(found.matmul);
    members.push_back(found.matmul);
    if (!found.bias) continue;
    if (only_reader(*found.matmul->result()) != found.bias)
      return declined(store, "{} without its bias has {} readers", name, found.matmul->result()->readers_in(*store.block()).size());
    members.push_back(found.bias);
  }
  if (matmuls.size() < 2) return declined(store, "there is one product only");
  return fuse_if_better(members, label, context);
}

}  // namespace

Pass group_qkv() { return at_each("group_qkv", "makes one kernel of the products that feed an attention", Op::kv_store, group); }

}  // namespace heddle::passes
