#include "runtime/plan/wire.h"

namespace heddle::plan {
namespace {

std::string text_of(DType type) { return std::string(heddle::name(type)); }

template <class Wire, class Item, class Convert>
std::vector<std::unique_ptr<Wire>> each(const std::vector<Item>& items, const Convert& convert) {
  std::vector<std::unique_ptr<Wire>> out;
  out.reserve(items.size());
  for (const Item& item : items) convert(item, *out.emplace_back(std::make_unique<Wire>()));
  return out;
}


struct WriteAttributes {
  wire::InstrT& instr;
  wire::AttributeT& add(std::string_view name) const {
    wire::AttributeT& added = *instr.attributes.emplace_back(std::make_unique<wire::AttributeT>());
    added.name = name;
    return added;
  }
  void operator()(std::string_view name, std::int64_t value) const { add(name).integer = value; }
  void operator()(std::string_view name, double value) const { add(name).number = value; }
  void operator()(std::string_view name, DType value) const { add(name).text = text_of(value); }
  void operator()(std::string_view name, Pairing value) const { add(name).text = heddle::name(value); }
};

std::unique_ptr<wire::ProgramT> program(const Program& from) {
  auto out = std::make_unique<wire::ProgramT>();
  out->inputs = each<wire::InputT>(from.inputs, [](const Input& input, wire::InputT& to) {
    to.kind = wire::InputKind(input.kind), to.index = input.index, to.value = input.value;
  });
  out->instrs = each<wire::InstrT>(from.instrs, [](const Instr& instr, wire::InstrT& to) {
    to.op = heddle::name(instr.op);
    to.operands = instr.operands;
    for_each_attribute(instr.op, WriteAttributes{to});
  });
  out->stores = each<wire::StoreT>(from.stores, [](const Store& store, wire::StoreT& to) {
    to.value = store.value, to.kind = wire::StoreKind(store.kind), to.index = store.index;
  });
  return out;
}

/// The loop's own table.
struct WriteLoop {
  wire::KernelSpecT& to;

  void operator()(const Gemm& loop) const {
    to.loop = wire::LoopKind::gemm;
    to.gemm = std::make_unique<wire::GemmLoopT>();
    to.gemm->k = loop.k, to.gemm->activations = text_of(loop.activations), to.gemm->activation = loop.activation;
    to.gemm->experts = loop.experts, to.gemm->gates = loop.gates, to.gemm->chosen = loop.chosen;
    to.prologue = program(loop.prologue);
  }
  void operator()(const Rowwise&) const { to.loop = wire::LoopKind::rowwise; }
  void operator()(const Attention& loop) const {
    to.loop = wire::LoopKind::attention;
    to.attention = std::make_unique<wire::AttentionLoopT>();
    to.attention->q = loop.q, to.attention->kv = loop.kv;
    to.attention->heads = loop.heads, to.attention->kv_heads = loop.kv_heads, to.attention->head_dim = loop.head_dim;
    to.attention->scale = loop.scale, to.attention->window = loop.window, to.attention->softcap = loop.softcap;
    to.attention->selected = loop.selected;
  }
  void operator()(const Embed& loop) const {
    to.loop = wire::LoopKind::embed;
    to.embed = std::make_unique<wire::EmbedLoopT>();
    to.embed->table = loop.table, to.embed->tokens = loop.tokens;
  }
  void operator()(const Sample& loop) const {
    to.loop = wire::LoopKind::sample;
    to.sample = std::make_unique<wire::SampleLoopT>();
    to.sample->logits = loop.logits, to.sample->tokens = loop.tokens, to.sample->slots = loop.slots, to.sample->positions = loop.positions;
    to.sample->max_top_k = loop.max_top_k;
  }
  void operator()(const TopExperts& loop) const {
    to.loop = wire::LoopKind::route;
    to.route = std::make_unique<wire::RouteLoopT>();
    to.route->logits = loop.logits, to.route->experts = loop.experts, to.route->gates = loop.gates, to.route->normalized = loop.normalized;
  }
  void operator()(const GatherRows& loop) const {
    to.loop = wire::LoopKind::select;
    to.select = std::make_unique<wire::SelectLoopT>();
    to.select->index = loop.index, to.select->rows = loop.rows;
    to.select->pairs = each<wire::SelectPairT>(
        loop.pairs, [](const GatherRows::Pair& pair, wire::SelectPairT& pair_to) { pair_to.from = pair.from, pair_to.to = pair.to; });
  }
};

void kernel(const Kernel& from, wire::KernelT& to) {
  to.spec = std::make_unique<wire::KernelSpecT>(to_wire(from.spec));
  to.min_bytes = from.min_bytes;
  if (from.cuda) to.cuda = std::make_unique<wire::CudaCodeT>(to_wire(*from.cuda));
}

void weight(const Weight& from, wire::WeightT& to) {
  to.name = from.name, to.dtype = text_of(from.dtype), to.shape = from.shape, to.layout = heddle::name(from.layout), to.device = from.device;
  to.sources = each<wire::WeightSourceT>(from.sources, [](const WeightSource& source, wire::WeightSourceT& out) {
    out.file = source.file, out.offset = source.offset, out.bytes = source.bytes;
    out.row_begin = source.row_begin, out.rows = source.rows, out.column_begin = source.column_begin, out.columns = source.columns;
    out.tensor = source.tensor, out.plus = source.plus, out.values = source.values;
    if (source.dtype) out.dtype = text_of(*source.dtype);
  });
}

template <class Named, class Wire>
void named(const Named& from, Wire& to) {
  to.name = from.name, to.dtype = text_of(from.dtype), to.shape = from.shape;
}

void node(const Node& from, wire::NodeT& to) {
  to.kernel = from.kernel, to.after = from.after, to.value_names = from.value_names;
  to.args = each<wire::RefT>(from.args, [](const Ref& ref, wire::RefT& out) {
    out.where = wire::Where(ref.where), out.index = ref.index, out.offset = ref.offset, out.bytes = ref.bytes;
  });
}

void entry(const EntryPoint& from, wire::EntryPointT& to) {
  to.name = from.name, to.kind = heddle::name(from.kind), to.rows = from.rows, to.bucket = from.bucket;
  to.inputs = each<wire::PortT>(from.inputs, named<Port, wire::PortT>);
  to.outputs = each<wire::PortT>(from.outputs, named<Port, wire::PortT>);
  to.arena_bytes = from.arena_bytes;
  to.nodes = each<wire::NodeT>(from.nodes, node);
  to.sampling = each<wire::NodeT>(from.sampling, node);
  to.microseconds = from.microseconds, to.measured = from.measured, to.key_microseconds = from.key_microseconds;
}

void text_step(const TextStep& from, wire::TextStepT& to) {
  to.op = from.op, to.pattern = from.pattern, to.text = from.text, to.first = from.first, to.invert = from.invert;
}

std::unique_ptr<wire::VocabularyT> vocabulary(const Vocabulary& from) {
  auto out = std::make_unique<wire::VocabularyT>();
  wire::VocabularyT& to = *out;
  to.kind = from.kind, to.pre = from.pre, to.merges = from.merges;
  to.tokens = each<wire::TokenT>(from.tokens, [](const Token& token, wire::TokenT& token_to) {
    token_to.text = token.text, token_to.score = token.score, token_to.type = token.type, token_to.match = wire::TokenMatch(token.match);
  });
  to.bos = from.bos, to.eos = from.eos, to.unknown = from.unknown, to.end_tokens = from.end_tokens;
  to.add_bos = from.add_bos, to.add_eos = from.add_eos, to.add_space_prefix = from.add_space_prefix;
  to.normalizers = each<wire::TextStepT>(from.normalizers, text_step);
  to.pre_steps = each<wire::TextStepT>(from.pre_steps, text_step);
  to.characters = from.characters, to.fuse_unknown = from.fuse_unknown, to.ignore_merges = from.ignore_merges;
  return out;
}

}  // namespace

wire::CudaCodeT to_wire(const CudaCode& code) {
  wire::CudaCodeT to;
  to.entry = code.entry, to.text = code.text, to.ptx = code.ptx, to.cubin = code.cubin;
  to.registers = code.registers, to.shared_bytes = code.shared_bytes, to.spill_bytes = code.spill_bytes;
  to.grid = code.grid, to.block = code.block;
  to.dynamic_shared_bytes = code.dynamic_shared_bytes, to.grid_per_sm = code.grid_per_sm;
  to.scratch_bytes = code.scratch_bytes, to.programmatic = code.programmatic, to.even_start = code.even_start;
  return to;
}

wire::KernelSpecT to_wire(const KernelSpec& from) {
  wire::KernelSpecT to;
  to.name = from.name, to.rows = from.rows, to.slots_arg = from.slots_arg, to.positions_arg = from.positions_arg;
  to.args = each<wire::ArgT>(from.args, [](const Arg& arg, wire::ArgT& out) {
    named(arg, out);
    out.role = wire::ArgRole(arg.role), out.layout = heddle::name(arg.layout), out.written = arg.written;
  });
  std::visit(WriteLoop{to}, from.loop);
  to.parts = each<wire::PartT>(from.parts, [](const Part& part, wire::PartT& out) {
    out.n = part.n, out.granule = part.granule, out.epilogue = program(part.epilogue);
    out.segments = each<wire::SegmentT>(part.segments, [](const Segment& segment, wire::SegmentT& at) { at.weight = segment.weight; });
  });
  to.knobs = each<wire::KnobT>(from.knobs, [](const Knob& knob, wire::KnobT& out) { out.name = knob.name, out.value = knob.value; });
  return to;
}

std::string key_of(const KernelSpec& spec) {
  flatbuffers::FlatBufferBuilder builder;
  const wire::KernelSpecT table = to_wire(spec);
  builder.Finish(wire::KernelSpec::Pack(builder, &table));
  return std::string(reinterpret_cast<const char*>(builder.GetBufferPointer()), builder.GetSize());
}

wire::PlanT to_wire(const Plan& from) {
  wire::PlanT to;
  to.key = each<wire::KeyFieldT>(from.key, [](const KeyField& field, wire::KeyFieldT& out) { out.name = field.name, out.value = field.value; });
  to.target = from.target;
  to.model = std::make_unique<wire::ModelInfoT>();
  to.model->name = from.model.name, to.model->architecture = from.model.architecture, to.model->vocabulary = from.model.vocabulary;
  to.model->trained_context = from.model.trained_context, to.model->layers = from.model.layers, to.model->parameters = from.model.parameters;
  to.model->weight_bytes = from.model.weight_bytes;
  to.files = each<wire::ModelFileT>(from.files, [](const ModelFile& file, wire::ModelFileT& out) { out.path = file.path, out.bytes = file.bytes; });
  to.weights = each<wire::WeightT>(from.weights, weight);
  to.states = each<wire::StateT>(from.states, named<State, wire::StateT>);
  to.kernels = each<wire::KernelT>(from.kernels, kernel);
  to.entries = each<wire::EntryPointT>(from.entries, entry);
  to.vocabulary = vocabulary(from.vocabulary);
  to.chat_template = from.chat_template, to.remarks = from.remarks, to.ir = from.ir;
  return to;
}

}  // namespace heddle::plan
