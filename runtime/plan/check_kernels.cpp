#include <cmath>

#include "runtime/plan/check_parts.h"

/// Kernels: arguments, loop, programs, launch shape.
namespace heddle::plan {
namespace {

Result<void> check_argument(const Arg& arg, const KernelSpec& spec, const Place& place) {
  HEDDLE_TRY(check_shape(arg.shape, arg.dtype, place));
  if (arg.role != ArgRole::weight && arg.layout != Layout::rows) return fail(place, "layout is '{}', wanted 'rows'", arg.layout);
  // What a select takes rows from has more of them than the kernel; check_select says which argument has how many.
  const bool of_source = spec.gather_rows() && !arg.shape.empty() && arg.shape[0] == spec.gather_rows()->rows;
  const std::int64_t rows = of_source ? spec.gather_rows()->rows : spec.rows;
  const auto wants = [&](std::string_view wanted) {
    return fail(place, "{} is {}[{}], wanted {}", name(arg.role), arg.dtype, fmt::join(arg.shape, ", "), wanted);
  };
  switch (arg.role) {
    case ArgRole::weight:
      return {};  // every node's weight is compared with it, and those are checked
    case ArgRole::buffer:
      if (arg.dtype != DType::i32) HEDDLE_TRY(check_activation(arg.dtype, "dtype", place));  // i32: a row's experts
      if (arg.shape.size() != 2 || arg.shape[0] != rows) return wants(fmt::format("[{}, n]", rows));
      return {};
    case ArgRole::state:
      if (arg.shape.size() != 3 || arg.shape[0] != 2) return wants("[2, kv_heads, head_dim]");
      return {};
    case ArgRole::tokens:
    case ArgRole::slots:
    case ArgRole::positions:
    case ArgRole::last:
      if (arg.dtype != DType::i32 || arg.shape.size() != 1 || arg.shape[0] != rows) return wants(fmt::format("i32[{}]", rows));
      return {};
  }
  return {};
}

/// Every argument that says so is stored to; what is stored to says so (check_store, check_sample, check_select).
Result<void> check_written(const KernelSpec& spec, const Place& place) {
  std::vector<bool> stored(spec.args.size());
  const auto collect = [&](const Program& program) {
    for (const Store& store : program.stores) stored[store.index] = true;
  };
  if (spec.gemm()) collect(spec.gemm()->prologue);
  for (const Part& part : spec.parts) collect(part.epilogue);
  if (spec.top_experts()) stored[spec.top_experts()->experts] = stored[spec.top_experts()->gates] = true;
  if (spec.gather_rows())
    for (const auto& pair : spec.gather_rows()->pairs) stored[pair.to] = true;
  if (spec.sample()) stored[spec.sample()->tokens] = stored[spec.sample()->slots] = stored[spec.sample()->positions] = true;
  for (std::size_t i = 0; i < stored.size(); ++i)
    if (spec.args[i].written && !stored[i]) return fail(Place{&place, "args", std::int64_t(i)}, "is marked written and never stored to");
  return {};
}

Result<void> check_row_inputs(const KernelSpec& spec, const Place& place) {
  const auto check_one = [&](std::int32_t index, ArgRole role, std::string_view field) -> Result<void> {
    if (index < -1) return fail(place, "{} is {}, wanted -1 or an argument", field, index);
    if (index == -1) return {};
    auto arg = check_arg(spec, std::uint64_t(index), role, field, place);
    if (!arg.ok()) return arg.take_error();
    return {};
  };
  HEDDLE_TRY(check_one(spec.slots_arg, ArgRole::slots, "slots_arg"));
  return check_one(spec.positions_arg, ArgRole::positions, "positions_arg");
}

/// Loops that compute columns have parts, the others none.
Result<void> check_parts(const KernelSpec& spec, const Place& place) {
  if (spec.sample() || spec.top_experts() || spec.gather_rows()) {
    if (!spec.parts.empty()) return fail(place, "{} parts, a loop of kind {} has none", spec.parts.size(), name(spec.loop));
    return {};
  }
  if (spec.parts.empty()) return fail(place, "parts: there is none, at least one is needed");
  const bool several = spec.gemm() || spec.is_rowwise();
  if (!several && spec.parts.size() != 1)
    return fail(place, "{} parts, a loop of kind {} has one", spec.parts.size(), name(spec.loop));
  return {};
}

Result<void> check_attention(const KernelSpec& spec, const Place& outer) {
  const Place place{&outer, "attention"};
  const Attention& loop = *spec.attention();
  if (loop.heads <= 0 || loop.kv_heads <= 0 || loop.head_dim <= 0 || loop.heads % loop.kv_heads != 0 ||
      loop.heads > max_elements / loop.head_dim)
    return fail(place, "{} heads of {} on {} kv_heads", loop.heads, loop.head_dim, loop.kv_heads);
  const std::int64_t n = loop.heads * loop.head_dim;
  HEDDLE_ASSIGN(const Arg* q, check_arg(spec, loop.q, ArgRole::buffer, "q", place));
  if (q->dtype != DType::f32 || q->shape[1] != n)
    return fail(place, "q is {}[{}], wanted f32[{}, {}]", q->dtype, fmt::join(q->shape, ", "), spec.rows, n);
  HEDDLE_ASSIGN(const Arg* kv, check_arg(spec, loop.kv, ArgRole::state, "kv", place));
  if (kv->shape[1] != loop.kv_heads || kv->shape[2] != loop.head_dim)
    return fail(place, "kv is [{}], wanted [2, {}, {}]", fmt::join(kv->shape, ", "), loop.kv_heads, loop.head_dim);
  if (!std::isfinite(loop.scale)) return fail(place, "scale is {}, wanted a finite number", loop.scale);
  if (loop.window < 0) return fail(place, "window is {}, wanted at least 0", loop.window);
  if (!std::isfinite(loop.softcap) || loop.softcap < 0)
    return fail(place, "softcap is {}, wanted a finite number of at least 0", loop.softcap);
  if (spec.slots_arg < 0 || spec.positions_arg < 0)
    return fail(place, "needs slots and positions, slots_arg is {}, positions_arg is {}", spec.slots_arg, spec.positions_arg);
  const Part& part = spec.parts[0];
  if (part.n != n || part.granule != loop.head_dim)
    return fail(place, "the part has {} columns in granules of {}, wanted {} in granules of {}", part.n, part.granule, n, loop.head_dim);
  return {};
}

Result<void> check_embed(const KernelSpec& spec, const Plan& plan, const Place& outer) {
  const Place place{&outer, "embed"};
  HEDDLE_ASSIGN(const Arg* table, check_arg(spec, spec.embed()->table, ArgRole::weight, "table", place));
  if (table->shape.size() != 2 || table->shape[0] < std::int64_t(plan.model.vocabulary) || table->shape[1] != spec.parts[0].n)
    return fail(place, "table is [{}], wanted [{}, {}]", fmt::join(table->shape, ", "), plan.model.vocabulary, spec.parts[0].n);
  HEDDLE_ASSIGN([[maybe_unused]] const Arg* tokens, check_arg(spec, spec.embed()->tokens, ArgRole::tokens, "tokens", place));
  return {};
}

Result<void> check_sample(const KernelSpec& spec, const Plan& plan, const Place& outer) {
  const Place place{&outer, "sample"};
  const Sample& loop = *spec.sample();
  if (plan.backend == BackendKind::cpu) return fail(place, "the target is cpu, which draws no tokens in kernels");
  HEDDLE_ASSIGN(const Arg* logits, check_arg(spec, loop.logits, ArgRole::buffer, "logits", place));
  if (logits->dtype != DType::f32 || logits->shape[1] != std::int64_t(plan.model.vocabulary))
    return fail(place, "logits is {}[{}], wanted f32[{}, {}]", logits->dtype, fmt::join(logits->shape, ", "), spec.rows,
                plan.model.vocabulary);
  const auto check_drawn = [&](std::uint32_t index, ArgRole role, std::string_view field) -> Result<void> {
    HEDDLE_ASSIGN(const Arg* arg, check_arg(spec, index, role, field, place));
    if (!arg->written) return fail(place, "{} is argument {}, which is not marked written", field, index);
    return {};
  };
  HEDDLE_TRY(check_drawn(loop.tokens, ArgRole::tokens, "tokens"));
  HEDDLE_TRY(check_drawn(loop.slots, ArgRole::slots, "slots"));
  HEDDLE_TRY(check_drawn(loop.positions, ArgRole::positions, "positions"));
  if (loop.max_top_k < -1) return fail(place, "max_top_k is {}, wanted at least -1", loop.max_top_k);
  return {};
}

Result<void> check_top_experts(const KernelSpec& spec, const Place& outer) {
  const Place place{&outer, "route"};
  HEDDLE_ASSIGN(const Arg* logits, check_arg(spec, spec.top_experts()->logits, ArgRole::buffer, "logits", place));
  HEDDLE_ASSIGN(const Arg* experts, check_arg(spec, spec.top_experts()->experts, ArgRole::buffer, "experts", place));
  HEDDLE_ASSIGN(const Arg* gates, check_arg(spec, spec.top_experts()->gates, ArgRole::buffer, "gates", place));
  if (logits->dtype != DType::f32) return fail(place, "logits is {}, wanted f32", logits->dtype);
  if (experts->dtype != DType::i32 || experts->shape[1] > logits->shape[1])
    return fail(place, "experts is {}[{}], wanted i32[{}, 1 to {}]", experts->dtype, fmt::join(experts->shape, ", "), spec.rows,
                logits->shape[1]);
  if (gates->dtype != DType::f32 || gates->shape != experts->shape)
    return fail(place, "gates is {}[{}], wanted f32[{}]", gates->dtype, fmt::join(gates->shape, ", "), fmt::join(experts->shape, ", "));
  for (const Arg* arg : {experts, gates})
    if (!arg->written) return fail(place, "{} is not marked written", arg == experts ? "experts" : "gates");
  return {};
}

Result<void> check_gather_rows(const KernelSpec& spec, const Place& outer) {
  const Place place{&outer, "select"};
  const GatherRows& loop = *spec.gather_rows();
  if (loop.rows < spec.rows || loop.rows > max_rows) return fail(place, "rows is {}, wanted {} to {}", loop.rows, spec.rows, max_rows);
  HEDDLE_ASSIGN(const Arg* index, check_arg(spec, loop.index, ArgRole::last, "index", place));
  if (index->shape[0] != spec.rows) return fail(place, "index is i32[{}], wanted i32[{}]", index->shape[0], spec.rows);
  if (loop.pairs.empty()) return fail(place, "pairs: there is none, at least one is needed");
  return check_each(loop.pairs, &place, "pairs", [&](const GatherRows::Pair& pair, const Place& at) -> Result<void> {
    for (const auto& [field, arg] : {std::pair("from", pair.from), std::pair("to", pair.to)})
      if (arg >= spec.args.size()) return fail(at, "{} is argument {}, the kernel has {}", field, arg, spec.args.size());
    const Arg &from = spec.args[pair.from], &to = spec.args[pair.to];
    if (from.role != ArgRole::buffer && from.role != ArgRole::slots && from.role != ArgRole::positions)
      return fail(at, "from is argument {}, a {}, wanted a buffer, slots or positions", pair.from, name(from.role));
    std::vector<std::int64_t> wanted = from.shape;
    wanted[0] = spec.rows;
    if (from.shape[0] != loop.rows) return fail(at, "from has {} rows, wanted {}", from.shape[0], loop.rows);
    if (to.role != from.role || to.dtype != from.dtype || to.shape != wanted)
      return fail(at, "to is a {} {}[{}], wanted a {} {}[{}]", name(to.role), to.dtype, fmt::join(to.shape, ", "), name(from.role), from.dtype,
                  fmt::join(wanted, ", "));
    if (!to.written) return fail(at, "to is argument {}, which is not marked written", pair.to);
    return {};
  });
}

/// Who is chosen for every row, and by how much each counts.
Result<void> check_experts(const KernelSpec& spec, const Place& place) {
  const Gemm& loop = *spec.gemm();
  if (loop.experts < 0) {
    if (loop.gates >= 0 || loop.chosen != 1) return fail(place, "gates is {}, chosen is {}, there are no experts", loop.gates, loop.chosen);
    return {};
  }
  HEDDLE_ASSIGN(const Arg* experts, check_arg(spec, std::uint64_t(loop.experts), ArgRole::buffer, "experts", place));
  if (experts->dtype != DType::i32 || experts->shape[1] != loop.chosen)
    return fail(place, "experts is {}[{}], wanted i32[{}, {}]", experts->dtype, fmt::join(experts->shape, ", "), spec.rows, loop.chosen);
  if (loop.gates < 0) return {};
  HEDDLE_ASSIGN(const Arg* gates, check_arg(spec, std::uint64_t(loop.gates), ArgRole::buffer, "gates", place));
  if (gates->dtype != DType::f32 || gates->shape != experts->shape)
    return fail(place, "gates is {}[{}], wanted f32[{}]", gates->dtype, fmt::join(gates->shape, ", "), fmt::join(experts->shape, ", "));
  return {};
}

Result<std::vector<ProgramValue>> check_gemm(const KernelSpec& spec, const Place& outer) {
  const Place place{&outer, "gemm"};
  const Gemm& loop = *spec.gemm();
  if (loop.k <= 0 || loop.k > max_elements / spec.rows) return fail(place, "k is {}, wanted 1 to {}", loop.k, max_elements / spec.rows);
  HEDDLE_TRY(check_activation(loop.activations, "activations", place));
  const int block = info(loop.activations).elements;
  if (loop.k % block != 0) return fail(place, "k is {}, {} needs a multiple of {}", loop.k, loop.activations, block);
  HEDDLE_TRY(check_experts(spec, place));
  if (loop.chosen < 1 || loop.chosen > max_elements / (spec.rows * loop.k))
    return fail(place, "chosen is {}, wanted at least 1", loop.chosen);
  const std::int64_t columns = loop.gates >= 0 ? loop.k * loop.chosen : loop.k;
  const ProgramFrame frame{spec, columns, columns};
  HEDDLE_ASSIGN(auto values, check_program(loop.prologue, frame, Place{&outer, "prologue"}));
  if (loop.activation >= values.size())
    return fail(place, "activation is value {} of the prologue, it has {}", loop.activation, values.size());
  const ProgramValue& x = values[loop.activation];
  if (x.vector || x.width != columns || x.dtype != loop.activations)
    return fail(place, "activation is {}[rows, {}], wanted {}[rows, {}]", x.dtype, x.width, loop.activations, columns);
  return values;
}

Result<void> check_part(const Part& part, const KernelSpec& spec, const std::vector<ProgramValue>* prologue, const Place& place) {
  if (part.n <= 0 || part.n > max_elements / spec.rows) return fail(place, "n is {}, wanted 1 to {}", part.n, max_elements / spec.rows);
  if (part.granule <= 0 || part.n % part.granule != 0) return fail(place, "granule is {}, wanted a divisor of {}", part.granule, part.n);
  if (!spec.gemm() && !part.segments.empty())
    return fail(place, "{} segments, a loop of kind {} has none", part.segments.size(), name(spec.loop));
  if (spec.gemm() && part.segments.empty()) return fail(place, "segments: there is none, at least one is needed");
  HEDDLE_TRY(check_each(part.segments, &place, "segments", [&](const Segment& segment, const Place& at) -> Result<void> {
    HEDDLE_ASSIGN(const Arg* weight, check_arg(spec, segment.weight, ArgRole::weight, "weight", at));
    const Gemm& loop = *spec.gemm();
    if (loop.experts >= 0) {
      const std::int64_t n = loop.gates >= 0 ? part.n : part.n / loop.chosen;
      if (n % part.granule != 0) return fail(at, "an expert has {} columns, the granule has {}", n, part.granule);
      if (weight->shape.size() != 3 || weight->shape[1] != n || weight->shape[2] != loop.k || (loop.gates < 0 && n * loop.chosen != part.n))
        return fail(at, "weight is [{}], wanted [experts, {}, {}] for {} columns", fmt::join(weight->shape, ", "), n, loop.k, part.n);
      return {};
    }
    if (weight->shape.size() != 2 || weight->shape[0] != part.n || weight->shape[1] != loop.k)
      return fail(at, "weight is [{}], wanted [{}, {}]", fmt::join(weight->shape, ", "), part.n, loop.k);
    return {};
  }));
  if (part.epilogue.stores.empty()) return fail(place, "the epilogue stores nothing");
  const std::size_t accumulators = spec.gemm() ? part.segments.size() : spec.is_rowwise() ? 0 : 1;
  const ProgramFrame frame{spec, part.n, part.granule, accumulators, prologue};
  auto values = check_program(part.epilogue, frame, Place{&place, "epilogue"});
  if (!values.ok()) return values.take_error();
  return {};
}

/// Limits of CUDA's launches that hold for every architecture.
Result<void> check_launch(const CudaCode& cuda, const Place& place) {
  if (cuda.entry.empty()) return fail(place, "entry is empty");
  if (cuda.ptx.empty() && cuda.cubin.empty()) return fail(place, "neither ptx nor cubin is there");
  const auto check_dims = [&](std::string_view field, const std::vector<std::uint32_t>& dims,
                              const std::uint32_t(&limits)[3]) -> Result<void> {
    bool good = dims.size() == 3;
    for (std::size_t i = 0; good && i < 3; ++i) good = dims[i] >= 1 && dims[i] <= limits[i];
    if (good) return {};
    return fail(place, "{} is [{}], wanted three numbers from 1 to [{}]", field, fmt::join(dims, ", "), fmt::join(limits, ", "));
  };
  HEDDLE_TRY(check_dims("grid", cuda.grid, {2147483647u, 65535u, 65535u}));
  HEDDLE_TRY(check_dims("block", cuda.block, {1024u, 1024u, 64u}));
  if (const std::uint32_t threads = cuda.block[0] * cuda.block[1] * cuda.block[2]; threads > 1024)
    return fail(place, "block has {} threads, at most 1024 are possible", threads);
  constexpr std::uint32_t most_shared = 227 * 1024;
  if (cuda.dynamic_shared_bytes > most_shared)
    return fail(place, "dynamic_shared_bytes is {}, at most {} are possible", cuda.dynamic_shared_bytes, most_shared);
  constexpr std::uint32_t most_per_sm = 1 << 16;  // times any number of multiprocessors this is still a grid
  if (cuda.grid_per_sm > most_per_sm) return fail(place, "grid_per_sm is {}, at most {} are possible", cuda.grid_per_sm, most_per_sm);
  constexpr std::uint64_t most_scratch = std::uint64_t(1) << 32;
  if (cuda.scratch_bytes > most_scratch)
    return fail(place, "scratch_bytes is {}, at most {} are possible", cuda.scratch_bytes, most_scratch);
  return {};
}

}  // namespace

Result<const Arg*> check_arg(const KernelSpec& spec, std::uint64_t index, ArgRole role, std::string_view field, const Place& place) {
  if (index >= spec.args.size()) return fail(place, "{} is argument {}, the kernel has {}", field, index, spec.args.size());
  const Arg& arg = spec.args[index];
  if (arg.role != role) return fail(place, "{} is argument {}, a {}, wanted a {}", field, index, name(arg.role), name(role));
  return &arg;
}

Result<void> check_kernel(const Kernel& kernel, const Plan& plan, const Place& outer) {
  const Place place{&outer, "spec"};
  const KernelSpec& spec = kernel.spec;
  if (spec.rows < 1 || spec.rows > max_rows) return fail(place, "rows is {}, wanted 1 to {}", spec.rows, max_rows);
  HEDDLE_TRY(check_each(spec.args, &place, "args", [&](const Arg& arg, const Place& at) { return check_argument(arg, spec, at); }));
  HEDDLE_TRY(check_row_inputs(spec, place));
  HEDDLE_TRY(check_parts(spec, place));
  std::vector<ProgramValue> prologue;
  if (spec.gemm()) {
    HEDDLE_ASSIGN(prologue, check_gemm(spec, place));
  }
  const auto* before = spec.gemm() ? &prologue : nullptr;
  HEDDLE_TRY(
      check_each(spec.parts, &place, "parts", [&](const Part& part, const Place& at) { return check_part(part, spec, before, at); }));
  if (spec.attention()) HEDDLE_TRY(check_attention(spec, place));
  if (spec.embed()) HEDDLE_TRY(check_embed(spec, plan, place));
  if (spec.sample()) HEDDLE_TRY(check_sample(spec, plan, place));
  if (spec.top_experts()) HEDDLE_TRY(check_top_experts(spec, place));
  if (spec.gather_rows()) HEDDLE_TRY(check_gather_rows(spec, place));
  HEDDLE_TRY(check_written(spec, place));
  if ((plan.backend == BackendKind::cuda) != kernel.cuda.has_value())
    return fail(outer, "cuda is {}, the target is {}", kernel.cuda ? "there" : "missing", plan.target);
  if (kernel.cuda) HEDDLE_TRY(check_launch(*kernel.cuda, Place{&outer, "cuda"}));
  return {};
}

}  // namespace heddle::plan
