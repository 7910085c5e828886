#include "frontends/gguf/read.h"

#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <memory>

#include "frontends/arch/architecture.h"
#include "frontends/gguf/config.h"
#include "frontends/gguf/file.h"
#include "frontends/gguf/vocabulary.h"

namespace heddle::frontends::gguf {
namespace fs = std::filesystem;

/// xxh3-128 in hex of the file's size (u64, little-endian) and all bytes before the data section.
static std::string fingerprint(std::span<const std::byte> bytes, std::uint64_t data_begin) {
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> state(XXH3_createState(), XXH3_freeState);
  const std::uint64_t size = bytes.size();
  XXH3_128bits_reset(state.get());
  XXH3_128bits_update(state.get(), &size, sizeof size);
  XXH3_128bits_update(state.get(), bytes.data(), std::min<std::uint64_t>(size, data_begin));
  const XXH128_hash_t hash = XXH3_128bits_digest(state.get());
  return fmt::format("{:016x}{:016x}", hash.high64, hash.low64);
}

static Result<void> refuse_parts(const Metadata& metadata) {
  HEDDLE_ASSIGN(const auto parts, metadata.integer_or("split.count", 1));
  if (parts <= 1) return {};
  HEDDLE_ASSIGN(const auto part, metadata.integer_or("split.no", 0));
  return error("{}: part {} of {} of a split model, only models in one file are supported", metadata.path(), part + 1, parts);
}

static Result<void> refuse_other_kinds(const Metadata& metadata) {
  HEDDLE_ASSIGN(const auto kind, metadata.string_or("general.type", "model"));
  if (kind == "adapter" || kind == "imatrix" || kind == "mmproj")
    return metadata.bad("general.type", fmt::format("found '{}', wanted 'model'", kind));
  return {};
}

bool is_gguf(std::span<const std::byte> bytes) { return bytes.size() >= 4 && std::memcmp(bytes.data(), "GGUF", 4) == 0; }

Result<Model> read_model(std::span<const std::byte> bytes, const std::string& path) {
  HEDDLE_ASSIGN(auto file, parse(bytes, path));
  HEDDLE_TRY(refuse_parts(file.metadata));
  HEDDLE_TRY(refuse_other_kinds(file.metadata));
  HEDDLE_ASSIGN(const auto architecture, file.metadata.string("general.architecture"));
  Model model;
  model.path = path;
  model.files.emplace_back();
  model.files[0].path = fs::absolute(path).lexically_normal().string();
  model.files[0].bytes = bytes.size();
  model.fingerprint = fingerprint(bytes, file.data_begin);
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

}  // namespace heddle::frontends::gguf
