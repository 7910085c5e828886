#include "runtime/text/bpe.h"

#include <algorithm>
#include <limits>
#include <queue>
#include <unordered_map>
#include <utility>

#include "runtime/text/blanks.h"
#include "runtime/text/utf8.h"

namespace heddle::text {
namespace {

/// GPT-2's alphabet: a printable byte of Latin-1 is its own character; the others are U+0100 and up, in order.
struct Alphabet {
  std::array<std::string, 256> characters;
  std::unordered_map<std::string_view, std::uint8_t> bytes;

  Alphabet() {
    char32_t next = 0x100;
    for (int b = 0; b < 256; ++b) {
      const bool printable = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xff && b != 0xad);
      characters[b] = to_utf8(printable ? char32_t(b) : next++);
    }
    for (int b = 0; b < 256; ++b) bytes[characters[b]] = std::uint8_t(b);
  }
};

const Alphabet& alphabet() {
  static const Alphabet a;
  return a;
}

/// The bytes that a text over the alphabet stands for; a character outside of it stands for itself.
std::string from_alphabet(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::string_view character = text.substr(0, utf8_step(text).length);
    const auto byte = alphabet().bytes.find(character);
    if (byte != alphabet().bytes.end()) out += char(byte->second);
    else out += character;
    text.remove_prefix(character.size());
  }
  return out;
}

struct Part {
  std::int32_t symbol;  // -1: merged into a part before it
  int previous, next;   // -1: none
  std::uint32_t begin;  // first byte in the word
};

struct Pair {
  std::int32_t rank, result;
  int left, right;
  std::int32_t left_symbol, right_symbol;
  bool operator<(const Pair& other) const { return rank != other.rank ? rank > other.rank : left > other.left; }
};

}  // namespace

struct BpeTokenizer::Scratch {
  std::vector<Part> parts;
  std::priority_queue<Pair> queue;
  std::string spelled;
};

BpeTokenizer::BpeTokenizer(const plan::Vocabulary& vocabulary, TextSteps normalizers, PreTokenizer pre)
    : Tokenizer(vocabulary),
      normalizers_(std::move(normalizers)),
      pre_(std::move(pre)),
      special_(vocabulary),
      rewritten_special_(vocabulary, normalizers_),
      symbols_(vocabulary.tokens.size() + 256),
      merges_(vocabulary.merges.size()) {
  for (std::size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    if (!vocabulary.tokens[i].text.empty()) symbols_.add(vocabulary.tokens[i].text, std::int32_t(i));
  }
  byte_symbols_.fill(std::numeric_limits<std::int32_t>::max());
  if (!vocabulary.characters) {
    for (int b = 0; b < 256; ++b) byte_symbols_[b] = symbol(alphabet().characters[b]);
    return;
  }
  for (std::size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    const plan::Token& token = vocabulary.tokens[i];
    if (const int byte = type_of(token) == TokenType::byte ? byte_of(token.text) : -1; byte >= 0) byte_symbols_[byte] = std::int32_t(i);
  }
}

Result<std::unique_ptr<Tokenizer>> BpeTokenizer::create(const plan::Vocabulary& vocabulary) {
  auto normalizers = TextSteps::create(vocabulary.normalizers);
  if (!normalizers.ok()) return normalizers.take_error().at("normalizer");
  HEDDLE_ASSIGN(PreTokenizer pre, PreTokenizer::create(vocabulary));
  auto tokenizer = std::unique_ptr<BpeTokenizer>(new BpeTokenizer(vocabulary, std::move(*normalizers), std::move(pre)));
  HEDDLE_TRY(tokenizer->add_merges());
  return std::unique_ptr<Tokenizer>(std::move(tokenizer));
}

std::int32_t BpeTokenizer::symbol(std::string_view text) {
  const std::int32_t found = symbols_.find(text);
  if (found >= 0) return found;
  const std::int32_t id = size() + std::int32_t(own_texts_.size());
  return symbols_.add(own_texts_.emplace_back(text), id);
}

Result<void> BpeTokenizer::add_merges() {
  std::string joined;
  for (std::size_t i = 0; i < vocabulary_->merges.size(); ++i) {
    const std::string_view merge = vocabulary_->merges[i];
    const std::size_t at = merge.find(' ', 1);
    if (at == merge.npos || at + 1 == merge.size()) return error("merge {} is '{}', wanted two symbols separated by a blank", i, merge);
    const std::string_view left = merge.substr(0, at), right = merge.substr(at + 1);
    (joined = left) += right;
    merges_.add(symbol(left), symbol(right), {std::int32_t(i), symbol(joined)});
  }
  return {};
}

std::vector<std::int32_t> BpeTokenizer::encode(std::string_view text, EncodeOptions options) const {
  std::vector<std::int32_t> out;
  if (options.bos && vocabulary_->add_bos && vocabulary_->bos >= 0) out.push_back(vocabulary_->bos);
  Scratch scratch;
  for (const Fragment& fragment : special_.split(text, options.special)) {
    if (fragment.token >= 0) {
      out.push_back(fragment.token);
      continue;
    }
    for (std::string_view rest = fragment.text; !rest.empty();) {
      const std::size_t good = utf8_prefix(rest);
      if (good > 0) encode_text(rest.substr(0, good), rest.data() == text.data(), options.special, scratch, out);
      rest.remove_prefix(good);
      while (!rest.empty() && utf8_step(rest).state != Utf8Step::whole) {
        append_byte(std::uint8_t(rest[0]), out);
        rest.remove_prefix(1);
      }
    }
  }
  return out;
}

void BpeTokenizer::encode_text(std::string_view text, bool at_start, bool special, Scratch& scratch, std::vector<std::int32_t>& out) const {
  std::string rewritten;
  if (!normalizers_.empty()) text = rewritten = normalizers_.rewrite(text, at_start);
  for (const Fragment& fragment : rewritten_special_.split(text, special)) {
    if (fragment.token >= 0) {
      out.push_back(fragment.token);
      continue;
    }
    Pieces words;
    words.texts.push_back(fragment.text);
    words.at_start = at_start && fragment.text.data() == text.data();
    pre_.split(words);
    for (std::string_view word : words.texts) encode_word(word, scratch, out);
  }
}

/// The symbols that the merges of a word begin with, as parts.
void BpeTokenizer::add_symbols(std::string_view word, Scratch& scratch) const {
  auto& parts = scratch.parts;
  parts.clear();
  const auto add = [&](std::int32_t symbol, std::size_t begin) {
    parts.push_back({symbol, int(parts.size()) - 1, int(parts.size()) + 1, std::uint32_t(begin)});
  };
  if (!vocabulary_->characters) {
    for (std::size_t i = 0; i < word.size(); ++i) add(byte_symbols_[std::uint8_t(word[i])], i);
  }
  bool after_unknown = false;
  for (std::size_t i = 0, length; vocabulary_->characters && i < word.size(); i += length) {
    length = utf8_step(word.substr(i)).length;
    const std::string_view character = word.substr(i, length);
    const bool was_unknown = std::exchange(after_unknown, false);
    if (const std::int32_t token = symbols_.find(character); token >= 0 && token < size()) {
      add(token, i);
    } else if (std::ranges::all_of(character, [&](char c) { return byte_symbols_[std::uint8_t(c)] < size(); })) {
      for (std::size_t b = 0; b < length; ++b) add(byte_symbols_[std::uint8_t(character[b])], i + b);
    } else if (vocabulary_->unknown >= 0) {
      after_unknown = true;
      if (!was_unknown || !vocabulary_->fuse_unknown) add(vocabulary_->unknown, i);
    }
  }
  if (!parts.empty()) parts.back().next = -1;
}

void BpeTokenizer::encode_word(std::string_view word, Scratch& scratch, std::vector<std::int32_t>& out) const {
  if (pre_.ignore_merges()) {
    scratch.spelled.clear();
    for (char c : word)
      if (!vocabulary_->characters) scratch.spelled += alphabet().characters[std::uint8_t(c)];
    const std::int32_t whole = symbols_.find(vocabulary_->characters ? word : scratch.spelled);
    if (whole >= 0 && whole < size()) {
      out.push_back(whole);
      return;
    }
  }

  auto& parts = scratch.parts;
  auto& queue = scratch.queue;  // empty again at the end
  add_symbols(word, scratch);
  const auto consider = [&](int left, int right) {
    if (left < 0 || right < 0) return;
    const MergeIndex::Merge* merge = merges_.find(parts[left].symbol, parts[right].symbol);
    if (merge) queue.push({merge->rank, merge->result, left, right, parts[left].symbol, parts[right].symbol});
  };
  for (int i = 1; i < int(parts.size()); ++i) consider(i - 1, i);

  while (!queue.empty()) {
    const Pair pair = queue.top();
    queue.pop();
    Part &left = parts[pair.left], &right = parts[pair.right];
    if (left.symbol != pair.left_symbol || right.symbol != pair.right_symbol) continue;  // merged since
    left.symbol = pair.result;
    right.symbol = -1;
    left.next = right.next;
    if (right.next >= 0) parts[right.next].previous = pair.left;
    consider(left.previous, pair.left);
    consider(pair.left, left.next);
  }

  for (int i = parts.empty() ? -1 : 0; i >= 0; i = parts[i].next) {
    if (parts[i].symbol < size()) {
      out.push_back(parts[i].symbol);
      continue;
    }
    const std::size_t end = parts[i].next >= 0 ? parts[parts[i].next].begin : word.size();
    for (std::size_t b = parts[i].begin; b < end; ++b) append_byte(std::uint8_t(word[b]), out);
  }
}

void BpeTokenizer::append_byte(std::uint8_t byte, std::vector<std::int32_t>& out) const {
  if (byte_symbols_[byte] < size()) out.push_back(byte_symbols_[byte]);
  else if (vocabulary_->unknown >= 0) out.push_back(vocabulary_->unknown);
}

std::string BpeTokenizer::piece(std::int32_t token, bool first, bool special) const {
  if (token < 0 || token >= size()) return "";
  if (vocabulary_->characters) return piece_with_blanks(*vocabulary_, token, first, special);
  const plan::Token& t = vocabulary_->tokens[token];
  if (is_control(*vocabulary_, token)) return special ? t.text : "";
  switch (type_of(t)) {
    case TokenType::unknown:
    case TokenType::unused:
      return special ? t.text : "";
    case TokenType::user_defined:
      return t.text;
    default:
      return from_alphabet(t.text);
  }
}

}  // namespace heddle::text
