#include <fmt/format.h>

#include "tests/support/cases/case_parts.h"

namespace heddle::testing::cases {
namespace {

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

}  // namespace

std::vector<KernelCase> attention_cases() {
  std::vector<KernelCase> out;
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
  return out;
}

}  // namespace heddle::testing::cases
