#include "frontends/gguf/metadata.h"

#include <cstring>
#include <limits>
#include <optional>

#include "frontends/quoted.h"

namespace heddle::frontends::gguf {

static constexpr struct {
  std::string_view name;
  int bytes;
} types[value_type_count] = {{"u8", 1},   {"i8", 1},     {"u16", 2},   {"i16", 2}, {"u32", 4}, {"i32", 4}, {"f32", 4},
                             {"bool", 1}, {"string", 0}, {"array", 0}, {"u64", 8}, {"i64", 8}, {"f64", 8}};

int size_of(ValueType type) { return types[std::size_t(type)].bytes; }

std::string Value::type_name() const {
  if (type == ValueType::array) return fmt::format("array of {}", types[std::size_t(element)].name);
  return std::string(types[std::size_t(type)].name);
}

template <class T>
static T load(const std::byte* bytes) {
  T value;
  std::memcpy(&value, bytes, sizeof value);
  return value;
}

static bool is_integer(ValueType type) {
  return size_of(type) > 0 && type != ValueType::f32 && type != ValueType::f64 && type != ValueType::boolean;
}

// Nothing for a u64 that does not fit.
static std::optional<std::int64_t> integer_at(const std::byte* at, ValueType type) {
  switch (type) {
    case ValueType::u8:
      return load<std::uint8_t>(at);
    case ValueType::i8:
      return load<std::int8_t>(at);
    case ValueType::u16:
      return load<std::uint16_t>(at);
    case ValueType::i16:
      return load<std::int16_t>(at);
    case ValueType::u32:
      return load<std::uint32_t>(at);
    case ValueType::i32:
      return load<std::int32_t>(at);
    case ValueType::i64:
      return load<std::int64_t>(at);
    default:
      break;
  }
  const auto value = load<std::uint64_t>(at);
  if (value > std::uint64_t(std::numeric_limits<std::int64_t>::max())) return std::nullopt;
  return std::int64_t(value);
}

static double number_at(const std::byte* at, ValueType type) { return type == ValueType::f32 ? load<float>(at) : load<double>(at); }

Error Metadata::missing(std::string_view key) const { return error("{}: key {} is missing", path_, quoted(key)); }

Error Metadata::bad(std::string_view key, std::string_view found_and_wanted) const {
  return error("{}: key {}: {}", path_, quoted(key), found_and_wanted);
}

const Value* Metadata::find(std::string_view key) const {
  const auto it = values_.find(key);
  return it == values_.end() ? nullptr : &it->second;
}

Result<std::int64_t> Metadata::integer(std::string_view key) const {
  const Value* value = find(key);
  if (!value) return missing(key);
  if (!is_integer(value->type)) return bad(key, fmt::format("found {}, wanted an integer", value->type_name()));
  const auto number = integer_at(value->bytes.data(), value->type);
  if (!number) return bad(key, fmt::format("found {}, which is too large", load<std::uint64_t>(value->bytes.data())));
  return *number;
}

Result<double> Metadata::number(std::string_view key) const {
  const Value* value = find(key);
  if (!value) return missing(key);
  if (value->type != ValueType::f32 && value->type != ValueType::f64) {
    return bad(key, fmt::format("found {}, wanted a floating-point number", value->type_name()));
  }
  return number_at(value->bytes.data(), value->type);
}

Result<bool> Metadata::boolean(std::string_view key) const {
  const Value* value = find(key);
  if (!value) return missing(key);
  if (value->type != ValueType::boolean) return bad(key, fmt::format("found {}, wanted a bool", value->type_name()));
  return load<std::uint8_t>(value->bytes.data()) != 0;
}

static std::string_view text_of(std::span<const std::byte> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

Result<std::string> Metadata::string(std::string_view key) const {
  const Value* value = find(key);
  if (!value) return missing(key);
  if (value->type != ValueType::string) return bad(key, fmt::format("found {}, wanted a string", value->type_name()));
  return std::string(text_of(value->bytes));
}

Result<const Value*> Metadata::array(std::string_view key, std::string_view wanted) const {
  const Value* value = find(key);
  if (!value) return missing(key);
  const bool fits =
      value->type == ValueType::array && (wanted == "strings"    ? value->element == ValueType::string
                                          : wanted == "integers" ? is_integer(value->element)
                                          : wanted == "booleans" ? value->element == ValueType::boolean
                                                                 : value->element == ValueType::f32 || value->element == ValueType::f64);
  if (!fits) return bad(key, fmt::format("found {}, wanted an array of {}", value->type_name(), wanted));
  return value;
}

Result<const Value*> Metadata::counted_array(std::string_view key, std::string_view wanted, std::uint64_t count) const {
  HEDDLE_ASSIGN(const Value* value, array(key, wanted));
  if (value->count != count) return bad(key, fmt::format("found {} entries, wanted {}", value->count, count));
  return value;
}

Result<std::vector<std::int64_t>> Metadata::integers(std::string_view key, std::uint64_t count) const {
  HEDDLE_ASSIGN(const Value* value, counted_array(key, "integers", count));
  std::vector<std::int64_t> numbers(value->count);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const std::byte* at = value->bytes.data() + i * size_of(value->element);
    const auto number = integer_at(at, value->element);
    if (!number) return bad(key, fmt::format("entry {} is {}, which is too large", i, load<std::uint64_t>(at)));
    numbers[i] = *number;
  }
  return numbers;
}

Result<std::vector<double>> Metadata::numbers(std::string_view key, std::uint64_t count) const {
  HEDDLE_ASSIGN(const Value* value, counted_array(key, "floating-point numbers", count));
  std::vector<double> numbers(value->count);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    numbers[i] = number_at(value->bytes.data() + i * size_of(value->element), value->element);
  }
  return numbers;
}

Result<std::vector<bool>> Metadata::booleans(std::string_view key, std::uint64_t count) const {
  HEDDLE_ASSIGN(const Value* value, counted_array(key, "booleans", count));
  std::vector<bool> flags;
  for (const std::byte flag : value->bytes) flags.push_back(flag != std::byte(0));
  return flags;
}

Result<std::vector<std::string_view>> Metadata::strings(std::string_view key) const {
  HEDDLE_ASSIGN(const Value* value, array(key, "strings"));
  std::vector<std::string_view> strings(value->count);
  std::span<const std::byte> rest = value->bytes;
  for (auto& text : strings) {
    const auto length = load<std::uint64_t>(rest.data());
    text = text_of(rest.subspan(sizeof length, length));
    rest = rest.subspan(sizeof length + length);
  }
  return strings;
}

Result<std::int64_t> Metadata::integer_or(std::string_view key, std::int64_t otherwise) const {
  if (!has(key)) return otherwise;
  return integer(key);
}
Result<double> Metadata::number_or(std::string_view key, double otherwise) const {
  if (!has(key)) return otherwise;
  return number(key);
}
Result<bool> Metadata::boolean_or(std::string_view key, bool otherwise) const {
  if (!has(key)) return otherwise;
  return boolean(key);
}
Result<std::string> Metadata::string_or(std::string_view key, std::string otherwise) const {
  if (!has(key)) return otherwise;
  return string(key);
}

}  // namespace heddle::frontends::gguf
