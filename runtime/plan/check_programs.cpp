#include <cmath>

#include "runtime/plan/check_parts.h"

/// Expression programs: every value's width and dtype is known when it is read, so that a target can run them without looking again.
namespace heddle::plan {
namespace {

using Values = std::vector<ProgramValue>;

bool is_float(DType type) { return type == DType::f32 || type == DType::f16 || type == DType::bf16; }

Result<ProgramValue> check_input(const Input& input, const ProgramFrame& frame, const Place& place) {
  const KernelSpec& spec = frame.spec;
  switch (input.kind) {
    case InputKind::loop:
      if (input.index >= frame.accumulators) return fail(place, "loop result {}, there are {}", input.index, frame.accumulators);
      return ProgramValue{DType::f32, frame.n};
    case InputKind::rows: {
      HEDDLE_ASSIGN(const Arg* arg, check_arg(spec, input.index, ArgRole::buffer, "index", place));
      const std::int64_t width = arg->shape[1];
      if (width != frame.n && width != 1) return fail(place, "args[{}] has {} columns, the program has {}", input.index, width, frame.n);
      return ProgramValue{arg->dtype, width};
    }
    case InputKind::vector: {
      HEDDLE_ASSIGN(const Arg* arg, check_arg(spec, input.index, ArgRole::weight, "index", place));
      const DType dtype = arg->dtype;
      if (arg->shape.size() != 1 || !is_float(dtype))
        return fail(place, "args[{}] is {}[{}], wanted a vector of f32, f16 or bf16", input.index, arg->dtype, fmt::join(arg->shape, ", "));
      return ProgramValue{DType::f32, arg->shape[0], true};
    }
    case InputKind::row_scalar: {
      if (!frame.prologue) return fail(place, "kind is row_scalar, there is no prologue before this program");
      if (input.index >= frame.prologue->size())
        return fail(place, "value {} of the prologue, it has {}", input.index, frame.prologue->size());
      const ProgramValue& value = (*frame.prologue)[input.index];
      if (value.width != 1 || value.vector || value.dtype != DType::f32)
        return fail(place, "value {} of the prologue is {}[rows, {}], wanted f32[rows, 1]", input.index, value.dtype,
                    value.width);
      return ProgramValue{};
    }
    case InputKind::constant:
      if (!std::isfinite(input.value)) return fail(place, "constant is {}, wanted a finite number", input.value);
      return ProgramValue{};
  }
  return ProgramValue{};
}

/// The value of operand `i`, which is f32.
Result<const ProgramValue*> check_operand(const Instr& instr, std::size_t i, const Values& values, const Place& place) {
  const std::uint32_t index = instr.operands[i];
  if (index >= values.size()) return fail(place, "operand {} is value {}, only {} are known here", i, index, values.size());
  const ProgramValue& value = values[index];
  if (value.dtype != DType::f32) return fail(place, "operand {} is {}, {} works on f32", i, value.dtype, instr.op);
  return &value;
}

Result<void> check_arity(const Instr& instr, std::size_t least, std::size_t most, const Place& place) {
  if (instr.operands.size() >= least && instr.operands.size() <= most) return {};
  const std::string wanted = least == most ? fmt::format("{}", least) : fmt::format("{} or {}", least, most);
  return fail(place, "{} has {} operands, wanted {}", instr.op, instr.operands.size(), wanted);
}

Result<ProgramValue> check_elementwise(const Instr& instr, const Elementwise& op, const Values& values, const ProgramFrame& frame,
                                       const Place& place) {
  const auto arity = std::size_t(info(op.op).arity);
  HEDDLE_TRY(check_arity(instr, arity, arity, place));
  ProgramValue result;
  for (std::size_t i = 0; i < instr.operands.size(); ++i) {
    HEDDLE_ASSIGN(const ProgramValue* value, check_operand(instr, i, values, place));
    if (value->width != 1 && value->width != frame.n)
      return fail(place, "operand {} of {} has {} columns, the program has {}", i, instr.op, value->width, frame.n);
    result.width = std::max(result.width, value->width);
  }
  return result;
}

// ---- What an op of row_ops.def wants of its attributes and of the length of its vector (0: it has none) beyond what its row says

Result<void> check_eps(std::string_view op, double eps, const Place& place) {
  if (std::isfinite(eps) && eps >= 0) return {};
  return fail(place, "eps of {} is {}, wanted a finite number of at least 0", op, eps);
}

Result<void> check_op(const RmsNorm& op, std::int64_t gain, const ProgramFrame& frame, const Place& place) {
  if (frame.n % gain != 0)
    return fail(place, "gain of rms_norm has {} elements, wanted a weight vector whose length divides {}", gain, frame.n);
  return check_eps("rms_norm", op.eps, place);
}

Result<void> check_op(const RmsScale& op, std::int64_t, const ProgramFrame&, const Place& place) { return check_eps("rms_scale", op.eps, place); }

Result<void> check_op(const Quantize& op, std::int64_t, const ProgramFrame&, const Place& place) {
  if (is_activation_format(op.format)) return {};
  return fail(place, "format of quantize is {}, wanted an 8-bit activation format", op.format);
}

Result<void> check_op(const Rope& op, std::int64_t factors, const ProgramFrame& frame, const Place& place) {
  if (op.head_dim <= 0 || frame.n % op.head_dim != 0)
    return fail(place, "head_dim of rope is {}, wanted a divisor of {}", op.head_dim, frame.n);
  if (op.dims < 2 || op.dims > op.head_dim || op.dims % 2 != 0)
    return fail(place, "dims of rope is {}, wanted an even number from 2 to {}", op.dims, op.head_dim);
  if (!std::isfinite(op.theta) || op.theta <= 0) return fail(place, "theta of rope is {}, wanted a finite number above 0", op.theta);
  if (factors > 0 && factors != op.dims / 2)
    return fail(place, "factors of rope has {} elements, wanted a weight vector of {}", factors, op.dims / 2);
  return {};
}

Result<void> check_op(const Elementwise&, std::int64_t, const ProgramFrame&, const Place&) { return {}; }

/// Operands as the row of row_ops.def names them, the op's own rules, and that what it does does not cross the columns that the program is sure to
/// see together.
Result<ProgramValue> check_row_op(const Instr& instr, const Values& values, const ProgramFrame& frame, const Place& place) {
  const RowOpInfo& row = row_op_info(instr.op.index());
  std::size_t least = 0, most = 0;
  for (const RowOperandInfo& operand : row.operands) {
    if (operand.kind == RowOperandInfo::positions) continue;
    ++most;
    if (!operand.optional) ++least;
  }
  HEDDLE_TRY(check_arity(instr, least, most, place));
  std::int64_t vector = 0;
  std::size_t used = 0;
  for (const RowOperandInfo& operand : row.operands) {
    if (operand.kind == RowOperandInfo::positions) {
      if (frame.spec.positions_arg < 0)
        return fail(place, "{} needs positions, positions_arg is {}", row.name, frame.spec.positions_arg);
      continue;
    }
    if (used == instr.operands.size()) break;  // optional ones stand last
    HEDDLE_ASSIGN(const ProgramValue* value, check_operand(instr, used, values, place));
    if (operand.kind == RowOperandInfo::row && (value->vector || value->width != frame.n))
      return fail(place, "operand {} of {} has {} columns, the program has {}", used, row.name, value->width, frame.n);
    if (operand.kind == RowOperandInfo::vector) {
      if (!value->vector) return fail(place, "{} of {} is no weight vector", operand.name, row.name);
      vector = value->width;
    }
    ++used;
  }
  HEDDLE_TRY(std::visit([&](const auto& op) { return check_op(op, vector, frame, place); }, instr.op));
  if (const std::int64_t columns = columns_together(instr.op, frame.n, vector); frame.granule % columns != 0)
    return fail(place, "{} works on {} columns together, the granule has {}", row.name, columns, frame.granule);
  switch (row.result) {
    case RowResult::row: return ProgramValue{DType::f32, frame.n};
    case RowResult::row_scalar: return ProgramValue{};
    case RowResult::encoded: return ProgramValue{std::get<Quantize>(instr.op).format, frame.n};
  }
  return ProgramValue{};
}

Result<ProgramValue> check_instr(const Instr& instr, const Values& values, const ProgramFrame& frame, const Place& place) {
  if (const auto* op = std::get_if<Elementwise>(&instr.op)) return check_elementwise(instr, *op, values, frame, place);
  return check_row_op(instr, values, frame, place);
}

Result<void> check_cache_store(const Store& store, const ProgramValue& value, const ProgramFrame& frame, const Place& place) {
  const KernelSpec& spec = frame.spec;
  HEDDLE_ASSIGN(const Arg* arg, check_arg(spec, store.index, ArgRole::state, "index", place));
  const std::int64_t columns = arg->shape[1] * arg->shape[2];
  if (value.dtype != DType::f32 || value.width != columns || value.width != frame.n)
    return fail(place, "value {} is {}[rows, {}], the cache takes f32[rows, {}]", store.value, value.dtype, value.width,
                columns);
  if (spec.slots_arg < 0 || spec.positions_arg < 0)
    return fail(place, "a cache store needs slots and positions, slots_arg is {}, positions_arg is {}", spec.slots_arg, spec.positions_arg);
  return {};
}

Result<void> check_store(const Store& store, const Values& values, const ProgramFrame& frame, const Place& place) {
  if (store.value >= values.size()) return fail(place, "value is {}, the program has {}", store.value, values.size());
  const ProgramValue& value = values[store.value];
  if (store.kind != StoreKind::buffer) {
    HEDDLE_TRY(check_cache_store(store, value, frame, place));
  } else {
    HEDDLE_ASSIGN(const Arg* arg, check_arg(frame.spec, store.index, ArgRole::buffer, "index", place));
    if (arg->dtype != value.dtype || arg->shape[1] != value.width || (value.width != frame.n && value.width != 1))
      return fail(place, "value {} is {}[rows, {}], args[{}] is {}[{}]", store.value, value.dtype, value.width, store.index,
                  arg->dtype, fmt::join(arg->shape, ", "));
    if (const int block = info(value.dtype).elements; frame.granule % block != 0)
      return fail(place, "value {} has blocks of {} columns, the granule has {}", store.value, block, frame.granule);
  }
  if (!frame.spec.args[store.index].written) return fail(place, "args[{}] is stored to and not marked written", store.index);
  return {};
}

}  // namespace

Result<std::vector<ProgramValue>> check_program(const Program& program, const ProgramFrame& frame, const Place& place) {
  Values values;
  HEDDLE_TRY(check_each(program.inputs, &place, "inputs", [&](const Input& input, const Place& at) -> Result<void> {
    HEDDLE_ASSIGN(const ProgramValue value, check_input(input, frame, at));
    values.push_back(value);
    return {};
  }));
  HEDDLE_TRY(check_each(program.instrs, &place, "instrs", [&](const Instr& instr, const Place& at) -> Result<void> {
    HEDDLE_ASSIGN(const ProgramValue value, check_instr(instr, values, frame, at));
    values.push_back(value);
    return {};
  }));
  HEDDLE_TRY(check_each(program.stores, &place, "stores",
                        [&](const Store& store, const Place& at) { return check_store(store, values, frame, at); }));
  return values;
}

}  // namespace heddle::plan
