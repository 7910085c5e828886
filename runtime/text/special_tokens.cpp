#include "runtime/text/special_tokens.h"

#include <utf8proc.h>

#include <algorithm>

namespace heddle::text {

bool is_control(const plan::Vocabulary& vocabulary, std::int32_t token) {
  return type_of(vocabulary.tokens[token]) == TokenType::control ||
         std::find(vocabulary.end_tokens.begin(), vocabulary.end_tokens.end(), token) != vocabulary.end_tokens.end();
}

static bool has(plan::TokenMatch match, plan::TokenMatch flag) { return (match & flag) == flag; }

SpecialTokens::SpecialTokens(const plan::Vocabulary& vocabulary) : vocabulary_(vocabulary) {
  for (std::size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    const plan::Token& token = vocabulary.tokens[i];
    if (!has(token.match, plan::TokenMatch::rewritten)) add(token.text, std::int32_t(i));
  }
  always_.finish();
  with_special_.finish();
}

SpecialTokens::SpecialTokens(const plan::Vocabulary& vocabulary, const TextSteps& normalizers) : vocabulary_(vocabulary) {
  for (std::size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    const plan::Token& token = vocabulary.tokens[i];
    if (has(token.match, plan::TokenMatch::rewritten)) add(own_texts_.emplace_back(normalizers.rewrite(token.text, true)), std::int32_t(i));
  }
  always_.finish();
  with_special_.finish();
}

void SpecialTokens::add(std::string_view text, std::int32_t id) {
  if (text.empty()) return;
  const plan::Token& token = vocabulary_.tokens[std::size_t(id)];
  const Entry entry{text, id, token.match};
  const bool is_control_token = is_control(vocabulary_, id), is_user_defined = type_of(token) == TokenType::user_defined;
  if (is_user_defined && !is_control_token) always_.entries.push_back(entry);
  if (is_user_defined || is_control_token || type_of(token) == TokenType::unknown) with_special_.entries.push_back(entry);
}

void SpecialTokens::Set::finish() {
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.text < b.text; });
  for (const Entry& entry : entries) first_bytes.set(std::uint8_t(entry.text[0]));
}

const SpecialTokens::Entry* SpecialTokens::Set::longest_match(std::string_view text) const {
  // [low, high): the entries that agree with `text` in the first `depth` bytes; the one of that length, if any, sorts first.
  auto low = entries.begin(), high = entries.end();
  const Entry* found = nullptr;
  for (std::size_t depth = 0; low != high; ++depth) {
    if (low->text.size() == depth) found = &*low;
    if (depth == text.size()) break;
    const std::uint8_t wanted = std::uint8_t(text[depth]);
    const auto byte_at = [depth](const Entry& e) { return depth < e.text.size() ? int(std::uint8_t(e.text[depth])) : -1; };
    low = std::partition_point(low, high, [&](const Entry& e) { return byte_at(e) < wanted; });
    high = std::partition_point(low, high, [&](const Entry& e) { return byte_at(e) == wanted; });
  }
  return found;
}

/// The character that ends, or begins, a text; -1 if it is empty or no UTF-8 there.
static std::int32_t last_character(std::string_view text) {
  std::size_t at = text.size();
  while (at > 0 && text.size() - at < 4 && (std::uint8_t(text[at - 1]) & 0xc0) == 0x80) --at;
  if (at == 0) return -1;
  utf8proc_int32_t character = -1;
  utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()) + at - 1, utf8proc_ssize_t(text.size() - at + 1), &character);
  return character;
}
static std::int32_t first_character(std::string_view text, std::size_t& length) {
  utf8proc_int32_t character = -1;
  if (text.empty()) return -1;
  const auto bytes = utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()), utf8proc_ssize_t(text.size()), &character);
  length = bytes > 0 ? std::size_t(bytes) : 0;
  return character;
}

/// A character of a word, in the sense of \w.
static bool is_word(std::int32_t character) {
  if (character < 0) return false;
  switch (utf8proc_category(character)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
      return true;
    default:
      return false;
  }
}

static bool is_space(std::int32_t character) {
  if ((character >= 9 && character <= 13) || character == 0x85) return true;
  if (character < 0) return false;
  const auto category = utf8proc_category(character);
  return category == UTF8PROC_CATEGORY_ZS || category == UTF8PROC_CATEGORY_ZL || category == UTF8PROC_CATEGORY_ZP;
}

bool SpecialTokens::fits(const Entry& entry, std::string_view text, std::size_t begin) const {
  if (!has(entry.match, plan::TokenMatch::single_word)) return true;
  std::size_t ignored;
  return !is_word(last_character(text.substr(0, begin))) && !is_word(first_character(text.substr(begin + entry.text.size()), ignored));
}

std::vector<Fragment> SpecialTokens::split(std::string_view text, bool special) const {
  const Set& set = special ? with_special_ : always_;
  std::vector<Fragment> fragments;
  std::size_t start = 0, i = 0;
  while (i < text.size()) {
    const Entry* match = set.first_bytes[std::uint8_t(text[i])] ? set.longest_match(text.substr(i)) : nullptr;
    if (!match) {
      ++i;
      continue;
    }
    std::size_t begin = i, end = i += match->text.size();
    if (!fits(*match, text, begin)) continue;
    if (has(match->match, plan::TokenMatch::take_left)) {
      while (begin > start && is_space(last_character(text.substr(start, begin - start)))) {
        do --begin;
        while ((std::uint8_t(text[begin]) & 0xc0) == 0x80);
      }
    }
    if (has(match->match, plan::TokenMatch::take_right)) {
      std::size_t length;
      while (is_space(first_character(text.substr(end), length))) end += length;
    }
    if (begin > start) fragments.push_back({text.substr(start, begin - start)});
    fragments.push_back({match->text, match->token});
    i = start = end;
  }
  if (text.size() > start) fragments.push_back({text.substr(start)});
  return fragments;
}

}  // namespace heddle::text
