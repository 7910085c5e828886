#include "runtime/text/bpe.h"

#include <queue>
#include <unordered_map>

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

BpeTokenizer::BpeTokenizer(const plan::VocabularyT& vocabulary, PreTokenizer pre)
    : Tokenizer(vocabulary),
      pre_(std::move(pre)),
      special_(vocabulary),
      symbols_(vocabulary.tokens.size() + 256),
      merges_(vocabulary.merges.size()) {
  for (std::size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    if (!vocabulary.tokens[i]->text.empty()) symbols_.add(vocabulary.tokens[i]->text, std::int32_t(i));
  }
  for (int b = 0; b < 256; ++b) byte_symbols_[b] = symbol(alphabet().characters[b]);
}

Result<std::unique_ptr<Tokenizer>> BpeTokenizer::create(const plan::VocabularyT& vocabulary) {
  HEDDLE_ASSIGN(PreTokenizer pre, PreTokenizer::create(vocabulary.pre));
  auto tokenizer = std::unique_ptr<BpeTokenizer>(new BpeTokenizer(vocabulary, std::move(pre)));
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
      for (std::string_view word : pre_.split(rest.substr(0, good))) encode_word(word, scratch, out);
      rest.remove_prefix(good);
      while (!rest.empty() && utf8_step(rest).state != Utf8Step::whole) {
        append_byte(std::uint8_t(rest[0]), out);
        rest.remove_prefix(1);
      }
    }
  }
  return out;
}

void BpeTokenizer::encode_word(std::string_view word, Scratch& scratch, std::vector<std::int32_t>& out) const {
  if (pre_.ignore_merges()) {
    scratch.spelled.clear();
    for (char c : word) scratch.spelled += alphabet().characters[std::uint8_t(c)];
    const std::int32_t whole = symbols_.find(scratch.spelled);
    if (whole >= 0 && whole < size()) {
      out.push_back(whole);
      return;
    }
  }

  auto& parts = scratch.parts;
  auto& queue = scratch.queue;  // empty again at the end
  parts.clear();
  for (std::size_t i = 0; i < word.size(); ++i) {
    parts.push_back({byte_symbols_[std::uint8_t(word[i])], int(i) - 1, i + 1 < word.size() ? int(i) + 1 : -1, std::uint32_t(i)});
  }
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

  for (int i = 0; i >= 0; i = parts[i].next) {
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

std::string BpeTokenizer::piece(std::int32_t token, bool, bool special) const {
  if (token < 0 || token >= size()) return "";
  const plan::TokenT& t = *vocabulary_->tokens[token];
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
