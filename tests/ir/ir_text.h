#pragma once
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "ir/text/text.h"
#include "ir/verify.h"

namespace heddle::ir::testing {

/// The module of the text; fails the test with the parser's message otherwise.
inline std::unique_ptr<Module> parsed(std::string_view text) {
  auto module = parse(text, "t.ir");
  if (module.ok()) return std::move(*module);
  ADD_FAILURE() << module.error().message();
  return std::make_unique<Module>();
}

/// The same for one function `f` with the given arguments and body, among a few weights.
inline std::string function_text(std::string_view arguments, std::string_view body) {
  return fmt::format(
      "heddle-ir 1\n"
      "weight @gain : f32[64]\n"
      "weight @w : q8_0[96, 64]\n"
      "weight @table : f16[100, 64]\n"
      "func @f decode rows=2 ({}) {{\n{}\n}}\n",
      arguments, body);
}

/// What the verifier says of the text: empty when it is content.
inline std::string complaint(const Module& module) {
  auto verified = verify(module);
  return verified.ok() ? "" : verified.error().message();
}
inline std::string complaint(std::string_view text) { return complaint(*parsed(text)); }

inline Value* value_named(const Function& function, llvm::StringRef name) {
  for (Value* argument : function.arguments())
    if (argument->name == name) return argument;
  for (Node* node : function.all_nodes())
    for (Value* result : node->results())
      if (result->name == name) return result;
  ADD_FAILURE() << "no value " << name.str();
  return nullptr;
}
inline Node* node_of(const Function& function, llvm::StringRef name) { return value_named(function, name)->producer(); }

/// Every op, groups with placements and waits, a target, sources and layouts: what a compiled layer looks like, in the printer's own form.
inline constexpr std::string_view every_op = R"(heddle-ir 1
module "tiny \"llama\" \x01"
target "cpu" {activations="q8_1", features="a,b", launch_us=2.5, memory_gbps=30, worker_gflops=20, workers=8}
weight @token_embd.weight : q4_K[100, 256] from "token_embd.weight"[0, 100] layout "rows"
weight @blk.0.attn_norm.weight : f32[256] from "blk.0.attn_norm.weight"[0, 1] layout "rows"
weight @blk.0.attn_q.weight : q4_K[256, 256] from "blk.0.attn_q.weight"[0, 256] layout "planes"
weight @blk.0.attn_k.weight : q8_0[128, 256] from "blk.0.attn_k.weight"[0, 64], "more"[64, 64] layout "rows"
weight @blk.0.ffn_exps.weight : bf16[4, 256, 256] layout "rows"
weight @rope_freqs.weight : f32[16] layout "rows"
weight @rope_factors : f32[3] from values[1, 1.5, 0.1] layout "rows"
weight @post_norm : f32[256] from "post_norm.weight"[0, 1] as bf16 plus 1 layout "rows"
func @decode_2 decode rows=2 arena=12288 (%tokens: i32[2] at input+0, %slot: i32[2] at input+1, %pos: i32[2] at input+2, %choice: i32[2, 1], %kv.0: state f16[2, 4, 32] at state+4) {
  %x = group "embed" {
    %x.in = embed @token_embd.weight, %tokens : f32[2, 256]
    yield %x.in
  } : f32[2, 256] at arena+0:2048
  %q, %kv.0.1 = group "qkv" after(%x) {
    %n = rms_norm %x, @blk.0.attn_norm.weight {eps=1e-05} : f32[2, 256]
    %n8 = quantize %n {format="q8_1"} : q8_1[2, 256]
    %q.0 = matmul @blk.0.attn_q.weight, %n8 : f32[2, 256]
    %q.in = rope %q.0, %pos {head_dim=32, dims=32, theta=500000, pairing="adjacent"} : f32[2, 256]
    %k.0 = matmul @blk.0.attn_k.weight, %n8 : f32[2, 128]
    %k = rope %k.0, %pos, @rope_freqs.weight {head_dim=32, dims=32, theta=10000, pairing="halves"} : f32[2, 128]
    %v = matmul @blk.0.attn_k.weight, %n8 : f32[2, 128]
    %kv.0.1.in = kv_store %kv.0, %k, %v, %slot, %pos : state f16[2, 4, 32]
    yield %q.in, %kv.0.1.in
  } : f32[2, 256] at arena+2048:2048, state f16[2, 4, 32] at state+4
  %logits = group "head" {
    %logits.in = matmul @token_embd.weight, %q : f32[2, 100]
    yield %logits.in
  } : f32[2, 100] at output+0
  ret %logits, %kv.0.1
}
func @every_op decode rows=2 (%tokens: i32[2], %slot: i32[2], %pos: i32[2], %choice: i32[2, 1], %kv: state f16[2, 4, 32]) {
  %x = embed @token_embd.weight, %tokens : f32[2, 256]
  %s = rms_scale %x {eps=9.999999747378752e-06} : f32[2, 1]
  %y = mul %x, %s : f32[2, 256]
  %z = matmul @blk.0.ffn_exps.weight, %y, %choice : f32[2, 256]
  %t = top_k %z {k=2} : i32[2, 2]
  %g = expert_gates %z, %t {normalized=1} : f32[2, 2]
  %u = matmul @blk.0.ffn_exps.weight, %z, %t : f32[2, 512]
  %e = matmul @blk.0.ffn_exps.weight, %u, %t, %g : f32[2, 256]
  %a = attention %e, %kv, %slot, %pos {heads=8, kv_heads=4, head_dim=32, scale=0.17677669529663687, window=0, softcap=0} : f32[2, 256]
  %k = select_rows %a, %tokens : f32[2, 256]
  %c = constant {value=-inf} : f32[]
  %k.1 = add %k, %c : f32[2, 256]
  %k.2 = sub %k.1, %a : f32[2, 256]
  %k.3 = div %k.2, %s : f32[2, 256]
  %k.4 = max %k.3, @blk.0.attn_norm.weight : f32[2, 256]
  %k.5 = neg %k.4 : f32[2, 256]
  %k.6 = exp %k.5 : f32[2, 256]
  %k.7 = tanh %k.6 : f32[2, 256]
  %k.8 = sigmoid %k.7 : f32[2, 256]
  %k.9 = silu %k.8 : f32[2, 256]
  %k.10 = gelu %k.9 : f32[2, 256]
  %k.11 = relu %k.10 after(%k.9, %x) : f32[2, 256]
  %w = rms_norm %k.11, @blk.0.attn_norm.weight {eps=0} : f32[2, 256]
  %r = rope %w, %pos {head_dim=64, dims=32, theta=10000, pairing="halves"} : f32[2, 256]
  %o = group "" {
    %o8 = quantize %r {format="q8_1"} : q8_1[2, 256]
    %o.in = matmul @blk.0.attn_q.weight, %o8 : f32[2, 256]
    yield %o.in
  } : f32[2, 256]
  %h = constant {value=nan} : f32[]
  ret %o, %h, %kv
}
)";

}  // namespace heddle::ir::testing
