#include "frontends/gguf/read.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <memory>
#include <optional>
#include <unordered_set>

#include "frontends/arch/architecture.h"
#include "frontends/gguf/config.h"
#include "frontends/gguf/file.h"
#include "frontends/gguf/vocabulary.h"
#include "frontends/quoted.h"
#include "ir/base/hash.h"
#include "ir/base/mapped_file.h"

namespace heddle::frontends::gguf {
namespace fs = std::filesystem;

namespace {

/// A file of a model, with what its front says.
struct Part {
  std::span<const std::byte> bytes;
  File file;
};

/// xxh3-128 in hex of every file's size (u64, little-endian) and all bytes before its data section.
std::string fingerprint(std::span<const Part> parts) {
  Hasher hasher;
  for (const Part& part : parts) {
    const std::uint64_t size = part.bytes.size();
    hasher.number(size);
    hasher.add(part.bytes.first(std::min<std::uint64_t>(size, part.file.data_begin)));
  }
  return hasher.hash().hex();
}

/// What a part says of the split that it is of: keys split.no, split.count, split.tensors.count (of all parts).
struct Split {
  std::int64_t number = 0, count = 1;
  std::optional<std::int64_t> tensors;
};

Result<Split> split_of(const Metadata& metadata) {
  Split split;
  HEDDLE_ASSIGN(split.count, metadata.integer_or("split.count", 1));
  HEDDLE_ASSIGN(split.number, metadata.integer_or("split.no", 0));
  if (split.count < 0 || split.count > 65535) return metadata.bad("split.count", fmt::format("found {}, wanted 1 to 65535", split.count));
  split.count = std::max<std::int64_t>(split.count, 1);  // some files in one piece say 0
  if (split.number < 0 || split.number >= split.count)
    return metadata.bad("split.no", fmt::format("found {}, wanted 0 to {}", split.number, split.count - 1));
  if (metadata.has("split.tensors.count")) {
    HEDDLE_ASSIGN(split.tensors, metadata.integer("split.tensors.count"));
  }
  return split;
}

/// The files of a split model, of which `path` is one.
Result<std::vector<std::string>> part_paths(const Split& split, const std::string& path) {
  const auto ending = [&](std::int64_t number) { return fmt::format("-{:05}-of-{:05}.gguf", number + 1, split.count); };
  if (!path.ends_with(ending(split.number)))
    return error("{}: part {} of {} of a split model, its name must end in '{}'", path, split.number + 1, split.count,
                 ending(split.number));
  const std::string stem = path.substr(0, path.size() - ending(split.number).size());
  std::vector<std::string> paths;
  for (std::int64_t i = 0; i < split.count; ++i) paths.push_back(stem + ending(i));
  return paths;
}

/// Part `number` of a split whose first part says `wanted`.
Result<void> check_part(const Metadata& metadata, const Split& wanted, std::int64_t number) {
  HEDDLE_ASSIGN(const auto found, split_of(metadata));
  if (found.count != wanted.count)
    return metadata.bad("split.count", fmt::format("found {}, the first part says {}", found.count, wanted.count));
  if (found.number != number) return metadata.bad("split.no", fmt::format("found {}, wanted {} by the file's name", found.number, number));
  if (found.tensors != wanted.tensors)
    return metadata.bad("split.tensors.count", fmt::format("found {}, the first part says {}: parts of different models",
                                                           found.tensors.value_or(0), wanted.tensors.value_or(0)));
  return {};
}

/// The tensors of all parts in one table.
Result<void> join_tensors(std::span<Part> parts, const Split& split) {
  std::vector<TensorInfo>& all = parts[0].file.tensors;
  for (std::size_t i = 1; i < parts.size(); ++i) {
    for (TensorInfo& tensor : parts[i].file.tensors) {
      tensor.file = std::uint32_t(i);
      all.push_back(std::move(tensor));
    }
  }
  std::unordered_set<std::string_view> names;
  for (const TensorInfo& tensor : all) {
    if (!names.insert(tensor.name).second)
      return error("{}: tensor {}: is there twice, in part {} of {} too", parts[0].file.metadata.path(), frontends::quoted(tensor.name),
                   tensor.file + 1, parts.size());
  }
  if (split.tensors && *split.tensors != std::int64_t(all.size()))
    return parts[0].file.metadata.bad("split.tensors.count", fmt::format("found {}, the parts have {}", *split.tensors, all.size()));
  return {};
}

}  // namespace

static Result<void> refuse_other_kinds(const Metadata& metadata) {
  HEDDLE_ASSIGN(const auto kind, metadata.string_or("general.type", "model"));
  if (kind == "adapter" || kind == "imatrix" || kind == "mmproj")
    return metadata.bad("general.type", fmt::format("found '{}', wanted 'model'", kind));
  return {};
}

bool is_gguf(std::span<const std::byte> bytes) { return bytes.size() >= 4 && std::memcmp(bytes.data(), "GGUF", 4) == 0; }

/// Of all parts; the first one has the metadata.
static Result<Model> model_of(std::vector<Part> parts, const std::string& path) {
  File& file = parts[0].file;
  HEDDLE_TRY(refuse_other_kinds(file.metadata));
  HEDDLE_ASSIGN(const auto architecture, file.metadata.string("general.architecture"));
  Model model;
  model.path = path;
  for (const Part& part : parts) {
    plan::ModelFile& out = model.files.emplace_back();
    out.path = fs::absolute(part.file.metadata.path()).lexically_normal().string();
    out.bytes = part.bytes.size();
  }
  model.fingerprint = fingerprint(parts);
  HEDDLE_ASSIGN(model.vocabulary, read_vocabulary(file.metadata));
  HEDDLE_ASSIGN(model.chat_template, file.metadata.string_or("tokenizer.chat_template", ""));
  const auto tokens = std::int64_t(model.vocabulary.tokens.size());
  if (architecture_named(architecture) && !file.tensors.empty()) {
    HEDDLE_ASSIGN(model.config, read_config(file, architecture, tokens));
  } else {
    model.config.architecture = architecture;
    model.config.vocabulary = tokens;
  }
  HEDDLE_ASSIGN(model.config.name, file.metadata.string_or("general.name", fs::path(path).stem().string()));
  model.tensors = std::move(file.tensors);
  return model;
}

Result<Model> read_model(std::span<const std::byte> bytes, const std::string& path) {
  HEDDLE_ASSIGN(auto file, parse(bytes, path));
  HEDDLE_ASSIGN(const auto split, split_of(file.metadata));
  if (split.count > 1) return error("{}: part {} of {} of a split model", path, split.number + 1, split.count);
  std::vector<Part> parts;
  parts.push_back({bytes, std::move(file)});
  return model_of(std::move(parts), path);
}

Result<Model> open_model(const std::string& path) {
  HEDDLE_ASSIGN(const auto opened, MappedFile::open(path));
  HEDDLE_ASSIGN(const auto one, parse(opened.bytes(), path));
  HEDDLE_ASSIGN(const auto named, split_of(one.metadata));
  if (named.count == 1) return read_model(opened.bytes(), path);
  HEDDLE_ASSIGN(const auto paths, part_paths(named, path));
  std::vector<MappedFile> files;
  std::vector<Part> parts;
  Split split;
  for (std::size_t i = 0; i < paths.size(); ++i) {
    auto mapped = MappedFile::open(paths[i]);
    if (!mapped.ok()) return error("{}: part {} of {} of a split model: {}", path, i + 1, paths.size(), mapped.error().message());
    files.push_back(std::move(*mapped));
    HEDDLE_ASSIGN(auto file, parse(files[i].bytes(), paths[i]));
    if (i == 0) {
      HEDDLE_ASSIGN(split, split_of(file.metadata));
      split.count = named.count;
    }
    HEDDLE_TRY(check_part(file.metadata, split, std::int64_t(i)));
    parts.push_back({files[i].bytes(), std::move(file)});
  }
  HEDDLE_TRY(join_tensors(parts, split));
  return model_of(std::move(parts), path);
}

}  // namespace heddle::frontends::gguf
