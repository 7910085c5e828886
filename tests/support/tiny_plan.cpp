#include "tests/support/tiny_plan.h"

#include "ir/base/dtype.h"

namespace heddle::testing {
namespace {

using namespace heddle::plan;

constexpr std::int64_t vocabulary = 48, width = 32, heads = 2, kv_heads = 1, head_dim = 16, kv_width = kv_heads * head_dim;

// ---- Programs

void add_input(Program& program, InputKind kind, std::uint32_t index, double value = 0) {
  auto& input = program.inputs.emplace_back();
  input.kind = kind, input.index = index, input.value = value;
}

void add_instr(Program& program, RowOp op, std::vector<std::uint32_t> operands) {
  program.instrs.push_back({std::move(op), std::move(operands)});
}

constexpr Elementwise add{ScalarOp::add}, mul{ScalarOp::mul};
constexpr double eps = 1e-5;

void add_rope(Program& program, std::uint32_t x) {
  add_instr(program, Rope{.head_dim = head_dim, .dims = head_dim, .theta = 10000, .pairing = Pairing::adjacent}, {x});
}

void add_store(Program& program, std::uint32_t value, StoreKind kind, std::uint32_t index) {
  auto& store = program.stores.emplace_back();
  store.value = value, store.kind = kind, store.index = index;
}

// ---- Kernels

struct Spec {
  KernelSpec spec;

  Spec(Loop loop, std::string name, std::int64_t rows) { spec.loop = std::move(loop), spec.name = std::move(name), spec.rows = rows; }
  std::uint32_t arg(ArgRole role, DType dtype, std::vector<std::int64_t> shape, bool written = false) {
    auto& arg = spec.args.emplace_back();
    arg.role = role, arg.dtype = dtype, arg.shape = std::move(shape), arg.layout = Layout::rows, arg.written = written;
    arg.name = std::string(name(role)) + std::to_string(spec.args.size() - 1);
    return std::uint32_t(spec.args.size() - 1);
  }
  std::uint32_t buffer(std::int64_t n, bool written = false) { return arg(ArgRole::buffer, DType::f32, {spec.rows, n}, written); }
  std::uint32_t per_row(ArgRole role) { return arg(role, DType::i32, {spec.rows}); }
  std::uint32_t state(bool written) { return arg(ArgRole::state, DType::f32, {2, kv_heads, head_dim}, written); }
  void slots_and_positions() {
    spec.slots_arg = std::int32_t(per_row(ArgRole::slots));
    spec.positions_arg = std::int32_t(per_row(ArgRole::positions));
  }
  Program& part(std::int64_t n, std::int64_t granule) {
    auto& part = spec.parts.emplace_back();
    part.n = n, part.granule = granule;
    return part.epilogue;
  }
  Program& product(std::int64_t n, std::int64_t granule, std::uint32_t weight) {
    Program& epilogue = part(n, granule);
    spec.parts.back().segments.push_back({weight});
    add_input(epilogue, InputKind::loop, 0);
    return epilogue;
  }
  Program& gemm(DType activations, std::uint32_t activation) {
    Gemm& loop = spec.loop.emplace<Gemm>();
    loop.k = width, loop.activations = activations, loop.activation = activation;
    return loop.prologue;
  }
  Kernel kernel() { return {.spec = std::move(spec), .min_bytes = 1, .cuda = {}}; }
};

Kernel embed(std::int64_t rows) {
  Spec s(Embed{}, "embed", rows);
  s.spec.embed()->table = s.arg(ArgRole::weight, DType::q8_0, {vocabulary, width});
  s.spec.embed()->tokens = s.per_row(ArgRole::tokens);
  const auto out = s.buffer(width, true);
  Program& program = s.part(width, 1);
  add_input(program, InputKind::loop, 0);
  add_store(program, 0, StoreKind::buffer, out);
  return s.kernel();
}

Kernel project(std::int64_t rows) {
  Spec s(Gemm{}, "project", rows);
  const auto x = s.buffer(width), gain = s.arg(ArgRole::weight, DType::f32, {width});
  const auto wq = s.arg(ArgRole::weight, DType::q8_0, {width, width}), wk = s.arg(ArgRole::weight, DType::q8_0, {kv_width, width});
  const auto wv = s.arg(ArgRole::weight, DType::q8_0, {kv_width, width});
  const auto q = s.buffer(width, true), kv = s.state(true);
  s.slots_and_positions();
  Program& before = s.gemm(DType::q8_1, 3);
  add_input(before, InputKind::rows, x);
  add_input(before, InputKind::vector, gain);
  add_instr(before, RmsNorm{.eps = eps}, {0, 1});
  add_instr(before, Quantize{.format = DType::q8_1}, {2});
  Program& query = s.product(width, head_dim, wq);
  add_rope(query, 0);
  add_store(query, 1, StoreKind::buffer, q);
  Program& key = s.product(kv_width, head_dim, wk);
  add_rope(key, 0);
  add_store(key, 1, StoreKind::cache_key, kv);
  add_store(s.product(kv_width, 1, wv), 0, StoreKind::cache_value, kv);
  return s.kernel();
}

/// The last row of x and of the queries, its slot and its position.
Kernel select(std::int64_t rows) {
  Spec s(GatherRows{}, "select", 1);
  s.spec.gather_rows()->rows = rows, s.spec.gather_rows()->index = s.per_row(ArgRole::last);
  for (const ArgRole role : {ArgRole::buffer, ArgRole::buffer, ArgRole::slots, ArgRole::positions}) {
    const bool is_buffer = role == ArgRole::buffer;
    auto& pair = s.spec.gather_rows()->pairs.emplace_back();
    pair.from = is_buffer ? s.arg(role, DType::f32, {rows, width}) : s.arg(role, DType::i32, {rows});
    pair.to = is_buffer ? s.buffer(width, true) : s.arg(role, DType::i32, {1}, true);
  }
  return s.kernel();
}

Kernel attend(std::int64_t rows, bool selected = false) {
  Spec s(Attention{}, "attend", rows);
  Attention& loop = *s.spec.attention();
  loop.selected = selected;
  loop.q = s.buffer(width), loop.kv = s.state(false);
  loop.heads = heads, loop.kv_heads = kv_heads, loop.head_dim = head_dim, loop.scale = 0.25;
  s.slots_and_positions();
  const auto out = s.buffer(width, true);
  Program& program = s.part(width, head_dim);
  add_input(program, InputKind::loop, 0);
  add_store(program, 0, StoreKind::buffer, out);
  return s.kernel();
}

Kernel output(std::int64_t rows) {
  Spec s(Gemm{}, "output", rows);
  const auto x = s.buffer(width), w = s.arg(ArgRole::weight, DType::f16, {width, width}), residual = s.buffer(width),
             out = s.buffer(width, true);
  add_input(s.gemm(DType::f32, 0), InputKind::rows, x);
  Program& program = s.product(width, 1, w);
  add_input(program, InputKind::rows, residual);
  add_instr(program, add, {0, 1});
  add_store(program, 2, StoreKind::buffer, out);
  return s.kernel();
}

Kernel norm(std::int64_t rows) {
  Spec s(Rowwise{}, "norm", rows);
  const auto x = s.buffer(width), gain = s.arg(ArgRole::weight, DType::f32, {width}), out = s.buffer(width, true);
  Program& program = s.part(width, width);
  add_input(program, InputKind::rows, x);
  add_input(program, InputKind::vector, gain);
  add_input(program, InputKind::constant, 0, 1.5);
  add_instr(program, RmsScale{.eps = eps}, {0});
  add_instr(program, mul, {0, 3});
  add_instr(program, mul, {4, 1});
  add_instr(program, mul, {5, 2});
  add_store(program, 6, StoreKind::buffer, out);
  return s.kernel();
}

Kernel head(std::int64_t rows) {
  Spec s(Gemm{}, "head", rows);
  const auto x = s.buffer(width), w = s.arg(ArgRole::weight, DType::f32, {vocabulary, width}), out = s.buffer(vocabulary, true);
  Program& before = s.gemm(DType::f32, 0);
  add_input(before, InputKind::rows, x);
  add_instr(before, RmsScale{.eps = eps}, {0});
  Program& program = s.product(vocabulary, 1, w);
  add_input(program, InputKind::row_scalar, 1);
  add_instr(program, mul, {0, 1});
  add_store(program, 2, StoreKind::buffer, out);
  return s.kernel();
}

// ---- Entry points

Ref ref(Where where, std::uint32_t index) {
  Ref out;
  out.where = where, out.index = index;
  return out;
}

/// Buffer number `i` of the arena: each [rows, width].
Ref arena(std::int64_t rows, std::int64_t i) {
  Ref out;
  out.bytes = std::uint64_t(rows * width) * sizeof(float);
  out.offset = out.bytes * std::uint64_t(i);
  return out;
}

enum WeightIndex : std::uint32_t { table, attn_gain, q, k, v, o, out_gain, head_weight };
enum Buffer : std::int64_t { x, query, attn, x1, normed, buffers };

void add_node(EntryPoint& entry, std::uint32_t kernel, std::vector<std::uint32_t> after, const std::string& value,
              std::vector<Ref> args) {
  auto& node = entry.nodes.emplace_back();
  node.kernel = kernel, node.after = std::move(after), node.value_names = {value};
  node.args = std::move(args);
}

Port port(const std::string& name, DType dtype, std::vector<std::int64_t> shape) {
  Port out;
  out.name = name, out.dtype = dtype, out.shape = std::move(shape);
  return out;
}

void add_entry(Plan& plan, EntryKind kind, std::int64_t rows) {
  auto& entry = plan.entries.emplace_back();
  entry.name = fmt::format("{}_{}", kind, rows), entry.kind = kind, entry.rows = std::uint32_t(rows);
  for (const char* name : {"tokens", "slot", "pos"}) entry.inputs.push_back(port(name, DType::i32, {rows}));
  entry.arena_bytes = std::uint64_t(buffers * rows * width) * sizeof(float);
  const auto first = std::uint32_t(plan.kernels.size());
  const Ref tokens = ref(Where::input, 0), slots = ref(Where::input, 1), positions = ref(Where::input, 2), kv = ref(Where::state, 0);
  const auto weight = [](WeightIndex index) { return ref(Where::weight, index); };
  plan.kernels.push_back(embed(rows));
  add_node(entry, first, {}, "x", {weight(table), tokens, arena(rows, x)});
  plan.kernels.push_back(project(rows));
  add_node(entry, first + 1, {0}, "l0.q_rope",
           {arena(rows, x), weight(attn_gain), weight(q), weight(k), weight(v), arena(rows, query), kv, slots, positions});
  if (kind == EntryKind::prefill) return;
  plan.kernels.push_back(attend(rows));
  add_node(entry, first + 2, {1}, "l0.attn", {arena(rows, query), kv, slots, positions, arena(rows, attn)});
  plan.kernels.push_back(output(rows));
  add_node(entry, first + 3, {2}, "l0.x1", {arena(rows, attn), weight(o), arena(rows, x), arena(rows, x1)});
  plan.kernels.push_back(norm(rows));
  add_node(entry, first + 4, {3}, "norm", {arena(rows, x1), weight(out_gain), arena(rows, normed)});
  plan.kernels.push_back(head(rows));
  add_node(entry, first + 5, {4}, "logits", {arena(rows, normed), weight(head_weight), ref(Where::output, 0)});
  entry.outputs.push_back(port("logits", DType::f32, {rows, vocabulary}));
}

/// As a prefill of so many rows, and the logits of one of them.
void add_prompt(Plan& plan, std::int64_t rows) {
  add_entry(plan, EntryKind::prefill, rows);
  EntryPoint& entry = plan.entries.back();
  entry.name = "prompt_" + std::to_string(rows), entry.kind = EntryKind::prompt;
  entry.inputs.push_back(port("last", DType::i32, {1}));
  const std::uint64_t behind = entry.arena_bytes;  // buffers of one row, then its slot and position
  entry.arena_bytes += std::uint64_t(buffers * width) * sizeof(float) + 32;
  const auto one = [&](Buffer i) {
    Ref out = arena(1, i);
    out.offset += behind;
    return out;
  };
  const auto number = [&](std::uint64_t i) {
    Ref out;
    out.offset = behind + std::uint64_t(buffers * width) * sizeof(float) + 16 * i, out.bytes = sizeof(std::int32_t);
    return out;
  };
  const auto first = std::uint32_t(plan.kernels.size());
  const Ref kv = ref(Where::state, 0);
  const auto weight = [](WeightIndex index) { return ref(Where::weight, index); };
  plan.kernels.push_back(select(rows));
  add_node(entry, first, {1}, "x_last",
           {ref(Where::input, 3), arena(rows, x), one(x), arena(rows, query), one(query), ref(Where::input, 1), number(0), ref(Where::input, 2),
            number(1)});
  plan.kernels.push_back(attend(1, true));
  add_node(entry, first + 1, {2}, "l0.attn", {one(query), kv, number(0), number(1), one(attn)});
  plan.kernels.push_back(output(1));
  add_node(entry, first + 2, {3}, "l0.x1", {one(attn), weight(o), one(x), one(x1)});
  plan.kernels.push_back(norm(1));
  add_node(entry, first + 3, {4}, "norm", {one(x1), weight(out_gain), one(normed)});
  plan.kernels.push_back(head(1));
  add_node(entry, first + 4, {5}, "logits", {one(normed), weight(head_weight), ref(Where::output, 0)});
  entry.outputs.push_back(port("logits", DType::f32, {1, vocabulary}));
}

// ---- The rest

/// A weight of `pieces` equal sources, right behind what is in the file so far.
void add_weight(Plan& plan, const std::string& name, DType dtype, std::vector<std::int64_t> shape, std::int64_t pieces = 1) {
  auto& weight = plan.weights.emplace_back();
  weight.name = name, weight.dtype = dtype, weight.shape = shape, weight.layout = Layout::rows;
  for (std::int64_t i = 0; i < pieces; ++i) {
    auto& source = weight.sources.emplace_back();
    source.rows = (shape.size() == 1 ? 1 : shape[0]) / pieces, source.columns = shape.back();
    source.bytes = std::uint64_t(bytes_of(dtype, source.rows * source.columns)), source.offset = plan.files[0].bytes;
    source.tensor = name + (pieces == 1 ? "" : "." + std::to_string(i));
    plan.files[0].bytes += source.bytes;
  }
}

void add_vocabulary(Plan& plan) {
  plan.vocabulary.kind = "spm";
  for (std::int64_t i = 0; i < vocabulary; ++i) {
    auto& token = plan.vocabulary.tokens.emplace_back();
    token.text = i == 0 ? "<unk>" : i == 1 ? "<s>" : i == 2 ? "</s>" : std::string(1, char('A' + i)), token.score = -float(i);
    token.type = i == 0 ? 2 : i < 3 ? 3 : 1;
  }
  plan.vocabulary.unknown = 0, plan.vocabulary.bos = 1, plan.vocabulary.eos = 2, plan.vocabulary.end_tokens = {2};
  plan.vocabulary.add_bos = true;
}

}  // namespace

Plan tiny_plan() {
  Plan plan;
  for (const auto& [field, value] : {std::pair{"model fingerprint", "1a2b"}, {"target", "cpu"}, {"disabled", ""}, {"build-id", "77aa"}}) {
    auto& entry = plan.key.emplace_back();
    entry.name = field, entry.value = value;
  }
  plan.target = "cpu";
  plan.model.name = "tiny", plan.model.architecture = "llama", plan.model.vocabulary = vocabulary, plan.model.layers = 1;
  plan.model.trained_context = 128;
  plan.files.push_back({.path = "tiny.bin", .bytes = 256});  // a header
  add_weight(plan, "token_embd.weight", DType::q8_0, {vocabulary, width});
  add_weight(plan, "blk.0.attn_norm.weight", DType::f32, {width});
  add_weight(plan, "blk.0.attn_q.weight", DType::q8_0, {width, width});
  add_weight(plan, "blk.0.attn_k.weight", DType::q8_0, {kv_width, width});
  add_weight(plan, "blk.0.attn_v.weight", DType::q8_0, {kv_width, width}, 2);
  add_weight(plan, "blk.0.attn_output.weight", DType::f16, {width, width});
  add_weight(plan, "output_norm.weight", DType::f32, {width});
  add_weight(plan, "output.weight", DType::f32, {vocabulary, width});
  auto& state = plan.states.emplace_back();
  state.name = "kv.0", state.dtype = DType::f32, state.shape = {2, kv_heads, head_dim};
  add_entry(plan, EntryKind::decode, 1);
  add_entry(plan, EntryKind::decode, 2);
  add_entry(plan, EntryKind::prefill, 4);
  add_vocabulary(plan);
  plan.chat_template = "{{ text }}";
  plan.remarks = {"fuse_norm_matmul: %l0.q fired"};
  plan.ir = "module\n";
  return plan;
}

Plan tiny_plan_with_prompt() {
  Plan plan = tiny_plan();
  add_prompt(plan, 4);
  return plan;
}

}  // namespace heddle::testing
