#include "runtime/text/pre_tokenizers.h"

#include <algorithm>
#include <string>

namespace heddle::text {
namespace {

// ---- The table
//
// Sources: the `pre_tokenizer` sections of the models' published tokenizer.json. Where llama.cpp rewrites an expression because its
// engine lacks a feature, the published one stands here, but for the contractions: (?i:'s) would also match U+017F, and llama.cpp's
// form does not.

#define CONTRACTIONS R"((?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]))"
#define SPACES R"(\s*[\r\n]+|\s+(?!\S)|\s+)"
// A word of tekken and gpt-4o: capitals then the rest, or capitals only.
#define UPPER R"([\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}])"
#define LOWER R"([\p{Ll}\p{Lm}\p{Lo}\p{M}])"
#define CASED_WORD(tail) R"([^\r\n\p{L}\p{N}]?)" UPPER "*" LOWER "+" tail R"(|[^\r\n\p{L}\p{N}]?)" UPPER "+" LOWER "*" tail

constexpr const char* gpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr const char* llama3 = CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)" SPACES;
constexpr const char* qwen2 = CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|)" SPACES;
constexpr const char* qwen35 = CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|)" SPACES;
constexpr const char* tekken = CASED_WORD("") R"(|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|)" SPACES;
constexpr const char* gpt4o = CASED_WORD(CONTRACTIONS "?") R"(|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|)" SPACES;
constexpr const char* bailing =
    R"('(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)";
constexpr const char* seed_coder = CONTRACTIONS R"(|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}\r\n]+|)" SPACES;
constexpr const char* bloom = R"( ?[^(\s|.,!?\x{2026}\x{3002}\x{ff0c}\x{3001}\x{964}\x{6d4}\x{60c})]+)";
constexpr const char* one_digit = R"(\p{N})";
constexpr const char* line_ends = R"([\r\n])";

// deepseek-llm names its letters one range after the other: most, not all, of the cased letters.
constexpr const char* deepseek_letters =
    R"(\s?[A-Za-z\x{b5}\x{c0}-\x{d6}\x{d8}-\x{f6}\x{f8}-\x{1ba}\x{1bc}-\x{1bf}\x{1c4}-\x{293}\x{295}-\x{2af}\x{370}-\x{373}\x{376})"
    R"(\x{377}\x{37b}-\x{37d}\x{37f}\x{386}\x{388}-\x{38a}\x{38c}\x{38e}-\x{3a1}\x{3a3}-\x{3f5}\x{3f7}-\x{481}\x{48a}-\x{52f})"
    R"(\x{531}-\x{556}\x{10a0}-\x{10c5}\x{13a0}-\x{13f5}\x{13f8}-\x{13fd}\x{1c90}-\x{1cba}\x{1cbd}-\x{1cbf}\x{1d00}-\x{1d2b})"
    R"(\x{1d6b}-\x{1d77}\x{1d79}-\x{1d9a}\x{1e00}-\x{1f15}\x{1f18}-\x{1f1d}\x{1f20}-\x{1f45}\x{1f48}-\x{1f4d}\x{1f50}-\x{1f57})"
    R"(\x{1f59}\x{1f5b}\x{1f5d}\x{1f5f}-\x{1f7d}\x{1f80}-\x{1fb4}\x{1fb6}-\x{1fbc}\x{1fbe}\x{1fc2}-\x{1fc4}\x{1fc6}-\x{1fcc})"
    R"(\x{1fd0}-\x{1fd3}\x{1fd6}-\x{1fdb}\x{1fe0}-\x{1fec}\x{1ff2}-\x{1ff4}\x{1ff6}-\x{1ffc}\x{2102}\x{2107}\x{210a}-\x{2113})"
    R"(\x{2115}\x{2119}-\x{211d}\x{2124}\x{2126}\x{2128}\x{212a}-\x{212d}\x{212f}-\x{2134}\x{2139}\x{213c}-\x{213f})"
    R"(\x{2145}-\x{2149}\x{214e}\x{2183}\x{2184}\x{2c00}-\x{2c7b}\x{2c7e}-\x{2ce4}\x{2ceb}-\x{2cee}\x{2cf2}\x{2cf3})"
    R"(\x{a640}-\x{a66d}\x{a680}-\x{a69b}\x{a722}-\x{a76f}\x{a771}-\x{a787}\x{a78b}-\x{a78e}\x{ab70}-\x{abbf}\x{fb00}-\x{fb06})"
    R"(\x{fb13}-\x{fb17}\x{ff21}-\x{ff3a}\x{ff41}-\x{ff5a}\x{10400}-\x{1044f}\x{104b0}-\x{104d3}\x{104d8}-\x{104fb})"
    R"(\x{10c80}-\x{10cb2}\x{10cc0}-\x{10cf2}\x{118a0}-\x{118df}\x{1e900}-\x{1e943}]+)";
constexpr const char* deepseek_marks = R"(\s?[!-/:-~\x{ff01}-\x{ff0f}\x{ff1a}-\x{ff5e}\x{2018}-\x{201f}\x{3000}-\x{3002}]+)";
constexpr const char* deepseek_cjk = R"([\x{4e00}-\x{9fa5}\x{800}-\x{4e00}\x{ac00}-\x{d7ff}]+)";
constexpr const char* deepseek3_cjk = R"([\x{4e00}-\x{9fa5}\x{3040}-\x{309f}\x{30a0}-\x{30ff}]+)";
constexpr const char* deepseek3 =
    R"([!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|)" SPACES;

struct Row {
  std::vector<std::string_view> names;
  std::vector<const char*> expressions;
  bool ignore_merges = false;
};

const std::vector<Row>& table() {
  static const std::vector<Row> rows = {
      {{"default"}, {R"([\p{P}$+<=>^~|]+)", gpt2, R"(\p{N}+)", "[0-9][0-9][0-9]"}},
      {{"gpt-2", "exaone4", "gigachat", "granite-docling", "jais", "mellum", "mpt", "olmo", "phi-2", "trillion"}, {gpt2}},
      {{"llama-bpe", "falcon-h1", "falcon3", "lfm2", "llama-v3", "llama3", "midm-2.0", "pixtral"}, {llama3}, true},
      {{"chatglm-bpe", "dbrx", "glm4", "smaug-bpe"}, {llama3}},
      {{"qwen2", "deepseek-r1-qwen", "grok-2", "hunyuan", "megrez", "stablelm2"}, {qwen2}},
      {{"qwen35"}, {qwen35}},
      {{"deepseek-llm"}, {line_ends, deepseek_letters, deepseek_marks, R"(\s+$)", deepseek_cjk, R"(\p{N}+)"}},
      {{"deepseek-coder"}, {line_ends, R"(\s?\p{L}+)", R"(\s?\p{P}+)", deepseek_cjk, one_digit}},
      {{"deepseek-v3", "hunyuan-dense"}, {R"(\p{N}{1,3})", deepseek3_cjk, deepseek3}},
      {{"falcon"}, {R"([\p{P}$+<=>^~|`]+)", gpt2, "[0-9][0-9][0-9]"}},
      {{"starcoder", "codeshell", "command-r", "exaone", "minerva-7b", "refact", "smollm"}, {one_digit, gpt2}},
      {{"tekken"}, {tekken}, true},
      {{"gpt-4o", "kanana2", "llama4"}, {gpt4o}},
      {{"bloom", "gpt3-finnish", "poro-chat"}, {bloom}},
      {{"viking"}, {bloom, one_digit}},
      {{"bailingmoe", "bailingmoe2"}, {bailing}},
      {{"seed-coder"}, {seed_coder}},
  };
  return rows;
}

std::string supported_names() {
  std::vector<std::string_view> names;
  for (const Row& row : table()) names.insert(names.end(), row.names.begin(), row.names.end());
  std::sort(names.begin(), names.end());
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

Result<PreTokenizer> PreTokenizer::create(std::string_view name) {
  if (name.empty()) name = "default";
  for (const Row& row : table()) {
    if (std::find(row.names.begin(), row.names.end(), name) == row.names.end()) continue;
    PreTokenizer out;
    for (const char* expression : row.expressions) out.steps_.cut_at(expression);
    out.ignore_merges_ = row.ignore_merges;
    return out;
  }
  return error("pre-tokenizer '{}' is not supported (supported: {})", name, supported_names());
}

Result<PreTokenizer> PreTokenizer::create(const plan::Vocabulary& vocabulary) {
  if (vocabulary.pre != "steps") return create(vocabulary.pre);
  PreTokenizer out;
  auto steps = TextSteps::create(vocabulary.pre_steps);
  if (!steps.ok()) return steps.take_error().at("pre-tokenizer");
  out.steps_ = std::move(*steps);
  out.ignore_merges_ = vocabulary.ignore_merges;
  return out;
}

void PreTokenizer::split(Pieces& pieces) const { steps_.run(pieces); }

std::vector<std::string_view> PreTokenizer::split(std::string_view text) const {
  Pieces pieces;
  if (!text.empty()) pieces.texts.push_back(text);
  split(pieces);
  HEDDLE_CHECK(pieces.own.empty());
  return pieces.texts;
}

}  // namespace heddle::text
