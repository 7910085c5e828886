#include <algorithm>
#include <map>

#include "runtime/jinja/builtins.h"
#include "runtime/jinja/characters.h"
#include "runtime/jinja/renderer.h"

namespace heddle::chat {
namespace {

using Kind = Value::Kind;
using Given = std::vector<std::optional<Value>>;
using Method = Result<Value> (*)(Renderer& renderer, const Value& self, const Arguments& arguments);

Result<std::string> string_argument(std::string_view method, const std::optional<Value>& given) {
  if (!given) return error("{}() misses an argument", method);
  if (!given->is(Kind::string)) return error("{}() argument must be str, not {}", method, type_name(*given));
  return given->string();
}
Result<std::int64_t> whole_argument(std::string_view method, const std::optional<Value>& given, std::int64_t otherwise) {
  if (!given) return otherwise;
  if (!given->is_whole()) return error("{}() argument must be int, not {}", method, type_name(*given));
  return given->integer();
}

// ---- Strings

template <bool left, bool right>
Result<Value> strip_method(Renderer&, const Value& self, const Arguments& arguments) {
  HEDDLE_ASSIGN(const Given given, arguments.bind("strip", {"chars"}));
  if (!given[0] || given[0]->is(Kind::none)) return Value(strip(self.string(), left, right));
  HEDDLE_ASSIGN(const std::string set, string_argument("strip", given[0]));
  return Value(strip(self.string(), left, right, &set));
}

/// By white space: runs of it count once, and none is left at the ends but behind the last of `most` cuts.
std::vector<Value> split_at_space(std::string_view text, std::int64_t most) {
  std::vector<Value> out;
  for (text = strip(text, true, false); !text.empty(); text = strip(text, true, false)) {
    if (most >= 0 && std::int64_t(out.size()) == most) {
      out.emplace_back(text);
      break;
    }
    std::size_t end = 0;
    while (end < text.size() && !is_space(first_character(text.substr(end)))) end += first_character(text.substr(end)).size();
    out.emplace_back(text.substr(0, end));
    text.remove_prefix(end);
  }
  return out;
}

Result<Value> split(Renderer&, const Value& self, const Arguments& arguments) {
  HEDDLE_ASSIGN(const Given given, arguments.bind("split", {"sep", "maxsplit"}));
  HEDDLE_ASSIGN(const std::int64_t most, whole_argument("split", given[1], -1));
  if (!given[0] || given[0]->is(Kind::none)) return Value::list(split_at_space(self.string(), most));
  HEDDLE_ASSIGN(const std::string separator, string_argument("split", given[0]));
  if (separator.empty()) return error("empty separator");
  std::vector<Value> out;
  std::size_t begin = 0;
  const std::string& text = self.string();
  for (std::size_t at; (most < 0 || std::int64_t(out.size()) < most) && (at = find_text(text, separator, begin)) != text.npos;
       begin = at + separator.size())
    out.emplace_back(text.substr(begin, at - begin));
  out.emplace_back(text.substr(begin));
  return Value::list(std::move(out));
}

Result<Value> rsplit(Renderer& renderer, const Value& self, const Arguments& arguments) {
  HEDDLE_ASSIGN(const Given given, arguments.bind("rsplit", {"sep", "maxsplit"}));
  HEDDLE_ASSIGN(const std::int64_t most, whole_argument("rsplit", given[1], -1));
  if (most < 0) return split(renderer, self, arguments);
  HEDDLE_ASSIGN(const std::string separator, string_argument("rsplit", given[0]));
  if (separator.empty()) return error("empty separator");
  std::vector<Value> out;
  std::string_view rest = self.string();
  HEDDLE_TRY(renderer.charge(rest.size() * separator.size() / 16));  // what rfind can take
  while (std::int64_t(out.size()) < most && rest.size() >= separator.size()) {
    const std::size_t at = rest.rfind(separator);
    if (at == rest.npos) break;
    out.emplace_back(rest.substr(at + separator.size()));
    rest = rest.substr(0, at);
  }
  out.emplace_back(rest);
  std::reverse(out.begin(), out.end());
  return Value::list(std::move(out));
}

template <bool at_start>
Result<Value> starts_or_ends(Renderer&, const Value& self, const Arguments& arguments) {
  HEDDLE_ASSIGN(const Given given, arguments.bind(at_start ? "startswith" : "endswith", {"prefix"}));
  if (!given[0]) return error("startswith() misses an argument");
  const auto fits = [&](const Value& part) -> Result<bool> {
    if (!part.is(Kind::string))
      return error("{} first arg must be str or a tuple of str, not {}", at_start ? "startswith" : "endswith", type_name(part));
    return at_start ? self.string().starts_with(part.string()) : self.string().ends_with(part.string());
  };
  if (!given[0]->is(Kind::sequence) || given[0]->sequence().form != Sequence::Form::tuple) {
    HEDDLE_ASSIGN(const bool fit, fits(*given[0]));
    return Value(fit);
  }
  for (const Value& part : given[0]->sequence().items) {
    HEDDLE_ASSIGN(const bool fit, fits(part));
    if (fit) return Value(true);
  }
  return Value(false);
}

template <std::string (*change)(std::string_view)>
Result<Value> changed(Renderer&, const Value& self, const Arguments& arguments) {
  HEDDLE_TRY(arguments.bind("the method", {}));
  return Value(change(self.string()));
}

Result<Value> replace(Renderer& renderer, const Value& self, const Arguments& arguments) {
  HEDDLE_ASSIGN(const Given given, arguments.bind("replace", {"old", "new", "count"}));
  HEDDLE_ASSIGN(const std::string from, string_argument("replace", given[0]));
  HEDDLE_ASSIGN(const std::string to, string_argument("replace", given[1]));
  HEDDLE_ASSIGN(const std::int64_t most, whole_argument("replace", given[2], -1));
  const std::string& text = self.string();
  std::string out;
  std::size_t begin = 0;
  std::int64_t count = 0;
  for (; (most < 0 || count < most) && begin <= text.size(); ++count) {
    const std::size_t at = find_text(text, from, begin);
    if (at == text.npos) break;
    HEDDLE_TRY(renderer.charge(to.size() + 1));
    out.append(text, begin, at - begin);
    out += to;
    begin = at + from.size();
    if (!from.empty()) continue;
    if (begin == text.size()) {  // between all characters, and at the end
      begin = text.npos;
      break;
    }
    const std::string_view c = first_character(std::string_view(text).substr(begin));
    out += c;
    begin += c.size();
  }
  if (begin <= text.size()) out.append(text, begin);
  return Value(std::move(out));
}

/// In characters, as Python counts.
template <bool from_right>
Result<Value> find(Renderer& renderer, const Value& self, const Arguments& arguments) {
  HEDDLE_ASSIGN(const Given given, arguments.bind("find", {"sub"}));
  HEDDLE_ASSIGN(const std::string what, string_argument("find", given[0]));
  const std::string& text = self.string();
  std::size_t at = find_text(text, what);
  if (from_right && at != text.npos) {
    HEDDLE_TRY(renderer.charge(text.size() * what.size() / 16));  // what rfind can take
    at = text.rfind(what);
  }
  return Value(at == text.npos ? std::int64_t(-1) : std::int64_t(character_count(std::string_view(text).substr(0, at))));
}

Result<Value> count(Renderer&, const Value& self, const Arguments& arguments) {
  HEDDLE_ASSIGN(const Given given, arguments.bind("count", {"sub"}));
  HEDDLE_ASSIGN(const std::string what, string_argument("count", given[0]));
  if (what.empty()) return Value(std::int64_t(character_count(self.string()) + 1));
  std::int64_t n = 0;
  for (std::size_t at = find_text(self.string(), what); at != std::string::npos; at = find_text(self.string(), what, at + what.size())) ++n;
  return Value(n);
}

Result<Value> join(Renderer& renderer, const Value& self, const Arguments& arguments) {
  HEDDLE_ASSIGN(const Given given, arguments.bind("join", {"iterable"}));
  if (!given[0]) return error("join() misses an argument");
  HEDDLE_ASSIGN(const auto items, renderer.items_of(*given[0]));
  std::string out;
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (!items[i].is(Kind::string)) return error("sequence item {}: expected str instance, {} found", i, type_name(items[i]));
    HEDDLE_TRY(renderer.charge(self.weight() + items[i].weight()));
    if (i > 0) out += self.string();
    out += items[i].string();
  }
  return Value(std::move(out));
}

/// str.format with fields {}, {0} and {name}; anything more in the brackets is refused.
Result<Value> format(Renderer& renderer, const Value& self, const Arguments& arguments) {
  const std::string& text = self.string();
  std::string out;
  std::size_t next = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if ((text[i] == '{' || text[i] == '}') && i + 1 < text.size() && text[i + 1] == text[i]) {
      out += text[i++];
      continue;
    }
    if (text[i] == '}') return error("single '}}' encountered in format string");
    if (text[i] != '{') {
      out += text[i];
      continue;
    }
    const std::size_t end = text.find('}', i);
    if (end == text.npos) return error("expected '}}' before end of string");
    const std::string field = text.substr(i + 1, end - i - 1);
    i = end;
    const Value* value = nullptr;
    if (field.empty() || std::ranges::all_of(field, [](char c) { return c >= '0' && c <= '9'; })) {
      const std::size_t index = field.empty() ? next++ : field.size() > 6 ? SIZE_MAX : std::size_t(std::stoul(field));
      if (index < arguments.positional.size()) value = &arguments.positional[index];
    } else {
      if (field.find_first_of("{:!.[") != field.npos) return error("format(): field '{{{}}}' is not supported", field);
      for (const auto& [name, given] : arguments.named)
        if (name == field) value = &given;
    }
    if (!value) return error("format(): nothing was given for '{{{}}}'", field);
    HEDDLE_TRY(renderer.charge(value->weight()));
    out += text_of(*value);
  }
  return Value(std::move(out));
}

Result<Value> splitlines(Renderer&, const Value& self, const Arguments& arguments) {
  HEDDLE_ASSIGN(const Given given, arguments.bind("splitlines", {"keepends"}));
  const bool keep = given[0] && truth(*given[0]);
  std::vector<Value> out;
  for (std::string_view rest = self.string(); !rest.empty();) {
    const std::size_t end = std::min(rest.find_first_of("\n\r"), rest.size());
    const std::size_t length = end == rest.size() ? end : end + (rest.substr(end).starts_with("\r\n") ? 2 : 1);
    out.emplace_back(rest.substr(0, keep ? length : end));
    rest.remove_prefix(length);
  }
  return Value::list(std::move(out));
}

template <bool (*all)(char)>
Result<Value> every(Renderer&, const Value& self, const Arguments& arguments) {
  HEDDLE_TRY(arguments.bind("the method", {}));
  return Value(!self.string().empty() && std::ranges::all_of(self.string(), all));
}

template <bool at_start>
Result<Value> remove_affix(Renderer&, const Value& self, const Arguments& arguments) {
  HEDDLE_ASSIGN(const Given given, arguments.bind("removeprefix", {"prefix"}));
  HEDDLE_ASSIGN(const std::string part, string_argument("removeprefix", given[0]));
  std::string_view text = self.string();
  if (at_start && text.starts_with(part)) text.remove_prefix(part.size());
  if (!at_start && text.ends_with(part)) text.remove_suffix(part.size());
  return Value(text);
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || std::uint8_t(c) >= 0x80; }
bool is_space_byte(char c) { return is_space(std::string_view(&c, 1)); }

const std::map<std::string_view, Method> string_methods = {
    {"capitalize", changed<capitalised>},
    {"count", count},
    {"endswith", starts_or_ends<false>},
    {"find", find<false>},
    {"format", format},
    {"isalpha", every<is_letter>},
    {"isdigit", every<is_digit>},
    {"isspace", every<is_space_byte>},
    {"join", join},
    {"lower", changed<lower>},
    {"lstrip", strip_method<true, false>},
    {"removeprefix", remove_affix<true>},
    {"removesuffix", remove_affix<false>},
    {"replace", replace},
    {"rfind", find<true>},
    {"rsplit", rsplit},
    {"rstrip", strip_method<false, true>},
    {"split", split},
    {"splitlines", splitlines},
    {"startswith", starts_or_ends<true>},
    {"strip", strip_method<true, true>},
    {"title", changed<titled>},
    {"upper", changed<upper>},
};

// ---- Dicts and lists

template <bool keys, bool values>
Result<Value> parts(Renderer&, const Value& self, const Arguments& arguments) {
  HEDDLE_TRY(arguments.bind("the method", {}));
  std::vector<Value> out;
  for (const auto& [key, value] : self.mapping().entries) out.push_back(!values ? key : !keys ? value : Value::tuple({key, value}));
  return Value::list(std::move(out));
}

Result<Value> get(Renderer& renderer, const Value& self, const Arguments& arguments) {
  HEDDLE_ASSIGN(const Given given, arguments.bind("get", {"key", "default"}));
  if (!given[0]) return error("get() misses an argument");
  HEDDLE_TRY(renderer.charge(self.mapping().entries.size() / 4 + given[0]->weight()));
  if (const Value* found = self.mapping().find(*given[0])) return *found;
  return given[1].value_or(Value::none());
}

Result<Value> same(Renderer&, const Value& self, const Arguments& arguments) {
  HEDDLE_TRY(arguments.bind("copy", {}));
  return self;
}

Result<Value> index(Renderer& renderer, const Value& self, const Arguments& arguments) {
  HEDDLE_ASSIGN(const Given given, arguments.bind("index", {"value"}));
  for (std::size_t i = 0; given[0] && i < self.sequence().items.size(); ++i) {
    HEDDLE_ASSIGN(const bool here, renderer.equals(self.sequence().items[i], *given[0]));
    if (here) return Value(std::int64_t(i));
  }
  return error("index(): the value is not in the list");
}

Result<Value> count_items(Renderer& renderer, const Value& self, const Arguments& arguments) {
  HEDDLE_ASSIGN(const Given given, arguments.bind("count", {"value"}));
  std::int64_t n = 0;
  for (std::size_t i = 0; given[0] && i < self.sequence().items.size(); ++i) {
    HEDDLE_ASSIGN(const bool here, renderer.equals(self.sequence().items[i], *given[0]));
    n += here;
  }
  return Value(n);
}

#define HEDDLE_CHANGES(name)                                                                        \
  {                                                                                                 \
#name, [](Renderer&, const Value& self, const Arguments&) -> Result < Value>                    \
    { return error("'" #name "' would change the {}, which a template may not", type_name(self)); } \
  }
const std::map<std::string_view, Method> mapping_methods = {
    {"copy", same},        {"get", get},        {"items", parts<true, true>}, {"keys", parts<true, false>}, {"values", parts<false, true>},
    HEDDLE_CHANGES(clear), HEDDLE_CHANGES(pop), HEDDLE_CHANGES(popitem),      HEDDLE_CHANGES(setdefault),   HEDDLE_CHANGES(update),
};
const std::map<std::string_view, Method> list_methods = {
    {"copy", same},         {"count", count_items},  {"index", index},       HEDDLE_CHANGES(append),
    HEDDLE_CHANGES(clear),  HEDDLE_CHANGES(extend),  HEDDLE_CHANGES(insert), HEDDLE_CHANGES(pop),
    HEDDLE_CHANGES(remove), HEDDLE_CHANGES(reverse), HEDDLE_CHANGES(sort),
};
#undef HEDDLE_CHANGES

Method method_of(const Value& value, std::string_view name) {
  const auto& methods = value.is(Kind::string) ? string_methods : value.is(Kind::mapping) ? mapping_methods : list_methods;
  const auto at = methods.find(name);
  return at == methods.end() ? nullptr : at->second;
}

}  // namespace

bool has_method(const Value& value, std::string_view name) { return method_of(value, name) != nullptr; }

std::optional<Result<Value>> call_method(Renderer& renderer, const Value& value, std::string_view name, const Arguments& arguments) {
  const Method method = method_of(value, name);
  if (!method) return std::nullopt;
  return method(renderer, value, arguments);
}

}  // namespace heddle::chat
