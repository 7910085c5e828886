#include "codegen/cuda/expression.h"

#include <algorithm>
#include <cmath>

#include "ir/base/check.h"
#include "ir/base/scalar_ops.h"

namespace heddle::codegen::cuda {

Program::Program(const plan::Program& program, const plan::KernelSpec& spec, std::int64_t n) : program_(program), spec_(spec), n_(n) {
  for (const auto& input : program.inputs) {
    Value value{.input = &input};
    switch (input.kind) {
      case plan::InputKind::loop:
        value.columns = true;
        value.width = n;
        break;
      case plan::InputKind::rows:
      case plan::InputKind::vector: {
        const plan::Arg& from = spec.args[input.index];
        value.dtype = from.dtype;
        value.width = from.shape.back();
        value.columns = value.width == n;
        break;
      }
      case plan::InputKind::row_scalar:
      case plan::InputKind::constant:
        break;
    }
    values_.push_back(value);
  }
  for (const auto& instr : program.instrs) {
    Value value{.instr = &instr};
    if (const auto* quantize = instr.as<Quantize>()) value.dtype = quantize->format;
    if (instr.as<Elementwise>())
      value.columns = std::ranges::any_of(instr.operands, [&](unsigned operand) { return values_[operand].columns; });
    else value.columns = row_op_info(instr.op.index()).result != RowResult::row_scalar;
    if (value.columns) value.width = n;
    values_.push_back(value);
  }
}

Refusal Program::refused(const plan::Instr& instr, std::string reason) const {
  const auto programs = programs_of(spec_);
  const auto at = std::ranges::find(programs, &program_) - programs.begin();
  return {.reason = std::move(reason),
          .op = std::string(name(instr.op)),
          .instr = Refusal::Instr{unsigned(at), unsigned(&instr - program_.instrs.data())}};
}

std::vector<const plan::Program*> programs_of(const plan::KernelSpec& spec) {
  std::vector<const plan::Program*> programs;
  if (spec.gemm()) programs.push_back(&spec.gemm()->prologue);
  for (const plan::Part& part : spec.parts) programs.push_back(&part.epilogue);
  return programs;
}

Refusal refused_loop(const plan::KernelSpec& spec, std::string reason) {
  const bool product = spec.gemm(), experts = spec.top_experts();
  return {.reason = std::move(reason), .op = product ? "matmul" : experts ? "top_k" : std::string(plan::name(spec.loop))};
}

void Program::mark_needed(unsigned value, std::vector<bool>& needed) const {
  needed.resize(size());
  if (needed[value]) return;
  needed[value] = true;
  if (const plan::Instr* instr = values_[value].instr)
    for (unsigned operand : instr->operands) mark_needed(operand, needed);
}

double eps_of(const plan::Instr& instr) {
  if (const auto* norm = instr.as<RmsNorm>()) return norm->eps;
  return std::get<RmsScale>(instr.op).eps;
}

std::string read(const Program& program, std::string_view prefix, unsigned value, std::string_view index) {
  return program[value].columns ? fmt::format("{}{}({})", prefix, value, index) : fmt::format("{}{}", prefix, value);
}

void print_value(Text& out, const Program& program, std::string_view prefix, unsigned value, std::string_view expression) {
  if (program[value].columns) out.line("auto {}{} = [&](int i) {{ return {}; }};", prefix, value, expression);
  else out.line("const float {}{} = {};", prefix, value, expression);
}

void print_elementwise(Text& out, const Program& program, std::string_view prefix, unsigned value) {
  const plan::Instr& instr = *program[value].instr;
  HEDDLE_CHECK(instr.as<Elementwise>(), "{} is not elementwise", name(instr.op));
  // An operand that is read twice is computed once.
  std::string arguments, locals;
  std::vector<unsigned> seen;
  for (unsigned operand : instr.operands) {
    if (!arguments.empty()) arguments += ", ";
    if (!program[operand].columns || instr.operands.size() == 1) {
      arguments += read(program, prefix, operand);
      continue;
    }
    if (std::ranges::find(seen, operand) == seen.end()) {
      locals += fmt::format("const float x{} = {}; ", operand, read(program, prefix, operand));
      seen.push_back(operand);
    }
    arguments += fmt::format("x{}", operand);
  }
  const std::string call = fmt::format("op_{}({})", instr.op, arguments);
  if (program[value].columns) out.line("auto {}{} = [&](int i) {{ {}return {}; }};", prefix, value, locals, call);
  else out.line("const float {}{} = {};", prefix, value, call);
}

void print_ops(Text& out, const std::vector<const plan::Program*>& programs) {
  std::set<ScalarOp> used;
  for (const plan::Program* program : programs)
    for (const auto& instr : program->instrs)
      if (const auto* one = instr.as<Elementwise>()) used.insert(one->op);
  for (ScalarOp op : used) {
    const ScalarOpInfo& row = info(op);
    constexpr std::string_view parameters[] = {"", "float x", "float x, float y", "float x, float y, float z"};
    out.line("INLINE float op_{}({}) {{ return {}; }}", row.name, parameters[row.arity], row.expression);
  }
}

// ---- Loads and stores

std::string weight_element(const plan::KernelSpec& spec, unsigned arg, std::string_view index) {
  const DType dtype = spec.args[arg].dtype;
  if (dtype == DType::f32) return fmt::format("__ldg((const float*)a{} + {})", arg, index);
  if (dtype == DType::f16) return fmt::format("low_f16(__ldg((const u16*)a{} + {}))", arg, index);
  HEDDLE_CHECK(dtype == DType::bf16, "a vector of {}", dtype);
  return fmt::format("__uint_as_float((u32)__ldg((const u16*)a{} + {}) << 16)", arg, index);
}

std::string buffer_element(const plan::KernelSpec& spec, unsigned arg, std::string_view row, std::string_view column) {
  const std::int64_t width = spec.args[arg].shape.back();
  const std::string at = spec.rows == 1 ? std::string(column) : fmt::format("({}) * {} + {}", row, width, column);
  return fmt::format("__ldcg((const float*)a{} + {})", arg, at);
}

std::string float_literal(double value) {
  std::string text = fmt::format("{}", float(value));
  if (text.find_first_of(".en") == text.npos) text += ".0";
  HEDDLE_CHECK(std::isfinite(value), "the constant {}", value);
  return text + "f";
}

std::string store_statement(const plan::KernelSpec& spec, const plan::Store& store, std::string_view row, std::string_view column,
                            std::string_view value, std::string_view slot, std::string_view position) {
  const plan::Arg& arg = spec.args[store.index];
  if (store.kind == plan::StoreKind::buffer) {
    const std::string at = spec.rows == 1 ? std::string(column) : fmt::format("({}) * {} + {}", row, arg.shape.back(), column);
    return fmt::format("((float*)a{})[{}] = {};", store.index, at, value);
  }
  const std::int64_t heads = arg.shape[1], head_dim = arg.shape[2];
  const std::string plane = fmt::format("a{}.{}", store.index, store.kind == plan::StoreKind::cache_key ? "keys" : "values");
  const std::string at = fmt::format("cache_at<{}, {}>(a{}.capacity, {}, {}, {})", heads, head_dim, store.index, slot, position, column);
  if (arg.dtype == DType::f16) return fmt::format("((u16*){})[{}] = to_f16({});", plane, at, value);
  HEDDLE_CHECK(arg.dtype == DType::f32, "a cache of {}", arg.dtype);
  return fmt::format("((float*){})[{}] = {};", plane, at, value);
}

// ---- Rotary embedding

namespace {

std::string table_name(const heddle::Rope& rope) {
  // Two ropes of one kernel share a table when base and size are the same.
  std::string name = fmt::format("frequency_{}_{}", rope.dims, rope.theta);
  std::ranges::replace_if(
      name, [](char c) { return c == '.' || c == '+' || c == '-'; }, '_');
  return name;
}

}  // namespace

EmittedRope rope_of(const Program& program, const plan::Instr& instr) {
  const heddle::Rope& op = *instr.as<heddle::Rope>();
  EmittedRope rope{.head_dim = op.head_dim, .dims = op.dims, .halves = op.pairing == Pairing::halves, .table = table_name(op), .factors = {}};
  if (instr.operands.size() == 2) rope.factors = program[instr.operands[1]].input->index;
  return rope;
}

void print_rope_tables(Text& out, const std::vector<const plan::Program*>& programs) {
  std::set<std::string> done;
  for (const plan::Program* program : programs)
    for (const auto& instr : program->instrs) {
      const auto* rope = instr.as<heddle::Rope>();
      if (!rope || !done.insert(table_name(*rope)).second) continue;
      std::string numbers;
      for (std::int64_t i = 0; i < rope->dims / 2; ++i) {
        const double frequency = std::pow(rope->theta, -2.0 * double(i) / double(rope->dims));
        numbers += fmt::format("{}{}", i == 0 ? "" : i % 8 == 0 ? ",\n  " : ", ", frequency / M_PI);
      }
      out.line("__constant__ double {}[{}] = {{", table_name(*rope), rope->dims / 2);
      out.line("  {}}};", numbers);
    }
}

std::string half_turns(const EmittedRope& rope, const plan::KernelSpec& spec, std::string_view pair) {
  const std::string turns = fmt::format("{}[{}]", rope.table, pair);
  return rope.factors ? fmt::format("{} / {}", turns, weight_element(spec, *rope.factors, pair)) : turns;
}

void print_rope(Text& out, const Program& program, std::string_view prefix, unsigned value, std::string_view column,
                std::string_view turns) {
  const plan::Instr& instr = *program[value].instr;
  const EmittedRope rope = rope_of(program, instr);
  const std::int64_t turning = rope.dims / 2;
  out.open("auto {}{} = [&](int i) {{", prefix, value);
  out.line("const int at = {} % {};", column, rope.head_dim);
  out.line("const float x = {};", read(program, prefix, instr.operands[0]));
  if (rope.dims < rope.head_dim) out.line("if (at >= {}) return x;", rope.dims);
  out.line("const bool leads = {};", rope.halves ? fmt::format("at < {}", turning) : "at % 2 == 0");
  out.line("const float y = {};",
           read(program, prefix, instr.operands[0], rope.halves ? fmt::format("leads ? i + {0} : i - {0}", turning) : "i ^ 1"));
  out.line("float c, s;");
  const std::string pair = rope.halves ? fmt::format("(leads ? at : at - {})", turning) : "(at / 2)";
  out.line("turn({} * position, c, s);", turns.empty() ? half_turns(rope, program.spec(), pair) : fmt::format("{}[{}]", turns, pair));
  out.line("return leads ? x * c - y * s : y * s + x * c;");
  out.close("};");
}

const std::string_view program_prelude = R"(
template <int HEADS, int HEAD_DIM> INLINE long long cache_at(long long capacity, int slot, int position, int column) {
  return (((long long)slot * HEADS + column / HEAD_DIM) * capacity + position) * HEAD_DIM + column % HEAD_DIM;
}
INLINE void turn(double half_turns, float& c, float& s) {
  sincospif((float)(half_turns - 2 * rint(half_turns * 0.5)), &s, &c);
}
INLINE float sum_of_warp(float x) {
#pragma unroll
  for (int i = 16; i > 0; i /= 2) x += __shfl_xor_sync(~0u, x, i);
  return x;
}
// x / y, rounded as division does, without its branches for numbers at the ends of the range; `r` is about 1 / y
INLINE float quotient(float x, float y, float r) {
  const float q = x * r;
  return fmaf(fmaf(-q, y, x), r, q);
}
struct Scale { float d, inverse; };  // of q8_16, for the bits of the largest magnitude
INLINE Scale scale_for(u32 bits) {
  const float m = __uint_as_float(bits);
  return {quotient(m, 127, 1.0f / 127), m != 0 ? quotient(127, m, about_inverse(m)) : 0};
}
// 16 lanes hold 16 neighbouring columns: q8_16
INLINE void quantize_16(char* block, bool stored, float x) {
  u32 bits = __float_as_uint(x) & 0x7fffffff;  // as integers, so that NaN is the largest
#pragma unroll
  for (int i = 8; i > 0; i /= 2) bits = max(bits, __shfl_xor_sync(~0u, bits, i));
  const Scale scale = scale_for(bits);
  const int q = __float2int_rn(x * scale.inverse);
  int sum = q;
#pragma unroll
  for (int i = 8; i > 0; i /= 2) sum += __shfl_xor_sync(~0u, sum, i);
  const int lane = threadIdx.x % 16;
  if (stored) block[8 + lane] = (char)q;
  if (stored && lane == 0) ((float*)block)[0] = scale.d, ((float*)block)[1] = scale.d * (float)sum;
}
)";

}  // namespace heddle::codegen::cuda
