#pragma once
#include <cstdint>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "ir/base/error.h"

namespace heddle::frontends::safetensors {

/// An object of a JSON file. Accessors return errors like
///   tiny/config.json: key 'num_hidden_layers': found a text, wanted an integer
///   tiny/config.json: key 'rope_scaling.factor' is missing
/// A key whose value is null counts as missing.
class JsonObject {
 public:
  /// "tokenizer.json: no JSON at byte 17"; "tokenizer.json: found a list, wanted an object".
  static Result<JsonObject> parse(std::string_view text, const std::string& path);

  bool has(std::string_view key) const { return find(key) != nullptr; }
  /// The value under a key; null if there is none.
  const nlohmann::json* find(std::string_view key) const;
  std::vector<std::string> keys() const;

  Result<std::int64_t> integer(std::string_view key) const;
  Result<double> number(std::string_view key) const;
  Result<bool> boolean(std::string_view key) const;
  Result<std::string> string(std::string_view key) const;
  Result<JsonObject> object(std::string_view key) const;
  Result<std::vector<JsonObject>> objects(std::string_view key) const;  // of a list; empty if the key is missing

  Result<std::int64_t> integer_or(std::string_view key, std::int64_t otherwise) const;
  Result<double> number_or(std::string_view key, double otherwise) const;
  Result<bool> boolean_or(std::string_view key, bool otherwise) const;
  Result<std::string> string_or(std::string_view key, std::string otherwise) const;

  Error missing(std::string_view key) const;
  Error bad(std::string_view key, std::string_view found_and_wanted) const;
  /// An error about the object as a whole.
  Error bad(std::string_view message) const;
  const std::string& path() const { return path_; }  // of the file

 private:
  JsonObject(std::shared_ptr<const nlohmann::json> root, const nlohmann::json* here, std::string path, std::string prefix);
  Result<const nlohmann::json*> need(std::string_view key) const;

  std::shared_ptr<const nlohmann::json> root_;
  const nlohmann::json* here_;
  std::string path_, prefix_;  // prefix: "rope_scaling." for what lies in it
};

}  // namespace heddle::frontends::safetensors
