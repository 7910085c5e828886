#include "runtime/text/special_tokens.h"

#include <algorithm>

namespace heddle::text {

bool is_control(const plan::VocabularyT& vocabulary, std::int32_t token) {
  return type_of(*vocabulary.tokens[token]) == TokenType::control ||
         std::find(vocabulary.end_tokens.begin(), vocabulary.end_tokens.end(), token) != vocabulary.end_tokens.end();
}

SpecialTokens::SpecialTokens(const plan::VocabularyT& vocabulary) {
  for (std::size_t i = 0; i < vocabulary.tokens.size(); ++i) {
    const plan::TokenT& token = *vocabulary.tokens[i];
    if (token.text.empty()) continue;
    const Entry entry{token.text, std::int32_t(i)};
    const bool is_control_token = is_control(vocabulary, entry.token);
    const bool is_user_defined = type_of(token) == TokenType::user_defined;
    if (is_user_defined && !is_control_token) always_.entries.push_back(entry);
    if (is_user_defined || is_control_token || type_of(token) == TokenType::unknown) with_special_.entries.push_back(entry);
  }
  always_.finish();
  with_special_.finish();
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

std::vector<Fragment> SpecialTokens::split(std::string_view text, bool special) const {
  const Set& set = special ? with_special_ : always_;
  std::vector<Fragment> fragments;
  std::size_t start = 0, i = 0;
  const auto flush = [&] {
    if (i > start) fragments.push_back({text.substr(start, i - start)});
  };
  while (i < text.size()) {
    const Entry* match = set.first_bytes[std::uint8_t(text[i])] ? set.longest_match(text.substr(i)) : nullptr;
    if (!match) {
      ++i;
      continue;
    }
    flush();
    fragments.push_back({match->text, match->token});
    i += match->text.size();
    start = i;
  }
  flush();
  return fragments;
}

}  // namespace heddle::text
