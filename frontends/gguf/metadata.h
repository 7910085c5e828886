#pragma once
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ir/base/error.h"

namespace heddle::frontends::gguf {

/// The value types of a GGUF file, by their ids (source: the GGUF specification in the ggml repository, docs/gguf.md).
enum class ValueType : std::uint32_t { u8, i8, u16, i16, u32, i32, f32, boolean, string, array, u64, i64, f64 };
inline constexpr std::uint32_t value_type_count = 13;

/// Bytes of one value; 0 for strings and arrays, which vary.
int size_of(ValueType type);

/// One metadata value, a view of the file's bytes, which `parse` has checked: arrays are not nested, and every string ends inside.
struct Value {
  ValueType type = ValueType::u32;
  ValueType element = ValueType::u32;  // arrays only
  std::uint64_t count = 1;             // elements; 1 where it is no array
  std::span<const std::byte> bytes;    // a string: its text; an array of strings: u64 length and text of each

  std::string type_name() const;  // "u32", "array of string"
};

/// The metadata of a file. Accessors return errors like
///   m.gguf: key 'llama.block_count': found string, wanted an integer
///   m.gguf: key 'llama.block_count' is missing
class Metadata {
 public:
  explicit Metadata(std::string path) : path_(std::move(path)) {}

  /// False if the key is there already.
  bool add(std::string_view key, Value value) { return values_.emplace(key, value).second; }
  const Value* find(std::string_view key) const;  // null if there is none
  bool has(std::string_view key) const { return find(key) != nullptr; }
  const std::map<std::string, Value, std::less<>>& values() const { return values_; }

  /// Any integer type; values above 2^63 - 1 are refused.
  Result<std::int64_t> integer(std::string_view key) const;
  Result<double> number(std::string_view key) const;  // f32 or f64
  Result<bool> boolean(std::string_view key) const;
  Result<std::string> string(std::string_view key) const;
  /// Arrays; with `count` the number of elements that is wanted, checked before anything is allocated.
  Result<std::vector<std::int64_t>> integers(std::string_view key, std::uint64_t count) const;
  Result<std::vector<double>> numbers(std::string_view key, std::uint64_t count) const;
  Result<std::vector<bool>> booleans(std::string_view key, std::uint64_t count) const;
  Result<std::vector<std::string_view>> strings(std::string_view key) const;

  Result<std::int64_t> integer_or(std::string_view key, std::int64_t otherwise) const;
  Result<double> number_or(std::string_view key, double otherwise) const;
  Result<bool> boolean_or(std::string_view key, bool otherwise) const;
  Result<std::string> string_or(std::string_view key, std::string otherwise) const;

  Error missing(std::string_view key) const;
  /// "m.gguf: key 'k': found 0, wanted at least 1"
  Error bad(std::string_view key, std::string_view found_and_wanted) const;
  const std::string& path() const { return path_; }

 private:
  Result<const Value*> array(std::string_view key, std::string_view wanted) const;
  Result<const Value*> counted_array(std::string_view key, std::string_view wanted, std::uint64_t count) const;

  std::string path_;
  std::map<std::string, Value, std::less<>> values_;
};

}  // namespace heddle::frontends::gguf
