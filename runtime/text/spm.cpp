#include "runtime/text/spm.h"

#include <algorithm>
#include <queue>

#include "runtime/text/blanks.h"
#include "runtime/text/utf8.h"

namespace heddle::text {
namespace {

struct Symbol {
  int previous, next;           // -1: none
  std::uint32_t begin, length;  // bytes of the text; length 0: merged into a symbol before it
};

struct Pair {
  float score;
  int left, right;
  std::uint32_t length;  // of both together when the pair was found
  bool operator<(const Pair& other) const { return score != other.score ? score < other.score : left > other.left; }
};

std::vector<Symbol> characters_of(std::string_view text) {
  std::vector<Symbol> symbols;
  symbols.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const Utf8Step step = utf8_step(text.substr(i));
    const std::size_t length = step.state == Utf8Step::whole ? step.length : 1;
    symbols.push_back({int(symbols.size()) - 1, int(symbols.size()) + 1, std::uint32_t(i), std::uint32_t(length)});
    i += length;
  }
  if (!symbols.empty()) symbols.back().next = -1;
  return symbols;
}

/// Where the first blank stands that has another character before it; the length of `text` if there is none.
std::size_t next_word(std::string_view text) {
  std::size_t at = 0;
  while (text.substr(at).starts_with(blank)) at += blank.size();
  return std::min(text.find(blank, at), text.size());
}

}  // namespace

SpmTokenizer::SpmTokenizer(const plan::Vocabulary& vocabulary)
    : Tokenizer(vocabulary), special_(vocabulary), ids_(vocabulary.tokens.size()) {
  byte_tokens_.fill(-1);
  for (std::size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    const std::string& text = vocabulary.tokens[i].text;
    if (text.empty() || ids_.add(text, std::int32_t(i)) != std::int32_t(i)) continue;
    longest_ = std::max(longest_, text.size());
    if (next_word(text) < text.size()) blanks_are_first_ = false;
    if (const int byte = byte_of(text); byte >= 0) byte_tokens_[byte] = std::int32_t(i);
  }
}

std::vector<std::int32_t> SpmTokenizer::encode(std::string_view text, EncodeOptions options) const {
  std::vector<std::int32_t> out;
  if (options.bos && vocabulary_->add_bos && vocabulary_->bos >= 0) out.push_back(vocabulary_->bos);
  bool at_start = true;  // of the text, or of what follows a special token
  for (const Fragment& fragment : special_.split(text, options.special)) {
    if (fragment.token >= 0) {
      out.push_back(fragment.token);
      at_start = true;
      continue;
    }
    const bool prefix = vocabulary_->add_space_prefix && at_start;
    const std::string escaped = (prefix ? std::string(blank) : std::string()) + replace_all(fragment.text, " ", blank);
    for (std::string_view rest = escaped; !rest.empty();) {
      const std::size_t length = blanks_are_first_ ? next_word(rest) : rest.size();  // nothing merges across: the result is the same
      encode_part(rest.substr(0, length), out);
      rest.remove_prefix(length);
    }
    at_start = false;
  }
  return out;
}

void SpmTokenizer::encode_part(std::string_view text, std::vector<std::int32_t>& out) const {
  std::vector<Symbol> symbols = characters_of(text);
  const auto text_of = [&](const Symbol& s) { return text.substr(s.begin, s.length); };

  std::priority_queue<Pair> queue;
  const auto consider = [&](int left, int right) {
    if (left < 0 || right < 0) return;
    const std::uint32_t length = symbols[left].length + symbols[right].length;
    if (length > longest_) return;
    const std::int32_t token = ids_.find(text.substr(symbols[left].begin, length));
    if (token >= 0) queue.push({vocabulary_->tokens[token].score, left, right, length});
  };
  for (int i = 1; i < int(symbols.size()); ++i) consider(i - 1, i);

  while (!queue.empty()) {
    const Pair pair = queue.top();
    queue.pop();
    Symbol &left = symbols[pair.left], &right = symbols[pair.right];
    if (left.length == 0 || right.length == 0 || left.length + right.length != pair.length) continue;  // one has grown or gone since
    left.length = pair.length;
    right.length = 0;
    left.next = right.next;
    if (right.next >= 0) symbols[right.next].previous = pair.left;
    consider(left.previous, pair.left);
    consider(pair.left, left.next);
  }

  for (int i = symbols.empty() ? -1 : 0; i >= 0; i = symbols[i].next) {
    const std::string_view symbol = text_of(symbols[i]);
    const std::int32_t token = ids_.find(symbol);
    if (token >= 0) out.push_back(token);
    else append_bytes(symbol, out);
  }
}

void SpmTokenizer::append_bytes(std::string_view character, std::vector<std::int32_t>& out) const {
  const std::size_t before = out.size();
  for (char c : character) {
    const std::int32_t token = byte_tokens_[std::uint8_t(c)];
    if (token < 0) {
      out.resize(before);
      if (vocabulary_->unknown >= 0) out.push_back(vocabulary_->unknown);
      return;
    }
    out.push_back(token);
  }
}

std::string SpmTokenizer::piece(std::int32_t token, bool first, bool special) const {
  if (token < 0 || token >= size()) return "";
  return piece_with_blanks(*vocabulary_, token, first, special);
}

}  // namespace heddle::text
