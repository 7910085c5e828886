#include <cmath>

#include "ir/base/scalar_ops.h"
#include "runtime/plan/check_parts.h"

/// Expression programs: every value's width and dtype is known when it is read, so that a target can run them without looking again.
namespace heddle::plan {
namespace {

using Values = std::vector<ProgramValue>;

bool is_float(DType type) { return type == DType::f32 || type == DType::f16 || type == DType::bf16; }

Result<ProgramValue> check_input(const InputT& input, const ProgramFrame& frame, const Place& place) {
  const KernelSpecT& spec = frame.spec;
  switch (input.kind) {
    case InputKind::loop:
      if (input.index >= frame.accumulators) return fail(place, "loop result {}, there are {}", input.index, frame.accumulators);
      return ProgramValue{DType::f32, frame.n};
    case InputKind::rows: {
      HEDDLE_ASSIGN(const ArgT* arg, check_arg(spec, input.index, ArgRole::buffer, "index", place));
      const std::int64_t width = arg->shape[1];
      if (width != frame.n && width != 1) return fail(place, "args[{}] has {} columns, the program has {}", input.index, width, frame.n);
      return ProgramValue{*dtype_named(arg->dtype), width};
    }
    case InputKind::vector: {
      HEDDLE_ASSIGN(const ArgT* arg, check_arg(spec, input.index, ArgRole::weight, "index", place));
      const DType dtype = *dtype_named(arg->dtype);
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
        return fail(place, "value {} of the prologue is {}[rows, {}], wanted f32[rows, 1]", input.index, heddle::name(value.dtype),
                    value.width);
      return ProgramValue{};
    }
    case InputKind::constant:
      if (!std::isfinite(input.value)) return fail(place, "constant is {}, wanted a finite number", input.value);
      return ProgramValue{};
  }
  return fail(place, "kind is {}, wanted 0 to {}", int(input.kind), int(InputKind::MAX));
}

/// The value of operand `i`; its own program's width and f32 where `whole` is wanted.
Result<const ProgramValue*> check_operand(const InstrT& instr, std::size_t i, const Values& values, const Place& place) {
  const std::uint32_t index = instr.operands[i];
  if (index >= values.size()) return fail(place, "operand {} is value {}, only {} are known here", i, index, values.size());
  const ProgramValue& value = values[index];
  if (value.dtype != DType::f32) return fail(place, "operand {} is {}, {} works on f32", i, heddle::name(value.dtype), instr.op);
  return &value;
}

Result<void> check_row(const InstrT& instr, const ProgramValue& value, const ProgramFrame& frame, const Place& place) {
  if (value.vector || value.width != frame.n)
    return fail(place, "operand 0 of {} has {} columns, the program has {}", instr.op, value.width, frame.n);
  return {};
}

Result<void> check_arity(const InstrT& instr, std::size_t least, std::size_t most, const Place& place) {
  if (instr.operands.size() >= least && instr.operands.size() <= most) return {};
  const std::string wanted = least == most ? fmt::format("{}", least) : fmt::format("{} or {}", least, most);
  return fail(place, "{} has {} operands, wanted {}", instr.op, instr.operands.size(), wanted);
}

/// What an op does must not cross the columns that the program is sure to see together.
Result<void> check_columns(const InstrT& instr, std::int64_t columns, const ProgramFrame& frame, const Place& place) {
  if (frame.granule % columns == 0) return {};
  return fail(place, "{} works on {} columns together, the granule has {}", instr.op, columns, frame.granule);
}

Result<void> check_eps(const InstrT& instr, const Place& place) {
  if (std::isfinite(instr.f0) && instr.f0 >= 0) return {};
  return fail(place, "eps of {} is {}, wanted a finite number of at least 0", instr.op, instr.f0);
}

Result<ProgramValue> elementwise(const InstrT& instr, ScalarOp op, const Values& values, const ProgramFrame& frame, const Place& place) {
  HEDDLE_TRY(check_arity(instr, std::size_t(info(op).arity), std::size_t(info(op).arity), place));
  ProgramValue result;
  for (std::size_t i = 0; i < instr.operands.size(); ++i) {
    HEDDLE_ASSIGN(const ProgramValue* value, check_operand(instr, i, values, place));
    if (value->width != 1 && value->width != frame.n)
      return fail(place, "operand {} of {} has {} columns, the program has {}", i, instr.op, value->width, frame.n);
    result.width = std::max(result.width, value->width);
  }
  return result;
}

Result<ProgramValue> rms_norm(const InstrT& instr, const Values& values, const ProgramFrame& frame, const Place& place) {
  HEDDLE_TRY(check_arity(instr, 2, 2, place));
  HEDDLE_ASSIGN(const ProgramValue* x, check_operand(instr, 0, values, place));
  HEDDLE_TRY(check_row(instr, *x, frame, place));
  HEDDLE_ASSIGN(const ProgramValue* gain, check_operand(instr, 1, values, place));
  if (!gain->vector || frame.n % gain->width != 0)
    return fail(place, "gain of rms_norm has {} elements, wanted a weight vector whose length divides {}", gain->width, frame.n);
  HEDDLE_TRY(check_columns(instr, gain->width, frame, place));
  HEDDLE_TRY(check_eps(instr, place));
  return ProgramValue{DType::f32, frame.n};
}

Result<ProgramValue> rms_scale(const InstrT& instr, const Values& values, const ProgramFrame& frame, const Place& place) {
  HEDDLE_TRY(check_arity(instr, 1, 1, place));
  HEDDLE_ASSIGN(const ProgramValue* x, check_operand(instr, 0, values, place));
  HEDDLE_TRY(check_row(instr, *x, frame, place));
  HEDDLE_TRY(check_columns(instr, frame.n, frame, place));
  HEDDLE_TRY(check_eps(instr, place));
  return ProgramValue{};
}

Result<ProgramValue> quantize(const InstrT& instr, const Values& values, const ProgramFrame& frame, const Place& place) {
  HEDDLE_TRY(check_arity(instr, 1, 1, place));
  HEDDLE_ASSIGN(const ProgramValue* x, check_operand(instr, 0, values, place));
  HEDDLE_TRY(check_row(instr, *x, frame, place));
  const auto format = dtype_named(instr.text);
  if (!format || !is_activation_format(*format))
    return fail(place, "format of quantize is '{}', wanted an 8-bit activation format", instr.text);
  HEDDLE_TRY(check_columns(instr, info(*format).elements, frame, place));
  return ProgramValue{*format, frame.n};
}

Result<ProgramValue> rope(const InstrT& instr, const Values& values, const ProgramFrame& frame, const Place& place) {
  HEDDLE_TRY(check_arity(instr, 1, 2, place));
  HEDDLE_ASSIGN(const ProgramValue* x, check_operand(instr, 0, values, place));
  HEDDLE_TRY(check_row(instr, *x, frame, place));
  const std::int64_t head_dim = instr.i0, dims = instr.i1;
  if (head_dim <= 0 || frame.n % head_dim != 0) return fail(place, "head_dim of rope is {}, wanted a divisor of {}", head_dim, frame.n);
  HEDDLE_TRY(check_columns(instr, head_dim, frame, place));
  if (dims < 2 || dims > head_dim || dims % 2 != 0)
    return fail(place, "dims of rope is {}, wanted an even number from 2 to {}", dims, head_dim);
  if (!std::isfinite(instr.f0) || instr.f0 <= 0) return fail(place, "theta of rope is {}, wanted a finite number above 0", instr.f0);
  if (instr.text != "adjacent" && instr.text != "halves")
    return fail(place, "pairing of rope is '{}', wanted adjacent or halves", instr.text);
  if (instr.operands.size() == 2) {
    HEDDLE_ASSIGN(const ProgramValue* factors, check_operand(instr, 1, values, place));
    if (!factors->vector || factors->width != dims / 2)
      return fail(place, "factors of rope has {} elements, wanted a weight vector of {}", factors->width, dims / 2);
  }
  if (frame.spec.positions_arg < 0) return fail(place, "rope needs positions, positions_arg is {}", frame.spec.positions_arg);
  return ProgramValue{DType::f32, frame.n};
}

/// The ops beside those of scalar_ops.def.
struct RowOp {
  std::string_view name;
  Result<ProgramValue> (*check)(const InstrT&, const Values&, const ProgramFrame&, const Place&);
};
constexpr RowOp row_ops[] = {{"rms_norm", rms_norm}, {"rms_scale", rms_scale}, {"quantize", quantize}, {"rope", rope}};

Result<ProgramValue> check_instr(const InstrT& instr, const Values& values, const ProgramFrame& frame, const Place& place) {
  if (const auto op = scalar_op_named(instr.op)) return elementwise(instr, *op, values, frame, place);
  for (const RowOp& op : row_ops)
    if (op.name == instr.op) return op.check(instr, values, frame, place);
  return fail(place, "op is '{}', which is unknown", instr.op);
}

Result<void> check_cache_store(const StoreT& store, const ProgramValue& value, const ProgramFrame& frame, const Place& place) {
  const KernelSpecT& spec = frame.spec;
  HEDDLE_ASSIGN(const ArgT* arg, check_arg(spec, store.index, ArgRole::state, "index", place));
  const std::int64_t columns = arg->shape[1] * arg->shape[2];
  if (value.dtype != DType::f32 || value.width != columns || value.width != frame.n)
    return fail(place, "value {} is {}[rows, {}], the cache takes f32[rows, {}]", store.value, heddle::name(value.dtype), value.width,
                columns);
  if (spec.slots_arg < 0 || spec.positions_arg < 0)
    return fail(place, "a cache store needs slots and positions, slots_arg is {}, positions_arg is {}", spec.slots_arg, spec.positions_arg);
  return {};
}

Result<void> check_store(const StoreT& store, const Values& values, const ProgramFrame& frame, const Place& place) {
  if (store.value >= values.size()) return fail(place, "value is {}, the program has {}", store.value, values.size());
  const ProgramValue& value = values[store.value];
  if (store.kind > StoreKind::MAX) return fail(place, "kind is {}, wanted 0 to {}", int(store.kind), int(StoreKind::MAX));
  if (store.kind != StoreKind::buffer) {
    HEDDLE_TRY(check_cache_store(store, value, frame, place));
  } else {
    HEDDLE_ASSIGN(const ArgT* arg, check_arg(frame.spec, store.index, ArgRole::buffer, "index", place));
    if (arg->dtype != heddle::name(value.dtype) || arg->shape[1] != value.width || (value.width != frame.n && value.width != 1))
      return fail(place, "value {} is {}[rows, {}], args[{}] is {}[{}]", store.value, heddle::name(value.dtype), value.width, store.index,
                  arg->dtype, fmt::join(arg->shape, ", "));
    if (const int block = info(value.dtype).elements; frame.granule % block != 0)
      return fail(place, "value {} has blocks of {} columns, the granule has {}", store.value, block, frame.granule);
  }
  if (!frame.spec.args[store.index]->written) return fail(place, "args[{}] is stored to and not marked written", store.index);
  return {};
}

}  // namespace

Result<std::vector<ProgramValue>> check_program(const ProgramT& program, const ProgramFrame& frame, const Place& place) {
  Values values;
  HEDDLE_TRY(check_each(program.inputs, &place, "inputs", [&](const InputT& input, const Place& at) -> Result<void> {
    HEDDLE_ASSIGN(const ProgramValue value, check_input(input, frame, at));
    values.push_back(value);
    return {};
  }));
  HEDDLE_TRY(check_each(program.instrs, &place, "instrs", [&](const InstrT& instr, const Place& at) -> Result<void> {
    HEDDLE_ASSIGN(const ProgramValue value, check_instr(instr, values, frame, at));
    values.push_back(value);
    return {};
  }));
  HEDDLE_TRY(check_each(program.stores, &place, "stores",
                        [&](const StoreT& store, const Place& at) { return check_store(store, values, frame, at); }));
  return values;
}

}  // namespace heddle::plan
