#include "ir/text/text.h"

namespace heddle::ir {
namespace {

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (char c : text) {
    if (c == '"' || c == '\\') out += {'\\', c};
    else if (c == '\n') out += "\\n";
    else if (c == '\t') out += "\\t";
    else if (c < ' ' || c > '~') out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
    else out += c;
  }
  return out + '"';
}

std::string reference(const Value& value) {
  return fmt::format("{}{}", value.is_weight() ? '@' : '%', value.name.empty() ? "?" : value.name);
}

template <class Range>
std::string references(const Range& values) {
  std::string out;
  for (const Value* value : values) out += (out.empty() ? "" : ", ") + reference(*value);
  return out;
}

std::string attribute(const AttrValue& value) {
  if (auto* text = std::get_if<std::string>(&value)) return quoted(*text);
  if (auto* number = std::get_if<double>(&value)) return fmt::format("{}", *number);
  return fmt::format("{}", std::get<std::int64_t>(value));
}

std::string typed(const Value& value) {
  constexpr std::string_view places[] = {"", "arena", "state", "input", "output"};
  std::string out = value.type.str();
  const Placement& place = value.placement;
  if (place.kind != Placement::none) out += fmt::format(" at {}+{}", places[place.kind], place.offset);
  if (place.kind == Placement::arena) out += fmt::format(":{}", place.bytes);
  return out;
}

std::string types_of(const Node& node) {
  std::string out;
  for (const Value* result : node.results()) out += (out.empty() ? " : " : ", ") + typed(*result);
  return out;
}

/// Everything up to the types, or up to a group's brace.
std::string opening(const Node& node) {
  std::string out = references(node.results());
  if (!out.empty()) out += " = ";
  out += node.info().name;
  if (!node.operands().empty()) out += " " + references(node.operands());
  if (node.body()) {
    out += " " + quoted(node.str("label"));
  } else if (!node.attrs().empty()) {
    for (std::size_t i = 0; i < node.attrs().size(); ++i)
      out += fmt::format("{}{}={}", i == 0 ? " {" : ", ", node.info().attrs[i].name, attribute(node.attrs()[i]));
    out += "}";
  }
  if (!node.after.empty()) {
    std::string names;
    for (const Node* other : node.after)
      names += (names.empty() ? "" : ", ") + (other->results().empty() ? "%?" : reference(*other->result()));
    out += " after(" + names + ")";
  }
  return out + (node.body() ? " {" : types_of(node));
}

std::string text_of(const Node& node, const std::string& indent) {
  std::string out = indent + opening(node);
  if (!node.body()) return out;
  for (const Node* inner : node.body()->nodes()) out += "\n" + text_of(*inner, indent + "  ");
  return out + "\n" + indent + "}" + types_of(node);
}

std::string text_of(const Function& function) {
  std::string out = fmt::format("func @{} {} rows={}", function.name, function.kind, function.rows);
  if (function.arena_bytes != 0) out += fmt::format(" arena={}", function.arena_bytes);
  std::string arguments;
  for (const Value* argument : function.arguments())
    arguments += fmt::format("{}{}: {}", arguments.empty() ? "" : ", ", reference(*argument), typed(*argument));
  out += fmt::format(" ({}) {{\n", arguments);
  for (const Node* node : function.body().nodes()) out += text_of(*node, "  ") + "\n";
  return out + "}\n";
}

std::string text_of(const Target& target) {
  return fmt::format("target {} {{activations={}, features={}, launch_us={}, memory_gbps={}, worker_gflops={}, workers={}}}\n",
                     quoted(target.name), quoted(name(target.activations)), quoted(fmt::format("{}", fmt::join(target.features, ","))),
                     target.launch_us, target.memory_gbps, target.worker_gflops, target.workers);
}

std::string text_of_weight(const Value& weight) {
  std::string out = fmt::format("weight @{} : {}", weight.name, weight.type.str());
  for (std::size_t i = 0; i < weight.sources.size(); ++i) {
    const WeightSource& source = weight.sources[i];
    out += i == 0 ? " from " : ", ";
    if (source.tensor.empty()) {
      out += fmt::format("values[{}]", fmt::join(source.values, ", "));
      continue;
    }
    out += fmt::format("{}[{}, {}]", quoted(source.tensor), source.row_begin, source.rows);
    if (source.dtype) out += fmt::format(" as {}", name(*source.dtype));
    if (source.plus != 0) out += fmt::format(" plus {}", source.plus);
  }
  return out + fmt::format(" layout {}\n", quoted(name(weight.layout)));
}

// Names are labels, not meaning: giving the missing ones changes nothing that a holder of a const function relies on.
void name_values(const Function& function) { function.body().function()->make_names_unique(); }

}  // namespace

std::string print(const Module& module) {
  std::string out = fmt::format("heddle-ir 1\nmodule {}\n{}", quoted(module.name), text_of(module.target));
  for (const Value* weight : module.weights()) out += text_of_weight(*weight);
  for (const auto& function : module.functions()) out += print(*function);
  return out;
}

std::string print(const Function& function) {
  name_values(function);
  return text_of(function);
}

std::string print(const Node& node) {
  const Block* block = node.block();
  while (block && block->group()) block = block->group()->block();
  if (block && block->function()) name_values(*block->function());
  return text_of(node, "");
}

std::string head(const Node& node) { return opening(node); }

}  // namespace heddle::ir
