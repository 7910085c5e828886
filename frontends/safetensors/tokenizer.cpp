#include "frontends/safetensors/tokenizer.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "frontends/end_of_text.h"
#include "frontends/quoted.h"
#include "frontends/safetensors/tokenizer_steps.h"

namespace heddle::frontends::safetensors {
namespace {

using nlohmann::json;

constexpr std::uint8_t normal = 1, control = 3, user_defined = 4, unused = 5, byte = 6;  // token types
constexpr std::int64_t most_tokens = 1 << 24;

bool is_byte_text(std::string_view text) {
  const auto hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'); };
  return text.size() == 6 && text.starts_with("<0x") && hex(text[3]) && hex(text[4]) && text[5] == '>';
}

/// Reads the tokens and merges of `model`, and the added tokens.
class TokenTable {
 public:
  TokenTable(const JsonObject& file, plan::Vocabulary& vocabulary) : file_(file), vocabulary_(vocabulary) {}

  Result<void> read(std::int64_t wanted) {
    HEDDLE_ASSIGN(const auto model, file_.object("model"));
    HEDDLE_TRY(check_model(model));
    HEDDLE_TRY(read_vocab(model));
    HEDDLE_TRY(read_added());
    const auto found = std::int64_t(vocabulary_.tokens.size());
    if (wanted > 0 && found > wanted) return file_.bad(fmt::format("{} tokens, the model has a vocabulary of {}", found, wanted));
    if (found == 0) return file_.bad("there are no tokens");
    vocabulary_.tokens.resize(std::size_t(std::max(found, wanted)));
    for (plan::Token& token : vocabulary_.tokens)  // ids that stand for nothing: models round their vocabularies up
      if (!is_set(token)) token.type = unused;
    HEDDLE_TRY(read_merges(model));
    return read_unknown(model);
  }

 private:
  static bool is_set(const plan::Token& token) { return token.type != 0; }

  Result<void> check_model(const JsonObject& model) {
    HEDDLE_ASSIGN(const auto type, model.string_or("type", model.has("merges") ? "BPE" : "unnamed"));
    if (type != "BPE") return model.bad("type", fmt::format("tokenizer {} is not supported (supported: BPE)", frontends::quoted(type)));
    HEDDLE_ASSIGN(const auto dropout, model.number_or("dropout", 0));
    if (dropout != 0) return model.bad("dropout", fmt::format("found {}, wanted none: merges by chance are not supported", dropout));
    for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
      HEDDLE_ASSIGN(const auto affix, model.string_or(key, ""));
      if (!affix.empty()) return model.bad(key, fmt::format("found {}, wanted none", frontends::quoted(affix)));
    }
    HEDDLE_ASSIGN(byte_fallback_, model.boolean_or("byte_fallback", false));
    HEDDLE_ASSIGN(vocabulary_.fuse_unknown, model.boolean_or("fuse_unk", false));
    HEDDLE_ASSIGN(vocabulary_.ignore_merges, model.boolean_or("ignore_merges", false));
    if (byte_fallback_ && !vocabulary_.characters) return model.bad("byte_fallback", "found true beside byte-level symbols");
    return {};
  }

  Result<void> set(const JsonObject& place, std::string_view text, const json& id, std::uint8_t type, plan::TokenMatch match) {
    if (!id.is_number_integer() || id.get<std::int64_t>() < 0 || id.get<std::int64_t>() >= most_tokens)
      return place.bad(fmt::format("id of token {} is {}, wanted 0 to {}", frontends::quoted(text), id.dump(), most_tokens - 1));
    const auto index = id.get<std::size_t>();
    if (vocabulary_.tokens.size() <= index) vocabulary_.tokens.resize(index + 1);
    auto& token = vocabulary_.tokens[index];
    if (is_set(token) && token.text != text)
      return place.bad(fmt::format("tokens {} and {} both have id {}", frontends::quoted(token.text), frontends::quoted(text), index));
    token.text = text;
    token.type = type;
    token.match = match;
    return {};
  }

  Result<void> read_vocab(const JsonObject& model) {
    HEDDLE_ASSIGN(const auto vocab, model.object("vocab"));
    for (const auto& [text, id] : model.find("vocab")->items()) {
      if (id.is_number_integer() && id.get<std::int64_t>() >= 4 * std::int64_t(model.find("vocab")->size()) + 65536)
        return vocab.bad(
            fmt::format("id of token {} is {} in a list of {}", frontends::quoted(text), id.dump(), model.find("vocab")->size()));
      HEDDLE_TRY(set(vocab, text, id, byte_fallback_ && is_byte_text(text) ? byte : normal, {}));
    }
    return {};
  }

  Result<void> read_added() {
    HEDDLE_ASSIGN(const auto added, file_.objects("added_tokens"));
    for (const JsonObject& token : added) {
      HEDDLE_ASSIGN(const auto text, token.string("content"));
      HEDDLE_ASSIGN(const auto id, token.integer("id"));
      if (text.empty()) return token.bad("content", "the text is empty");
      HEDDLE_ASSIGN(const bool special, token.boolean_or("special", false));
      plan::TokenMatch match{};
      for (const auto& [key, flag] : {std::pair("lstrip", plan::TokenMatch::take_left),
                                      {"rstrip", plan::TokenMatch::take_right},
                                      {"single_word", plan::TokenMatch::single_word},
                                      {"normalized", plan::TokenMatch::rewritten}}) {
        HEDDLE_ASSIGN(const bool on, token.boolean_or(key, false));
        if (on) match |= flag;
      }
      HEDDLE_TRY(set(token, text, id, special ? control : user_defined, match));
    }
    return {};
  }

  Result<void> read_merges(const JsonObject& model) {
    const json* merges = model.find("merges");
    if (!merges || !merges->is_array()) return model.bad("merges", "wanted a list");
    vocabulary_.merges.reserve(merges->size());
    for (std::size_t i = 0; i < merges->size(); ++i) {
      const json& merge = (*merges)[i];
      std::string text;
      if (merge.is_string()) {
        text = merge.get<std::string>();
      } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
        const auto &left = merge[0].get_ref<const std::string&>(), &right = merge[1].get_ref<const std::string&>();
        if ((left + right).find(' ') != text.npos)
          return model.bad("merges", fmt::format("merge {} of {} and {}: blanks in symbols are not supported", i, frontends::quoted(left),
                                                 frontends::quoted(right)));
        text = left + " " + right;
      }
      const std::size_t blank = text.find(' ');
      if (blank == text.npos || blank == 0 || blank + 1 == text.size() || text.find(' ', blank + 1) != text.npos)
        return model.bad("merges", fmt::format("merge {} is {}, wanted two symbols", i,
                                               frontends::quoted(merge.dump(-1, ' ', false, json::error_handler_t::replace))));
      vocabulary_.merges.push_back(std::move(text));
    }
    return {};
  }

  Result<void> read_unknown(const JsonObject& model) {
    HEDDLE_ASSIGN(const auto text, model.string_or("unk_token", ""));
    if (text.empty()) return {};
    const auto at = std::ranges::find_if(vocabulary_.tokens, [&](const auto& token) { return token.text == text; });
    if (at == vocabulary_.tokens.end()) return model.bad("unk_token", fmt::format("{} is no token", frontends::quoted(text)));
    vocabulary_.unknown = std::int32_t(at - vocabulary_.tokens.begin());
    return {};
  }

  const JsonObject& file_;
  plan::Vocabulary& vocabulary_;
  bool byte_fallback_ = false;
};

/// A token that a setting names: by its text, or by an object that holds it. -1: none, or its text is no token's.
Result<std::int32_t> token_of(const JsonObject& settings, std::string_view key, const plan::Vocabulary& vocabulary) {
  const json* value = settings.find(key);
  if (!value) return -1;
  std::string text;
  if (value->is_object()) {
    HEDDLE_ASSIGN(const auto object, settings.object(key));
    HEDDLE_ASSIGN(text, object.string("content"));
  } else {
    HEDDLE_ASSIGN(text, settings.string(key));
  }
  const auto at = std::ranges::find_if(vocabulary.tokens, [&](const auto& token) { return !text.empty() && token.text == text; });
  return at == vocabulary.tokens.end() ? -1 : std::int32_t(at - vocabulary.tokens.begin());
}

/// The ids that a setting lists: one, several or none.
Result<std::vector<std::int32_t>> ids_of(const JsonObject& settings, std::string_view key, std::size_t tokens) {
  std::vector<std::int32_t> out;
  const json* value = settings.find(key);
  if (!value) return out;
  for (const json& id : value->is_array() ? *value : json::array({*value})) {
    if (!id.is_number_integer())
      return settings.bad(key, fmt::format("found {}, wanted ids", id.dump(-1, ' ', false, json::error_handler_t::replace)));
    const auto number = id.get<std::int64_t>();
    if (number < 0 || std::uint64_t(number) >= tokens)
      return settings.bad(key, fmt::format("{} is no token of a vocabulary of {}", number, tokens));
    out.push_back(std::int32_t(number));
  }
  return out;
}

Result<void> read_special_ids(const TokenizerFiles& files, plan::Vocabulary& vocabulary) {
  const std::size_t tokens = vocabulary.tokens.size();
  const auto add_end = [&](std::int32_t id) {
    if (id >= 0 && std::ranges::find(vocabulary.end_tokens, id) == vocabulary.end_tokens.end()) vocabulary.end_tokens.push_back(id);
  };
  if (files.tokenizer_config) {
    if (vocabulary.bos < 0) {
      HEDDLE_ASSIGN(vocabulary.bos, token_of(*files.tokenizer_config, "bos_token", vocabulary));
    }
    HEDDLE_ASSIGN(vocabulary.eos, token_of(*files.tokenizer_config, "eos_token", vocabulary));
  }
  add_end(vocabulary.eos);
  for (const JsonObject* settings : {files.generation_config ? &*files.generation_config : nullptr, &files.config}) {
    if (!settings) continue;
    HEDDLE_ASSIGN(const auto begins, ids_of(*settings, "bos_token_id", tokens));
    HEDDLE_ASSIGN(const auto ends, ids_of(*settings, "eos_token_id", tokens));
    if (vocabulary.bos < 0 && !begins.empty()) vocabulary.bos = begins[0];
    if (vocabulary.eos < 0 && !ends.empty()) vocabulary.eos = ends[0];
    for (const auto id : ends) add_end(id);
  }
  for (std::size_t id = 0; id < tokens; ++id) {
    if (vocabulary.tokens[id].type == control && is_end_of_text(vocabulary.tokens[id].text)) add_end(std::int32_t(id));
  }
  return {};
}

/// tokenizer_config.json comes before the template of tokenizer.json, as in the tokenizer classes that rebuild the template from it.
Result<void> read_additions(const TokenizerFiles& files, plan::Vocabulary& vocabulary) {
  if (!files.tokenizer_config) return {};
  HEDDLE_ASSIGN(vocabulary.add_bos, files.tokenizer_config->boolean_or("add_bos_token", vocabulary.add_bos));
  HEDDLE_ASSIGN(vocabulary.add_eos, files.tokenizer_config->boolean_or("add_eos_token", vocabulary.add_eos));
  if (vocabulary.add_bos && vocabulary.bos < 0)
    return files.tokenizer_config->bad("add_bos_token", "found true, and there is no such token");
  if (vocabulary.add_eos && vocabulary.eos < 0)
    return files.tokenizer_config->bad("add_eos_token", "found true, and there is no such token");
  return {};
}

}  // namespace

Result<plan::Vocabulary> read_vocabulary(const TokenizerFiles& files, std::int64_t vocabulary) {
  plan::Vocabulary out;
  out.add_space_prefix = false;
  if (!files.tokenizer) {
    out.kind = "none";
    return out;
  }
  out.kind = "bpe";
  out.pre = "steps";
  HEDDLE_TRY(read_steps(*files.tokenizer, out));
  HEDDLE_TRY(TokenTable(*files.tokenizer, out).read(vocabulary));
  HEDDLE_TRY(read_template(*files.tokenizer, out));
  HEDDLE_TRY(read_special_ids(files, out));
  HEDDLE_TRY(read_additions(files, out));
  return out;
}

Result<std::string> chat_template_of(const JsonObject& tokenizer_config) {
  const json* value = tokenizer_config.find("chat_template");
  if (!value || !value->is_array()) return tokenizer_config.string_or("chat_template", "");
  HEDDLE_ASSIGN(const auto all, tokenizer_config.objects("chat_template"));
  for (const JsonObject& one : all) {
    HEDDLE_ASSIGN(const auto name, one.string("name"));
    if (name == "default") return one.string("template");
  }
  return std::string();
}

}  // namespace heddle::frontends::safetensors
