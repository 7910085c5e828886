#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>

#include "runtime/jinja/builtins.h"
#include "runtime/jinja/characters.h"
#include "runtime/jinja/renderer.h"

namespace heddle::chat {
namespace {

using Kind = Value::Kind;
using Given = std::vector<std::optional<Value>>;

Result<Value> tojson(Renderer&, const Value& value, const Arguments& arguments) {
  HEDDLE_ASSIGN(const Given given, arguments.bind("tojson", {"ensure_ascii", "indent", "separators", "sort_keys"}));
  JsonForm form;
  form.ensure_ascii = given[0] && truth(*given[0]);
  form.sort_keys = given[3] && truth(*given[3]);
  if (given[1] && !given[1]->is(Kind::none)) {
    if (!given[1]->is_whole() || given[1]->integer() < 0 || given[1]->integer() > 16) return error("tojson: indent must be 0 to 16");
    form.indent = int(given[1]->integer());
    form.item_separator.resize(1);  // no blank at a line's end
  }
  if (given[2] && !given[2]->is(Kind::none)) {
    const auto* pair = given[2]->is(Kind::sequence) ? &given[2]->sequence().items : nullptr;
    if (!pair || pair->size() != 2 || !(*pair)[0].is(Kind::string) || !(*pair)[1].is(Kind::string))
      return error("tojson: separators must be two strings");
    form.item_separator = (*pair)[0].string();
    form.key_separator = (*pair)[1].string();
    if (form.item_separator.size() + form.key_separator.size() > 16) return error("tojson: separators of more than 16 bytes");
  }
  HEDDLE_ASSIGN(std::string text, json_of(value, form));
  return Value(std::move(text));
}

Result<Value> length(Renderer& renderer, const Value& value, const Arguments& arguments) {
  HEDDLE_TRY(arguments.bind("length", {}));
  if (value.is(Kind::string)) return Value(std::int64_t(character_count(value.string())));
  if (value.is(Kind::mapping)) return Value(std::int64_t(value.mapping().entries.size()));
  if (value.is(Kind::undefined)) return Value(0);
  if (!value.is(Kind::sequence) || value.sequence().form == Sequence::Form::generator)
    return error("object of type '{}' has no len()", type_name(value));
  HEDDLE_ASSIGN(const auto items, renderer.items_of(value));
  return Value(std::int64_t(items.size()));
}

Result<Value> trim(Renderer&, const Value& value, const Arguments& arguments) {
  HEDDLE_ASSIGN(const Given given, arguments.bind("trim", {"chars"}));
  const std::string text = text_of(value);
  if (!given[0] || given[0]->is(Kind::none)) return Value(strip(text, true, true));
  const std::string set = text_of(*given[0]);
  return Value(strip(text, true, true, &set));
}

Result<Value> string(Renderer&, const Value& value, const Arguments& arguments) {
  HEDDLE_TRY(arguments.bind("string", {}));
  return Value(text_of(value));
}

template <std::string (*change)(std::string_view)>
Result<Value> changed(Renderer&, const Value& value, const Arguments& arguments) {
  HEDDLE_TRY(arguments.bind("the filter", {}));
  return Value(change(text_of(value)));
}

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&') out += "&amp;";
    else if (c == '<') out += "&lt;";
    else if (c == '>') out += "&gt;";
    else if (c == '"') out += "&#34;";
    else if (c == '\'') out += "&#39;";
    else out += c;
  }
  return out;
}

Result<Value> fallback(Renderer&, const Value& value, const Arguments& arguments) {
  HEDDLE_ASSIGN(const Given given, arguments.bind("default", {"default_value", "boolean"}));
  const bool boolean = given[1] && truth(*given[1]);
  if (!value.is(Kind::undefined) && (!boolean || truth(value))) return value;
  return given[0].value_or(Value(""));
}

/// The attribute that a filter's argument names: "function.name" goes down step by step, a number is an index.
Result<Value> attribute_path(Renderer& renderer, Value value, const Value& path) {
  if (path.is_whole()) return renderer.item(value, path);
  std::string_view rest = path.is(Kind::string) ? std::string_view(path.string()) : std::string_view();
  if (rest.empty()) return error("an attribute's name must be a string, found {}", type_name(path));
  while (!rest.empty()) {
    const std::size_t dot = std::min(rest.find('.'), rest.size());
    const std::string name(rest.substr(0, dot));
    rest.remove_prefix(std::min(dot + 1, rest.size()));
    const bool number = !name.empty() && name.size() < 10 && std::ranges::all_of(name, [](char c) { return c >= '0' && c <= '9'; });
    HEDDLE_ASSIGN(value, renderer.item(value, number ? Value(std::int64_t(std::stoll(name))) : Value(name)));
  }
  return value;
}

Result<Value> join(Renderer& renderer, const Value& value, const Arguments& arguments) {
  HEDDLE_ASSIGN(const Given given, arguments.bind("join", {"d", "attribute"}));
  const std::string separator = given[0] ? text_of(*given[0]) : "";
  HEDDLE_ASSIGN(const auto items, renderer.items_of(value));
  std::string out;
  for (std::size_t i = 0; i < items.size(); ++i) {
    Value item = items[i];
    if (given[1] && !given[1]->is(Kind::none)) {
      HEDDLE_ASSIGN(item, attribute_path(renderer, std::move(item), *given[1]));
    }
    HEDDLE_TRY(renderer.charge(separator.size() + item.weight()));
    if (i > 0) out += separator;
    out += text_of(item);
  }
  return Value(std::move(out));
}

Result<Value> items(Renderer& renderer, const Value& value, const Arguments& arguments) {
  if (value.is(Kind::undefined)) return Value::generator({});
  if (!value.is(Kind::mapping)) return error("can only get item pairs from a mapping");
  HEDDLE_ASSIGN(const Value pairs, *call_method(renderer, value, "items", arguments));
  return Value::generator(pairs.sequence().items);
}

Result<Value> list(Renderer& renderer, const Value& value, const Arguments& arguments) {
  HEDDLE_TRY(arguments.bind("list", {}));
  HEDDLE_ASSIGN(auto all, renderer.items_of(value));
  return Value::list(std::move(all));
}

Result<Value> first(Renderer& renderer, const Value& value, const Arguments& arguments) {
  HEDDLE_TRY(arguments.bind("first", {}));
  HEDDLE_ASSIGN(const auto all, renderer.items_of(value));
  return all.empty() ? Value::undefined("no first item, sequence was empty") : all.front();
}
Result<Value> last(Renderer& renderer, const Value& value, const Arguments& arguments) {
  HEDDLE_TRY(arguments.bind("last", {}));
  HEDDLE_ASSIGN(const auto all, renderer.items_of(value));
  return all.empty() ? Value::undefined("no last item, sequence was empty") : all.back();
}

Result<Value> reverse(Renderer& renderer, const Value& value, const Arguments& arguments) {
  HEDDLE_TRY(arguments.bind("reverse", {}));
  HEDDLE_ASSIGN(auto all, renderer.items_of(value));
  std::reverse(all.begin(), all.end());
  if (!value.is(Kind::string)) return Value::generator(std::move(all));
  std::string out;
  for (const Value& c : all) out += c.string();
  return Value(std::move(out));
}

Result<Value> replace(Renderer& renderer, const Value& value, const Arguments& arguments) {
  HEDDLE_ASSIGN(const Given given, arguments.bind("replace", {"old", "new", "count"}));
  if (!given[0] || !given[1]) return error("replace() misses an argument");
  Arguments texts{{text_of(*given[0]), text_of(*given[1])}, {}};
  if (given[2] && !given[2]->is(Kind::none)) texts.positional.push_back(*given[2]);
  return *call_method(renderer, Value(text_of(value)), "replace", texts);
}

Result<Value> indent(Renderer& renderer, const Value& value, const Arguments& arguments) {
  HEDDLE_ASSIGN(const Given given, arguments.bind("indent", {"width", "first", "blank"}));
  std::string blanks(4, ' ');
  if (given[0] && given[0]->is(Kind::string)) blanks = given[0]->string();
  else if (given[0]) {
    if (!given[0]->is_whole() || given[0]->integer() > 1000) return error("indent: the width must be a number up to 1000");
    blanks.assign(std::size_t(std::max<std::int64_t>(given[0]->integer(), 0)), ' ');
  }
  const bool with_first = given[1] && truth(*given[1]), with_blank = given[2] && truth(*given[2]);
  const std::string text = text_of(value);
  std::string out;
  bool is_first = true;
  for (std::string_view rest = text;; is_first = false) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    const std::string_view line = rest.substr(0, end);
    HEDDLE_TRY(renderer.charge(blanks.size() + line.size()));
    if (is_first ? with_first : with_blank || !line.empty()) out += blanks;
    out += line;
    if (end == rest.size()) return Value(std::move(out));
    out += '\n';
    rest.remove_prefix(end + 1);
  }
}

Result<Value> whole(Renderer&, const Value& value, const Arguments& arguments) {
  HEDDLE_ASSIGN(const Given given, arguments.bind("int", {"default"}));
  const Value otherwise = given[0].value_or(Value(0));
  const auto of_real = [&](double x) { return std::abs(x) < 9e18 ? Value(std::int64_t(x)) : otherwise; };
  if (value.is_whole()) return Value(value.integer());
  if (value.is_number()) return of_real(value.real());
  if (!value.is(Kind::string)) return otherwise;
  const std::string text(strip(value.string(), true, true));
  char* end = nullptr;
  errno = 0;
  const long long parsed = std::strtoll(text.c_str(), &end, 10);
  if (!text.empty() && end == text.c_str() + text.size() && errno == 0) return Value(std::int64_t(parsed));
  const double real = std::strtod(text.c_str(), &end);
  return !text.empty() && end == text.c_str() + text.size() ? of_real(real) : otherwise;
}

Result<Value> real(Renderer&, const Value& value, const Arguments& arguments) {
  HEDDLE_ASSIGN(const Given given, arguments.bind("float", {"default"}));
  if (value.is_number()) return Value(value.real());
  if (value.is(Kind::string)) {
    const std::string text(strip(value.string(), true, true));
    char* end = nullptr;
    const double parsed = std::strtod(text.c_str(), &end);
    if (!text.empty() && end == text.c_str() + text.size()) return Value(parsed);
  }
  return given[0].value_or(Value(0.0));
}

Result<Value> absolute(Renderer& renderer, const Value& value, const Arguments& arguments) {
  HEDDLE_TRY(arguments.bind("abs", {}));
  if (!value.is_number()) return error("bad operand type for abs(): '{}'", type_name(value));
  if (!value.is_whole()) return Value(std::abs(value.real()));
  return value.integer() < 0 ? arithmetic(renderer, "-", Value(0), value) : Value(value.integer());
}

Result<Value> rounded(Renderer&, const Value& value, const Arguments& arguments) {
  HEDDLE_ASSIGN(const Given given, arguments.bind("round", {"precision", "method"}));
  if (!value.is_number()) return error("type {} doesn't define __round__ method", type_name(value));
  const std::int64_t places = given[0] && given[0]->is_whole() ? given[0]->integer() : 0;
  const std::string method = given[1] ? text_of(*given[1]) : "common";
  if (places < -15 || places > 15) return error("round: precision must be -15 to 15");
  const double scale = std::pow(10.0, double(places)), x = value.real() * scale;
  if (method == "ceil") return Value(std::ceil(x) / scale);
  if (method == "floor") return Value(std::floor(x) / scale);
  if (method != "common") return error("method must be common, ceil or floor");
  if (value.is_whole() && places >= 0) return Value(value.integer());
  return Value(std::nearbyint(x) / scale);
}

Result<Value> unique(Renderer& renderer, const Value& value, const Arguments& arguments) {
  HEDDLE_TRY(arguments.bind("unique", {}));
  HEDDLE_ASSIGN(const auto all, renderer.items_of(value));
  std::vector<Value> out;
  for (const Value& item : all) {
    const Value key = item.is(Kind::string) ? Value(lower(item.string())) : item;  // without regard to case, as Jinja
    HEDDLE_TRY(renderer.charge(out.size() + item.weight()));
    const bool seen = std::ranges::any_of(out, [&](const Value& other) {
      return other.is(Kind::string) && key.is(Kind::string) ? lower(other.string()) == key.string() : equal(other, key);
    });
    if (!seen) out.push_back(item);
  }
  return Value::generator(std::move(out));
}

/// Compares without regard to case, unless told; the error is the first that a comparison met.
class Order {
 public:
  Order(Renderer& renderer, bool case_sensitive) : renderer_(renderer), case_sensitive_(case_sensitive) {}
  bool below(const Value& a, const Value& b) {
    if (fault_) return false;
    if (auto charged = renderer_.charge(1 + std::min(a.weight(), b.weight())); !charged.ok()) {
      fault_ = charged.take_error();
      return false;
    }
    const auto folded = [&](const Value& v) { return v.is(Kind::string) && !case_sensitive_ ? Value(lower(v.string())) : v; };
    auto order = compare(folded(a), folded(b));
    if (!order.ok()) fault_ = order.take_error();
    return !fault_ && *order < 0;
  }
  Result<void> done() {
    if (fault_) return *fault_;
    return {};
  }

 private:
  Renderer& renderer_;
  bool case_sensitive_;
  std::optional<Error> fault_;
};

/// Merge sort: its order need not be one (nan), and what cannot be compared is an error, not chaos.
Result<std::vector<std::size_t>> sorted(Renderer& renderer, const std::vector<Value>& keys, bool reverse, bool case_sensitive) {
  std::vector<std::size_t> order(keys.size());
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = i;
  Order less(renderer, case_sensitive);
  std::vector<std::size_t> merged(keys.size());
  for (std::size_t width = 1; width < order.size(); width *= 2) {
    for (std::size_t begin = 0; begin < order.size(); begin += 2 * width) {
      const std::size_t middle = std::min(begin + width, order.size()), end = std::min(begin + 2 * width, order.size());
      std::size_t a = begin, b = middle;
      for (std::size_t to = begin; to < end; ++to) {
        const bool second =
            a == middle || (b < end && (reverse ? less.below(keys[order[a]], keys[order[b]]) : less.below(keys[order[b]], keys[order[a]])));
        merged[to] = order[second ? b++ : a++];
      }
      HEDDLE_TRY(less.done());
    }
    order.swap(merged);
  }
  return order;
}

Result<Value> sort(Renderer& renderer, const Value& value, const Arguments& arguments) {
  HEDDLE_ASSIGN(const Given given, arguments.bind("sort", {"reverse", "case_sensitive", "attribute"}));
  HEDDLE_ASSIGN(const auto all, renderer.items_of(value));
  std::vector<Value> keys = all;
  if (given[2] && !given[2]->is(Kind::none)) {
    for (Value& key : keys) {
      HEDDLE_ASSIGN(key, attribute_path(renderer, key, *given[2]));
    }
  }
  HEDDLE_ASSIGN(const auto order, sorted(renderer, keys, given[0] && truth(*given[0]), given[1] && truth(*given[1])));
  std::vector<Value> out;
  for (const std::size_t i : order) out.push_back(all[i]);
  return Value::list(std::move(out));
}

Result<Value> dictsort(Renderer& renderer, const Value& value, const Arguments& arguments) {
  HEDDLE_ASSIGN(const Given given, arguments.bind("dictsort", {"case_sensitive", "by", "reverse"}));
  if (!value.is(Kind::mapping)) return error("dictsort: '{}' object is no mapping", type_name(value));
  const std::string by = given[1] ? text_of(*given[1]) : "key";
  if (by != "key" && by != "value") return error("you can only sort by either \"key\" or \"value\"");
  const auto& entries = value.mapping().entries;
  std::vector<Value> keys;
  for (const auto& [key, item] : entries) keys.push_back(by == "key" ? key : item);
  HEDDLE_ASSIGN(const auto order, sorted(renderer, keys, given[2] && truth(*given[2]), given[0] && truth(*given[0])));
  std::vector<Value> out;
  for (const std::size_t i : order) out.push_back(Value::tuple({entries[i].first, entries[i].second}));
  return Value::list(std::move(out));
}

template <bool largest>
Result<Value> extreme(Renderer& renderer, const Value& value, const Arguments& arguments) {
  HEDDLE_ASSIGN(const Given given, arguments.bind(largest ? "max" : "min", {"case_sensitive", "attribute"}));
  HEDDLE_ASSIGN(const auto all, renderer.items_of(value));
  if (all.empty()) return Value::undefined("no aggregated item, sequence was empty");
  Order less(renderer, given[0] && truth(*given[0]));
  std::vector<Value> keys = all;
  if (given[1] && !given[1]->is(Kind::none)) {
    for (Value& key : keys) {
      HEDDLE_ASSIGN(key, attribute_path(renderer, key, *given[1]));
    }
  }
  std::size_t best = 0;
  for (std::size_t i = 1; i < all.size(); ++i)
    if (largest ? less.below(keys[best], keys[i]) : less.below(keys[i], keys[best])) best = i;
  HEDDLE_TRY(less.done());
  return all[best];
}

Result<Value> sum(Renderer& renderer, const Value& value, const Arguments& arguments) {
  HEDDLE_ASSIGN(const Given given, arguments.bind("sum", {"attribute", "start"}));
  HEDDLE_ASSIGN(const auto all, renderer.items_of(value));
  Value total = given[1].value_or(Value(0));
  for (Value item : all) {
    if (given[0] && !given[0]->is(Kind::none)) {
      HEDDLE_ASSIGN(item, attribute_path(renderer, std::move(item), *given[0]));
    }
    HEDDLE_ASSIGN(total, arithmetic(renderer, "+", total, item));
    HEDDLE_ASSIGN(total, renderer.made(std::move(total)));
  }
  return total;
}

/// `map("upper")`, `map("join", ", ")`, `map(attribute="name", default="")`.
Result<Value> map(Renderer& renderer, const Value& value, const Arguments& arguments) {
  std::vector<Value> out;
  if (!truth(value)) return Value::generator(std::move(out));
  HEDDLE_ASSIGN(const auto all, renderer.items_of(value));
  if (arguments.positional.empty()) {
    HEDDLE_ASSIGN(const Given given, arguments.bind("map", {"attribute", "default"}));
    if (!given[0]) return error("map requires a filter argument");
    for (const Value& item : all) {
      HEDDLE_ASSIGN(Value part, attribute_path(renderer, item, *given[0]));
      out.push_back(part.is(Kind::undefined) && given[1] ? *given[1] : std::move(part));
    }
    return Value::generator(std::move(out));
  }
  const std::string name = text_of(arguments.positional[0]);
  const Filter filter = filter_named(name);
  if (!filter) return error("unknown filter '{}'", name);
  const Arguments rest{{arguments.positional.begin() + 1, arguments.positional.end()}, arguments.named};
  for (const Value& item : all) {
    HEDDLE_TRY(renderer.charge(item.weight()));
    HEDDLE_ASSIGN(Value part, filter(renderer, item, rest));
    HEDDLE_ASSIGN(part, renderer.made(std::move(part)));
    out.push_back(std::move(part));
  }
  return Value::generator(std::move(out));
}

/// select, reject, selectattr, rejectattr: what passes a test, or is true.
template <bool wanted, bool by_attribute>
Result<Value> select(Renderer& renderer, const Value& value, const Arguments& arguments) {
  std::size_t used = 0;
  if (by_attribute && arguments.positional.empty()) return error("missing parameter for attribute name");
  const Value attribute = by_attribute ? arguments.positional[used++] : Value();
  Test test = nullptr;
  if (used < arguments.positional.size()) {
    const std::string name = text_of(arguments.positional[used++]);
    test = test_named(name);
    if (!test) return error("unknown test '{}'", name);
  }
  const Arguments rest{{arguments.positional.begin() + std::ptrdiff_t(used), arguments.positional.end()}, arguments.named};
  std::vector<Value> out;
  if (!truth(value)) return Value::generator(std::move(out));
  HEDDLE_ASSIGN(const auto all, renderer.items_of(value));
  for (const Value& item : all) {
    Value looked_at = item;
    if (by_attribute) {
      HEDDLE_ASSIGN(looked_at, attribute_path(renderer, item, attribute));
    }
    HEDDLE_TRY(renderer.charge(rest.positional.empty() ? 1 : looked_at.weight()));
    bool holds = truth(looked_at);
    if (test) {
      HEDDLE_ASSIGN(holds, test(looked_at, rest));
    }
    if (holds == wanted) out.push_back(item);
  }
  return Value::generator(std::move(out));
}

const std::map<std::string_view, Filter> filters = {
    {"abs", absolute},
    {"capitalize", changed<capitalised>},
    {"count", length},
    {"d", fallback},
    {"default", fallback},
    {"dictsort", dictsort},
    {"e", changed<escaped>},
    {"escape", changed<escaped>},
    {"first", first},
    {"float", real},
    {"indent", indent},
    {"int", whole},
    {"items", items},
    {"join", join},
    {"last", last},
    {"length", length},
    {"list", list},
    {"lower", changed<lower>},
    {"map", map},
    {"max", extreme<true>},
    {"min", extreme<false>},
    {"reject", select<false, false>},
    {"rejectattr", select<false, true>},
    {"replace", replace},
    {"reverse", reverse},
    {"round", rounded},
    {"safe", string},
    {"select", select<true, false>},
    {"selectattr", select<true, true>},
    {"sort", sort},
    {"string", string},
    {"sum", sum},
    {"title", changed<titled>},
    {"tojson", tojson},
    {"trim", trim},
    {"unique", unique},
    {"upper", changed<upper>},
};

}  // namespace

Filter filter_named(std::string_view name) {
  const auto at = filters.find(name);
  return at == filters.end() ? nullptr : at->second;
}

}  // namespace heddle::chat
