#include "codegen/cuda/columns.h"

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

std::optional<CannotEmit> check_columns(const Program& program, bool whole_rows) {
  const plan::KernelSpecT& spec = program.spec();
  for (unsigned v = 0; v < program.size(); ++v) {
    const Value& value = program[v];
    if (value.input) {
      if (value.input->kind == plan::InputKind::rows && value.dtype != DType::f32)
        return CannotEmit{"", fmt::format("it reads {} as numbers", name(value.dtype))};
      if (value.input->kind == plan::InputKind::row_scalar) return CannotEmit{"", "it reads a value of a prologue"};
      continue;
    }
    const std::string& op = value.instr->op;
    if ((op == "rms_norm" || op == "rms_scale") && !whole_rows) return CannotEmit{op, "it needs whole rows, and a block has some columns"};
    if (op == "quantize" && value.dtype != DType::q8_16 && value.dtype != DType::f16_128)
      return CannotEmit{op, fmt::format("{} is not a format of this target", name(value.dtype))};
  }
  for (const auto& store : program.program().stores) {
    const std::string& dtype = spec.args[store->index]->dtype;
    const bool to_cache = store->kind != plan::StoreKind::buffer;
    if (dtype != "f32" && !(to_cache ? dtype == "f16" : dtype == "q8_16" || dtype == "f16_128")) return CannotEmit{"", fmt::format("it stores {}", dtype)};
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
      else if (scalar_op_named(value.instr->op)) print_elementwise(out_, program_, "v", v);
      else if (value.instr->op == "rms_norm" || value.instr->op == "rms_scale") print_norm(v, *value.instr);
      else if (value.instr->op == "rope") print_rope(out_, program_, "v", v, "i");
      // quantize: where it is stored
    }
    for (const auto& store : program_.program().stores) print_store(*store);
  }

 private:
  void print_input(unsigned v, const Value& value) {
    const plan::InputT& input = *value.input;
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

  void print_norm(unsigned v, const plan::InstrT& instr) {
    const bool norm = instr.op == "rms_norm";
    const std::int64_t n = program_.n(), m = norm ? program_[instr.operands[1]].width : n;
    const std::string x = read(program_, "v", instr.operands[0]);
    const auto rsqrt = [&](std::string_view sum) {
      return fmt::format("rsqrtf({} / {} + {})", sum, float_literal(double(m)), float_literal(instr.f0));
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
    out_.line("__shared__ float scale{}[{}];", v, n / m);
    out_.open("for (int head = threadIdx.x / 32; head < {}; head += {}) {{", n / m, site_.threads / 32);
    out_.line("float sum = 0;");
    out_.line("for (int i = head * {0} + threadIdx.x % 32; i < head * {0} + {0}; i += 32) {{ const float x = {1}; sum += x * x; }}", m, x);
    out_.line("sum = sum_of_warp(sum);");
    out_.line("if (threadIdx.x % 32 == 0) scale{}[head] = {};", v, rsqrt("sum"));
    out_.close();
    out_.line("__syncthreads();");
    const std::string gain = weight_element(spec_, program_[instr.operands[1]].input->index, fmt::format("i % {}", m));
    print_value(out_, program_, "v", v, fmt::format("{} * scale{}[i / {}] * {}", x, v, m, gain));
  }

  void print_store(const plan::StoreT& store) {
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
  const plan::KernelSpecT& spec_;
  const ColumnSite& site_;
};

}  // namespace

void print_columns(Text& out, const Program& program, const ColumnSite& site) { Columns(out, program, site).print(); }

}  // namespace heddle::codegen::cuda
