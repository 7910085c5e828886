#include "runtime/jinja/value.h"

#include <algorithm>
#include <cmath>

#include "runtime/jinja/characters.h"
#include "runtime/jinja/object.h"

namespace heddle::chat {
namespace {

using Kind = Value::Kind;

std::string real_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::string text = fmt::format("{}", value);  // the shortest that reads back, with Python's limits for the exponent
  if (text.find_first_of(".e") == text.npos) text += ".0";
  return text;
}

/// Python's repr of a string: in single quotes unless only those occur.
std::string quoted_text(std::string_view text) {
  const char quote = text.find('\'') != text.npos && text.find('"') == text.npos ? '"' : '\'';
  std::string out(1, quote);
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view c = first_character(rest);
    rest.remove_prefix(c.size());
    if (c == "\n") out += "\\n";
    else if (c == "\r") out += "\\r";
    else if (c == "\t") out += "\\t";
    else if (c == "\\" || c[0] == quote) out += fmt::format("\\{}", c);
    else if (c.size() == 1 && (std::uint8_t(c[0]) < 0x20 || std::uint8_t(c[0]) >= 0x7f))
      out += fmt::format("\\x{:02x}", std::uint8_t(c[0]));
    else out += c;
  }
  return out += quote;
}

void append_json_string(std::string& out, std::string_view text, bool ascii) {
  out += '"';
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view c = first_character(rest);
    rest.remove_prefix(c.size());
    const auto byte = std::uint8_t(c[0]);
    if (c == "\"" || c == "\\") out += '\\', out += c;
    else if (c == "\n") out += "\\n";
    else if (c == "\r") out += "\\r";
    else if (c == "\t") out += "\\t";
    else if (c == "\b") out += "\\b";
    else if (c == "\f") out += "\\f";
    else if (byte < 0x20) out += fmt::format("\\u{:04x}", byte);
    else if (byte < 0x80 || !ascii) out += c;
    else {
      const std::uint32_t point = code_point(c);
      if (point < 0x10000) out += fmt::format("\\u{:04x}", point);
      else out += fmt::format("\\u{:04x}\\u{:04x}", 0xd800 + ((point - 0x10000) >> 10), 0xdc00 + ((point - 0x10000) & 0x3ff));
    }
  }
  out += '"';
}

class Json {
 public:
  explicit Json(const JsonForm& form) : form_(form) {}
  std::string out;

  Result<void> add(const Value& value, int level) {
    switch (value.kind()) {
      case Kind::none:
        out += "null";
        return {};
      case Kind::boolean:
        out += value.integer() ? "true" : "false";
        return {};
      case Kind::integer:
        out += fmt::format("{}", value.integer());
        return {};
      case Kind::real:
        out += std::isnan(value.real())   ? "NaN"
               : std::isinf(value.real()) ? (value.real() < 0 ? "-Infinity" : "Infinity")
                                          : real_text(value.real());
        return {};
      case Kind::string:
        append_json_string(out, value.string(), form_.ensure_ascii);
        return {};
      case Kind::sequence:
        if (value.sequence().form == Sequence::Form::generator) break;
        return add_all('[', ']', value.sequence().items, level, [&](const Value& item) { return add(item, level + 1); });
      case Kind::mapping:
        return add_mapping(value.mapping(), level);
      default:
        break;
    }
    return error("object of type {} is not JSON serializable", type_name(value));
  }

 private:
  template <class Range, class Add>
  Result<void> add_all(char open, char close, const Range& range, int level, Add add_one) {
    out += open;
    bool first = true;
    for (const auto& item : range) {
      if (!first) out += form_.item_separator;
      first = false;
      line(level + 1);
      HEDDLE_TRY(add_one(item));
    }
    if (!first) line(level);
    out += close;
    return {};
  }

  Result<void> add_mapping(const Mapping& mapping, int level) {
    Value::Entries entries = mapping.entries;
    if (form_.sort_keys) {
      for (const auto& [key, value] : entries) {
        if (!key.is(Kind::string)) return error("tojson: keys that are sorted must be strings, found {}", type_name(key));
      }
      std::stable_sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.first.string() < b.first.string(); });
    }
    return add_all('{', '}', entries, level, [&](const auto& entry) -> Result<void> {
      if (entry.first.is(Kind::string)) {
        append_json_string(out, entry.first.string(), form_.ensure_ascii);
      } else {
        Json key(form_);
        HEDDLE_TRY(key.add(entry.first, 0));
        append_json_string(out, key.out, form_.ensure_ascii);
      }
      out += form_.key_separator;
      return add(entry.second, level + 1);
    });
  }

  void line(int level) {
    if (form_.indent < 0) return;
    out += '\n';
    out.append(std::size_t(form_.indent) * std::size_t(level), ' ');
  }

  const JsonForm& form_;
};

template <class Range, class Add>
std::string joined(char open, char close, const Range& range, Add add) {
  std::string out(1, open);
  for (const auto& item : range) {
    if (out.size() > 1) out += ", ";
    add(out, item);
  }
  return out += close;
}

bool equal_mappings(const Value::Entries& left, const Mapping& right) {
  if (left.size() != right.entries.size()) return false;
  for (std::size_t i = 0; i < left.size(); ++i) {
    const auto& [key, value] = left[i];
    const Value* other = equal(right.entries[i].first, key) ? &right.entries[i].second : right.find(key);  // most have the same order
    if (!other || !equal(value, *other)) return false;
  }
  return true;
}

Value sequence_of(Sequence::Form form, std::vector<Value> items, auto make) {
  std::size_t weight = 2;
  int depth = 1;
  for (const Value& item : items) {
    weight += 2 + item.weight();
    depth = std::max(depth, 1 + item.depth());
  }
  return make(std::make_shared<const Sequence>(Sequence{form, std::move(items), weight, depth}));
}

}  // namespace

Value Value::undefined(std::string message) { return Value(Undefined{std::make_shared<const std::string>(std::move(message))}); }
Value Value::list(std::vector<Value> items) {
  return sequence_of(Sequence::Form::list, std::move(items), [](auto s) { return Value(std::move(s)); });
}
Value Value::tuple(std::vector<Value> items) {
  return sequence_of(Sequence::Form::tuple, std::move(items), [](auto s) { return Value(std::move(s)); });
}
Value Value::generator(std::vector<Value> items) {
  return sequence_of(Sequence::Form::generator, std::move(items), [](auto s) { return Value(std::move(s)); });
}
Value Value::mapping(Entries entries) {
  std::size_t weight = 2;
  int depth = 1;
  for (const auto& [key, value] : entries) {
    weight += 4 + key.weight() + value.weight();
    depth = std::max({depth, 1 + key.depth(), 1 + value.depth()});
  }
  return Value(std::make_shared<const Mapping>(Mapping{std::move(entries), weight, depth}));
}

Kind Value::kind() const { return Kind(held_.index()); }
const std::string& Value::undefined_message() const { return *std::get<Undefined>(held_).message; }
std::int64_t Value::integer() const { return is(Kind::boolean) ? std::get<bool>(held_) : std::get<std::int64_t>(held_); }
double Value::real() const { return is(Kind::real) ? std::get<double>(held_) : double(integer()); }
const std::string& Value::string() const { return *std::get<std::shared_ptr<const std::string>>(held_); }
const Sequence& Value::sequence() const { return *std::get<std::shared_ptr<const Sequence>>(held_); }
const Mapping& Value::mapping() const { return *std::get<std::shared_ptr<const Mapping>>(held_); }
Object& Value::object() const { return *std::get<Object*>(held_); }

std::size_t Value::weight() const {
  switch (kind()) {
    case Kind::string:
      return 1 + string().size();
    case Kind::sequence:
      return sequence().weight;
    case Kind::mapping:
      return mapping().weight;
    default:
      return 1;
  }
}

int Value::depth() const { return is(Kind::sequence) ? sequence().depth : is(Kind::mapping) ? mapping().depth : 0; }

const Value* Mapping::find(const Value& key) const {
  const auto at = std::find_if(entries.begin(), entries.end(), [&](const auto& entry) { return equal(entry.first, key); });
  return at == entries.end() ? nullptr : &at->second;
}

const Value* Mapping::named(std::string_view key) const {
  const auto at =
      std::find_if(entries.begin(), entries.end(), [&](const auto& e) { return e.first.is(Kind::string) && e.first.string() == key; });
  return at == entries.end() ? nullptr : &at->second;
}

std::string_view type_name(const Value& value) {
  switch (value.kind()) {
    case Kind::undefined:
      return "Undefined";
    case Kind::none:
      return "NoneType";
    case Kind::boolean:
      return "bool";
    case Kind::integer:
      return "int";
    case Kind::real:
      return "float";
    case Kind::string:
      return "str";
    case Kind::mapping:
      return "dict";
    case Kind::object:
      return value.object().type();
    case Kind::sequence:
      switch (value.sequence().form) {
        case Sequence::Form::list:
          return "list";
        case Sequence::Form::tuple:
          return "tuple";
        case Sequence::Form::generator:
          return "generator";
      }
  }
  HEDDLE_CHECK(false);
}

bool truth(const Value& value) {
  switch (value.kind()) {
    case Kind::undefined:
    case Kind::none:
      return false;
    case Kind::boolean:
    case Kind::integer:
      return value.integer() != 0;
    case Kind::real:
      return value.real() != 0;
    case Kind::string:
      return !value.string().empty();
    case Kind::sequence:
      return value.sequence().form == Sequence::Form::generator || !value.sequence().items.empty();
    case Kind::mapping:
      return !value.mapping().entries.empty();
    case Kind::object:
      return true;
  }
  HEDDLE_CHECK(false);
}

bool equal(const Value& left, const Value& right) {
  if (left.is_number() && right.is_number())
    return left.is_whole() && right.is_whole() ? left.integer() == right.integer() : left.real() == right.real();
  if (left.kind() != right.kind()) return false;
  switch (left.kind()) {
    case Kind::string:
      return left.string() == right.string();
    case Kind::sequence:
      return left.sequence().form == right.sequence().form && std::ranges::equal(left.sequence().items, right.sequence().items, equal);
    case Kind::mapping:
      return equal_mappings(left.mapping().entries, right.mapping());
    case Kind::object:
      return &left.object() == &right.object();
    default:
      return true;  // undefined, none
  }
}

Result<int> compare(const Value& left, const Value& right) {
  if (left.is_whole() && right.is_whole()) return left.integer() < right.integer() ? -1 : int(left.integer() > right.integer());
  if (left.is_number() && right.is_number()) return left.real() < right.real() ? -1 : int(left.real() > right.real());
  if (left.is(Kind::string) && right.is(Kind::string)) return left.string().compare(right.string());  // UTF-8 sorts as its code points do
  if (left.is(Kind::sequence) && right.is(Kind::sequence) && left.sequence().form == right.sequence().form) {
    const auto &a = left.sequence().items, &b = right.sequence().items;
    for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i)
      if (!equal(a[i], b[i])) return compare(a[i], b[i]);
    return a.size() < b.size() ? -1 : int(a.size() > b.size());
  }
  if (left.is(Kind::undefined) || right.is(Kind::undefined))
    return error("{}", (left.is(Kind::undefined) ? left : right).undefined_message());
  return error("'<' not supported between instances of '{}' and '{}'", type_name(left), type_name(right));
}

std::string text_of(const Value& value) {
  if (value.is(Kind::undefined)) return "";
  if (value.is(Kind::string)) return value.string();
  return repr(value);
}

std::string repr(const Value& value) {
  const auto add = [](std::string& out, const Value& item) { out += repr(item); };
  switch (value.kind()) {
    case Kind::undefined:
      return "Undefined";
    case Kind::none:
      return "None";
    case Kind::boolean:
      return value.integer() ? "True" : "False";
    case Kind::integer:
      return fmt::format("{}", value.integer());
    case Kind::real:
      return real_text(value.real());
    case Kind::string:
      return quoted_text(value.string());
    case Kind::sequence: {
      if (value.sequence().form != Sequence::Form::tuple) return joined('[', ']', value.sequence().items, add);
      std::string out = joined('(', ')', value.sequence().items, add);
      return value.sequence().items.size() == 1 ? out.insert(out.size() - 1, ",") : out;
    }
    case Kind::mapping:
      return joined('{', '}', value.mapping().entries,
                    [](std::string& out, const auto& entry) { out += repr(entry.first) + ": " + repr(entry.second); });
    case Kind::object:
      return fmt::format("<{}>", value.object().type());
  }
  HEDDLE_CHECK(false);
}

Result<std::string> json_of(const Value& value, const JsonForm& form) {
  Json json(form);
  HEDDLE_TRY(json.add(value, 0));
  return std::move(json.out);
}

}  // namespace heddle::chat
