#include "runtime/cpu/rows/program.h"

#include <algorithm>
#include <cstring>

#include "ir/base/check.h"

namespace heddle::runtime::cpu {
namespace {

std::int64_t bytes_before(DType dtype, std::int64_t column) { return column / info(dtype).elements * info(dtype).bytes; }

void splat(float value, std::byte* to) { std::fill_n(reinterpret_cast<float*>(to), scalar_lanes, value); }

}  // namespace

Program::Program(const plan::Program& spec, std::int64_t n, std::int64_t columns, const Binding& binding, std::span<const unsigned> kept,
                 std::span<const unsigned> row_scalars)
    : capacity_(binding.capacity), has_stores_(!spec.stores.empty()) {
  const auto row_input = [&](int arg) {
    return arg < 0 ? nullptr : reinterpret_cast<const std::int32_t*>(binding.args[std::size_t(arg)].data);
  };
  slots_ = row_input(binding.spec.slots_arg);
  positions_ = row_input(binding.spec.positions_arg);
  for (const auto& input : spec.inputs) add_input(input, n, binding, row_scalars);
  for (const auto& instr : spec.instrs) add_step(instr, n, binding);
  for (const auto& store : spec.stores) add_store(store, n, binding);
  place_values(columns, kept);
}

void Program::add_input(const plan::Input& input, std::int64_t n, const Binding& binding, std::span<const unsigned> row_scalars) {
  Value value;
  value.index = input.index;
  const auto constant = [&](float number) {
    value.home = Home::constant;
    value.scalar = true;
    constants_.push_back(std::make_unique<float[]>(std::size_t(scalar_lanes)));
    value.base = reinterpret_cast<std::byte*>(constants_.back().get());
    splat(number, value.base);
  };
  switch (input.kind) {
    case plan::InputKind::loop:
      value.home = Home::loop;
      break;
    case plan::InputKind::rows: {
      const Argument& arg = binding.args[input.index];
      value.home = Home::rows;
      value.dtype = arg.dtype;
      value.scalar = arg.shape[1] != n;
      value.base = arg.data;
      value.row_bytes = bytes_of(arg.dtype, arg.shape[1]);
      break;
    }
    case plan::InputKind::vector: {
      const Argument& arg = binding.args[input.index];
      if (arg.shape[0] == 1 && n != 1) {
        constant(*reinterpret_cast<const float*>(arg.data));
      } else {
        value.home = Home::vector;
        value.base = arg.data;
        value.whole = arg.shape[0] != n;
      }
      value.row_bytes = arg.shape[0] * std::int64_t(sizeof(float));
      break;
    }
    case plan::InputKind::row_scalar: {
      const auto found = std::ranges::find(row_scalars, input.index);
      HEDDLE_CHECK(found != row_scalars.end(), "row scalar {}", input.index);
      value.home = Home::row_scalar;
      value.scalar = true;
      value.index = unsigned(found - row_scalars.begin());
      break;
    }
    case plan::InputKind::constant:
      constant(float(input.value));
      break;
  }
  values_.push_back(value);
}

/// Fills a step by its op. One function an op: a new one does not compile until it is here.
struct Program::Prepare {
  Step& step;
  Value& value;  // the result
  std::int64_t n;
  std::span<const float> vector;  // the op's weight vector, empty if it has none
  RopeTables& ropes;

  void operator()(const Elementwise& op) const {
    step.kind = Step::scalar_op;
    step.op = op.op;
    step.scalar = value.scalar = std::all_of(step.scalar_operand, step.scalar_operand + step.operand_count, [](bool scalar) { return scalar; });
  }
  void operator()(const RmsNorm& op) const {
    step.kind = Step::rms_norm;
    step.eps = float(op.eps);
    step.period = std::int64_t(vector.size());
  }
  void operator()(const RmsScale& op) const {
    step.kind = Step::rms_scale;
    step.eps = float(op.eps);
    step.period = n;
    step.scalar = value.scalar = true;
  }
  void operator()(const Quantize& op) const {
    step.kind = Step::quantize;
    step.format = value.dtype = op.format;
  }
  void operator()(const Rope& op) const {
    step.kind = Step::rope;
    step.period = op.head_dim;
    step.adjacent = op.pairing == Pairing::adjacent;
    step.table = ropes.get(op.theta, op.dims, vector);
  }
};

void Program::add_step(const plan::Instr& instr, std::int64_t n, const Binding& binding) {
  Step step;
  step.result = unsigned(values_.size());
  step.operand_count = unsigned(instr.operands.size());
  for (std::size_t i = 0; i < instr.operands.size(); ++i) {
    step.operands[i] = instr.operands[i];
    step.scalar_operand[i] = values_[instr.operands[i]].scalar;
  }
  std::span<const float> vector;
  if (!instr.as<Elementwise>() && instr.operands.size() == 2) {
    const Value& last = values_[instr.operands[1]];
    vector = {reinterpret_cast<const float*>(last.base), std::size_t(last.row_bytes) / sizeof(float)};
  }
  Value value;
  std::visit(Prepare{step, value, n, vector, *binding.ropes}, instr.op);
  values_.push_back(value);
  steps_.push_back(step);
}

void Program::add_store(const plan::Store& store, std::int64_t n, const Binding& binding) {
  const Argument& arg = binding.args[store.index];
  Store out{store.value, store.kind, arg.dtype, arg.data, 0, 0, 0};
  if (store.kind == plan::StoreKind::buffer) {
    out.row_bytes = bytes_of(arg.dtype, arg.shape[1]);
    Value& value = values_[store.value];
    if (value.home == Home::scratch && !value.scalar) {  // computed where it belongs
      value.home = Home::rows;
      value.base = out.base;
      value.row_bytes = out.row_bytes;
      return;
    }
    HEDDLE_CHECK(value.scalar || arg.shape[1] == n, "store of {} columns, the program has {}", arg.shape[1], n);
  } else {
    out.kv_heads = arg.shape[1];
    out.head_dim = arg.shape[2];
    if (store.kind == plan::StoreKind::cache_value) out.base += binding.plane_bytes(arg);
  }
  stores_.push_back(out);
}

/// Scratch: the addresses of the values, then slots of `columns` floats that values take and leave in turn, then the rest.
void Program::place_values(std::int64_t columns, std::span<const unsigned> kept) {
  constexpr std::size_t always = ~std::size_t(0);
  std::vector<std::size_t> last_use(values_.size(), 0);
  for (std::size_t i = 0; i < steps_.size(); ++i)
    for (const unsigned operand : steps_[i].used()) last_use[operand] = i;
  for (const Store& store : stores_) last_use[store.value] = always;
  for (const unsigned number : kept) last_use[number] = always;

  std::size_t end = round_up(values_.size() * sizeof(std::byte*));
  const auto take = [&](std::size_t bytes) {
    const std::size_t offset = end;
    end += round_up(bytes);
    return offset;
  };
  for (Value& value : values_)
    if (value.home == Home::row_scalar || (value.home == Home::rows && value.scalar)) value.offset = take(scalar_lanes * sizeof(float));
  std::vector<std::size_t> free;
  for (std::size_t i = 0; i < steps_.size(); ++i) {
    Value& result = values_[steps_[i].result];
    // Steps read an element before they write it, so a result may take the slot of an operand.
    for (const unsigned operand : steps_[i].used()) {
      const Value& value = values_[operand];
      const bool in_slot = value.home == Home::scratch && !value.scalar && value.dtype == DType::f32;
      if (!in_slot || last_use[operand] != i) continue;
      if (std::ranges::find(free, value.offset) == free.end()) free.push_back(value.offset);
    }
    if (result.home != Home::scratch) continue;
    if (result.scalar) {
      result.offset = take(scalar_lanes * sizeof(float));
    } else if (result.dtype != DType::f32) {
      result.offset = take(std::size_t(bytes_before(result.dtype, columns)));
    } else if (!free.empty()) {
      result.offset = free.back();
      free.pop_back();
    } else {
      result.offset = take(std::size_t(columns) * sizeof(float));
    }
  }
  scratch_bytes_ = end;
}

void Program::run(const Slice& slice, std::byte* scratch) const {
  auto* const at = reinterpret_cast<std::byte**>(scratch);
  for (std::size_t i = 0; i < values_.size(); ++i) {
    const Value& value = values_[i];
    switch (value.home) {
      case Home::loop:
        at[i] = reinterpret_cast<std::byte*>(const_cast<float*>(slice.loops[value.index]));
        break;
      case Home::rows: {
        std::byte* const row = value.base + slice.row * value.row_bytes;
        at[i] = value.scalar ? scratch + value.offset : row + bytes_before(value.dtype, slice.column);
        if (value.scalar) splat(*reinterpret_cast<const float*>(row), at[i]);
        break;
      }
      case Home::vector:
        at[i] = value.whole ? value.base : value.base + slice.column * std::int64_t(sizeof(float));
        break;
      case Home::row_scalar:
        at[i] = scratch + value.offset;
        splat(slice.row_scalars[value.index], at[i]);
        break;
      case Home::constant:
        at[i] = value.base;
        break;
      case Home::scratch:
        at[i] = scratch + value.offset;
        break;
    }
  }
  run_steps(steps_, at, slice.columns, positions_ ? positions_[slice.row] : 0);
  for (const Store& store : stores_) {
    const std::byte* const from = at[store.value];
    if (store.kind != plan::StoreKind::buffer) {
      store_to_cache(store, slice, reinterpret_cast<const float*>(from));
      continue;
    }
    std::byte* const row = store.base + slice.row * store.row_bytes;
    if (!values_[store.value].scalar) {
      std::memcpy(row + bytes_before(store.dtype, slice.column), from, std::size_t(bytes_before(store.dtype, slice.columns)));
    } else if (slice.column == 0) {  // every slice of the row has it; one writes it
      std::memcpy(row, from, sizeof(float));
    }
  }
}

/// Columns are [kv_heads, head_dim]; a plane is [slot, kv_heads, capacity, head_dim].
void Program::store_to_cache(const Store& store, const Slice& slice, const float* values) const {
  const std::int64_t slot = slots_[slice.row], position = positions_[slice.row];
  if (slot < 0) return;
  const std::int64_t element = info(store.dtype).bytes, end = slice.column + slice.columns;
  for (std::int64_t column = slice.column; column < end;) {
    const std::int64_t head = column / store.head_dim, first = column % store.head_dim;
    const std::int64_t count = std::min(store.head_dim - first, end - column);
    std::byte* const to = store.base + (((slot * store.kv_heads + head) * capacity_ + position) * store.head_dim + first) * element;
    if (store.dtype == DType::f32) std::memcpy(to, values, std::size_t(count * element));
    else store_f16(values, count, to);
    values += count;
    column += count;
  }
}

}  // namespace heddle::runtime::cpu
