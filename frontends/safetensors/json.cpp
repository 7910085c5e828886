#include "frontends/safetensors/json.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "frontends/quoted.h"

namespace heddle::frontends::safetensors {

using nlohmann::json;

static const char* kind_of(const json& value) {
  if (value.is_string()) return "a text";
  if (value.is_boolean()) return "a truth value";
  if (value.is_number_float()) return "a number with a fraction";
  if (value.is_number()) return "an integer";
  if (value.is_array()) return "a list";
  return value.is_object() ? "an object" : "null";
}

JsonObject::JsonObject(std::shared_ptr<const json> root, const json* here, std::string path, std::string prefix)
    : root_(std::move(root)), here_(here), path_(std::move(path)), prefix_(std::move(prefix)) {}

Result<JsonObject> JsonObject::parse(std::string_view text, const std::string& path) {
  std::shared_ptr<json> root;
  try {
    root = std::make_shared<json>(json::parse(text));
  } catch (const json::parse_error& e) {
    return error("{}: no JSON at byte {}", path, e.byte);
  } catch (const json::exception&) {  // a number beyond a double
    return error("{}: no JSON: a number is out of range", path);
  }
  if (!root->is_object()) return error("{}: found {}, wanted an object", path, kind_of(*root));
  const json* here = root.get();
  return JsonObject(std::move(root), here, path, "");
}

const json* JsonObject::find(std::string_view key) const {
  const auto it = here_->find(key);
  return it == here_->end() || it->is_null() ? nullptr : &*it;
}

std::vector<std::string> JsonObject::keys() const {
  std::vector<std::string> out;
  for (const auto& [key, value] : here_->items()) out.push_back(key);
  return out;
}

Error JsonObject::missing(std::string_view key) const {
  return error("{}: key {} is missing", path_, frontends::quoted(prefix_ + std::string(key)));
}
Error JsonObject::bad(std::string_view key, std::string_view found_and_wanted) const {
  return error("{}: key {}: {}", path_, frontends::quoted(prefix_ + std::string(key)), found_and_wanted);
}
Error JsonObject::bad(std::string_view message) const {
  if (prefix_.empty()) return error("{}: {}", path_, message);
  return error("{}: {}: {}", path_, frontends::quoted(prefix_.substr(0, prefix_.size() - 1)), message);
}

Result<const json*> JsonObject::need(std::string_view key) const {
  const json* value = find(key);
  if (!value) return missing(key);
  return value;
}

Result<std::int64_t> JsonObject::integer(std::string_view key) const {
  HEDDLE_ASSIGN(const json* value, need(key));
  if (!value->is_number_integer()) return bad(key, fmt::format("found {}, wanted an integer", kind_of(*value)));
  if (value->is_number_unsigned() && value->get<std::uint64_t>() > std::uint64_t(INT64_MAX))
    return bad(key, fmt::format("found {}, which is too large", value->get<std::uint64_t>()));
  return value->get<std::int64_t>();
}

Result<double> JsonObject::number(std::string_view key) const {
  HEDDLE_ASSIGN(const json* value, need(key));
  if (!value->is_number()) return bad(key, fmt::format("found {}, wanted a number", kind_of(*value)));
  return value->get<double>();
}

Result<bool> JsonObject::boolean(std::string_view key) const {
  HEDDLE_ASSIGN(const json* value, need(key));
  if (!value->is_boolean()) return bad(key, fmt::format("found {}, wanted a truth value", kind_of(*value)));
  return value->get<bool>();
}

Result<std::string> JsonObject::string(std::string_view key) const {
  HEDDLE_ASSIGN(const json* value, need(key));
  if (!value->is_string()) return bad(key, fmt::format("found {}, wanted a text", kind_of(*value)));
  return value->get<std::string>();
}

Result<JsonObject> JsonObject::object(std::string_view key) const {
  HEDDLE_ASSIGN(const json* value, need(key));
  if (!value->is_object()) return bad(key, fmt::format("found {}, wanted an object", kind_of(*value)));
  return JsonObject(root_, value, path_, prefix_ + std::string(key) + ".");
}

Result<std::vector<JsonObject>> JsonObject::objects(std::string_view key) const {
  std::vector<JsonObject> out;
  const json* value = find(key);
  if (!value) return out;
  if (!value->is_array()) return bad(key, fmt::format("found {}, wanted a list", kind_of(*value)));
  for (std::size_t i = 0; i < value->size(); ++i) {
    const json& entry = (*value)[i];
    const std::string name = fmt::format("{}[{}]", key, i);
    if (!entry.is_object()) return bad(name, fmt::format("found {}, wanted an object", kind_of(entry)));
    out.push_back(JsonObject(root_, &entry, path_, prefix_ + name + "."));
  }
  return out;
}

Result<std::int64_t> JsonObject::integer_or(std::string_view key, std::int64_t otherwise) const {
  if (!has(key)) return otherwise;
  return integer(key);
}
Result<double> JsonObject::number_or(std::string_view key, double otherwise) const {
  if (!has(key)) return otherwise;
  return number(key);
}
Result<bool> JsonObject::boolean_or(std::string_view key, bool otherwise) const {
  if (!has(key)) return otherwise;
  return boolean(key);
}
Result<std::string> JsonObject::string_or(std::string_view key, std::string otherwise) const {
  if (!has(key)) return otherwise;
  return string(key);
}

}  // namespace heddle::frontends::safetensors
