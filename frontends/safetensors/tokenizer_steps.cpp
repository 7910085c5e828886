#include "frontends/safetensors/tokenizer_steps.h"

#include <nlohmann/json.hpp>

#include "frontends/quoted.h"

namespace heddle::frontends::safetensors {
namespace {

using nlohmann::json;
using Steps = std::vector<plan::TextStep>;

constexpr const char* blank = "\xe2\x96\x81";  // U+2581, which stands for a blank
/// GPT-2's words, which the step ByteLevel cuts by if it is not told otherwise.
constexpr const char* byte_level_words = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

plan::TextStep& add(Steps& steps, std::string op, std::string pattern = "", std::string text = "") {
  auto& step = steps.emplace_back();
  step.op = std::move(op);
  step.pattern = std::move(pattern);
  step.text = std::move(text);
  return step;
}

/// `text` as an expression that matches it and nothing else.
std::string literal(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x80 && !std::isalnum(static_cast<unsigned char>(c))) out += '\\';
    out += c;
  }
  return out;
}

/// {"String": "..."} or {"Regex": "..."}.
Result<std::string> pattern_of(const JsonObject& step) {
  HEDDLE_ASSIGN(const auto pattern, step.object("pattern"));
  if (pattern.has("Regex")) return pattern.string("Regex");
  HEDDLE_ASSIGN(const auto text, pattern.string("String"));
  return literal(text);
}

Error unsupported(const JsonObject& step, const std::string& type) {
  return step.bad("type", fmt::format("{} is not supported", frontends::quoted(type)));
}

Result<void> read_normalizer(const JsonObject& step, Steps& steps) {
  HEDDLE_ASSIGN(const auto type, step.string("type"));
  if (type == "Sequence") {
    HEDDLE_ASSIGN(const auto parts, step.objects("normalizers"));
    for (const JsonObject& part : parts) HEDDLE_TRY(read_normalizer(part, steps));
  } else if (type == "NFC" || type == "NFD" || type == "NFKC" || type == "NFKD") {
    std::string op = type;
    for (char& c : op) c = char(std::tolower(c));
    add(steps, op);
  } else if (type == "Prepend") {
    HEDDLE_ASSIGN(const auto text, step.string("prepend"));
    add(steps, "prepend", "", text);
  } else if (type == "Replace") {
    HEDDLE_ASSIGN(const auto pattern, pattern_of(step));
    HEDDLE_ASSIGN(const auto text, step.string("content"));
    add(steps, "replace", pattern, text);
  } else {
    return unsupported(step, type);
  }
  return {};
}

/// "MergedWithPrevious" -> merged_with_previous.
Result<std::string> behavior_of(const JsonObject& step) {
  constexpr std::pair<std::string_view, std::string_view> known[] = {{"Isolated", "isolated"},
                                                                     {"Removed", "removed"},
                                                                     {"MergedWithPrevious", "merged_with_previous"},
                                                                     {"MergedWithNext", "merged_with_next"},
                                                                     {"Contiguous", "contiguous"}};
  HEDDLE_ASSIGN(const auto behavior, step.string("behavior"));
  for (const auto& [name, op] : known) {
    if (behavior == name) return std::string(op);
  }
  return step.bad("behavior", fmt::format("{} is not supported", frontends::quoted(behavior)));
}

class PreTokenizerReader {
 public:
  explicit PreTokenizerReader(plan::Vocabulary& vocabulary) : vocabulary_(vocabulary), steps_(vocabulary.pre_steps) {}

  Result<void> read(const JsonObject& step) {
    HEDDLE_ASSIGN(const auto type, step.string("type"));
    if (type == "Sequence") {
      HEDDLE_ASSIGN(const auto parts, step.objects("pretokenizers"));
      for (const JsonObject& part : parts) HEDDLE_TRY(read(part));
      return {};
    }
    return read_one(step, type);
  }

 private:
  Result<void> read_one(const JsonObject& step, const std::string& type) {
    if (!vocabulary_.characters) return step.bad("type", fmt::format("{} after 'ByteLevel' is not supported", frontends::quoted(type)));
    if (type == "Split") return split(step);
    if (type == "ByteLevel") return byte_level(step);
    if (type == "Metaspace") return metaspace(step);
    if (type == "Digits") {
      HEDDLE_ASSIGN(const bool individual, step.boolean_or("individual_digits", false));
      add(steps_, individual ? "isolated" : "contiguous", R"(\p{N})");
    } else if (type == "Punctuation") {
      HEDDLE_ASSIGN(const auto op, behavior_of(step));
      add(steps_, op, R"([\p{P}$+<=>^`|~])");
    } else if (type == "Whitespace") {
      add(steps_, "removed", R"(\w+|[^\w\s]+)").invert = true;
    } else if (type == "WhitespaceSplit") {
      add(steps_, "removed", R"(\s)");
    } else {
      return unsupported(step, type);
    }
    return {};
  }

  Result<void> split(const JsonObject& step) {
    HEDDLE_ASSIGN(const auto pattern, pattern_of(step));
    HEDDLE_ASSIGN(const auto op, behavior_of(step));
    HEDDLE_ASSIGN(const bool invert, step.boolean_or("invert", false));
    add(steps_, op, pattern).invert = invert;
    return {};
  }

  Result<void> byte_level(const JsonObject& step) {
    HEDDLE_ASSIGN(const bool prefix, step.boolean_or("add_prefix_space", true));
    HEDDLE_ASSIGN(const bool words, step.boolean_or("use_regex", true));
    if (prefix) add(steps_, "prepend_once", "", " ");
    if (words) add(steps_, "isolated", byte_level_words);
    vocabulary_.characters = false;
    return {};
  }

  Result<void> metaspace(const JsonObject& step) {
    HEDDLE_ASSIGN(const auto replacement, step.string_or("replacement", blank));
    HEDDLE_ASSIGN(const bool prefix, step.boolean_or("add_prefix_space", true));  // how older files say it
    HEDDLE_ASSIGN(const auto scheme, step.string_or("prepend_scheme", prefix ? "always" : "never"));
    HEDDLE_ASSIGN(const bool words, step.boolean_or("split", true));
    if (scheme != "always" && scheme != "first" && scheme != "never")
      return step.bad("prepend_scheme", fmt::format("{} is not supported", frontends::quoted(scheme)));
    add(steps_, "replace", "\\ ", replacement);
    if (scheme != "never") add(steps_, "prepend_once", "", replacement).first = scheme == "first";
    if (words) add(steps_, "merged_with_next", literal(replacement));
    return {};
  }

  plan::Vocabulary& vocabulary_;
  Steps& steps_;
};

/// What decoders do is what the engine does when it joins pieces; only whether a blank is taken from the front is theirs to say.
Result<void> read_decoder(const JsonObject& step, plan::Vocabulary& vocabulary) {
  HEDDLE_ASSIGN(const auto type, step.string("type"));
  if (type == "Sequence") {
    HEDDLE_ASSIGN(const auto parts, step.objects("decoders"));
    for (const JsonObject& part : parts) HEDDLE_TRY(read_decoder(part, vocabulary));
    return {};
  }
  if (type == "Fuse") return {};
  if (!vocabulary.characters) return type == "ByteLevel" ? Result<void>() : unsupported(step, type);
  if (type == "ByteFallback") return {};
  if (type == "Replace") {
    HEDDLE_ASSIGN(const auto pattern, pattern_of(step));
    HEDDLE_ASSIGN(const auto text, step.string("content"));
    if (pattern != blank || text != " ")
      return step.bad("pattern", fmt::format("{} by {} is not supported", frontends::quoted(pattern), frontends::quoted(text)));
  } else if (type == "Strip") {
    HEDDLE_ASSIGN(const auto text, step.string("content"));
    HEDDLE_ASSIGN(const auto front, step.integer_or("start", 0));
    HEDDLE_ASSIGN(const auto back, step.integer_or("stop", 0));
    if (text != " " || front < 0 || front > 1 || back != 0)
      return step.bad("content", fmt::format("{} at most {} and {} times is not supported", frontends::quoted(text), front, back));
    vocabulary.add_space_prefix = front == 1;
  } else if (type == "Metaspace") {
    HEDDLE_ASSIGN(const auto replacement, step.string_or("replacement", blank));
    if (replacement != blank) return step.bad("replacement", fmt::format("{} is not supported", frontends::quoted(replacement)));
    HEDDLE_ASSIGN(const bool prefix, step.boolean_or("add_prefix_space", true));
    HEDDLE_ASSIGN(const auto scheme, step.string_or("prepend_scheme", prefix ? "always" : "never"));
    vocabulary.add_space_prefix = scheme != "never";
  } else {
    return unsupported(step, type);
  }
  return {};
}

/// The one id of a special token of a template.
Result<std::int32_t> template_id(const JsonObject& processor, const JsonObject& entry, std::size_t tokens) {
  HEDDLE_ASSIGN(const auto special, entry.object("SpecialToken"));
  HEDDLE_ASSIGN(const auto name, special.string("id"));
  HEDDLE_ASSIGN(const auto all, processor.object("special_tokens"));
  HEDDLE_ASSIGN(const auto token, all.object(name));
  const json* ids = token.find("ids");
  if (!ids || !ids->is_array() || ids->size() != 1 || !(*ids)[0].is_number_unsigned() || (*ids)[0].get<std::uint64_t>() >= tokens)
    return token.bad("ids", fmt::format("wanted one id of a vocabulary of {}", tokens));
  return (*ids)[0].get<std::int32_t>();
}

Result<void> read_processor(const JsonObject& processor, plan::Vocabulary& vocabulary) {
  HEDDLE_ASSIGN(const auto type, processor.string("type"));
  if (type == "Sequence") {
    HEDDLE_ASSIGN(const auto parts, processor.objects("processors"));
    for (const JsonObject& part : parts) HEDDLE_TRY(read_processor(part, vocabulary));
    return {};
  }
  if (type == "ByteLevel") return {};  // moves offsets, no ids
  if (type != "TemplateProcessing") return unsupported(processor, type);
  HEDDLE_ASSIGN(const auto single, processor.objects("single"));
  bool text_seen = false;
  for (const JsonObject& entry : single) {
    if (entry.has("Sequence") && !text_seen) {
      text_seen = true;
    } else if (entry.has("SpecialToken") && (text_seen ? !vocabulary.add_eos : !vocabulary.add_bos)) {
      HEDDLE_ASSIGN(const auto id, template_id(processor, entry, vocabulary.tokens.size()));
      (text_seen ? vocabulary.eos : vocabulary.bos) = id;
      (text_seen ? vocabulary.add_eos : vocabulary.add_bos) = true;
    } else {
      return processor.bad("single", "wanted at most one token before and one behind the text");
    }
  }
  return {};
}

}  // namespace

Result<void> read_steps(const JsonObject& file, plan::Vocabulary& vocabulary) {
  vocabulary.characters = true;  // until a step ByteLevel says otherwise
  if (file.has("normalizer")) {
    HEDDLE_ASSIGN(const auto normalizer, file.object("normalizer"));
    HEDDLE_TRY(read_normalizer(normalizer, vocabulary.normalizers));
  }
  if (file.has("pre_tokenizer")) {
    HEDDLE_ASSIGN(const auto pre_tokenizer, file.object("pre_tokenizer"));
    HEDDLE_TRY(PreTokenizerReader(vocabulary).read(pre_tokenizer));
  }
  if (file.has("decoder")) {
    HEDDLE_ASSIGN(const auto decoder, file.object("decoder"));
    HEDDLE_TRY(read_decoder(decoder, vocabulary));
  }
  return {};
}

Result<void> read_template(const JsonObject& file, plan::Vocabulary& vocabulary) {
  if (!file.has("post_processor")) return {};
  HEDDLE_ASSIGN(const auto processor, file.object("post_processor"));
  return read_processor(processor, vocabulary);
}

}  // namespace heddle::frontends::safetensors
