#pragma once
#include <string>
#include <vector>

#include "tests/support/cases/kernel_case.h"

/// What kernel cases are made of: IR text in pieces, steps, and a layer with everything that may be different in one.
namespace heddle::testing::cases {

inline constexpr int vocabulary = 40;

/// Rows of several sequences, one step after the other; the last of three or more is idle in every step but the first.
std::vector<std::vector<CaseRow>> decode_steps(int rows, int steps);
/// A prompt of `positions`, `rows` at a time, in one slot.
std::vector<std::vector<CaseRow>> prompt_steps(int rows, int positions);

/// A module: its weights and one function, decode, with these states and nodes.
std::string function(int rows, const std::string& weights, const std::string& states, const std::string& body);
std::string weight(const std::string& name, const std::string& type, int rows, int columns);
std::string vector(const std::string& name, int n, const std::string& type = "f32");

/// Every function begins with rows of a table, @table: %x.
std::string embed(int columns);
inline constexpr const char* embed_group = "  %x = group \"embed\" {\n    %x.in = embed @table, %tokens\n    yield %x.in\n  }\n";

struct Layer {
  std::string name;
  int rows = 1, width = 256, heads = 4, kv_heads = 2, head_dim = 64, ffn = 512, dims = 0;
  std::string q = "q4_K", k = "q4_K", v = "q6_K", gate = "q4_K", up = "q4_K", down = "q6_K", cache = "f16";
  std::string pairing = "adjacent";
  bool factors = false, quantized = true, deferred = false, bias = false, prompt = false, head_norm = false, together = false;
  int window = 0, steps = 5;
  double softcap = 0, scale = 0.125;
  double tolerance = 0;  // 0: by the activations
  bool all = false, slow = false;
  bool tiles = false;  // products on the matrix units, with kernels of their own for what stands in front of them
};
/// All of its matrices in one format.
Layer of(const std::string& type, Layer l);

/// A layer as the pipeline leaves it: norm, QKV, rope and cache store; attention with the quantize behind it; output with the residual;
/// norm, gate and up with SwiGLU; down with the residual.
KernelCase layer(const Layer& l);

/// Products, tables and rows; experts.
std::vector<KernelCase> product_cases();
/// Whole layers.
std::vector<KernelCase> layer_cases();
/// Attention in tiles of rows, and from the last row of a prompt.
std::vector<KernelCase> attention_cases();

}  // namespace heddle::testing::cases
