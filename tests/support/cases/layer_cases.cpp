#include <fmt/format.h>

#include "tests/support/cases/case_parts.h"

namespace heddle::testing::cases {

Layer of(const std::string& type, Layer l) {
  l.q = l.k = l.v = l.gate = l.up = l.down = type;
  return l;
}

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

std::vector<KernelCase> layer_cases() {
  std::vector<KernelCase> out;
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

  // Products on the matrix units.
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
  return out;
}

}  // namespace heddle::testing::cases
