#include "frontends/safetensors/read.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "frontends/quoted.h"
#include "frontends/safetensors/config.h"
#include "frontends/safetensors/header.h"
#include "frontends/safetensors/names.h"
#include "frontends/safetensors/tokenizer.h"
#include "ir/base/hash.h"
#include "ir/base/mapped_file.h"

namespace heddle::frontends::safetensors {
namespace fs = std::filesystem;
namespace {

constexpr const char* index_name = "model.safetensors.index.json";

/// xxh3-128 over pieces of files, each with its name and length before it.
class Fingerprint {
 public:
  void add(std::string_view name, const void* data, std::uint64_t bytes) {
    number(name.size());
    hasher_.add(name);
    number(bytes);
    hasher_.add(std::span(static_cast<const std::byte*>(data), bytes));
  }
  void number(std::uint64_t n) { hasher_.number(n); }
  std::string text() const { return hasher_.hash().hex(); }

 private:
  Hasher hasher_;
};

/// The files of one folder, each of which is part of the fingerprint once it is read.
class Folder {
 public:
  Folder(std::string folder, std::string path) : folder_(std::move(folder)), path_(std::move(path)) {}
  Fingerprint fingerprint;

  const std::string& path() const { return path_; }
  std::string name() const { return fs::absolute(folder_).lexically_normal().filename().string(); }
  bool has(const std::string& name) const {
    std::error_code ignored;
    return fs::is_regular_file(fs::path(folder_) / name, ignored);
  }
  std::string file(const std::string& name) const { return (fs::path(folder_) / name).string(); }
  std::string shown(const std::string& name) const { return (fs::path(path_) / name).string(); }

  Result<std::string> text(const std::string& name) {
    HEDDLE_ASSIGN(auto text, read_text_file(file(name)));
    fingerprint.add(name, text.data(), text.size());
    return text;
  }
  Result<JsonObject> json(const std::string& name) {
    HEDDLE_ASSIGN(const auto content, text(name));
    return JsonObject::parse(content, shown(name));
  }
  /// Nothing where the file is not there.
  Result<std::optional<JsonObject>> json_if_there(const std::string& name) {
    if (!has(name)) return std::optional<JsonObject>();
    HEDDLE_ASSIGN(auto read, json(name));
    return std::optional(std::move(read));
  }
  std::vector<std::string> weight_files() const {
    std::vector<std::string> names;
    std::error_code failed;
    for (fs::directory_iterator at(folder_, failed), end; !failed && at != end; at.increment(failed)) {
      if (at->path().extension() == ".safetensors") names.push_back(at->path().filename().string());
    }
    std::ranges::sort(names);
    return names;
  }

 private:
  std::string folder_, path_;
};

/// Which file holds each tensor, as the index says.
using Index = std::map<std::string, std::string>;

Result<Index> read_index(Folder& folder) {
  HEDDLE_ASSIGN(const auto json, folder.json(index_name));
  HEDDLE_ASSIGN(const auto map, json.object("weight_map"));
  Index index;
  for (const std::string& tensor : map.keys()) {
    HEDDLE_ASSIGN(const auto file, map.string(tensor));
    if (file.empty() || file.find('/') != file.npos || !file.ends_with(".safetensors"))
      return map.bad(tensor, fmt::format("{} is no name of a .safetensors file", frontends::quoted(file)));
    index[tensor] = file;
  }
  return index;
}

/// The weight files of a folder, of which there may be none, and its index if it has one.
Result<std::vector<std::string>> files_of(Folder& folder, Index& index) {
  if (folder.has(index_name)) {
    HEDDLE_ASSIGN(index, read_index(folder));
    std::set<std::string> names;
    for (const auto& [tensor, file] : index) names.insert(file);
    for (const std::string& name : names) {
      if (!folder.has(name)) return error("{}: {} is missing, which {} names", folder.path(), frontends::quoted(name), index_name);
    }
    return std::vector<std::string>(names.begin(), names.end());
  }
  if (folder.has("model.safetensors")) return std::vector<std::string>{"model.safetensors"};
  const std::vector<std::string> all = folder.weight_files();
  if (all.size() > 1) return error("{}: {} .safetensors files and no {}", folder.path(), all.size(), index_name);
  return all;
}

/// Headers of all weight files, tensors by their names in the files.
Result<void> read_tables(Folder& folder, Model& model) {
  Index index;
  HEDDLE_ASSIGN(const auto names, files_of(folder, index));
  std::map<std::string, std::string> where;
  for (const std::string& name : names) {
    HEDDLE_ASSIGN(const auto file, MappedFile::open(folder.file(name)));
    HEDDLE_ASSIGN(auto header, parse_header(file.bytes(), folder.shown(name)));
    folder.fingerprint.add(name, file.bytes().data(), header.bytes);
    folder.fingerprint.number(file.bytes().size());
    plan::ModelFile entry;
    entry.path = fs::absolute(folder.file(name)).lexically_normal().string();
    entry.bytes = file.bytes().size();
    for (TensorInfo& tensor : header.tensors) {
      const auto [at, is_new] = where.emplace(tensor.name, name);
      if (!is_new) return error("{}: tensor {} is in {} too", folder.shown(name), frontends::quoted(tensor.name), at->second);
      tensor.file = std::uint32_t(model.files.size());
      model.tensors.push_back(std::move(tensor));
    }
    model.files.push_back(std::move(entry));
  }
  for (const auto& [tensor, file] : index) {
    const auto at = where.find(tensor);
    if (at == where.end() || at->second != file)
      return error("{}: tensor {} is not there, {} says so", folder.shown(file), frontends::quoted(tensor), index_name);
  }
  return {};
}

/// The names that the architecture takes its tensors by. A tied head that is stored as well is left out, as transformers does.
Result<void> rename_tensors(const JsonObject& config, const Architecture& architecture, Model& model) {
  std::vector<TensorInfo> named;
  std::map<std::string, std::string> stored;
  for (TensorInfo& tensor : model.tensors) {
    const auto name = canonical_name(tensor.name, architecture);
    if (!name)
      return error("{}: tensor {} is not part of architecture '{}'", model.path, frontends::quoted(tensor.name), architecture.name);
    if (name->empty()) continue;
    const auto [at, is_new] = stored.emplace(*name, tensor.name);
    if (!is_new)
      return error("{}: tensors {} and {} are both '{}'", model.path, frontends::quoted(at->second), frontends::quoted(tensor.name), *name);
    tensor.name = *name;
    named.push_back(std::move(tensor));
  }
  model.tensors = std::move(named);
  if (!config.has("tie_word_embeddings")) return {};  // then the file tells by having a head or not
  HEDDLE_ASSIGN(const bool tied, config.boolean("tie_word_embeddings"));
  if (!tied && !model.tensor("output.weight"))
    return config.bad("tie_word_embeddings", "found false, and there is no tensor 'lm_head.weight'");
  if (tied) std::erase_if(model.tensors, [](const TensorInfo& tensor) { return tensor.name == "output.weight"; });
  return {};
}

Result<void> read_texts(Folder& folder, const JsonObject& config, Model& model) {
  TokenizerFiles files{.config = config, .tokenizer = {}, .tokenizer_config = {}, .generation_config = {}};
  HEDDLE_ASSIGN(files.tokenizer, folder.json_if_there("tokenizer.json"));
  HEDDLE_ASSIGN(files.tokenizer_config, folder.json_if_there("tokenizer_config.json"));
  HEDDLE_ASSIGN(files.generation_config, folder.json_if_there("generation_config.json"));
  if (!files.tokenizer && folder.has("tokenizer.model"))
    return error("{}: a tokenizer.model without a tokenizer.json is not supported", folder.path());
  HEDDLE_ASSIGN(model.vocabulary, read_vocabulary(files, model.config.vocabulary));
  if (folder.has("chat_template.jinja")) {
    HEDDLE_ASSIGN(model.chat_template, folder.text("chat_template.jinja"));
  } else if (files.tokenizer_config) {
    HEDDLE_ASSIGN(model.chat_template, chat_template_of(*files.tokenizer_config));
  }
  return {};
}

}  // namespace

std::string folder_of(const std::string& path) {
  std::error_code ignored;
  if (fs::is_directory(path, ignored)) return path;
  const fs::path file(path);
  const bool part = file.extension() == ".safetensors" || file.extension() == ".json" || file.extension() == ".jinja";
  if (!part || !fs::is_regular_file(file, ignored)) return "";
  return file.has_parent_path() ? file.parent_path().string() : ".";
}

Result<Model> read_model(const std::string& folder_path, const std::string& path) {
  Folder folder(folder_path, fs::is_directory(path) ? path : folder_path);
  if (!folder.has("config.json")) return error("{}: the folder has no config.json", folder.path());
  HEDDLE_ASSIGN(const auto config, folder.json("config.json"));
  HEDDLE_ASSIGN(const auto model_type, config.string("model_type"));
  Model model;
  model.path = path;
  HEDDLE_TRY(read_tables(folder, model));
  if (const Architecture* architecture = architecture_of_model_type(model_type)) {
    HEDDLE_ASSIGN(model.config, read_config(config, *architecture));
    HEDDLE_TRY(rename_tensors(config, *architecture, model));
  } else {
    model.config.architecture = model_type;
  }
  model.config.name = folder.name();
  HEDDLE_TRY(read_texts(folder, config, model));
  model.fingerprint = folder.fingerprint.text();
  return model;
}

}  // namespace heddle::frontends::safetensors
