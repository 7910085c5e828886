// The activation rows of a product, made ready in shared memory by the block: each row by warps / rows warps, each thread by groups of four
// neighbouring columns. What comes out of sums over whole rows and is not needed for the activation is finished behind the last barrier, so
// that a prologue with rms_scale has one barrier.
#include <algorithm>

#include "codegen/cuda/kernels/gemv/gemv.h"
#include "ir/base/scalar_ops.h"

namespace heddle::codegen::cuda {
namespace {

class Prologue {
 public:
  Prologue(const plan::KernelSpec& spec, const GemvPlan& plan, PrologueText& out)
      : spec_(spec), plan_(plan), program_(*plan.prologue), early_(out.early), late_(out.late), activation_(spec.gemm()->activation) {}

  void print() {
    find_levels();
    width_ = plan_.k % 4 == 0 ? 4 : 1;
    const int group = plan_.group_warps() * 32;
    columns_ = int((plan_.k / width_ + group - 1) / group);
    early_.line("constexpr int GROUP = {}, COLUMNS = {};  // threads on a row; groups of columns of a thread", group, columns_);
    early_.line("const int m = warp / {}, t = threadIdx.x - m * GROUP;", plan_.group_warps());
    late_.line("const int row = {};  // that these threads prepare", row_expression("m"));
    const bool copies = is_block_input(activation_);
    if (copies) copy_blocks();
    if (!copies || !plan_.reductions.empty()) compute();
    late_.line("__syncthreads();");
    print_row_scalars();
  }

 private:
  bool is_block_input(unsigned v) const { return program_[v].input && program_[v].dtype == DType::q8_16; }
  bool guarded() const { return plan_.warps % plan_.chunk != 0; }  // warps without a row
  std::string row_expression(std::string_view m) const {
    if (plan_.rows == 1) return "0";
    if (plan_.rows == plan_.chunk) return guarded() ? fmt::format("min({}, {})", m, plan_.rows - 1) : std::string(m);
    return fmt::format("min(first_row + {}, {})", m, plan_.rows - 1);
  }

  /// Level of a value: how many sums over whole rows stand before it, one behind the other.
  void find_levels() {
    levels_.assign(program_.size(), 0);
    program_.mark_needed(activation_, needed_);
    for (unsigned v = 0; v < program_.size(); ++v) {
      const plan::Instr* instr = program_[v].instr;
      if (!instr) continue;
      for (unsigned operand : instr->operands) levels_[v] = std::max(levels_[v], levels_[operand]);
      if (is_reduction(v)) ++levels_[v];
    }
    last_level_ = levels_[activation_];
    for (unsigned v : plan_.reductions) last_level_ = std::max(last_level_, levels_[v] - 1);
  }
  bool is_reduction(unsigned v) const { return std::ranges::find(plan_.reductions, v) != plan_.reductions.end(); }

  std::string partials(unsigned v) const {
    const auto at = std::ranges::find(plan_.reductions, v) - plan_.reductions.begin();
    return fmt::format("(float*)(shared + {})", plan_.partials_at + at * plan_.warps * 4);
  }
  /// 1 / rms of row `m` out of the partial sums of its warps.
  std::string inverse_rms(unsigned v, std::string_view m) const {
    return fmt::format("rsqrtf(sum_of_partials<{}, {}>({}, {}) / {} + {})", plan_.chunk, plan_.group_warps(), partials(v), m,
                       float_literal(double(plan_.k)), float_literal(eps_of(*program_[v].instr)));
  }

  // ---- A row that comes quantised

  void copy_blocks() {
    const unsigned arg = program_[activation_].input->index;
    // Several blocks of a thread are on their way together.
    const std::int64_t threads = plan_.warps * 32, blocks = plan_.chunk * plan_.k / 16, rounds = (blocks + threads - 1) / threads;
    const std::int64_t together = std::min<std::int64_t>(rounds, plan_.warps > 16 ? 4 : 8);
    late_.open("for (int from = threadIdx.x; from < {}; from += {}) {{", blocks, together * threads);
    late_.line("u64 ds[{0}], low[{0}], high[{0}];", together);
    late_.line("#pragma unroll");
    late_.open("for (int n = 0; n < {}; ++n) {{", together);
    late_.line("const int i = min(from + n * {}, {});", threads, blocks - 1);
    late_.line("const int copied = i / {}, block = i % {};", plan_.k / 16, plan_.k / 16);
    late_.line("const u64* const at = (const u64*)a{} + ({} * {} + block) * 3;", arg, row_expression("copied"), plan_.k / 16);
    late_.line("ds[n] = __ldcg(at), low[n] = __ldcg(at + 1), high[n] = __ldcg(at + 2);");
    late_.close();
    late_.line("#pragma unroll");
    late_.open("for (int n = 0; n < {}; ++n) {{", together);
    late_.line("const int i = from + n * {};", threads);
    late_.line("if (i >= {}) break;", blocks);
    late_.line("const int copied = i / {}, block = i % {};", plan_.k / 16, plan_.k / 16);
    if (plan_.bytes) {
      late_.line("u64* const to = (u64*)(shared + (block % 2 ? {} : {}) + copied * {} + block / 2 * 16);", plan_.last_at, plan_.first_at,
                 plan_.x_row);
      late_.line("to[0] = low[n], to[1] = high[n];");
      late_.line("*(u64*)(shared + {} + copied * {} + block * 8) = ds[n];", plan_.ds_at, plan_.x_row);
    }
    if (plan_.floats) {
      late_.line("const float d = __uint_as_float((u32)ds[n]);");
      late_.line("float* const x = (float*)(shared + {}) + copied * {};", plan_.x_at, plan_.k);
      late_.line(
          "for (int j = 0; j < 16; ++j) x[x_index(block * 16 + j)] = d * (float)(signed char)((j < 8 ? low[n] : high[n]) >> j % 8 * 8);");
    }
    late_.close();
    late_.close();
  }

  // ---- Programs

  std::string in_row(unsigned v) const {
    const plan::Input& input = *program_[v].input;
    return spec_.rows == 1 || input.kind != plan::InputKind::rows ? "column" : fmt::format("row * {} + column", plan_.k);
  }
  /// Reads this thread's columns of input `v` into `to`.
  void print_load(Text& out, unsigned v, std::string_view to) {
    const plan::Input& input = *program_[v].input;
    if (width_ == 4 && program_[v].dtype == DType::f32) {
      out.line("four_of_{}({}, a{}, {});", input.kind == plan::InputKind::rows ? "buffer" : "weight", to, input.index, in_row(v));
    } else {
      for (int j = 0; j < width_; ++j) {
        const std::string at = fmt::format("{} + {}", in_row(v), j);
        out.line("({})[{}] = {};", to, j,
                 input.kind == plan::InputKind::rows ? fmt::format("__ldcg((const float*)a{} + {})", input.index, at)
                                                     : weight_element(spec_, input.index, at));
      }
    }
  }
  void open_columns(Text& out) {
    out.put("#pragma unroll");
    out.open("for (int c = 0; c < {}; ++c) {{", held_ ? "COLUMNS" : std::to_string(batch_));
    out.line("const int column = (t + {} * GROUP) * {};", held_ ? "c" : "(from + c)", width_);
  }
  /// Whether a group of columns lies in the row; empty: all do.
  std::string full() const {
    return plan_.k / width_ % (plan_.group_warps() * 32) == 0 ? std::string() : fmt::format("column < {}", plan_.k);
  }
  void open_if(Text& out, const std::string& condition) {
    if (!condition.empty()) out.open("if ({}) {{", condition);
  }
  void close_if(Text& out, const std::string& condition) {
    if (!condition.empty()) out.close();
  }

  void print_loads(Text& out, bool weights, std::string_view at) {
    for (unsigned v : column_inputs_)
      if ((program_[v].input->kind == plan::InputKind::vector) == weights) print_load(out, v, fmt::format("h{}{}", v, at));
  }

  void compute() {
    for (unsigned v = 0; v < program_.inputs(); ++v)
      if (program_[v].columns && !is_block_input(v)) column_inputs_.push_back(v);
    // Registers for a thread's columns: all of them, or as many at once as fit.
    const int room = plan_.warps > 16 ? 24 : 64, each = width_ * int(column_inputs_.size());
    held_ = columns_ * each <= room;
    for (batch_ = columns_; batch_ > 1 && (columns_ % batch_ != 0 || batch_ * each > room); --batch_) {
    }
    // Weights of the prologue come before the wait, where they fit into registers.
    for (unsigned v : column_inputs_) early_.line("float h{}[{}] = {{}};", v, width_ * batch_);
    if (held_ && std::ranges::any_of(column_inputs_, [&](unsigned v) { return program_[v].input->kind == plan::InputKind::vector; })) {
      open_columns(early_);
      open_if(early_, full());
      print_loads(early_, true, fmt::format(" + {} * c", width_));
      close_if(early_, full());
      early_.close();
    }
    if (guarded()) late_.line("const bool has_row = m < {};", plan_.chunk);
    if (held_) {
      open_columns(late_);
      open_if(late_, full());
      print_loads(late_, false, fmt::format(" + {} * c", width_));
      close_if(late_, full());
      late_.close();
    }
    print_scalar_inputs(late_, "row", "s");
    for (unsigned v : column_inputs_) late_.line("auto s{} = [&](int i) {{ return h{}[i]; }};", v, v);
    for (int level = 0; level <= last_level_; ++level) print_pass(level);
  }

  /// Inputs of one column, for a row.
  void print_scalar_inputs(Text& out, std::string_view row, std::string_view prefix) {
    for (unsigned v = 0; v < program_.inputs(); ++v) {
      const Value& value = program_[v];
      if (value.columns) continue;
      switch (value.input->kind) {
        case plan::InputKind::constant:
          print_value(out, program_, prefix, v, float_literal(value.input->value));
          break;
        case plan::InputKind::rows:
          print_value(out, program_, prefix, v, buffer_element(spec_, value.input->index, row, "0"));
          break;
        case plan::InputKind::vector:
          if (value.width == 1) print_value(out, program_, prefix, v, weight_element(spec_, value.input->index, "0"));
          break;
        default:
          HEDDLE_CHECK(false, "input kind {}", int(value.input->kind));
      }
    }
  }

  void print_pass(int level) {
    // Values that become known at this level.
    for (unsigned v = program_.inputs(); v < program_.size(); ++v) {
      if (levels_[v] != level) continue;
      const plan::Instr& instr = *program_[v].instr;
      if (instr.as<Quantize>()) continue;
      if (instr.as<RmsScale>()) {
        print_value(late_, program_, "s", v, inverse_rms(v, guarded() ? "(m < " + std::to_string(plan_.chunk) + " ? m : 0)" : "m"));
      } else if (instr.as<RmsNorm>()) {
        late_.line("const float scale{} = {};", v, inverse_rms(v, guarded() ? "(m < " + std::to_string(plan_.chunk) + " ? m : 0)" : "m"));
        print_value(late_, program_, "s", v,
                    fmt::format("{} * scale{} * {}", read(program_, "s", instr.operands[0]), v, read(program_, "s", instr.operands[1])));
      } else {
        print_elementwise(late_, program_, "s", v);
      }
    }
    std::vector<unsigned> sums;
    for (unsigned v : plan_.reductions)
      if (levels_[v] == level + 1) sums.push_back(v);
    const bool makes = levels_[activation_] == level && !is_block_input(activation_);
    if (sums.empty() && !makes) return;

    for (unsigned v : sums) late_.line("float sum{} = 0;", v);
    if (!held_) {
      late_.put("#pragma unroll 1");
      late_.open("for (int from = 0; from < COLUMNS; from += {}) {{", batch_);
      open_columns(late_);
      open_if(late_, full());
      const std::string place = fmt::format(" + {} * c", width_);
      print_loads(late_, true, place);
      print_loads(late_, false, place);
      close_if(late_, full());
      late_.close();
    }
    open_columns(late_);
    const std::string index = fmt::format("{} * c + j", width_);
    for (unsigned v : sums) {
      open_if(late_, full());
      late_.line("#pragma unroll");
      late_.line("for (int j = 0; j < {}; ++j) {{ const float x = {}; sum{} += x * x; }}", width_,
                 read(program_, "s", program_[v].instr->operands[0], index), v);
      close_if(late_, full());
    }
    if (makes) print_activation(index);
    late_.close();
    if (!held_) late_.close();
    for (unsigned v : sums) {
      late_.line("sum{} = sum_of_warp(sum{});", v, v);
      late_.line("if (lane == 0) ({})[warp] = sum{};", partials(v), v);
    }
    const bool more = level < last_level_;
    if (more) late_.line("__syncthreads();");
  }

  void print_activation(std::string_view index) {
    const plan::Instr* quantize =
        program_[activation_].instr && program_[activation_].instr->as<Quantize>() ? program_[activation_].instr : nullptr;
    const unsigned value = quantize ? quantize->operands[0] : activation_;
    const std::string there = !guarded() ? full() : full().empty() ? "has_row" : "has_row && " + full();
    late_.line("float x[{}];", width_);
    late_.line("#pragma unroll");
    late_.line("for (int j = 0; j < {}; ++j) x[j] = {};", width_, read(program_, "s", value, index));
    if (quantize) {
      late_.line("int packed;");
      late_.line("const float2 ds = quantize_4(x, packed);");
      if (plan_.bytes) {
        open_if(late_, there);
        late_.line("const int block = column / 16;");
        late_.line("*(int*)(shared + (block % 2 ? {} : {}) + m * {} + block / 2 * 16 + column % 16) = packed;", plan_.last_at,
                   plan_.first_at, plan_.x_row);
        late_.line("if (lane % 4 == 0) *(float2*)(shared + {} + m * {} + block * 8) = ds;", plan_.ds_at, plan_.x_row);
        close_if(late_, there);
      }
      if (plan_.floats) {
        late_.line("#pragma unroll");
        late_.line("for (int j = 0; j < 4; ++j) x[j] = ds.x * (float)(signed char)(packed >> 8 * j);");
      }
    }
    if (!plan_.floats) return;
    open_if(late_, there);
    late_.line("float* const to = (float*)(shared + {}) + m * {};", plan_.x_at, plan_.k);
    if (width_ == 4 && plan_.x_piece >= 4) late_.line("*(float4*)(to + x_index(column)) = make_float4(x[0], x[1], x[2], x[3]);");
    else late_.line("for (int j = 0; j < {}; ++j) to[x_index(column + j)] = x[j];", width_);
    close_if(late_, there);
  }

  /// Constants p<number> of the lane's row, for the epilogues.
  void print_row_scalars() {
    std::vector<bool> needed(program_.size());
    bool any = false;
    for (const GemvPart& part : plan_.parts)
      for (const auto& input : part.epilogue.program().inputs)
        if (input.kind == plan::InputKind::row_scalar) {
          program_.mark_needed(input.index, needed);
          any = true;
        }
    if (!any) return;
    // Only what is a scalar itself: operands of reductions are columns.
    for (unsigned v = 0; v < program_.size(); ++v) {
      if (!needed[v] || program_[v].columns) continue;
      const Value& value = program_[v];
      if (value.input) {
        if (value.input->kind == plan::InputKind::constant) print_value(late_, program_, "p", v, float_literal(value.input->value));
        else if (value.input->kind == plan::InputKind::rows)
          print_value(late_, program_, "p", v, buffer_element(spec_, value.input->index, "my_row", "0"));
        else if (value.width == 1) print_value(late_, program_, "p", v, weight_element(spec_, value.input->index, "0"));
      } else if (value.instr->as<RmsScale>()) {
        print_value(late_, program_, "p", v, inverse_rms(v, "my_m"));
      } else {
        print_elementwise(late_, program_, "p", v);
      }
    }
  }

  const plan::KernelSpec& spec_;
  const GemvPlan& plan_;
  const Program& program_;
  Text &early_, &late_;
  unsigned activation_;
  std::vector<int> levels_;
  std::vector<bool> needed_;
  int last_level_ = 0, width_ = 4, columns_ = 1, batch_ = 1;
  bool held_ = true;
  std::vector<unsigned> column_inputs_;
};

}  // namespace

PrologueText print_prologue(const plan::KernelSpec& spec, const GemvPlan& plan) {
  PrologueText out;
  Prologue(spec, plan, out).print();
  return out;
}

}  // namespace heddle::codegen::cuda
