#include <fmt/format.h>

#include <algorithm>

#include "tests/support/kernel_case.h"
#include "tests/support/weight_formats.h"

namespace heddle::testing {
namespace {

constexpr int vocabulary = 40;

/// Rows of several sequences, one step after the other; the last of three or more is idle in every step but the first.
std::vector<std::vector<CaseRow>> decode_steps(int rows, int steps) {
  std::vector<std::vector<CaseRow>> out;
  for (int step = 0; step < steps; ++step) {
    auto& now = out.emplace_back();
    for (int r = 0; r < rows; ++r) {
      const bool idle = rows >= 3 && r == rows - 1 && step > 0;
      now.push_back({(7 * step + 3 * r + 1) % vocabulary, idle ? -1 : r, idle ? 0 : step});
    }
  }
  return out;
}

/// A prompt of `positions`, `rows` at a time, in one slot.
std::vector<std::vector<CaseRow>> prompt_steps(int rows, int positions) {
  std::vector<std::vector<CaseRow>> out;
  for (int position = 0; position < positions; position += rows) {
    auto& now = out.emplace_back();
    for (int r = 0; r < rows; ++r) {
      const bool idle = position + r >= positions;
      now.push_back({(5 * (position + r) + 2) % vocabulary, idle ? -1 : 0, idle ? 0 : position + r});
    }
  }
  return out;
}

std::string function(int rows, const std::string& weights, const std::string& states, const std::string& body) {
  return fmt::format("heddle-ir 1\n{0}func @decode_{1} decode rows={1} (%tokens: i32[{1}], %slot: i32[{1}], %pos: i32[{1}]{2}) {{\n{3}}}\n",
                     weights, rows, states, body);
}

std::string weight(const std::string& name, const std::string& type, int rows, int columns) {
  return fmt::format("weight @{} : {}[{}, {}]\n", name, type, rows, columns);
}
std::string vector(const std::string& name, int n, const std::string& type = "f32") {
  return fmt::format("weight @{} : {}[{}]\n", name, type, n);
}

std::string embed(int columns) { return weight("table", "f32", vocabulary, columns); }
constexpr const char* embed_group = "  %x = group \"embed\" {\n    %x.in = embed @table, %tokens\n    yield %x.in\n  }\n";

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

/// The last layer of a prompt, down to its attention: keys and values of all rows, the queries of one.
KernelCase prompt_end(const std::string& name, int rows, int steps, const std::string& cache, int heads, int head_dim, int window = 0) {
  const int width = 128, kv_heads = 2, q_width = heads * head_dim, kv_width = kv_heads * head_dim;
  const std::string rope = fmt::format("{{head_dim={0}, dims={0}, theta=10000, pairing=\"adjacent\"}}", head_dim);
  KernelCase out;
  out.name = name;
  out.text = fmt::format(
      "heddle-ir 1\n{0}{1}{2}{3}func @prompt_{4} prompt rows={4} (%tokens: i32[{4}], %slot: i32[{4}], %pos: i32[{4}], %last: i32[1], "
      "%kv: state {5}[2, {6}, {7}]) {{\n",
      embed(width), weight("wq", "f32", q_width, width), weight("wk", "f32", kv_width, width), weight("wv", "f32", kv_width, width), rows, cache,
      kv_heads, head_dim);
  out.text += embed_group;
  out.text += "  %y, %s, %p = group \"select\" {\n    %y.in = select_rows %x, %last\n    %s.in = select_rows %slot, %last\n"
              "    %p.in = select_rows %pos, %last\n    yield %y.in, %s.in, %p.in\n  }\n";
  out.text += "  %q = group \"q_rope\" {\n    %q.m = matmul @wq, %y\n    %q.in = rope %q.m, %p " + rope + "\n    yield %q.in\n  }\n";
  out.text += "  %kv1 = group \"kv_rope_cache\" {\n    %k.m = matmul @wk, %x\n    %v.m = matmul @wv, %x\n    %k.r = rope %k.m, %pos " + rope +
              "\n    %kv1.in = kv_store %kv, %k.r, %v.m, %slot, %pos\n    yield %kv1.in\n  }\n";
  out.text += fmt::format("  %a = group \"attention\" {{\n    %a.in = attention %q, %kv1, %s, %p {{heads={}, kv_heads={}, head_dim={}, scale=0.125, "
                          "window={}, softcap=0}}\n    yield %a.in\n  }}\n  ret %a, %kv1\n}}\n",
                          heads, kv_heads, head_dim, window);
  out.steps = prompt_steps(rows, steps);
  out.capacity = steps + 3;
  out.tolerance = 2e-4;
  return out;
}

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
Layer of(const std::string& type, Layer l) {
  l.q = l.k = l.v = l.gate = l.up = l.down = type;
  return l;
}

/// A layer as the pipeline leaves it: norm, QKV, rope and cache store; attention with the quantize behind it; output with the residual;
/// norm, gate and up with SwiGLU; down with the residual.
KernelCase layer(const Layer& l) {
  const int q_width = l.heads * l.head_dim, kv_width = l.kv_heads * l.head_dim, dims = l.dims ? l.dims : l.head_dim;
  const std::string format = l.tiles ? "f16_128" : "q8_16";
  /// In tiles the activation comes out of a kernel of its own, which stands in front of the product's.
  const auto apart = [&](const std::string& x, const std::string& to) {
    return fmt::format("  %{0} = group \"quantize\" {{\n    %{0}.q = quantize {1} {{format=\"f16_128\"}}\n    yield %{0}.q\n  }}\n", to, x);
  };
  const auto norm_apart = [&](const std::string& x, const std::string& gain, const std::string& to) {
    return fmt::format(
        "  %{0} = group \"norm\" {{\n    %{0}.n = rms_norm {1}, @{2} {{eps=1e-05}}\n    %{0}.q = quantize %{0}.n {{format=\"f16_128\"}}\n"
        "    yield %{0}.q\n  }}\n",
        to, x, gain);
  };
  const auto product_input = [&](const std::string& x, const std::string& gain, const std::string& to) {
    std::string out;
    if (l.tiles) return out;
    if (l.deferred) out = fmt::format("    %{0}.s = rms_scale {1} {{eps=1e-05}}\n    %{0}.n = mul {1}, @{2}\n", to, x, gain);
    else out = fmt::format("    %{0}.n = rms_norm {1}, @{2} {{eps=1e-05}}\n", to, x, gain);
    if (l.quantized) out += fmt::format("    %{0} = quantize %{0}.n {{format=\"q8_16\"}}\n", to);
    return out;
  };
  const auto scaled = [&](const std::string& y, const std::string& input) {
    return l.deferred ? fmt::format("    %{0} = mul %{0}.raw, %{1}.s\n", y, input) : std::string();
  };
  const auto multiply = [&](const std::string& y, const std::string& w, const std::string& input, bool normed) {
    const std::string a = l.quantized ? input : input + ".n";
    return fmt::format("    %{}{} = matmul @{}, %{}\n", y, l.deferred && normed ? ".raw" : "", w, a) + (normed ? scaled(y, input) : "");
  };
  const std::string attributes = fmt::format("{{head_dim={}, dims={}, theta=10000, pairing=\"{}\"}}", l.head_dim, dims, l.pairing);
  const std::string factors = l.factors ? ", @factors" : "";

  std::string weights = embed(l.width) + vector("g1", l.width) + vector("g2", l.width, "f16");
  weights += weight("wq", l.q, q_width, l.width) + weight("wk", l.k, kv_width, l.width) + weight("wv", l.v, kv_width, l.width);
  weights += weight("wo", l.q, l.width, q_width) + weight("wg", l.gate, l.ffn, l.width) + weight("wu", l.up, l.ffn, l.width);
  weights += weight("wd", l.down, l.width, l.ffn);
  if (l.bias) weights += vector("bq", q_width) + vector("bk", kv_width) + vector("bv", kv_width, "bf16");
  if (l.factors) weights += vector("factors", dims / 2);
  if (l.head_norm) weights += vector("gq", l.head_dim) + vector("gk", l.head_dim);

  std::string body = embed_group;
  const std::string biased = l.bias ? ".m" : "";
  if (l.tiles) body += norm_apart("%x", "g1", "a");
  std::string qkv = product_input("%x", "g1", "a");
  for (const char* name : {"q", "k", "v"}) {
    qkv += multiply(std::string(name) + biased, std::string("w") + name, "a", true);
    if (l.bias) qkv += fmt::format("    %{0} = add %{0}.m, @b{0}\n", name);
  }
  const std::string store = "    %kv1.in = kv_store %kv, %kr, %v, %slot, %pos\n";
  if (l.head_norm) {  // products, then a kernel for q and one for k and v, or one for all
    body += "  %qp, %kp, %vp = group \"qkv\" {\n" + qkv + "    yield %q, %k, %v\n  }\n";
    const std::string q = "    %qn = rms_norm %qp, @gq {eps=1e-06}\n" + fmt::format("    %qr.in = rope %qn, %pos{} {}\n", factors, attributes);
    const std::string kv = "    %kn = rms_norm %kp, @gk {eps=1e-06}\n" +
                           fmt::format("    %kr = rope %kn, %pos{} {}\n", factors, attributes) +
                           "    %kv1.in = kv_store %kv, %kr, %vp, %slot, %pos\n";
    if (l.together) {
      body += "  %qr, %kv1 = group \"qkv\" {\n" + q + kv + "    yield %qr.in, %kv1.in\n  }\n";
    } else {
      body += "  %qr = group \"q\" {\n" + q + "    yield %qr.in\n  }\n";
      body += "  %kv1 = group \"kv\" {\n" + kv + "    yield %kv1.in\n  }\n";
    }
  } else {
    body += "  %qr, %kv1 = group \"qkv_rope_cache\" {\n" + qkv +
            fmt::format("    %qr.in = rope %q, %pos{0} {1}\n    %kr = rope %k, %pos{0} {1}\n", factors, attributes) + store +
            "    yield %qr.in, %kv1.in\n  }\n";
  }
  body += fmt::format(
      "  %att = group \"attention\" {{\n    %att.f = attention %qr, %kv1, %slot, %pos {{heads={}, kv_heads={}, head_dim={}, scale={}, "
      "window={}, "
      "softcap={}}}\n",
      l.heads, l.kv_heads, l.head_dim, l.scale, l.window, l.softcap);
  const bool attention_quantizes = l.quantized && (!l.tiles || l.head_dim % 128 == 0);
  body += attention_quantizes ? fmt::format("    %att.q = quantize %att.f {{format=\"{}\"}}\n    yield %att.q\n  }}\n", format) : "    yield %att.f\n  }\n";
  if (l.tiles && !attention_quantizes) body += apart("%att", "att.t");
  body += fmt::format("  %x1 = group \"output\" {{\n    %o = matmul @wo, %{}\n    %x1.in = add %x, %o\n    yield %x1.in\n  }}\n",
                      l.tiles && !attention_quantizes ? "att.t" : "att");
  if (l.tiles) body += norm_apart("%x1", "g2", "b");
  body += "  %act = group \"gate_up_swiglu\" {\n" + product_input("%x1", "g2", "b") + multiply("gate", "wg", "b", true) +
          multiply("up", "wu", "b", true) + "    %silu = silu %gate\n    %act.in = mul %silu, %up\n" +
          (l.tiles ? "    %act.q = quantize %act.in {format=\"f16_128\"}\n    yield %act.q\n  }\n" : "    yield %act.in\n  }\n");
  body += "  %x2 = group \"down\" {\n";
  body += l.quantized && !l.tiles ? "    %act.q = quantize %act {format=\"q8_16\"}\n    %d = matmul @wd, %act.q\n" : "    %d = matmul @wd, %act\n";
  body += "    %x2.in = add %x1, %d\n    yield %x2.in\n  }\n  ret %x2, %kv1\n";

  KernelCase out;
  out.name = l.name;
  out.text = function(l.rows, weights, fmt::format(", %kv: state {}[2, {}, {}]", l.cache, l.kv_heads, l.head_dim), body);
  out.steps = l.prompt ? prompt_steps(l.rows, l.steps) : decode_steps(l.rows, l.steps);
  out.slots = l.prompt ? 1 : l.rows;
  out.capacity = l.steps + 3;
  // With 8-bit activations one rounding that goes the other way moves a result by a hundredth.
  out.tolerance = l.tolerance > 0 ? l.tolerance : l.quantized ? 2e-2 : 1e-4;
  out.compiled_for_all = l.all;
  out.slow = l.slow;
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

std::vector<KernelCase> kernel_cases() {
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

  out.push_back(layer({.name = "layer", .all = true}));
  out.push_back(layer({.name = "layer_deferred", .deferred = true, .all = true}));
  out.push_back(layer({.name = "layer_deferred_4rows", .rows = 4, .deferred = true}));
  out.push_back(layer({.name = "layer_2rows", .rows = 2, .slow = true}));
  out.push_back(layer({.name = "layer_8rows", .rows = 8, .all = true}));
  out.push_back(layer({.name = "layer_prompt_8rows", .rows = 8, .prompt = true, .steps = 300, .slow = true}));
  out.push_back(layer({.name = "layer_qwen2",
                       .heads = 6,
                       .q = "q4_0",
                       .k = "q8_0",
                       .v = "q8_0",
                       .gate = "q5_K",
                       .up = "q4_K",
                       .down = "q5_K",
                       .pairing = "halves",
                       .bias = true}));
  out.push_back(layer(of("q8_0", {.name = "layer_qwen2_deferred_3rows",
                       .rows = 3,
                       .width = 512,
                       .heads = 7,
                       .kv_heads = 1,
                       .pairing = "halves",
                       .deferred = true,
                       .bias = true})));
  out.push_back(
      layer({.name = "layer_qwen3", .rows = 2, .heads = 4, .head_dim = 128, .pairing = "halves", .head_norm = true, .scale = 0.0883883}));
  out.push_back(layer({.name = "layer_qwen3_norms_together",
                       .rows = 3,
                       .heads = 4,
                       .head_dim = 128,
                       .pairing = "halves",
                       .head_norm = true,
                       .together = true,
                       .scale = 0.0883883}));
  out.push_back(layer(of("f32", {.name = "layer_stories",
                       .width = 64,
                       .heads = 8,
                       .kv_heads = 4,
                       .head_dim = 8,
                       .ffn = 172,
                       .cache = "f32",
                       .quantized = false,
                       .steps = 12,
                       .scale = 0.353553,
                       .tolerance = 2e-5,
                       .all = true})));
  out.push_back(layer({.name = "layer_f32_activations", .rows = 2, .quantized = false}));
  out.push_back(layer(of("bf16", {.name = "layer_bf16",
                       .factors = true,
                       .quantized = false})));
  out.push_back(layer({.name = "layer_f16_partial_rope",
                       .rows = 4,
                       .heads = 4,
                       .head_dim = 96,
                       .dims = 64,
                       .q = "f16",
                       .k = "f16",
                       .v = "bf16",
                       .gate = "f16",
                       .up = "f16",
                       .down = "f16",
                       .cache = "f32",
                       .pairing = "halves",
                       .quantized = false,
                       .window = 3,
                       .softcap = 20}));
  out.push_back(layer({.name = "layer_head80_adjacent_partial",
                       .heads = 4,
                       .head_dim = 80,
                       .dims = 32,
                       .q = "q8_0",
                       .cache = "f32",
                       .quantized = false,
                       .deferred = true}));
  out.push_back(
      layer({.name = "layer_head256", .heads = 2, .kv_heads = 1, .head_dim = 256, .cache = "f32", .scale = 0.0625, .slow = true}));
  out.push_back(layer({.name = "layer_head256_f16", .heads = 8, .kv_heads = 1, .head_dim = 256, .window = 4, .steps = 9, .scale = 0.0625}));
  out.push_back(layer({.name = "layer_12_heads_on_one_key", .heads = 12, .kv_heads = 1, .head_dim = 64, .quantized = false, .steps = 4}));
  // Contexts in several splits.
  out.push_back(layer(of("f16", {.name = "layer_splits",
                       .rows = 8,
                       .width = 128,
                       .heads = 2,
                       .kv_heads = 1,
                       .head_dim = 128,
                       .ffn = 64,
                       .cache = "f32",
                       .quantized = false,
                       .prompt = true,
                       .steps = 150})));
  out.push_back(layer(of("f16", {.name = "layer_splits_f16_cache",
                       .rows = 8,
                       .width = 128,
                       .heads = 3,
                       .kv_heads = 1,
                       .head_dim = 128,
                       .ffn = 64,
                       .quantized = false,
                       .prompt = true,
                       .steps = 620,
                       .slow = true})));
  out.push_back(layer(of("q8_0", {.name = "layer_window_across_splits",
                       .rows = 4,
                       .width = 128,
                       .heads = 4,
                       .kv_heads = 4,
                       .head_dim = 128,
                       .ffn = 64,
                       .quantized = false,
                       .prompt = true,
                       .window = 200,
                       .steps = 280,
                       .slow = true})));
  out.push_back(layer({.name = "layer_12_heads_long",
                       .rows = 8,
                       .heads = 12,
                       .kv_heads = 1,
                       .head_dim = 64,
                       .quantized = false,
                       .prompt = true,
                       .steps = 600,
                       .slow = true}));
  out.push_back(layer(of("f32", {.name = "layer_stories_long",
                       .width = 64,
                       .heads = 8,
                       .kv_heads = 4,
                       .head_dim = 8,
                       .ffn = 172,
                       .cache = "f32",
                       .quantized = false,
                       .steps = 250,
                       .scale = 0.353553,
                       .slow = true})));

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
  out.push_back(layer(of("bf16", {.name = "layer_tiles_split",
                       .rows = 128,
                       .width = 2048,
                       .heads = 8,
                       .prompt = true,
                       .steps = 100,
                       .slow = true,
                       .tiles = true})));
  out.push_back(layer({.name = "layer_tiles_32rows", .rows = 32, .all = true, .tiles = true}));
  out.push_back(layer({.name = "layer_tiles_prompt_128rows", .rows = 128, .prompt = true, .steps = 200, .all = true, .slow = true, .tiles = true}));
  out.push_back(layer({.name = "layer_tiles_qwen2",
                       .rows = 16,
                       .width = 512,
                       .heads = 7,
                       .kv_heads = 1,
                       .head_dim = 128,
                       .q = "q8_0",
                       .k = "q4_K",
                       .v = "q5_K",
                       .gate = "q5_K",
                       .up = "q5_K",
                       .down = "bf16",
                       .pairing = "halves",
                       .factors = true,
                       .bias = true,
                       .prompt = true,
                       .steps = 40,
                       .tiles = true}));
  out.push_back(layer({.name = "layer_tiles_head96_partial",
                       .rows = 16,
                       .width = 384,
                       .heads = 4,
                       .head_dim = 96,
                       .dims = 64,
                       .q = "f16",
                       .k = "bf16",
                       .v = "f16",
                       .gate = "q8_0",
                       .up = "q8_0",
                       .down = "q8_0",
                       .cache = "f32",
                       .pairing = "halves",
                       .tiles = true}));

  // Attention in tiles of rows: many sequences in a tile, a long one in several steps, windows.
  out.push_back(layer({.name = "layer_flash_128rows", .rows = 128, .slow = true, .tiles = true}));
  out.push_back(layer(of("q8_0", {.name = "layer_flash_prompt_f16",
                       .rows = 128,
                       .heads = 2,
                       .kv_heads = 1,
                       .head_dim = 128,
                       .prompt = true,
                       .steps = 140,
                       .all = true,
                       .tiles = true})));
  out.push_back(layer(of("f16", {.name = "layer_flash_window_softcap",
                       .rows = 128,
                       .width = 128,
                       .heads = 4,
                       .kv_heads = 2,
                       .head_dim = 80,
                       .ffn = 128,
                       .cache = "f32",
                       .quantized = false,
                       .prompt = true,
                       .window = 100,
                       .steps = 300,
                       .softcap = 20,
                       .tolerance = 2e-3,
                       .slow = true})));

  // Tiles of 128 rows, of which there are enough for all multiprocessors.
  out.push_back(layer(of("f16", {.name = "layer_flash_large_tiles",
                       .rows = 1024,
                       .width = 128,
                       .heads = 36,
                       .kv_heads = 4,
                       .head_dim = 16,
                       .ffn = 128,
                       .quantized = false,
                       .prompt = true,
                       .steps = 1500,
                       .tolerance = 2e-3,
                       .slow = true})));
  out.push_back(layer(of("f16", {.name = "layer_flash_large_tiles_window",
                       .rows = 1024,
                       .width = 128,
                       .heads = 34,
                       .kv_heads = 2,
                       .ffn = 128,
                       .cache = "f32",
                       .quantized = false,
                       .prompt = true,
                       .window = 200,
                       .steps = 1100,
                       .tolerance = 2e-3,
                       .slow = true})));

  // The same with heads above 128 elements: two warps for each row, 64 or 32 keys a stage; an odd number of sixteens. Where
  // products are tiles the rope has a kernel of its own: only those of warpgroups have room for it.
  const auto wide = [](Layer l) {
    l.rows = 128, l.width = 128, l.ffn = 128, l.tolerance = 2e-3, l.tiles = l.quantized;
    l.scale = 0.0625;
    return layer(of("f16", l));
  };
  out.push_back(wide({.name = "layer_flash_head256",
                      .heads = 2,
                      .kv_heads = 1,
                      .head_dim = 256,
                      .prompt = true,
                      .head_norm = true,
                      .steps = 140,
                      .all = true}));
  out.push_back(wide({.name = "layer_flash_head256_mixed_slots",
                      .heads = 1,
                      .kv_heads = 1,
                      .head_dim = 256,
                      .quantized = false,
                      .steps = 2,
                      .all = true,
                      .slow = true}));
  out.push_back(wide({.name = "layer_flash_head256_window_softcap_f32",
                      .heads = 2,
                      .kv_heads = 1,
                      .head_dim = 256,
                      .cache = "f32",
                      .quantized = false,
                      .prompt = true,
                      .window = 100,
                      .steps = 300,
                      .softcap = 20,
                      .all = true,
                      .slow = true}));
  out.push_back(wide({.name = "layer_flash_head192_window_softcap",
                      .heads = 2,
                      .kv_heads = 2,
                      .head_dim = 192,
                      .quantized = false,
                      .prompt = true,
                      .window = 50,
                      .steps = 200,
                      .softcap = 30,
                      .all = true,
                      .slow = true}));
  out.push_back(wide({.name = "layer_flash_head144_f32",
                      .heads = 1,
                      .kv_heads = 1,
                      .head_dim = 144,
                      .cache = "f32",
                      .quantized = false,
                      .prompt = true,
                      .steps = 70,
                      .all = true}));

  // The row of a prompt that goes on: prompts that fill their last step and that do not, and one whose attention is split.
  out.push_back(prompt_end("prompt_end_f16", 8, 21, "f16", 4, 64));
  out.push_back(prompt_end("prompt_end_f32", 8, 16, "f32", 4, 64));
  out.push_back(prompt_end("prompt_end_head80_window", 4, 30, "f16", 2, 80, 7));
  out.push_back(prompt_end("prompt_end_long", 128, 700, "f16", 8, 128));
  out.back().slow = true;

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

}  // namespace heddle::testing
