// Products on tensor cores: tiles of 16 rows of weights by up to 8 activation rows.
//
// A tile has 16 units of one stream, or 8 of two: gate and up, or the two rows that a rope turns together, lie 8 rows apart, so that a lane
// holds both. Warps of a team take the stages of a tile's columns in turn and put their sums together at the end. Lane 4g + j holds of the
// weights rows g and g + 8, of the activations row g, of the sums rows g and g + 8 for activation rows 2j and 2j + 1.
#include "codegen/cuda/kernels/gemv/gemv_kernel.h"

namespace heddle::codegen::cuda {

void GemvKernel::print_team(Text& out) {
  const int s = plan_.slices;
  out.line(
      "constexpr int SLICES = {}, BLOCKS = {}, TILE_STAGES = {};  // warps of a team; blocks of 32 columns in a stage; stages of a row", s,
      plan_.blocks, plan_.tile_stages());
  out.line("const int team = warp / SLICES, slice = warp % SLICES, g = lane / 4, j = lane % 4;");
  out.line("float* const factors = (float*)(shared + {}) + warp * 256;  // float2 [BLOCKS][16], then float [16][8]", plan_.factors_at);
  out.line("const int first = team * gridDim.x + blockIdx.x, step = gridDim.x * {};  // tiles of this team", plan_.warps / s);
}

void GemvKernel::print_tile_fetch(Text& out) {
  out.line("int next = first, next_piece = slice, next_slot = 0;");
  out.open("auto fetch = [&]() {{");
  out.open("if (next < {}) {{", plan_.classes.back().end);
  out.line("char* const to = ring + next_slot * STAGE;");
  out.line("const int b = lane % BLOCKS;");
  for (std::size_t i = 0; i < plan_.classes.size(); ++i) {
    const GemvClass& c = plan_.classes[i];
    if (plan_.classes.size() > 1) {
      if (i + 1 < plan_.classes.size()) out.open("{}if (next < {}) {{", i == 0 ? "" : "else ", c.end);
      else out.open("else {{");
    }
    print_tile_copies(out, c);
    if (plan_.classes.size() > 1) out.close();
  }
  out.line("next_piece += SLICES;");
  out.line("if (next_piece >= TILE_STAGES) next_piece = slice, next += step;");
  out.line("if (++next_slot == STAGES) next_slot = 0;");
  out.close();
  out.line("end_group();");
  out.close("};");
}

void GemvKernel::print_tile_copies(Text& out, const GemvClass& c) {
  const std::int64_t per_row = plan_.k / 32;
  const int at_once = 32 / plan_.blocks;  // rows
  if (per_row % plan_.blocks != 0) out.open("if (next_piece * BLOCKS + b < {}) {{", per_row);
  for (std::size_t i = 0; i < c.parts.size(); ++i) {
    const GemvPart& part = plan_.parts[c.parts[i]];
    if (c.parts.size() > 1) {
      if (i + 1 < c.parts.size()) out.open("{}if (next < {}) {{", i == 0 ? "" : "else ", part.end);
      else out.open("else {{");
    }
    for (int r = 0; r < 16; r += at_once) {
      const int stream = c.streams == 1 ? 0 : r / 8, segment = stream / c.pair;
      const Format& format = part.formats[std::size_t(segment)];
      out.open("{{");
      out.line("const int local = {} + lane / BLOCKS;", r - 8 * stream);
      out.line("const int u = {};", unit_of(c, part, "next"));
      if (c.pair == 2) out.line("const int i = {};", stream % c.pair);
      out.line("copy_rows_{}(to, {} + lane / BLOCKS, b, {}, ({}) * {}u + next_piece * BLOCKS + b);", format.name, r,
               format.planes_of(fmt::format("a{}", part.spec->segments[std::size_t(segment)].weight)), row_of(part, c.pair), per_row);
      out.close();
    }
    if (c.parts.size() > 1) out.close();
  }
  if (per_row % plan_.blocks != 0) out.close();
}

void GemvKernel::print_tile_products(Text& out, const GemvClass& c) {
  const std::int64_t per_row = plan_.k / 32;
  const std::string& name = plan_.parts[c.parts.front()].formats.front().name;
  out.line("float sums[4] = {{}};");
  out.line("#pragma unroll 1");
  out.open("for (int k = slice; k < TILE_STAGES; k += SLICES) {{");
  out.line("groups_left<STAGES - 1>();");
  out.line("__syncwarp();");
  out.line("const char* const from = ring + at * STAGE;");
  out.line("if (++at == STAGES) at = 0;");
  out.line("#pragma unroll");
  out.line("for (int p = lane; p < 16 * BLOCKS; p += 32) ((float2*)factors)[p] = factors_{}(from, p % 16, p / 16, k * BLOCKS);", name);
  out.line("__syncwarp();");
  out.line("const char* const x = shared + k * (BLOCKS * 16);");
  out.line("#pragma unroll");
  out.open("for (int b = 0; b < BLOCKS; ++b) {{");
  if (per_row % plan_.blocks != 0) out.line("if (k * BLOCKS + b >= {}) break;", per_row);
  out.line("u32 low[2], high[2];");
  out.line("words_{0}(from, g, b, j, low[0], high[0]), words_{0}(from, g + 8, b, j, low[1], high[1]);", name);
  out.line("int c[4], d[4];  // of the first and of the last 16 columns");
  out.line("mma_s8(c, low[0], low[1], *(const u32*)(x + {} + g * {} + b * 16 + j * 4), origin);", plan_.first_at, plan_.x_row);
  out.line("mma_s8(d, high[0], high[1], *(const u32*)(x + {} + g * {} + b * 16 + j * 4), origin);", plan_.last_at, plan_.x_row);
  out.line("#pragma unroll");
  out.open("for (int i = 0; i < 2; ++i) {{");
  out.line("const float4 scales = *(const float4*)(x + {} + (2 * j + i) * {} + b * 16);", plan_.ds_at, plan_.x_row);
  out.line("#pragma unroll");
  out.line(
      "for (int n = 0; n < 2; ++n) sums[2 * n + i] = {}(sums[2 * n + i], ((const float2*)factors)[b * 16 + g + 8 * n], scales, c[2 * n + "
      "i], "
      "d[2 * n + i]);",
      c.tile.dot);
  out.close();
  out.close();
  out.line("__syncwarp();");
  out.line("fetch();");
  out.close();
}

void GemvKernel::print_tile_class(Text& out, const GemvClass& c) {
  const int at_once = 32 / plan_.padded;
  const auto finish = [&] {
    const std::string live = in_chunks() ? fmt::format(" && first_row + my_m < {}", plan_.rows) : "";
    out.open("if (lane % {} < {}{}) {{", plan_.padded, plan_.chunk, live);
    out.line("float total[{}] = {{}};", c.streams);
    out.line("#pragma unroll");
    out.open("for (int s = 0; s < SLICES; ++s) {{");
    out.line("const float* const from = factors + (s - slice) * 256 + local * 8 + my_m;");
    for (int s = 0; s < c.streams; ++s) out.line("total[{}] += from[{}];", s, 64 * s);
    out.close();
    for_each_part(out, c, [&](const GemvPart& part) { print_epilogue(out, c, part); });
    out.close();
  };
  out.open("for (; unit < {}; unit += step) {{", c.end);
  if (early(c)) {
    if (!ahead()) out.line("const int local = slice * {} + lane / {};", at_once, plan_.padded);
    print_unit_variables(out, c);
    out.open("if (slice < {}) {{", rounds(c));
    for_each_part(out, c, [&](const GemvPart& part) { print_unit_start(out, c, part); });
    out.close();
  }
  print_tile_products(out, c);
  const std::string meet = plan_.slices == 1 ? "__syncwarp();" : "team_barrier(1 + team, SLICES * 32);";
  out.line("*(float2*)(factors + g * 8 + 2 * j) = make_float2(sums[0], sums[1]);");
  out.line("*(float2*)(factors + (g + 8) * 8 + 2 * j) = make_float2(sums[2], sums[3]);");
  out.line("{}", meet);
  if (early(c)) {
    out.open("if (slice < {}) {{", rounds(c));
    finish();
    out.close();
  } else {
    out.open("for (int round = slice; round < {}; round += SLICES) {{", rounds(c));
    out.line("const int local = round * {} + lane / {};", at_once, plan_.padded);
    print_unit_variables(out, c);
    for_each_part(out, c, [&](const GemvPart& part) { print_unit_start(out, c, part); });
    finish();
    out.close();
  }
  if (ahead()) out.line("ahead(unit + step);");
  out.line("{}", meet);
  out.close();
}

}  // namespace heddle::codegen::cuda
