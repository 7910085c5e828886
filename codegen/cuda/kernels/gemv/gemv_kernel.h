#pragma once
#include <algorithm>

#include "codegen/cuda/kernels/gemv/gemv.h"

namespace heddle::codegen::cuda {

/// The text of a product's kernel.
class GemvKernel {
 public:
  GemvKernel(const plan::KernelSpec& spec, const GemvPlan& plan, const ir::Target& target) : spec_(spec), plan_(plan), target_(target) {}

  CudaText print();

 private:
  bool in_chunks() const { return plan_.rows > plan_.chunk; }

  void print_kernel(Text& out) {
    const PrologueText prologue = print_prologue(spec_, plan_);
    print_signature(out, spec_, plan_.warps * 32, 1, false);
    out.line("DYNAMIC_SHARED;");
    out.line("constexpr int STAGES = {}, STAGE = {};", plan_.stages, plan_.stage_bytes);
    out.line("const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;");
    out.line("char* const ring = shared + {} + warp * (STAGES * STAGE);", plan_.ring_at);
    if (plan_.mma) print_team(out);
    else if (plan_.slices > 1) print_split(out);
    else out.line("const int first = warp * gridDim.x + blockIdx.x, step = gridDim.x * {};  // units of this warp", plan_.warps);
    if (plan_.mma) print_tile_fetch(out);
    else print_fetch(out);
    out.line("for (int i = 0; i < STAGES; ++i) fetch();");
    out.put(prologue.early.str());
    print_ahead(out);
    out.line("wait();");
    out.line("trigger();");
    if (in_chunks()) {
      out.open("for (int first_row = 0; first_row < {}; first_row += {}) {{", plan_.rows, plan_.chunk);
      out.open("if (first_row > 0) {{");
      out.line("groups_left<0>();");
      out.line("__syncthreads();");
      out.line("next = first, next_piece = {}, next_slot = 0;", plan_.mma ? "slice" : "0");
      out.line("for (int i = 0; i < STAGES; ++i) fetch();");
      if (ahead()) out.line("ahead(first);");
      out.close();
    }
    out.line("const int my_m = min(lane % {}, {});  // activation row of this lane in the epilogue", plan_.padded, plan_.chunk - 1);
    if (in_chunks()) out.line("const int my_row = min(first_row + my_m, {});", plan_.rows - 1);
    else out.line("const int my_row = my_m;");
    if (spec_.positions_arg >= 0) out.line("const int position = __ldcg(a{} + my_row);", spec_.positions_arg);
    if (spec_.slots_arg >= 0) out.line("const int slot = __ldcg(a{} + my_row);", spec_.slots_arg);
    out.put(prologue.late.str());
    out.line("int unit = first, at = 0;");
    for (const GemvClass& c : plan_.classes) plan_.mma ? print_tile_class(out, c) : print_class(out, c);
    if (in_chunks()) out.close();
    out.close();
  }

  /// Address arguments of the planes of stream `s`: p0_0, p0_1, ...
  std::string plane_names(const Format& format, int segment) const {
    std::string names;
    for (std::size_t i = 0; i < format.planes.size(); ++i) names += fmt::format("{}p{}_{}", i == 0 ? "" : ", ", segment, i);
    return names;
  }

  /// Row `i` of a unit, an expression over u and i.
  static std::string row_of(const GemvPart& part, int pair) {
    if (pair == 1) return "u";
    if (!part.rope || !part.rope->halves) return "2 * u + i";
    const auto& r = *part.rope;
    const std::int64_t half = r.head_dim / 2, turning = r.dims / 2;
    if (r.dims == r.head_dim) return fmt::format("u / {0} * {1} + u % {0} + i * {0}", half, r.head_dim);
    return fmt::format("u / {0} * {1} + (u % {0} < {2} ? u % {0} + i * {2} : {3} + (u % {0} - {2}) * 2 + i)", half, r.head_dim, turning,
                       r.dims);
  }

  /// The cursor of the ring: starts the copies of the next piece of this warp.
  void print_fetch(Text& out) {
    out.line("int next = first, next_piece = 0, next_slot = 0;");
    out.open("auto fetch = [&]() {{");
    out.open("if (next < {}) {{", plan_.classes.back().end);
    out.line("char* const to = ring + next_slot * STAGE;");
    if (plan_.classes.size() > 1) out.line("int pieces;");
    for (std::size_t i = 0; i < plan_.classes.size(); ++i) {
      const GemvClass& c = plan_.classes[i];
      if (plan_.classes.size() > 1) {
        if (i + 1 < plan_.classes.size()) out.open("{}if (next < {}) {{", i == 0 ? "" : "else ", c.end);
        else out.open("else {{");
      }
      print_fetch_of(out, c);
      if (plan_.classes.size() > 1) out.close();
    }
    out.line("if (++next_piece == {}) next_piece = 0, next += step;",
             plan_.classes.size() > 1 ? "pieces" : std::to_string(plan_.classes[0].pieces));
    out.line("if (++next_slot == STAGES) next_slot = 0;");
    out.close();
    out.line("end_group();");
    out.close("};");
  }

  void print_fetch_of(Text& out, const GemvClass& c) {
    const std::int64_t per_row = plan_.k / c.elements;
    const GemvPart& model = plan_.parts[c.parts.front()];
    if (plan_.classes.size() > 1) out.line("pieces = {};", c.pieces);
    out.line("const u32 piece = {} + {} * {};", lane_of_row(c), slice_of("next_piece"), c.lanes);
    const bool several = c.parts.size() > 1;
    for (std::size_t s = 0; several && s < model.formats.size(); ++s)
      for (std::size_t p = 0; p < model.formats[s].planes.size(); ++p) out.line("const char* p{}_{};", s, p);
    out.line("u32 row[{}];", c.pair);
    for (std::size_t i = 0; i < c.parts.size(); ++i) {
      const GemvPart& part = plan_.parts[c.parts[i]];
      if (several) {
        if (i + 1 < c.parts.size()) out.open("{}if (next < {}) {{", i == 0 ? "" : "else ", part.end);
        else out.open("else {{");
      }
      out.line("const int u = {};", unit_of(c, part, "next"));
      for (std::size_t s = 0; s < part.formats.size(); ++s) {
        const unsigned arg = part.spec->segments[s].weight;
        for (std::size_t p = 0; p < part.formats[s].planes.size(); ++p)
          out.line("{}p{}_{} = a{} + {};", several ? "" : "const char* const ", s, p, arg, part.formats[s].planes[p]);
      }
      if (c.pair == 1) out.line("row[0] = u;");
      else out.line("for (int i = 0; i < 2; ++i) row[i] = {};", row_of(part, 2));
      if (several) out.close();
    }
    if (c.tail) out.open("if (piece < {}) {{", per_row);
    for (int stream = 0; stream < c.streams; ++stream) {
      const int segment = stream / c.pair;
      const Format& format = model.formats[std::size_t(segment)];
      out.line("copy_{}(to + {}, lane, {}, row[{}] * {}u + piece);", format.name, c.stage_offsets[std::size_t(stream)],
               plane_names(format, segment), stream % c.pair, per_row);
    }
    if (c.tail) out.close();
  }

  /// Several warps on a row take its rounds in turn.
  std::string slice_of(std::string_view round) const {
    return plan_.slices > 1 ? fmt::format("({} * SLICES + slice)", round) : std::string(round);
  }
  void print_split(Text& out) {
    out.line("constexpr int SLICES = {}, WARPS = {};  // warps on a row, of the block", plan_.slices, plan_.warps);
    out.line("const int team = warp / SLICES, slice = warp % SLICES;");
    out.line("const int first = team * gridDim.x + blockIdx.x, step = gridDim.x * (WARPS / SLICES);  // units of this team");
    out.line("float* const parts = (float*)(shared + {});  // [2][WARPS][streams][32]", plan_.factors_at);
    out.line("int half = 0;  // of `parts`: the next sums must not overtake the first warp's reading");
  }
  void print_meeting(Text& out, const GemvClass& c) {
    out.line("float* const mine = parts + (half * WARPS + warp) * {} + lane;", 32 * c.streams);
    out.line("half ^= 1;");
    for (int s = 0; s < c.streams; ++s) out.line("mine[{}] = total[{}];", 32 * s, s);
    out.line("team_barrier(team, SLICES * 32);");
    out.open("if (slice == 0) {{");
    out.line("for (int n = 1; n < SLICES; ++n)");
    out.line("  for (int s = 0; s < {0}; ++s) total[s] += mine[(n * {0} + s) * 32];", c.streams);
    out.close();
  }

  static std::string lane_of_row(const GemvClass& c) { return c.lanes == 32 ? "lane" : fmt::format("lane % {}", c.lanes); }
  /// The unit of this lane's team, held inside the part.
  std::string unit_of(const GemvClass& c, const GemvPart& part, std::string_view warp_unit) const {
    const std::string from = part.begin == 0 ? std::string(warp_unit) : fmt::format("({} - {})", warp_unit, part.begin);
    if (plan_.mma) return fmt::format("{} * {} + local", from, c.tile_units());
    if (c.teams() == 1) return from;
    const std::string unit = fmt::format("{} * {} + lane / {}", from, c.teams(), c.lanes);
    return part.units % c.teams() == 0 ? unit : fmt::format("min({}, {})", unit, part.units - 1);
  }

  // ---- A class: products, then the epilogue of the unit's part

  /// Inputs of a part's epilogue that are fetched at the start of a unit, in order.
  std::vector<unsigned> fetched(const GemvPart& part) const {
    std::vector<unsigned> out;
    for (unsigned v = 0; v < part.epilogue.inputs(); ++v) {
      const Value& value = part.epilogue[v];
      if (value.columns && value.input->kind != plan::InputKind::loop) out.push_back(v);
    }
    return out;
  }

  void print_class(Text& out, const GemvClass& c) {
    const std::int64_t per_row = plan_.k / c.elements;
    const GemvPart& model = plan_.parts[c.parts.front()];
    out.open("for (; unit < {}; unit += step) {{", c.end);
    print_unit_variables(out, c);
    for_each_part(out, c, [&](const GemvPart& part) { print_unit_start(out, c, part); });
    out.line("float sums[{}][{}] = {{}};", c.streams, plan_.padded);
    out.line("#pragma unroll 1");
    out.open("for (int i = 0; i < {}; ++i) {{", c.pieces);
    out.line("groups_left<STAGES - 1>();");
    out.line("__syncwarp();");
    out.line("const char* const from = ring + at * STAGE;");
    for (int s = 0; s < c.streams; ++s) {
      const Format& format = model.formats[std::size_t(s / c.pair)];
      out.line("const P_{0} q{1} = get_{0}(from + {2}, lane);", format.name, s, c.stage_offsets[std::size_t(s)]);
    }
    out.line("__syncwarp();");
    out.line("fetch();");
    out.line("if (++at == STAGES) at = 0;");
    if (c.tail) {
      out.line("const u32 there = {} + {} * {};", lane_of_row(c), slice_of("i"), c.lanes);
      out.line("const u32 piece = there < {} ? there : 0;", per_row);
    } else {
      out.line("const u32 piece = {} + {} * {};", lane_of_row(c), slice_of("i"), c.lanes);
    }
    for (int s = 0; s < c.streams; ++s) {
      const Format& format = model.formats[std::size_t(s / c.pair)];
      out.line("const auto w{0} = unpack_{1}(q{0}, lane);", s, format.name);
    }
    out.line("#pragma unroll");
    out.open("for (int m = 0; m < {}; ++m) {{", plan_.chunk);
    const bool as_bytes = model.formats.front().integers && plan_.bytes;
    if (as_bytes)
      out.line(
          "const Bytes x = {{((const int4*)(shared + {}))[m * {} + piece], ((const int4*)(shared + {}))[m * {} + piece], "
          "((const float4*)(shared + {}))[m * {} + piece]}};",
          plan_.first_at, plan_.k / 32, plan_.last_at, plan_.k / 32, plan_.ds_at, plan_.k / 32);
    else out.line("const float* const x = (const float*)(shared + {}) + m * {};", plan_.x_at, plan_.k);
    for (int s = 0; s < c.streams; ++s) {
      const Format& format = model.formats[std::size_t(s / c.pair)];
      const std::string call = fmt::format("{}(sums[{}][m], w{}, {})", format.dot(), s, s,
                                           as_bytes ? std::string("x") : fmt::format("x, piece * {}", c.elements));
      if (c.tail) out.line("const float y{0} = {1}; if (there < {2}) sums[{0}][m] = y{0};", s, call, per_row);
      else out.line("sums[{}][m] = {};", s, call);
    }
    out.close();
    out.close();
    out.line("float total[{}];", c.streams);
    out.line("#pragma unroll");
    out.line("for (int s = 0; s < {}; ++s) total[s] = sum_of_rows<{}>(sums[s]);", c.streams, c.lanes);
    if (plan_.slices > 1) print_meeting(out, c);
    const std::string live = in_chunks() ? fmt::format(" && first_row + my_m < {}", plan_.rows) : plan_.slices > 1 ? " && slice == 0" : "";
    out.open("if ({} < {}{}) {{", lane_of_row(c), plan_.chunk, live);
    for_each_part(out, c, [&](const GemvPart& part) { print_epilogue(out, c, part); });
    out.close();
    if (ahead()) out.line("ahead(unit + step);");
    out.close();
  }

  // ---- On tensor cores (gemv_matrix_units.cpp)

  void print_team(Text& out);
  void print_tile_fetch(Text& out);
  void print_tile_copies(Text& out, const GemvClass& c);
  void print_tile_class(Text& out, const GemvClass& c);
  void print_tile_products(Text& out, const GemvClass& c);

  void for_each_part(Text& out, const GemvClass& c, auto&& print) {
    for (std::size_t i = 0; i < c.parts.size(); ++i) {
      const GemvPart& part = plan_.parts[c.parts[i]];
      if (c.parts.size() > 1) {
        if (i + 1 < c.parts.size()) out.open("{}if (unit < {}) {{", i == 0 ? "" : "else ", part.end);
        else out.open("else {{");
      }
      print(part);
      if (c.parts.size() > 1) out.close();
    }
  }

  static bool is_rows(const GemvPart& part, unsigned v) { return part.epilogue[v].input->kind == plan::InputKind::rows; }
  static std::string if_turning(const EmittedRope& rope) {
    return rope.dims < rope.head_dim ? fmt::format("if (u % {} < {}) ", rope.head_dim / 2, rope.dims / 2) : std::string();
  }

  /// What the epilogue reads is under way before the products: rows of the step here, weights since the unit before, or since before the
  /// wait: they come from memory, behind whose latency a short product would wait.
  void print_unit_start(Text& out, const GemvClass& c, const GemvPart& part) {
    out.line("u = {};", unit_of(c, part, "unit"));
    const auto inputs = fetched(part);
    if (std::ranges::any_of(inputs, [&](unsigned v) { return is_rows(part, v); })) {
      out.line("#pragma unroll");
      out.open("for (int i = 0; i < {}; ++i) {{", c.pair);
      out.line("const int column = {};", row_of(part, c.pair));
      for (std::size_t i = 0; i < inputs.size(); ++i)
        if (is_rows(part, inputs[i]))
          out.line("in{}[i] = {};", i, buffer_element(spec_, part.epilogue[inputs[i]].input->index, "my_row", "column"));
      out.close();
    }
    if (!ahead()) print_weights(out, c, part);
    if (!part.rope) return;
    if (part.rope->dims < part.rope->head_dim) out.line("turn_c = 1, turn_s = 0;");
    out.line("{}turn(turns * position, turn_c, turn_s);", if_turning(*part.rope));
  }
  /// Weights that the epilogue of unit `u` reads: w<input>, and half turns of a rope from position to position.
  void print_weights(Text& out, const GemvClass& c, const GemvPart& part) {
    const auto inputs = fetched(part);
    if (!std::ranges::all_of(inputs, [&](unsigned v) { return is_rows(part, v); })) {
      out.line("#pragma unroll");
      out.open("for (int i = 0; i < {}; ++i) {{", c.pair);
      out.line("const int column = {};", row_of(part, c.pair));
      for (std::size_t i = 0; i < inputs.size(); ++i)
        if (!is_rows(part, inputs[i])) out.line("w{}[i] = {};", i, weight_element(spec_, part.epilogue[inputs[i]].input->index, "column"));
      out.close();
    }
    if (part.rope)
      out.line("{}turns = {};", if_turning(*part.rope), half_turns(*part.rope, spec_, fmt::format("u % {}", part.rope->head_dim / 2)));
  }

  /// Whether a warp has at most one round of a tile's epilogue, so that it can read ahead for it.
  bool early(const GemvClass& c) const { return plan_.slices >= rounds(c); }
  int rounds(const GemvClass& c) const { return c.tile_units() * plan_.padded / 32; }
  bool reads_weights() const {
    return std::ranges::any_of(plan_.parts, [&](const GemvPart& part) {
      return part.rope || !std::ranges::all_of(fetched(part), [&](unsigned v) { return is_rows(part, v); });
    });
  }
  bool ahead() const {
    return reads_weights() && (!plan_.mma || std::ranges::all_of(plan_.classes, [&](const GemvClass& c) { return early(c); }));
  }
  void print_weight_variables(Text& out, const std::vector<unsigned>& parts, int pair) {
    std::size_t most = 0;
    bool rope = false;
    for (unsigned p : parts) {
      const auto inputs = fetched(plan_.parts[p]);
      for (std::size_t i = 0; i < inputs.size(); ++i)
        if (!is_rows(plan_.parts[p], inputs[i])) most = std::max(most, i + 1);
      rope = rope || plan_.parts[p].rope;
    }
    for (std::size_t i = 0; i < most; ++i) out.line("float w{}[{}];", i, pair);
    if (rope) out.line("double turns = 0;");
  }
  void print_ahead(Text& out) {
    if (!ahead()) return;
    std::vector<unsigned> parts;
    int pair = 1;
    for (const GemvClass& c : plan_.classes) parts.insert(parts.end(), c.parts.begin(), c.parts.end()), pair = std::max(pair, c.pair);
    print_weight_variables(out, parts, pair);
    if (plan_.mma) out.line("const int local = slice * {} + lane / {};", 32 / plan_.padded, plan_.padded);
    out.open("auto ahead = [&](int unit) {{  // weights of the epilogue of that unit");
    for (const GemvClass& c : plan_.classes) {
      out.open("{}if (unit < {}{}) {{", &c == &plan_.classes.front() ? "" : "else ", c.end,
               plan_.mma ? fmt::format(" && slice < {}", rounds(c)) : "");
      for_each_part(out, c, [&](const GemvPart& part) {
        out.line("const int u = {};", unit_of(c, part, "unit"));
        print_weights(out, c, part);
      });
      out.close();
    }
    out.close("};");
    out.line("ahead(first);");
  }
  void print_unit_variables(Text& out, const GemvClass& c) {
    std::size_t most = 0;
    bool rope = false;
    for (unsigned p : c.parts) {
      const auto inputs = fetched(plan_.parts[p]);
      for (std::size_t i = 0; i < inputs.size(); ++i)
        if (is_rows(plan_.parts[p], inputs[i])) most = std::max(most, i + 1);
      rope = rope || plan_.parts[p].rope;
    }
    out.line("int u;");
    for (std::size_t i = 0; i < most; ++i) out.line("float in{}[{}];", i, c.pair);
    if (!ahead()) print_weight_variables(out, c.parts, c.pair);
    if (rope) out.line("float turn_c = 1, turn_s = 0;");
  }

  void print_epilogue(Text& out, const GemvClass& c, const GemvPart& part) {
    const Program& program = part.epilogue;
    const auto inputs = fetched(part);
    for (unsigned v = 0; v < program.size(); ++v) {
      const Value& value = program[v];
      if (value.instr) {
        if (value.instr->as<heddle::Rope>()) {
          const unsigned x = value.instr->operands[0];
          out.line(
              "auto e{} = [&](int i) {{ const float x = {}, y = {}; return i == 0 ? x * turn_c - y * turn_s : x * turn_s + y * turn_c; }};",
              v, read(program, "e", x, "0"), read(program, "e", x, "1"));
        } else {
          print_elementwise(out, program, "e", v);
        }
        continue;
      }
      switch (value.input->kind) {
        case plan::InputKind::loop:
          print_value(out, program, "e", v, fmt::format("total[{} + i]", value.input->index * unsigned(c.pair)));
          break;
        case plan::InputKind::constant:
          print_value(out, program, "e", v, float_literal(value.input->value));
          break;
        case plan::InputKind::row_scalar:
          print_value(out, program, "e", v, fmt::format("p{}", value.input->index));
          break;
        default:
          if (const auto at = std::ranges::find(inputs, v); at != inputs.end()) {
            print_value(out, program, "e", v, fmt::format("{}{}[i]", is_rows(part, v) ? "in" : "w", at - inputs.begin()));
          } else if (value.input->kind == plan::InputKind::rows) {
            print_value(out, program, "e", v, buffer_element(spec_, value.input->index, "my_row", "0"));
          } else if (value.width == 1) {
            print_value(out, program, "e", v, weight_element(spec_, value.input->index, "0"));
          }  // otherwise factors of a rope, which were read at the start
      }
    }
    const bool to_cache =
        std::ranges::any_of(program.program().stores, [](const auto& store) { return store.kind != plan::StoreKind::buffer; });
    const bool padded = !plan_.mma && c.teams() > 1 && part.units % c.teams() != 0;
    if (padded)
      out.open("if ({} * {} + lane / {} < {}) {{", part.begin == 0 ? "unit" : fmt::format("(unit - {})", part.begin), c.teams(), c.lanes,
               part.units);
    out.line("#pragma unroll");
    out.open("for (int i = 0; i < {}; ++i) {{", c.pair);
    out.line("const int column = {};", row_of(part, c.pair));
    for (const auto& store : program.program().stores)
      out.line("{}{}", to_cache && store.kind != plan::StoreKind::buffer ? "if (slot >= 0) " : "",
               store_statement(spec_, store, "my_row", "column", read(program, "e", store.value), "slot", "position"));
    out.close();
    if (padded) out.close();
  }

  const plan::KernelSpec& spec_;
  const GemvPlan& plan_;
  const ir::Target& target_;
};

}  // namespace heddle::codegen::cuda
