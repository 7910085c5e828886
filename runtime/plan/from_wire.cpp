#include <initializer_list>

#include "runtime/plan/check_parts.h"
#include "runtime/plan/wire.h"

namespace heddle::plan {
namespace {

/// Converts every table of a list; a null one is an error.
template <class Item, class Wire, class Convert>
Result<std::vector<Item>> each(std::vector<std::unique_ptr<Wire>>& tables, const Place* parent, std::string_view name, const Convert& convert) {
  std::vector<Item> out;
  out.reserve(tables.size());
  for (std::size_t i = 0; i < tables.size(); ++i) {
    const Place place{parent, name, std::int64_t(i)};
    if (!tables[i]) return fail(place, "is missing");
    HEDDLE_ASSIGN(Item item, convert(*tables[i], place));
    out.push_back(std::move(item));
  }
  return out;
}

template <class Enum, class Wire>
Result<Enum> enum_of(Wire value, std::string_view field, const Place& place) {
  if (value < Wire::MIN || value > Wire::MAX) return fail(place, "{} is {}, wanted {} to {}", field, int(value), int(Wire::MIN), int(Wire::MAX));
  return Enum(value);
}

Result<DType> dtype_of(const std::string& text, std::string_view field, const Place& place) {
  if (const auto type = dtype_named(text)) return *type;
  return fail(place, "{} is '{}', which is unknown", field, text);
}

/// Shape, dtype and name of what has them.
template <class Named, class Wire>
Result<Named> named(Wire& from, const Place& place) {
  Named to;
  HEDDLE_ASSIGN(to.dtype, dtype_of(from.dtype, "dtype", place));
  to.name = std::move(from.name), to.shape = std::move(from.shape);
  return to;
}

Result<Layout> layout_of(const std::string& text, const Place& place) {
  if (const auto layout = layout_named(text)) return *layout;
  return fail(place, "layout '{}' is not known (known: {})", text, known_layouts);
}

/// Takes attributes by name; each exactly once.
class ReadAttributes {
 public:
  ReadAttributes(const wire::InstrT& instr, const Place& place) : instr_(instr), place_(place) {}

  void operator()(std::string_view name, std::int64_t& value) const {
    if (const auto* attribute = find(name)) value = attribute->integer;
  }
  void operator()(std::string_view name, double& value) const {
    if (const auto* attribute = find(name)) value = attribute->number;
  }
  void operator()(std::string_view name, DType& value) const { by_name(name, value, dtype_named, "which is unknown"); }
  void operator()(std::string_view name, Pairing& value) const { by_name(name, value, pairing_named, "wanted adjacent or halves"); }

  Result<void> done() const {
    if (error_) return *error_;
    if (taken_ != instr_.attributes.size()) return fail(place_, "{} has {} attributes, wanted {}", instr_.op, instr_.attributes.size(), taken_);
    return {};
  }

 private:
  const wire::AttributeT* find(std::string_view name) const {
    for (const auto& attribute : instr_.attributes)
      if (attribute && attribute->name == name) return ++taken_, attribute.get();
    if (!error_) error_ = fail(place_, "{} of {} is missing", name, instr_.op);
    return nullptr;
  }
  template <class T, class Named>
  void by_name(std::string_view name, T& value, const Named& named_by, std::string_view wanted) const {
    const wire::AttributeT* attribute = find(name);
    if (!attribute) return;
    if (const auto found = named_by(attribute->text)) value = *found;
    else if (!error_) error_ = fail(place_, "{} of {} is '{}', {}", name, instr_.op, attribute->text, wanted);
  }

  const wire::InstrT& instr_;
  const Place& place_;
  mutable std::size_t taken_ = 0;
  mutable std::optional<Error> error_;
};

Result<Instr> instr(wire::InstrT& from, const Place& place) {
  auto op = row_op_named(from.op);
  if (!op) return fail(place, "op is '{}', which is unknown", from.op);
  const ReadAttributes read(from, place);
  for_each_attribute(*op, read);
  HEDDLE_TRY(read.done());
  return Instr{*op, std::move(from.operands)};
}

Result<Program> program(wire::ProgramT& from, const Place& place) {
  Program to;
  HEDDLE_ASSIGN(to.inputs, each<Input>(from.inputs, &place, "inputs", [](const wire::InputT& input, const Place& at) -> Result<Input> {
                  HEDDLE_ASSIGN(const auto kind, enum_of<InputKind>(input.kind, "kind", at));
                  return Input{kind, input.index, input.value};
                }));
  HEDDLE_ASSIGN(to.instrs, each<Instr>(from.instrs, &place, "instrs", instr));
  HEDDLE_ASSIGN(to.stores, each<Store>(from.stores, &place, "stores", [](const wire::StoreT& store, const Place& at) -> Result<Store> {
                  HEDDLE_ASSIGN(const auto kind, enum_of<StoreKind>(store.kind, "kind", at));
                  return Store{store.value, kind, store.index};
                }));
  return to;
}

Result<Gemm> gemm(wire::KernelSpecT& from, const Place& outer) {
  const Place place{&outer, "gemm"};
  const wire::GemmLoopT& table = *from.gemm;
  Gemm to;
  HEDDLE_ASSIGN(to.activations, dtype_of(table.activations, "activations", place));
  to.k = table.k, to.activation = table.activation, to.experts = table.experts, to.gates = table.gates, to.chosen = table.chosen;
  if (!from.prologue) return fail(outer, "prologue is missing, a gemm needs one");
  HEDDLE_ASSIGN(to.prologue, program(*from.prologue, Place{&outer, "prologue"}));
  return to;
}

Result<GatherRows> gather_rows(wire::SelectLoopT& from, const Place& outer) {
  const Place place{&outer, "select"};
  GatherRows to;
  to.index = from.index, to.rows = from.rows;
  HEDDLE_ASSIGN(to.pairs, each<GatherRows::Pair>(from.pairs, &place, "pairs", [](const wire::SelectPairT& pair, const Place&) {
                  return Result<GatherRows::Pair>(GatherRows::Pair{pair.from, pair.to});
                }));
  return to;
}

/// The tables of other loops are not there, the loop's own is.
Result<void> check_loop_tables(const wire::KernelSpecT& spec, const Place& place) {
  const struct {
    std::string_view name;
    bool there, wanted;
  } tables[] = {
      {"gemm", spec.gemm != nullptr, spec.loop == wire::LoopKind::gemm},
      {"prologue", spec.prologue != nullptr, spec.loop == wire::LoopKind::gemm},
      {"attention", spec.attention != nullptr, spec.loop == wire::LoopKind::attention},
      {"embed", spec.embed != nullptr, spec.loop == wire::LoopKind::embed},
      {"sample", spec.sample != nullptr, spec.loop == wire::LoopKind::sample},
      {"route", spec.route != nullptr, spec.loop == wire::LoopKind::route},
      {"select", spec.select != nullptr, spec.loop == wire::LoopKind::select},
  };
  for (const auto& table : tables)
    if (table.there != table.wanted)
      return fail(place, "{} is {}, the loop is {}", table.name, table.there ? "there" : "missing", wire::EnumNameLoopKind(spec.loop));
  return {};
}

Result<Loop> loop(wire::KernelSpecT& from, const Place& place) {
  if (from.loop > wire::LoopKind::MAX) return fail(place, "loop is {}, wanted 0 to {}", int(from.loop), int(wire::LoopKind::MAX));
  HEDDLE_TRY(check_loop_tables(from, place));
  switch (from.loop) {
    case wire::LoopKind::gemm: {
      HEDDLE_ASSIGN(Gemm to, gemm(from, place));
      return Loop(std::move(to));
    }
    case wire::LoopKind::rowwise: return Loop(Rowwise{});
    case wire::LoopKind::attention: {
      const wire::AttentionLoopT& table = *from.attention;
      return Loop(Attention{.q = table.q, .kv = table.kv, .heads = table.heads, .kv_heads = table.kv_heads, .head_dim = table.head_dim,
                            .scale = table.scale, .window = table.window, .softcap = table.softcap, .selected = table.selected});
    }
    case wire::LoopKind::embed: return Loop(Embed{.table = from.embed->table, .tokens = from.embed->tokens});
    case wire::LoopKind::sample: {
      const wire::SampleLoopT& table = *from.sample;
      return Loop(Sample{.logits = table.logits, .tokens = table.tokens, .slots = table.slots, .positions = table.positions,
                         .max_top_k = table.max_top_k});
    }
    case wire::LoopKind::route: {
      const wire::RouteLoopT& table = *from.route;
      return Loop(TopExperts{.logits = table.logits, .experts = table.experts, .gates = table.gates, .normalized = table.normalized});
    }
    case wire::LoopKind::select: {
      HEDDLE_ASSIGN(GatherRows to, gather_rows(*from.select, place));
      return Loop(std::move(to));
    }
  }
  return fail(place, "loop is {}", int(from.loop));
}

Result<Part> part(wire::PartT& from, const Place& place) {
  Part to;
  to.n = from.n, to.granule = from.granule;
  HEDDLE_ASSIGN(to.segments, each<Segment>(from.segments, &place, "segments", [](const wire::SegmentT& segment, const Place&) {
                  return Result<Segment>(Segment{segment.weight});
                }));
  if (!from.epilogue) return fail(place, "epilogue is missing");
  HEDDLE_ASSIGN(to.epilogue, program(*from.epilogue, Place{&place, "epilogue"}));
  return to;
}

Result<KernelSpec> spec(wire::KernelSpecT& from, const Place& place) {
  KernelSpec to;
  to.name = std::move(from.name), to.rows = from.rows, to.slots_arg = from.slots_arg, to.positions_arg = from.positions_arg;
  HEDDLE_ASSIGN(to.args, each<Arg>(from.args, &place, "args", [](wire::ArgT& arg, const Place& at) -> Result<Arg> {
                  HEDDLE_ASSIGN(Arg out, named<Arg>(arg, at));
                  HEDDLE_ASSIGN(out.role, enum_of<ArgRole>(arg.role, "role", at));
                  HEDDLE_ASSIGN(out.layout, layout_of(arg.layout, at));
                  out.written = arg.written;
                  return out;
                }));
  HEDDLE_ASSIGN(to.loop, loop(from, place));
  HEDDLE_ASSIGN(to.parts, each<Part>(from.parts, &place, "parts", part));
  HEDDLE_ASSIGN(to.knobs, each<Knob>(from.knobs, &place, "knobs", [](wire::KnobT& knob, const Place&) {
                  return Result<Knob>(Knob{std::move(knob.name), knob.value});
                }));
  return to;
}

Result<Kernel> kernel(wire::KernelT& from, const Place& place) {
  Kernel to;
  if (!from.spec) return fail(place, "spec is missing");
  HEDDLE_ASSIGN(to.spec, spec(*from.spec, Place{&place, "spec"}));
  to.min_bytes = from.min_bytes;
  if (from.cuda) to.cuda = from_wire(std::move(*from.cuda));
  return to;
}

Result<WeightSource> weight_source(wire::WeightSourceT& from, const Place& place) {
  WeightSource to;
  to.file = from.file, to.offset = from.offset, to.bytes = from.bytes;
  to.row_begin = from.row_begin, to.rows = from.rows, to.column_begin = from.column_begin, to.columns = from.columns;
  to.tensor = std::move(from.tensor), to.plus = from.plus, to.values = std::move(from.values);
  if (!from.dtype.empty()) {
    HEDDLE_ASSIGN(to.dtype, dtype_of(from.dtype, "dtype", place));
  }
  return to;
}

Result<Weight> weight(wire::WeightT& from, const Place& place) {
  HEDDLE_ASSIGN(Weight to, named<Weight>(from, place));
  HEDDLE_ASSIGN(to.layout, layout_of(from.layout, place));
  to.device = from.device;
  HEDDLE_ASSIGN(to.sources, each<WeightSource>(from.sources, &place, "sources", weight_source));
  return to;
}

Result<Node> node(wire::NodeT& from, const Place& place) {
  Node to;
  to.kernel = from.kernel, to.after = std::move(from.after), to.value_names = std::move(from.value_names);
  HEDDLE_ASSIGN(to.args, each<Ref>(from.args, &place, "args", [](const wire::RefT& ref, const Place& at) -> Result<Ref> {
                  HEDDLE_ASSIGN(const auto where, enum_of<Where>(ref.where, "where", at));
                  return Ref{where, ref.index, ref.offset, ref.bytes};
                }));
  return to;
}

Result<EntryPoint> entry(wire::EntryPointT& from, const Place& place) {
  EntryPoint to;
  const auto kind = entry_kind_named(from.kind);
  if (!kind) return fail(place, "kind is '{}', wanted decode, prefill or prompt", from.kind);
  to.name = std::move(from.name), to.kind = *kind, to.rows = from.rows, to.bucket = from.bucket;
  HEDDLE_ASSIGN(to.inputs, each<Port>(from.inputs, &place, "inputs", named<Port, wire::PortT>));
  HEDDLE_ASSIGN(to.outputs, each<Port>(from.outputs, &place, "outputs", named<Port, wire::PortT>));
  to.arena_bytes = from.arena_bytes;
  HEDDLE_ASSIGN(to.nodes, each<Node>(from.nodes, &place, "nodes", node));
  HEDDLE_ASSIGN(to.sampling, each<Node>(from.sampling, &place, "sampling", node));
  to.microseconds = from.microseconds, to.measured = from.measured, to.key_microseconds = from.key_microseconds;
  return to;
}

Result<TextStep> text_step(wire::TextStepT& from, const Place&) {
  return TextStep{std::move(from.op), std::move(from.pattern), std::move(from.text), from.first, from.invert};
}

Result<Vocabulary> vocabulary(wire::VocabularyT& from, const Place& place) {
  Vocabulary to;
  to.kind = std::move(from.kind), to.pre = std::move(from.pre), to.merges = std::move(from.merges);
  HEDDLE_ASSIGN(to.tokens, each<Token>(from.tokens, &place, "tokens", [](wire::TokenT& token, const Place&) {
                  return Result<Token>(Token{std::move(token.text), token.score, token.type, TokenMatch(token.match)});
                }));
  to.bos = from.bos, to.eos = from.eos, to.unknown = from.unknown, to.end_tokens = std::move(from.end_tokens);
  to.add_bos = from.add_bos, to.add_eos = from.add_eos, to.add_space_prefix = from.add_space_prefix;
  HEDDLE_ASSIGN(to.normalizers, each<TextStep>(from.normalizers, &place, "normalizers", text_step));
  HEDDLE_ASSIGN(to.pre_steps, each<TextStep>(from.pre_steps, &place, "pre_steps", text_step));
  to.characters = from.characters, to.fuse_unknown = from.fuse_unknown, to.ignore_merges = from.ignore_merges;
  return to;
}

}  // namespace

CudaCode from_wire(wire::CudaCodeT&& from) {
  CudaCode to;
  to.entry = std::move(from.entry), to.text = std::move(from.text), to.ptx = std::move(from.ptx), to.cubin = std::move(from.cubin);
  to.registers = from.registers, to.shared_bytes = from.shared_bytes, to.spill_bytes = from.spill_bytes;
  to.grid = std::move(from.grid), to.block = std::move(from.block);
  to.dynamic_shared_bytes = from.dynamic_shared_bytes, to.grid_per_sm = from.grid_per_sm;
  to.scratch_bytes = from.scratch_bytes, to.programmatic = from.programmatic, to.even_start = from.even_start;
  return to;
}

Result<std::unique_ptr<Plan>> from_wire(wire::PlanT&& from) {
  auto plan = std::make_unique<Plan>();
  Plan& to = *plan;
  HEDDLE_ASSIGN(to.key, each<KeyField>(from.key, nullptr, "key", [](wire::KeyFieldT& field, const Place&) {
                  return Result<KeyField>(KeyField{std::move(field.name), std::move(field.value)});
                }));
  const auto backend = backend_of(from.target);
  if (!backend) return error("target is '{}', which is unknown", from.target);
  to.target = std::move(from.target), to.backend = *backend;
  if (!from.model) return error("model is missing");
  to.model = {.name = std::move(from.model->name), .architecture = std::move(from.model->architecture), .vocabulary = from.model->vocabulary,
              .trained_context = from.model->trained_context, .layers = from.model->layers, .parameters = from.model->parameters,
              .weight_bytes = from.model->weight_bytes};
  HEDDLE_ASSIGN(to.files, each<ModelFile>(from.files, nullptr, "files", [](wire::ModelFileT& file, const Place&) {
                  return Result<ModelFile>(ModelFile{std::move(file.path), file.bytes});
                }));
  HEDDLE_ASSIGN(to.weights, each<Weight>(from.weights, nullptr, "weights", weight));
  HEDDLE_ASSIGN(to.states, each<State>(from.states, nullptr, "states", named<State, wire::StateT>));
  HEDDLE_ASSIGN(to.kernels, each<Kernel>(from.kernels, nullptr, "kernels", kernel));
  HEDDLE_ASSIGN(to.entries, each<EntryPoint>(from.entries, nullptr, "entries", entry));
  if (!from.vocabulary) return error("vocabulary is missing");
  HEDDLE_ASSIGN(to.vocabulary, vocabulary(*from.vocabulary, Place{nullptr, "vocabulary"}));
  to.chat_template = std::move(from.chat_template), to.remarks = std::move(from.remarks), to.ir = std::move(from.ir);
  return plan;
}

}  // namespace heddle::plan
