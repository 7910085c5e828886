#pragma once
#include <cstdint>
#include <string>
#include <vector>

/// A model's vocabulary as a plan carries it: everything that text/ makes a tokenizer of.
namespace heddle::plan {

/// How the text of a token is found in an input, as added tokens of tokenizer.json say it: a set of flags.
enum class TokenMatch : std::uint8_t {
  NONE = 0,
  take_left = 1,    // with the white space on its left
  take_right = 2,   // ... on its right
  single_word = 4,  // only between characters that are no word's
  rewritten = 8,    // after `normalizers`, which its own text goes through too
  ANY = 15
};
constexpr TokenMatch operator|(TokenMatch a, TokenMatch b) { return TokenMatch(std::uint8_t(a) | std::uint8_t(b)); }
constexpr TokenMatch operator&(TokenMatch a, TokenMatch b) { return TokenMatch(std::uint8_t(a) & std::uint8_t(b)); }
constexpr TokenMatch& operator|=(TokenMatch& a, TokenMatch b) { return a = a | b; }

struct Token {
  std::string text;
  float score = 0;
  std::uint8_t type = 0;  // as in GGUF: 1 normal, 2 unknown, 3 control, 4 user defined, 5 unused, 6 byte
  TokenMatch match = TokenMatch::NONE;
};

/// One step that rewrites or cuts texts before symbols are merged; each text that a step gives goes through the next one by itself. `op`:
///   nfc, nfd, nfkc, nfkd   the normal form of Unicode
///   replace                every match of `pattern` becomes `text`
///   prepend                `text` in front of a text that is not empty
///   prepend_once           the same, unless the text begins with it already; with `first` only at the start of the whole input
///   isolated, removed, merged_with_previous, merged_with_next, contiguous
///                          cut at the matches of `pattern` (`invert`: what lies between them), and what becomes of a match
struct TextStep {
  std::string op;
  std::string pattern;  // a regular expression of PCRE2
  std::string text;
  bool first = false;
  bool invert = false;
};

struct Vocabulary {
  std::string kind;  // "spm", "bpe", "none"
  std::string pre;   // bpe: name of a pre-tokenizer; "steps": `pre_steps` says it
  std::vector<Token> tokens;
  std::vector<std::string> merges;  // "left right", by rank
  std::int32_t bos = -1, eos = -1, unknown = -1;
  std::vector<std::int32_t> end_tokens;  // all that end a text (eos, end of turn)
  bool add_bos = false, add_eos = false, add_space_prefix = true;
  // bpe with `pre` "steps" only:
  std::vector<TextStep> normalizers;  // before added tokens that ask for it are looked for; none of them cuts
  std::vector<TextStep> pre_steps;
  bool characters = false;     // symbols begin as characters, with byte tokens for those that are none; else as bytes in GPT-2's alphabet
  bool fuse_unknown = false;   // characters: one unknown token for neighbours
  bool ignore_merges = false;  // a word that is a token is taken whole
};

}  // namespace heddle::plan
