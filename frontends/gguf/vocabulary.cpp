#include "frontends/gguf/vocabulary.h"

#include <algorithm>

#include "frontends/end_of_text.h"
#include "frontends/quoted.h"

namespace heddle::frontends::gguf {
namespace {

constexpr int control = 3, byte = 6;  // token types

/// Pre-tokenizers of vocabularies that want BOS unless the file says otherwise (llama.cpp, llama-vocab.cpp).
constexpr std::string_view pre_with_bos[] = {"chameleon", "falcon-h1", "falcon3",  "jina-v5-nano", "lfm2",  "llama-bpe",
                                             "llama-v3",  "llama3",    "midm-2.0", "pixtral",      "tekken"};

std::string key(std::string_view name) { return "tokenizer.ggml." + std::string(name); }

template <class Range>
bool contains(const Range& range, std::string_view text) {
  return std::find(std::begin(range), std::end(range), text) != std::end(range);
}

bool is_byte_text(std::string_view text) {
  const auto hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'); };
  return text.size() == 6 && text.starts_with("<0x") && hex(text[3]) && hex(text[4]) && text[5] == '>';
}

/// Texts, scores and types of all tokens.
Result<void> read_tokens(const Metadata& metadata, plan::Vocabulary& vocabulary) {
  HEDDLE_ASSIGN(const auto texts, metadata.strings(key("tokens")));
  if (texts.empty() || texts.size() > 0x7fffffff) {
    return metadata.bad(key("tokens"), fmt::format("found {} tokens, wanted 1 to {}", texts.size(), 0x7fffffff));
  }
  // An spm vocabulary means nothing without its scores and byte tokens; a bpe one has merges instead.
  std::vector<double> scores(texts.size(), 0);
  std::vector<std::int64_t> types(texts.size(), 1);
  if (vocabulary.kind == "spm" || metadata.has(key("scores"))) {
    HEDDLE_ASSIGN(scores, metadata.numbers(key("scores"), texts.size()));
  }
  if (vocabulary.kind == "spm" || metadata.has(key("token_type"))) {
    HEDDLE_ASSIGN(types, metadata.integers(key("token_type"), texts.size()));
  }
  vocabulary.tokens.reserve(texts.size());
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (types[i] < 1 || types[i] > 6)
      return metadata.bad(key("token_type"), fmt::format("token {} has type {}, wanted 1 to 6", i, types[i]));
    if (types[i] == byte && !is_byte_text(texts[i])) {
      return metadata.bad(key("tokens"), fmt::format("token {} is {}, a byte token is '<0x00>' to '<0xFF>'", i, quoted(texts[i])));
    }
    vocabulary.tokens.push_back({.text = std::string(texts[i]), .score = float(scores[i]), .type = std::uint8_t(types[i]), .match = {}});
  }
  return {};
}

Result<void> read_merges(const Metadata& metadata, plan::Vocabulary& vocabulary) {
  HEDDLE_ASSIGN(const auto merges, metadata.strings(key("merges")));
  vocabulary.merges.reserve(merges.size());
  for (std::size_t i = 0; i < merges.size(); ++i) {
    const std::size_t blank = merges[i].find(' ', 1);
    if (blank == std::string_view::npos || blank + 1 == merges[i].size()) {
      return metadata.bad(key("merges"), fmt::format("merge {} is {}, wanted two parts with a blank between them", i, quoted(merges[i])));
    }
    vocabulary.merges.emplace_back(merges[i]);
  }
  return {};
}

/// The id under a key, or `otherwise`.
Result<std::int32_t> read_id(const Metadata& metadata, std::string_view name, std::int32_t otherwise, std::size_t tokens) {
  if (!metadata.has(key(name))) return otherwise;
  HEDDLE_ASSIGN(const auto id, metadata.integer(key(name)));
  if (id < 0 || std::uint64_t(id) >= tokens)
    return metadata.bad(key(name), fmt::format("{} is no token of a vocabulary of {}", id, tokens));
  return std::int32_t(id);
}

Result<void> read_special_ids(const Metadata& metadata, plan::Vocabulary& vocabulary) {
  const std::size_t tokens = vocabulary.tokens.size();
  const auto by_default = [&](std::int32_t id) { return vocabulary.kind == "spm" && std::size_t(id) < tokens ? id : -1; };
  HEDDLE_ASSIGN(vocabulary.bos, read_id(metadata, "bos_token_id", by_default(1), tokens));
  HEDDLE_ASSIGN(vocabulary.eos, read_id(metadata, "eos_token_id", by_default(2), tokens));
  HEDDLE_ASSIGN(vocabulary.unknown, read_id(metadata, "unknown_token_id", by_default(0), tokens));
  HEDDLE_ASSIGN(const auto end_of_turn, read_id(metadata, "eot_token_id", -1, tokens));
  HEDDLE_ASSIGN(const auto end_of_message, read_id(metadata, "eom_token_id", -1, tokens));

  const auto add_end = [&](std::int32_t id) {
    auto& ends = vocabulary.end_tokens;
    if (id >= 0 && std::find(ends.begin(), ends.end(), id) == ends.end()) ends.push_back(id);
  };
  for (const auto id : {vocabulary.eos, end_of_turn, end_of_message}) add_end(id);
  for (std::size_t id = 0; id < tokens; ++id) {
    if (vocabulary.tokens[id].type == control && is_end_of_text(vocabulary.tokens[id].text)) add_end(std::int32_t(id));
  }
  return {};
}

Result<void> read_additions(const Metadata& metadata, plan::Vocabulary& vocabulary) {
  const bool spm = vocabulary.kind == "spm";
  const bool bos = vocabulary.bos >= 0 && (spm || contains(pre_with_bos, vocabulary.pre));
  HEDDLE_ASSIGN(vocabulary.add_bos, metadata.boolean_or(key("add_bos_token"), bos));
  HEDDLE_ASSIGN(vocabulary.add_eos, metadata.boolean_or(key("add_eos_token"), false));
  HEDDLE_ASSIGN(vocabulary.add_space_prefix, metadata.boolean_or(key("add_space_prefix"), spm));
  if (vocabulary.add_bos && vocabulary.bos < 0) return metadata.missing(key("bos_token_id"));
  if (vocabulary.add_eos && vocabulary.eos < 0) return metadata.missing(key("eos_token_id"));
  return {};
}

}  // namespace

Result<plan::Vocabulary> read_vocabulary(const Metadata& metadata) {
  plan::Vocabulary vocabulary;
  HEDDLE_ASSIGN(const auto model, metadata.string_or(key("model"), "no_vocab"));
  if (model == "no_vocab" || model == "none") {
    vocabulary.kind = "none";
    vocabulary.add_space_prefix = false;
    return vocabulary;
  }
  if (model != "llama" && model != "gpt2") {
    return metadata.bad(key("model"), fmt::format("tokenizer {} is not supported (supported: llama, gpt2, no_vocab)", quoted(model)));
  }
  vocabulary.kind = model == "llama" ? "spm" : "bpe";
  HEDDLE_TRY(read_tokens(metadata, vocabulary));
  if (vocabulary.kind == "bpe") {
    HEDDLE_ASSIGN(vocabulary.pre, metadata.string_or(key("pre"), "default"));
    HEDDLE_TRY(read_merges(metadata, vocabulary));
  }
  HEDDLE_TRY(read_special_ids(metadata, vocabulary));
  HEDDLE_TRY(read_additions(metadata, vocabulary));
  return vocabulary;
}

}  // namespace heddle::frontends::gguf
