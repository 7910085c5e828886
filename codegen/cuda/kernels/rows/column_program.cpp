#include "codegen/cuda/kernels/rows/column_program.h"

#include "ir/base/check.h"
#include "ir/base/scalar_ops.h"

namespace heddle::codegen::cuda {

const std::string_view column_prelude = R"(
// the same on every thread; `partials` is used for nothing else
template <int WARPS> INLINE float sum_of_block(float x, float* partials) {
  x = sum_of_warp(x);
  if (threadIdx.x % 32 == 0) partials[threadIdx.x / 32] = x;
  __syncthreads();
  return sum_of_warp(threadIdx.x % 32 < WARPS ? partials[threadIdx.x % 32] : 0);
}
)";

std::optional<Refusal> check_columns(const Program& program, bool whole_rows) {
  const plan::KernelSpec& spec = program.spec();
  for (unsigned v = 0; v < program.size(); ++v) {
    const Value& value = program[v];
    if (value.input) {
      if (value.input->kind == plan::InputKind::rows && value.dtype != DType::f32)
        return Refusal{.reason = fmt::format("it reads {} as numbers", name(value.dtype))};
      if (value.input->kind == plan::InputKind::row_scalar) return Refusal{.reason = "it reads a value of a prologue"};
      continue;
    }
    const plan::Instr& instr = *value.instr;
    if ((instr.as<RmsNorm>() || instr.as<RmsScale>()) && !whole_rows) return program.refused(instr, "it needs whole rows, and a block has some columns");
    if (instr.as<Quantize>() && value.dtype != DType::q8_16 && value.dtype != DType::f16_128)
      return program.refused(instr, fmt::format("{} is not a format of this target", name(value.dtype)));
  }
  for (const auto& store : program.program().stores) {
    const DType dtype = spec.args[store.index].dtype;
    const bool to_cache = store.kind != plan::StoreKind::buffer;
    if (dtype != DType::f32 && !(to_cache ? dtype == DType::f16 : dtype == DType::q8_16 || dtype == DType::f16_128))
      return Refusal{.reason = fmt::format("it stores {}", dtype)};
  }
  return std::nullopt;
}

namespace {

class Columns {
 public:
  Columns(Text& out, const Program& program, const ColumnSite& site) : out_(out), program_(program), spec_(program.spec()), site_(site) {}

  void print() {
    for (unsigned v = 0; v < program_.size(); ++v) {
      const Value& value = program_[v];
      if (value.input) print_input(v, value);
      else if (value.instr->as<Elementwise>()) print_elementwise(out_, program_, "v", v);
      else if (value.instr->as<RmsNorm>() || value.instr->as<RmsScale>()) print_norm(v, *value.instr);
      else if (value.instr->as<heddle::Rope>())
        print_rope(out_, program_, "v", v, "i", site_.staged.empty() ? std::string() : fmt::format("turns{}{}", site_.staged, v));
      // quantize: where it is stored
    }
    for (const auto& store : program_.program().stores) print_store(store);
  }

 private:
  void print_input(unsigned v, const Value& value) {
    const plan::Input& input = *value.input;
    const std::string_view column = value.columns ? "i" : "0";
    switch (input.kind) {
      case plan::InputKind::loop:
        return print_value(out_, program_, "v", v, site_.loop);
      case plan::InputKind::constant:
        return print_value(out_, program_, "v", v, float_literal(input.value));
      case plan::InputKind::rows:
        return print_value(out_, program_, "v", v, buffer_element(spec_, input.index, site_.row, column));
      case plan::InputKind::vector:
        if (value.columns || value.width == 1) print_value(out_, program_, "v", v, weight_element(spec_, input.index, column));
        return;  // otherwise gains of heads or factors of a rope: read there
      case plan::InputKind::row_scalar:
        break;
    }
    HEDDLE_CHECK(false, "input kind {}", int(input.kind));
  }

  void print_norm(unsigned v, const plan::Instr& instr) {
    const bool norm = instr.as<RmsNorm>();
    const std::int64_t n = program_.n(), m = norm ? program_[instr.operands[1]].width : n;
    const std::string x = read(program_, "v", instr.operands[0]);
    const auto rsqrt = [&](std::string_view sum) {
      return fmt::format("rsqrtf({} / {} + {})", sum, float_literal(double(m)), float_literal(eps_of(instr)));
    };
    if (m == n) {
      out_.line("__shared__ float partials{}[{}];", v, site_.threads / 32);
      out_.line("float sum{} = 0;", v);
      out_.line("for (int i = threadIdx.x; i < {}; i += {}) {{ const float x = {}; sum{} += x * x; }}", n, site_.threads, x, v);
      const std::string scale = rsqrt(fmt::format("sum_of_block<{}>(sum{}, partials{})", site_.threads / 32, v, v));
      if (!norm) return out_.line("const float v{} = {};", v, scale);
      out_.line("const float scale{} = {};", v, scale);
      return print_value(out_, program_, "v", v, fmt::format("{} * scale{} * {}", x, v, read(program_, "v", instr.operands[1])));
    }
    // Columns are read once: they come from another multiprocessor's kernel.
    out_.line("__shared__ float row{}[{}];", v, site_.count);
    out_.line("for (int at = threadIdx.x; at < {}; at += {}) {{ const int i = {} + at; row{}[at] = {}; }}", site_.count, site_.threads,
              site_.first, v, x);
    out_.line("__syncthreads();");
    const bool one = site_.count == m;  // every warp makes the sum
    if (!one) {
      out_.line("__shared__ float scale{}[{}];", v, site_.count / m);
      out_.open("for (int head = threadIdx.x / 32; head < {}; head += {}) {{", site_.count / m, site_.threads / 32);
    }
    out_.line("float sum{} = 0;", v);
    out_.line("#pragma unroll");
    out_.line("for (int i = threadIdx.x % 32; i < {}; i += 32) {{ const float x = row{}[{}i]; sum{} += x * x; }}", m, v,
              one ? std::string() : fmt::format("head * {} + ", m), v);
    out_.line("sum{0} = sum_of_warp(sum{0});", v);
    const std::string scale = rsqrt(fmt::format("sum{}", v));
    if (one) {
      out_.line("const float scale{} = {};", v, scale);
    } else {
      out_.line("if (threadIdx.x % 32 == 0) scale{}[head] = {};", v, scale);
      out_.close();
      out_.line("__syncthreads();");
    }
    const unsigned gains = program_[instr.operands[1]].input->index;
    const std::string gain =
        site_.staged.empty() ? weight_element(spec_, gains, fmt::format("i % {}", m)) : fmt::format("gain{}{}[i % {}]", site_.staged, v, m);
    const std::string at = fmt::format("(i - {})", site_.first);
    print_value(out_, program_, "v", v,
                fmt::format("row{0}[{1}] * scale{0}{2} * {3}", v, at, one ? std::string() : fmt::format("[{} / {}]", at, m), gain));
  }

  void print_store(const plan::Store& store) {
    const Value& value = program_[store.value];
    if (!value.columns) {
      out_.line("if (threadIdx.x == 0) {}",
                store_statement(spec_, store, site_.row, "0", read(program_, "v", store.value), "slot", "position"));
      return;
    }
    if (value.dtype == DType::q8_16) {
      const unsigned x = value.instr->operands[0];
      out_.open("for (int at = threadIdx.x; at < {}; at += {}) {{", (site_.count + 31) / 32 * 32, site_.threads);
      out_.line("const bool stored = at < {};", site_.count);
      out_.line("const int i = {} + (stored ? at : 0);", site_.first);
      out_.line("quantize_16(a{} + (({}) * {} + i / 16) * 24, stored, {});", store.index, site_.row, program_.n() / 16,
                read(program_, "v", x));
      out_.close();
      return;
    }
    if (value.dtype == DType::f16_128) {  // words of two halves: place 2 * u of a block and the one behind it
      const unsigned x = value.instr->operands[0];
      out_.open("for (int at = threadIdx.x; at < {}; at += {}) {{", site_.count / 2, site_.threads);
      out_.line("const int u = at % 64, i = {} + at / 64 * 128 + u % 4 * 32 + u / 8 * 4 + u / 4 % 2;", site_.first);
      out_.line("((u32*)a{})[({}) * {} + i / 128 * 64 + u] = pack_f16({}, {});", store.index, site_.row, program_.n() / 2,
                read(program_, "v", x), read(program_, "v", x, "i + 2"));
      out_.close();
      return;
    }
    if (store.kind != plan::StoreKind::buffer) out_.line("if (slot >= 0)");
    out_.line("for (int at = threadIdx.x; at < {}; at += {}) {{ const int i = {} + at; {} }}", site_.count, site_.threads, site_.first,
              store_statement(spec_, store, site_.row, "i", read(program_, "v", store.value), "slot", "position"));
  }

  Text& out_;
  const Program& program_;
  const plan::KernelSpec& spec_;
  const ColumnSite& site_;
};

}  // namespace

bool print_column_weights(Text& out, const Program& program, int threads, std::string_view name, std::string_view condition) {
  Text declared, filled;
  const auto fill = [&](std::string_view type, const std::string& array, std::int64_t count, const std::string& element) {
    declared.line("__shared__ {} {}[{}];", type, array, count);
    filled.line("for (int i = threadIdx.x; i < {}; i += {}) {}[i] = {};", count, threads, array, element);
  };
  for (unsigned v = program.inputs(); v < program.size(); ++v) {
    const plan::Instr& instr = *program[v].instr;
    if (instr.as<RmsNorm>() && program[instr.operands[1]].width < program.n()) {
      const Value& gains = program[instr.operands[1]];
      fill("float", fmt::format("gain{}{}", name, v), gains.width, weight_element(program.spec(), gains.input->index, "i"));
    }
    if (instr.as<heddle::Rope>()) {
      const EmittedRope rope = rope_of(program, instr);
      fill("double", fmt::format("turns{}{}", name, v), rope.dims / 2, half_turns(rope, program.spec(), "i"));
    }
  }
  out.put(declared.str());
  if (filled.str().empty()) return false;
  if (!condition.empty()) out.open("if ({}) {{", condition);
  out.put(filled.str());
  if (!condition.empty()) out.close();
  return true;
}

void print_columns(Text& out, const Program& program, const ColumnSite& site) { Columns(out, program, site).print(); }

}  // namespace heddle::codegen::cuda
