#include "runtime/plan/cache.h"

#include <algorithm>
#include <filesystem>
#include <map>

#include "ir/base/hash.h"

namespace heddle::plan {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view extension = ".plan";
constexpr std::string_view weights_extension = ".weights";
constexpr std::string_view nothing = "(none)";

/// What write_file_atomically calls its temporary files.
constexpr std::string_view temporary_prefix = ".heddle-";

std::string absolute(const std::string& path) {
  std::error_code failed;
  const fs::path out = fs::absolute(path, failed);
  return (failed ? fs::path(path) : out).lexically_normal().string();
}

/// `text` as part of a file name: letters, digits and a few signs, not too long.
std::string as_file_name(std::string_view text) {
  std::string out(text.substr(0, 80));
  for (char& c : out)
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '.' && c != '-') c = '_';
  return out;
}

const std::string* value_of(const Key& key, std::string_view field) {
  for (const auto& [name, value] : key)
    if (name == field) return &value;
  return nullptr;
}

/// The folder's regular files, by name. A folder that is not there is empty.
std::vector<fs::path> files_in(const std::string& dir) {
  std::vector<fs::path> files;
  std::error_code failed;
  for (fs::directory_iterator at(dir, failed), end; !failed && at != end; at.increment(failed)) {
    std::error_code unknown;
    if (fs::is_regular_file(at->symlink_status(unknown))) files.push_back(at->path());
  }
  std::ranges::sort(files);
  return files;
}

bool is_plan(const fs::path& path) { return path.filename().string().ends_with(extension); }
bool is_weights(const fs::path& path) { return path.filename().string().ends_with(weights_extension); }

}  // namespace

bool tells_variants_apart(std::string_view field) {
  return !field.ends_with("fingerprint") && !field.ends_with("version") && !field.ends_with("build") && !field.ends_with("build-id");
}

std::string explain_difference(const Key& have, const Key& want) {
  for (const auto& [field, wanted] : want) {
    const std::string* found = value_of(have, field);
    if (!found || *found != wanted) return fmt::format("{}: {} is not {}", field, found ? std::string_view(*found) : nothing, wanted);
  }
  for (const auto& [field, found] : have)
    if (!value_of(want, field)) return fmt::format("{}: {} is not {}", field, found, nothing);
  return {};
}

Key key_of(const Plan& plan) {
  Key key;
  for (const KeyField& field : plan.key) key.emplace_back(field.name, field.value);
  return key;
}

std::string PlanCache::path_for(const std::string& model, const Key& key) const {
  const std::string path = absolute(model);
  std::string told_apart = path;
  for (const auto& [field, value] : key)
    if (tells_variants_apart(field)) told_apart += fmt::format("\n{}:{}:{}:{}", field.size(), field, value.size(), value);
  const std::string* target = value_of(key, "target");
  const std::string name = fmt::format("{}-{}-{:016x}{}", as_file_name(fs::path(path).stem().string()),
                                       as_file_name(target ? *target : "any"), hash64(told_apart), extension);
  return (fs::path(dir_) / name).string();
}

std::string PlanCache::weights_path(const std::string& model, const std::string& format) const {
  const std::string path = absolute(model);
  const std::string name =
      fmt::format("{}-{}-{:016x}{}", as_file_name(fs::path(path).stem().string()), as_file_name(format), hash64(path), weights_extension);
  return (fs::path(absolute(dir_)) / name).string();
}

Lookup PlanCache::find(const std::string& model, const Key& key) const {
  Lookup lookup;
  lookup.path = path_for(model, key);
  std::error_code failed;
  if (!fs::exists(lookup.path, failed)) {
    lookup.why = "no plan yet";
    return lookup;
  }
  auto plan = read_plan(lookup.path);
  if (!plan.ok()) {
    lookup.why = plan.error().message();
    return lookup;
  }
  lookup.why = explain_difference(key_of(**plan), key);
  if (lookup.why.empty()) lookup.plan = std::move(*plan);
  return lookup;
}

std::vector<PlanCache::Item> PlanCache::list() const {
  std::vector<Item> items;
  for (const fs::path& path : files_in(dir_)) {
    if (!is_plan(path) && !is_weights(path)) continue;
    Item item;
    item.path = path.string();
    std::error_code failed;
    item.bytes = fs::file_size(path, failed);
    if (failed) continue;  // removed meanwhile
    if (is_weights(path)) {
      item.state = "ok", item.target = "weights";
      items.push_back(std::move(item));
      continue;
    }
    auto summary = summarize_plan(item.path);
    if (summary.ok()) {
      item.state = "ok", item.model = summary->model, item.target = summary->target;
    } else {
      item.state = summary.error().message();
      if (item.state.starts_with(item.path + ": ")) item.state.erase(0, item.path.size() + 2);  // the item says it already
    }
    items.push_back(std::move(item));
  }
  return items;
}

Result<int> PlanCache::clear() const {
  int removed = 0;
  for (const fs::path& path : files_in(dir_)) {
    if (!is_plan(path) && !is_weights(path) && !path.filename().string().starts_with(temporary_prefix)) continue;
    std::error_code failed;
    if (fs::remove(path, failed)) ++removed;
    if (failed) return error("{}: cannot remove: {}", path.string(), failed.message());
  }
  return removed;
}

}  // namespace heddle::plan
