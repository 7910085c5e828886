#include <fmt/format.h>

#include <algorithm>

#include "tests/support/cases/case_parts.h"
#include "tests/support/weight_formats.h"

namespace heddle::testing::cases {
namespace {

bool is_block(const std::string& type) { return is_block_type(*dtype_named(type)); }

/// One product with nothing around it but, in `quantized` form, the quantize of its activation.
KernelCase product(const std::string& type, int n, int k, int rows, bool quantized) {
  KernelCase out;
  out.name = fmt::format("product_{}_{}x{}_{}rows{}", type, n, k, rows, quantized ? "" : "_f32");
  const std::string body = std::string(embed_group) + "  %y = group \"product\" {\n" +
                           (quantized ? "    %a = quantize %x {format=\"q8_16\"}\n" : "") +
                           fmt::format("    %m = matmul @w, {}\n    yield %m\n  }}\n  ret %y\n", quantized ? "%a" : "%x");
  out.text = function(rows, embed(k) + weight("w", type, n, k), "", body);
  out.steps = decode_steps(rows, 2);
  out.slots = rows;
  return out;
}

/// A product on the matrix units; `gated`: two side by side, SwiGLU and the next product's activation behind them.
KernelCase tiles(const std::string& type, int n, int k, int rows, bool gated = false) {
  KernelCase out;
  out.name = fmt::format("tiles_{}_{}x{}_{}rows{}", type, n, k, rows, gated ? "_gated" : "");
  std::string weights = embed(k) + weight("w", type, n, k), body = embed_group;
  body += "  %a = group \"quantize\" {\n    %a.in = quantize %x {format=\"f16_128\"}\n    yield %a.in\n  }\n";
  if (gated) {
    weights += weight("u", type, n, k) + weight("d", "q8_0", 48, n);
    body += "  %b = group \"gate_up\" {\n    %g = matmul @w, %a\n    %h = matmul @u, %a\n    %s = silu %g\n    %p = mul %s, %h\n"
            "    %q = quantize %p {format=\"f16_128\"}\n    yield %q\n  }\n"
            "  %y = group \"down\" {\n    %m = matmul @d, %b\n    yield %m\n  }\n  ret %y\n";
  } else {
    body += "  %y = group \"product\" {\n    %m = matmul @w, %a\n    yield %m\n  }\n  ret %y\n";
  }
  out.text = function(rows, weights, "", body);
  out.steps = decode_steps(rows, 1);
  out.slots = rows;
  out.tolerance = 2e-3;  // weights are rounded to f16
  return out;
}

/// The FFN of a mixture of experts: router, gate and up of the experts chosen, down with the residual.
struct Experts {
  std::string name, type = "f32";
  int rows = 1, width = 64, ffn = 32, experts = 5, chosen = 2;
  bool normalized = true;
};
KernelCase experts(const Experts& e) {
  const auto stack = [&](const char* weight, int rows, int columns) {
    return fmt::format("weight @{} : {}[{}, {}, {}]\n", weight, e.type, e.experts, rows, columns);
  };
  KernelCase out;
  out.name = "experts_" + e.name;
  const std::string weights = embed(e.width) + weight("r", "f32", e.experts, e.width) + stack("g", e.ffn, e.width) +
                              stack("u", e.ffn, e.width) + stack("d", e.width, e.ffn);
  out.text = function(e.rows, weights, "",
                      std::string(embed_group) +
                          fmt::format("  %l = group \"logits\" {{\n    %m = matmul @r, %x\n    yield %m\n  }}\n"
                                      "  %e, %p = group \"router\" {{\n    %e.in = top_k %l {{k={}}}\n"
                                      "    %p.in = expert_gates %l, %e.in {{normalized={}}}\n    yield %e.in, %p.in\n  }}\n",
                                      e.chosen, int(e.normalized)) +
                          "  %a = group \"gate_up_swiglu\" {\n    %gate = matmul @g, %x, %e\n    %up = matmul @u, %x, %e\n"
                          "    %s = silu %gate\n    %a.in = mul %s, %up\n    yield %a.in\n  }\n"
                          "  %y = group \"down\" {\n    %o = matmul @d, %a, %e, %p\n    %y.in = add %x, %o\n    yield %y.in\n  }\n"
                          "  ret %y\n");
  out.steps = decode_steps(e.rows, 2);
  out.slots = e.rows;
  out.tolerance = 1e-4;
  return out;
}

KernelCase embedding(const std::string& type, int columns, int rows) {
  KernelCase out;
  out.name = fmt::format("embed_{}_{}_{}rows", type, columns, rows);
  out.text = function(
      rows, weight("table", type, vocabulary, columns) + vector("g", columns), "",
      "  %y = group \"embed\" {\n    %e = embed @table, %tokens\n    %c = constant {value=1.5}\n    %s = mul %e, %c\n    %t = add %s, @g\n"
      "    yield %t\n  }\n  ret %y\n");
  out.steps = decode_steps(rows, 2);
  out.tolerance = 1e-6;
  return out;
}

/// Row-wise kernels: norm and quantize apart from their product; all elementwise ops; partial ropes; scales.
KernelCase rowwise(const std::string& name, int columns, int rows, const std::string& weights, const std::string& body,
                   double tolerance = 1e-5) {
  KernelCase out;
  out.name = "rowwise_" + name;
  out.text = function(rows, embed(columns) + weights, "", embed_group + body);
  out.steps = decode_steps(rows, 3);
  out.slots = rows;
  out.tolerance = tolerance;
  return out;
}

}  // namespace

std::vector<KernelCase> product_cases() {
  std::vector<KernelCase> out;
  for (const std::string type : {"f32", "f16", "bf16", "q8_0", "q4_0", "q4_K", "q5_K", "q6_K"}) {
    if (is_block(type)) out.push_back(product(type, 70, 512, 1, true));
    out.push_back(product(type, 70, 512, 1, false));
    out.back().compiled_for_all = true;
    out.back().slow = is_block(type) && type != "q6_K";
    out.push_back(product(type, 33, 768, 8, is_block(type)));
    out.push_back(embedding(type, 512, 2));
  }
  // The other formats: a lane on a piece, tiles for a few rows and for many, a table. Those of 32 elements also with rows whose blocks have
  // no copies in common.
  const std::string tried[] = {"q8_0", "q4_0", "q4_K", "q5_K", "q6_K"};
  for (const DType format : weight_formats()) {
    const std::string type(name(format));
    if (std::ranges::find(tried, type) != std::end(tried)) continue;
    out.push_back(product(type, 48, 512, 1, true));
    out.back().compiled_for_all = true;
    out.push_back(product(type, 32, 768, 8, true));
    out.back().compiled_for_all = true;
    out.push_back(tiles(type, 130, 256, 64));
    out.push_back(embedding(type, 512, 1));
    out.push_back(product(type, 48, 512, 2, false));
    out.back().slow = true;
    if (info(format).elements > 32) continue;
    out.push_back(product(type, 9, 96, 1, true));
    out.push_back(product(type, 16, 96, 4, true));
  }
  out.push_back(product("q8_0", 41, 4224, 1, true));    // four warps on a row, the last round not full
  out.push_back(product("q8_0", 1100, 1024, 1, true));  // two
  out.back().slow = true;
  // On tensor cores: whole tiles of 16 rows.
  for (const char* type : {"q8_0", "q4_0", "q4_K", "q5_K", "q6_K"}) out.push_back(product(type, 48, 768, 8, true));
  out.push_back(product("q8_0", 32, 896, 8, true));   // half a stage at the end of a row
  out.push_back(product("q4_0", 16, 192, 3, true));   // two blocks' factors in a copy
  out.push_back(product("q4_K", 2128, 256, 5, true));  // more tiles than teams
  out.back().slow = true;
  out.push_back(product("q6_K", 16, 14336, 8, true));  // stages of 4 blocks
  out.push_back(product("q4_K", 32, 512, 13, true));   // in chunks
  for (int rows : {2, 3, 4, 5, 7}) {
    out.push_back(product("q4_K", 40, 1536, rows, true));
    out.back().slow = rows == 2 || rows == 4 || rows == 7;
  }
  out.push_back(product("q6_K", 40, 1024, 4, true));
  out.push_back(product("q8_0", 64, 64, 1, true));  // two blocks in a row
  out.push_back(product("q8_0", 9, 96, 2, true));   // an odd number of blocks in a row
  out.push_back(product("q4_0", 50, 160, 1, false));
  out.push_back(product("f32", 31, 172, 1, false));  // 43 pieces
  out.push_back(product("f32", 5, 6, 2, false));     // pieces of 8 bytes
  out.push_back(product("f32", 300, 7, 1, false));   // of 4
  out.push_back(product("f16", 12, 36, 1, false));
  out.push_back(product("bf16", 12, 10, 4, false));
  out.push_back(product("f16", 3, 33, 1, false));  // of 2
  out.push_back(product("bf16", 300, 2048, 1, false));
  out.push_back(product("q4_K", 20, 14336, 8, true));
  out.push_back(product("f32", 20, 9216, 8, false));  // more rows than shared memory holds: in chunks
  out.push_back(product("q4_K", 40, 256, 12, true));
  out.push_back(embedding("f32", 7, 1));
  out.push_back(embedding("bf16", 10, 3));
  out.push_back(embedding("q8_0", 96, 1));

  for (const char* type : {"f16", "bf16", "q8_0", "q4_0", "q4_K", "q5_K", "q6_K"}) {
    out.push_back(tiles(type, 70, 512, 16));
    out.back().compiled_for_all = true;
    out.push_back(tiles(type, 130, 256, 64));
  }
  out.push_back(tiles("q4_K", 512, 256, 128, true));
  out.push_back(tiles("q8_0", 128, 128, 32, true));  // fewer blocks of columns than stages
  out.push_back(tiles("f16", 384, 384, 48, true));
  out.push_back(tiles("q6_K", 200, 1280, 256));
  // Few tiles of many columns: the blocks of a cluster share them.
  out.push_back(tiles("bf16", 520, 4096, 128));
  out.push_back(tiles("f16", 256, 2048, 256, true));

  // Mixtures of experts: every format, sizes that fill no warp, more chosen than a warp has lanes.
  for (const char* type : {"f16", "bf16", "q8_0", "q4_0"}) out.push_back(experts({.name = type, .type = type, .rows = 2}));
  for (const char* type : {"q4_K", "q5_K", "q6_K"})
    out.push_back(experts({.name = type, .type = type, .rows = 3, .width = 256, .ffn = 512, .experts = 3}));
  out.back().compiled_for_all = true;
  out.push_back(experts({.name = "odd_sizes", .rows = 2, .width = 42, .ffn = 38, .experts = 7, .chosen = 3}));
  out.push_back(experts({.name = "gates_of_all", .rows = 2, .width = 24, .ffn = 19, .experts = 70, .chosen = 40, .normalized = false}));
  out.push_back(experts({.name = "one_of_one", .rows = 1, .width = 8, .ffn = 6, .experts = 1, .chosen = 1}));
  out.push_back(
      experts({.name = "8rows", .type = "q8_0", .rows = 8, .width = 96, .ffn = 64, .experts = 16, .chosen = 4, .normalized = false}));

  const std::string q8 =
      "    %y.q = quantize %n {format=\"q8_16\"}\n    yield %y.q\n  }\n  %z = group \"product\" {\n    %m = matmul @w, %y\n    yield %m\n  "
      "}\n  ret %z\n";
  out.push_back(rowwise("norm_quantize", 512, 2, vector("g", 512) + weight("w", "q8_0", 48, 512),
                        "  %y = group \"norm\" {\n    %n = rms_norm %x, @g {eps=1e-05}\n" + q8, 2e-4));
  out.push_back(rowwise("head_norm_rope", 384, 3, vector("g", 96, "bf16"),
                        "  %y = group \"norm\" {\n    %n = rms_norm %x, @g {eps=1e-06}\n    %r = rope %n, %pos {head_dim=96, dims=64, "
                        "theta=1000000, pairing=\"halves\"}\n"
                        "    yield %r\n  }\n  ret %y\n"));
  out.push_back(rowwise("scale", 100, 1, "",
                        "  %s = group \"scale\" {\n    %r = rms_scale %x {eps=1e-05}\n    yield %r\n  }\n  %y = group \"mul\" {\n    %m = "
                        "mul %x, %s\n    %o = rope %m, %pos "
                        "{head_dim=20, dims=10, theta=10000, pairing=\"adjacent\"}\n    yield %o\n  }\n  ret %y\n"));
  out.push_back(rowwise("every_op", 70, 2, vector("g", 70),
                        "  %y = group \"ops\" {\n    %a = add %x, @g\n    %b = sub %a, @g\n    %c = div %b, @g\n    %d = max %c, %x\n    "
                        "%e = neg %d\n    %f = exp %e\n"
                        "    %h = tanh %f\n    %i = sigmoid %h\n    %j = silu %i\n    %k = gelu %j\n    %l = relu %k\n    %m = mul %l, "
                        "%l\n    yield %m\n  }\n  ret %y\n"));
  return out;
}

}  // namespace heddle::testing::cases
