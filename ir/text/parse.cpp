#include <llvm/ADT/STLExtras.h>
#include <llvm/ADT/StringMap.h>
#include <llvm/ADT/StringSet.h>

#include <charconv>

#include "ir/infer_types.h"
#include "ir/text/lexer.h"
#include "ir/text/text.h"

namespace heddle::ir {
namespace {

constexpr std::size_t max_text_bytes = std::size_t(16) << 20;
constexpr std::size_t max_weights = 8192, max_functions = 1024, max_nodes = 32768, max_dimensions = 8;
constexpr std::int64_t max_rows = 1 << 20, max_bytes = std::int64_t(1) << 50;

/// Recursive descent, one method per rule of the grammar; `token_` is the first token not yet taken. Depth is bounded: groups do not nest.
class Parser {
 public:
  Parser(std::string_view text, std::string_view file) : lexer_(text, file) { advance(); }

  Result<std::unique_ptr<Module>> module() {
    if (!token_.is("heddle-ir")) return wanted("'heddle-ir 1'");
    advance();
    if (token_.kind != Token::number || token_.text != "1") return wanted("version 1 of the IR's text");
    advance();
    llvm::StringSet<> seen;
    while (token_.kind != Token::end) {
      const Token line = token_;
      if ((line.is("module") || line.is("target")) && !seen.insert(line.text).second) return fail(line, "{} is given twice", line.text);
      if (take("module")) {
        HEDDLE_ASSIGN(module_->name, string("the module's name"));
      } else if (take("target")) {
        HEDDLE_TRY(target());
      } else if (take("weight")) {
        HEDDLE_TRY(weight());
      } else if (take("func")) {
        HEDDLE_TRY(function());
      } else {
        return wanted("module, target, weight or func");
      }
    }
    return std::move(module_);
  }

 private:
  // ---- Tokens

  void advance() { token_ = lexer_.next(); }
  bool take(std::string_view text) {
    if (!token_.is(text)) return false;
    advance();
    return true;
  }
  template <class... Args>
  Error fail(const Token& at, fmt::format_string<Args...> format, Args&&... args) const {
    return lexer_.error_at(at.offset, fmt::format(format, std::forward<Args>(args)...));
  }
  Error wanted(std::string_view what) const {
    if (token_.kind == Token::bad) return fail(token_, "{}", token_.problem);
    if (token_.kind == Token::end) return fail(token_, "found the end of the text, wanted {}", what);
    return fail(token_, "found {}, wanted {}", shown(token_.text), what);
  }
  static std::string shown(std::string_view text) {
    std::string out(text.substr(0, 40));
    for (char& c : out)
      if (c < ' ' || c > '~') c = '?';
    return fmt::format("'{}{}'", out, text.size() > 40 ? "..." : "");
  }
  Result<void> expect(std::string_view text) {
    if (!take(text)) return wanted(fmt::format("'{}'", text));
    return {};
  }
  Result<std::string> word(std::string_view what) {
    if (token_.kind != Token::word) return wanted(what);
    std::string out(token_.text);
    advance();
    return out;
  }
  Result<std::string> string(std::string_view what) {
    if (token_.kind != Token::string) return wanted(fmt::format("{} in quotes", what));
    auto out = unquoted(token_.text);
    if (!out) return fail(token_, "unknown escape in {}: wanted \\\", \\\\, \\n, \\t or \\xHH", shown(token_.text));
    advance();
    return std::move(*out);
  }
  Result<std::int64_t> integer(std::string_view what, std::int64_t least, std::int64_t most) {
    if (token_.kind != Token::number) return wanted(what);
    std::int64_t out = 0;
    const char* end = token_.text.data() + token_.text.size();
    const auto [stop, problem] = std::from_chars(token_.text.data(), end, out);
    if (problem == std::errc::result_out_of_range) return fail(token_, "{} does not fit 64 bits", shown(token_.text));
    if (problem != std::errc() || stop != end) return fail(token_, "{} is no integer, wanted {}", shown(token_.text), what);
    if (out < least || out > most) return fail(token_, "{} is {}, wanted {} to {}", what, out, least, most);
    advance();
    return out;
  }
  Result<std::int64_t> any_integer(std::string_view what) { return integer(what, INT64_MIN, INT64_MAX); }
  Result<double> number(std::string_view what) {
    if (token_.kind != Token::number && !token_.is("inf") && !token_.is("nan")) return wanted(what);
    double out = 0;
    const char* end = token_.text.data() + token_.text.size();
    const auto [stop, problem] = std::from_chars(token_.text.data(), end, out);
    if (problem == std::errc::result_out_of_range) return fail(token_, "{} does not fit a double", shown(token_.text));
    if (problem != std::errc() || stop != end) return fail(token_, "{} is no number, wanted {}", shown(token_.text), what);
    advance();
    return out;
  }

  // ---- Module level

  Result<void> target() {
    Target& target = module_->target;
    HEDDLE_ASSIGN(target.name, string("the target's name"));
    if (!take("{")) return {};
    llvm::StringSet<> seen;
    while (!token_.is("}")) {
      const Token at = token_;
      HEDDLE_ASSIGN(const std::string key, word("a field of the target"));
      if (!seen.insert(key).second) return fail(at, "{} is given twice", key);
      HEDDLE_TRY(expect("="));
      if (key == "activations") {
        const Token type_at = token_;
        HEDDLE_ASSIGN(const std::string type, string("a dtype"));
        const auto found = dtype_named(type);
        if (!found) return fail(type_at, "unknown type {}", type);
        target.activations = *found;
      } else if (key == "features") {
        HEDDLE_ASSIGN(const std::string list, string("a list of features"));
        llvm::SmallVector<llvm::StringRef> features;
        llvm::StringRef(list).split(features, ',', -1, /*KeepEmpty=*/false);
        target.features.assign(features.begin(), features.end());
      } else if (key == "workers") {
        HEDDLE_ASSIGN(target.workers, integer("workers", 1, 1 << 20));
      } else if (double* field = key == "launch_us"       ? &target.launch_us
                                 : key == "memory_gbps"   ? &target.memory_gbps
                                 : key == "worker_gflops" ? &target.worker_gflops
                                                          : nullptr) {
        HEDDLE_ASSIGN(*field, number("a number"));
      } else {
        return fail(at, "unknown field {}, a target has activations, features, launch_us, memory_gbps, worker_gflops, workers", key);
      }
      if (!take(",")) break;
    }
    return expect("}");
  }

  Result<void> weight() {
    const Token at = token_;
    if (at.kind != Token::symbol) return wanted("a weight's name (@name)");
    if (module_->weights().size() == max_weights) return fail(at, "more than {} weights", max_weights);
    advance();
    HEDDLE_TRY(expect(":"));
    HEDDLE_ASSIGN(Type parsed, type());
    if (parsed.state) return fail(at, "weight {} is a state, wanted a tensor", at.text);
    std::vector<WeightSource> sources;
    if (take("from")) {
      do {
        WeightSource& source = sources.emplace_back();
        if (take("values")) {
          HEDDLE_TRY(expect("["));
          do {
            HEDDLE_ASSIGN(const double value, number("a number"));
            source.values.push_back(float(value));
          } while (take(","));
          HEDDLE_TRY(expect("]"));
          source.rows = 1;
          continue;
        }
        const Token tensor_at = token_;
        HEDDLE_ASSIGN(source.tensor, string("a tensor's name"));
        if (source.tensor.empty()) return fail(tensor_at, "a tensor's name is empty");
        HEDDLE_TRY(expect("["));
        HEDDLE_ASSIGN(source.row_begin, integer("the first row", 0, max_bytes));
        HEDDLE_TRY(expect(","));
        HEDDLE_ASSIGN(source.rows, integer("the number of rows", 1, max_bytes));
        HEDDLE_TRY(expect("]"));
        if (take("as")) {
          const Token type_at = token_;
          HEDDLE_ASSIGN(const std::string type, word("the tensor's type"));
          source.dtype = dtype_named(type);
          if (!source.dtype) return fail(type_at, "unknown type {}", type);
        }
        if (take("plus")) {
          HEDDLE_ASSIGN(source.plus, number("a number"));
        }
      } while (take(","));
    }
    Layout layout = Layout::rows;
    if (take("layout")) {
      const Token layout_at = token_;
      HEDDLE_ASSIGN(const std::string text, string("a layout"));
      const auto found = layout_named(text);
      if (!found) return fail(layout_at, "unknown layout '{}' (known: {})", text, known_layouts);
      layout = *found;
    }
    if (weights_.contains(at.name())) return fail(at, "weight {} is given twice", at.text);
    Value* added = module_->add_weight(std::string(at.name()), std::move(parsed), std::move(sources));
    added->layout = layout;
    weights_[at.name()] = added;
    return {};
  }

  Result<void> function() {
    const Token at = token_;
    if (at.kind != Token::symbol) return wanted("a function's name (@name)");
    if (module_->functions().size() == max_functions) return fail(at, "more than {} functions", max_functions);
    if (module_->function(at.name())) return fail(at, "function {} is given twice", at.text);
    advance();
    const Token kind_at = token_;
    HEDDLE_ASSIGN(const std::string kind_name, word("the function's kind (decode, prefill, prompt)"));
    const auto kind = entry_kind_named(kind_name);
    if (!kind) return fail(kind_at, "unknown kind {}, wanted decode, prefill or prompt", kind_name);
    if (!take("rows")) return wanted("'rows='");
    HEDDLE_TRY(expect("="));
    HEDDLE_ASSIGN(const std::int64_t rows, integer("rows", 1, max_rows));
    Function& function = module_->add_function(std::string(at.name()), *kind, rows);
    if (take("arena")) {
      HEDDLE_TRY(expect("="));
      HEDDLE_ASSIGN(function.arena_bytes, integer("arena", 0, max_bytes));
    }
    values_.clear();
    nodes_ = 0;
    top_ = &function.body();
    HEDDLE_TRY(expect("("));
    while (token_.kind == Token::value) {
      const Token name = token_;
      advance();
      HEDDLE_TRY(expect(":"));
      HEDDLE_ASSIGN(Type parsed, type());
      Value* argument = function.add_argument(std::string(name.name()), std::move(parsed));
      HEDDLE_ASSIGN(argument->placement, placement());
      HEDDLE_TRY(define(name, *argument, function.body()));
      if (!take(",")) break;
    }
    if (!take(")")) return wanted("an argument (%name: type) or ')'");
    return block(function.body());
  }

  /// [state] dtype[dimensions]
  Result<Type> type() {
    const Token at = token_;
    Type out;
    out.state = take("state");
    const auto dtype = dtype_named(token_.kind == Token::word ? token_.text : std::string_view());
    if (!dtype) return wanted("a type (f32[1, 256])");
    out.dtype = *dtype;
    advance();
    HEDDLE_TRY(expect("["));
    while (token_.kind == Token::number) {
      if (out.shape.size() == max_dimensions) return fail(token_, "more than {} dimensions", max_dimensions);
      HEDDLE_ASSIGN(const std::int64_t dimension, any_integer("a dimension"));
      out.shape.push_back(dimension);
      if (!take(",")) break;
    }
    if (!take("]")) return wanted("a dimension or ']'");
    if (auto checked = check_type(out); !checked.ok()) return fail(at, "{}", checked.error().message());
    return out;
  }

  /// Nothing, or: at arena+offset:bytes, at state+index, at input+index, at output+index.
  Result<Placement> placement() {
    Placement out;
    if (!take("at")) return out;
    if (take("arena")) out.kind = Placement::arena;
    else if (take("state")) out.kind = Placement::state;
    else if (take("input")) out.kind = Placement::input;
    else if (take("output")) out.kind = Placement::output;
    else return wanted("arena, state, input or output");
    HEDDLE_TRY(expect("+"));
    HEDDLE_ASSIGN(out.offset, integer("the place", 0, max_bytes));
    if (out.kind == Placement::arena) {
      HEDDLE_TRY(expect(":"));
      HEDDLE_ASSIGN(out.bytes, integer("the size in bytes", 0, max_bytes));
    }
    return out;
  }

  // ---- Nodes

  struct Known {
    Value* value;
    const Block* block;
  };

  Result<void> define(const Token& name, Value& value, const Block& block) {
    if (!values_.try_emplace(name.name(), Known{&value, &block}).second) return fail(name, "{} is defined twice", name.text);
    return {};
  }

  bool operand_here() const { return (token_.kind == Token::value || token_.kind == Token::symbol) && !token_.first_of_line; }

  /// The value or weight that the current token names, seen from `block`.
  Result<Value*> operand(const Block& block) {
    if (token_.kind != Token::value && token_.kind != Token::symbol) return wanted("a value (%name) or a weight (@name)");
    const Token at = token_;
    advance();
    if (at.kind == Token::symbol) {
      if (const auto found = weights_.find(at.name()); found != weights_.end()) return found->second;
      return fail(at, "unknown weight {}", at.text);
    }
    const auto found = values_.find(at.name());
    if (found == values_.end()) return fail(at, "unknown value {}", at.text);
    if (found->second.block != &block && found->second.block != top_)
      return fail(at, "{} is inside a group and cannot be read here", at.text);
    return found->second.value;
  }

  Result<void> block(Block& block) {
    HEDDLE_TRY(expect("{"));
    while (true) {
      while (take(";")) {
      }
      if (take("}")) return {};
      if (token_.kind == Token::end) return wanted("a node or '}'");
      HEDDLE_TRY(node(block));
      if (!token_.first_of_line && !token_.is(";") && !token_.is("}")) return wanted("the end of the line");
    }
  }

  /// [names =] op [operands] [attributes] [after(...)] [body] [: types]
  Result<void> node(Block& block) {
    llvm::SmallVector<Token, 4> names;
    if (token_.kind == Token::value) {
      do {
        if (token_.kind != Token::value) return wanted("a value (%name)");
        names.push_back(token_);
        advance();
      } while (take(","));
      HEDDLE_TRY(expect("="));
    }
    const Token at = token_;
    if (at.kind != Token::word) return wanted(names.empty() ? "a node or '}'" : "an op");
    const auto op = op_named(at.text);
    if (!op) return fail(at, "unknown op {}", shown(at.text));
    if (++nodes_ > max_nodes) return fail(at, "more than {} nodes in a function", max_nodes);
    advance();
    const OpInfo& row = info(*op);
    if (row.has(region) && block.group()) return fail(at, "a {} inside a group: groups do not nest", row.name);
    if (row.has(terminator) && !names.empty()) return fail(names[0], "{} has no results", row.name);
    if (!row.has(terminator) && !row.has(region) && names.size() != 1)
      return fail(at, "{} has one result, names given: {}", row.name, names.size());

    llvm::SmallVector<Value*, 6> operands;
    if (operand_here()) {
      do {
        HEDDLE_ASSIGN(Value * value, operand(block));
        operands.push_back(value);
      } while (take(","));
      if (operand_here()) return wanted("','");
    }
    HEDDLE_ASSIGN(auto attributes_read, attributes(at, row));
    auto made = std::make_unique<Node>(*op, operands, std::move(attributes_read));
    if (auto checked = check_row(*made); !checked.ok()) return fail(at, "{}", checked.error().message());
    HEDDLE_TRY(after(*made, block));
    Node& node = block.append(std::move(made));
    if (node.body()) HEDDLE_TRY(this->block(*node.body()));
    return results(at, names, node, block);
  }

  Result<std::vector<AttrValue>> attributes(const Token& op, const OpInfo& row) {
    std::vector<AttrValue> out(row.attrs.size());
    if (row.has(region)) {  // the label
      out[0] = std::string();
      if (token_.kind == Token::string) {
        HEDDLE_ASSIGN(out[0], string("the label"));
      }
      return out;
    }
    std::vector<bool> given(row.attrs.size());
    if (row.attrs.empty() && token_.is("{")) return fail(token_, "{} has no attributes", row.name);
    if (!row.attrs.empty() && take("{")) {
      while (!token_.is("}")) {
        const Token at = token_;
        HEDDLE_ASSIGN(const std::string key, word("an attribute"));
        const int i = row.attr_index(key);
        if (i < 0) return fail(at, "unknown attribute {}, {} has {}", key, row.name, names_of(row));
        if (given[i]) return fail(at, "{} is given twice", key);
        given[i] = true;
        HEDDLE_TRY(expect("="));
        HEDDLE_TRY(attribute(row.attrs[i], out[i]));
        if (!take(",")) break;
      }
      HEDDLE_TRY(expect("}"));
    }
    for (std::size_t i = 0; i < given.size(); ++i)
      if (!given[i]) return fail(op, "{} lacks attribute {}", row.name, row.attrs[i].name);
    return out;
  }

  Result<void> attribute(const AttrInfo& row, AttrValue& out) {
    const std::string what = fmt::format("a value of {}: ", row.name);
    if (row.kind == AttrKind::i64) {
      HEDDLE_ASSIGN(out, any_integer(what + "an integer"));
    } else if (row.kind == AttrKind::f32) {
      HEDDLE_ASSIGN(out, number(what + "a number"));
    } else {
      HEDDLE_ASSIGN(out, string(what + "a text"));
    }
    return {};
  }

  static std::string names_of(const OpInfo& row) {
    std::string out;
    for (const AttrInfo& attr : row.attrs) out += fmt::format("{}{}", out.empty() ? "" : ", ", attr.name);
    return out;
  }

  Result<void> after(Node& node, const Block& block) {
    if (!take("after")) return {};
    HEDDLE_TRY(expect("("));
    do {
      const Token at = token_;
      HEDDLE_ASSIGN(const Value* awaited, operand(block));
      if (!awaited->producer()) return fail(at, "{} is no node's result, after(...) names nodes", at.text);
      node.after.push_back(awaited->producer());
    } while (take(","));
    return expect(")");
  }

  Result<void> results(const Token& at, llvm::ArrayRef<Token> names, Node& node, const Block& block) {
    const OpInfo& row = node.info();
    if (row.has(terminator)) return {};
    llvm::SmallVector<std::pair<Type, Placement>, 4> given;
    const Token colon = token_;
    if (take(":")) {
      do {
        HEDDLE_ASSIGN(Type parsed, type());
        HEDDLE_ASSIGN(const Placement place, placement());
        given.emplace_back(std::move(parsed), place);
      } while (take(","));
      if (given.size() != names.size()) return fail(colon, "names given: {}, types given: {}", names.size(), given.size());
    } else if (row.has(region)) {
      const Node* yield = node.body()->terminator();
      const std::size_t yielded = yield && yield->op() == Op::yield ? yield->operands().size() : 0;
      if (yielded != names.size()) return fail(at, "names given: {}, values that the body yields: {}", names.size(), yielded);
      for (std::size_t i = 0; i < yielded; ++i) given.emplace_back(yield->operand(i)->type, Placement());
    } else {
      auto inferred = infer_type(node);
      if (!inferred.ok()) return fail(at, "{}", inferred.error().message());
      given.emplace_back(std::move(*inferred), Placement());
    }
    for (std::size_t i = 0; i < names.size(); ++i) {
      Value* result = node.add_result(std::move(given[i].first), std::string(names[i].name()));
      result->placement = given[i].second;
      HEDDLE_TRY(define(names[i], *result, block));
    }
    return {};
  }

  Lexer lexer_;
  Token token_;
  std::unique_ptr<Module> module_ = std::make_unique<Module>();
  llvm::StringMap<Value*> weights_;
  llvm::StringMap<Known> values_;  // of the function being read
  const Block* top_ = nullptr;     // its own block
  std::size_t nodes_ = 0;          // in it so far
};

}  // namespace

Result<std::unique_ptr<Module>> parse(std::string_view text, std::string_view file) {
  if (text.size() > max_text_bytes) return error("{}: {} bytes of text, wanted at most {}", file, text.size(), max_text_bytes);
  return Parser(text, file).module();
}

}  // namespace heddle::ir
