#include "runtime/jinja/characters.h"

#include <string.h>
#include <wctype.h>

#include <algorithm>

#include "runtime/text/utf8.h"

namespace heddle::chat {
namespace {

std::string mapped(std::string_view text, wint_t (*map)(wint_t, locale_t), int (*ascii)(int)) {
  static const locale_t locale = newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
  std::string out;
  out.reserve(text.size());
  for (std::string_view rest = text; !rest.empty();) {
    const std::string_view c = first_character(rest);
    rest.remove_prefix(c.size());
    if (c.size() > 1 && locale) out += text::to_utf8(char32_t(map(code_point(c), locale)));
    else if (c.size() == 1 && std::uint8_t(c[0]) < 0x80) out += char(ascii(c[0]));
    else out += c;
  }
  return out;
}

}  // namespace

std::string_view first_character(std::string_view text) {
  const auto step = text::utf8_step(text);
  return text.substr(0, step.state == text::Utf8Step::whole ? step.length : 1);
}

std::uint32_t code_point(std::string_view c) {
  const auto byte = [&](std::size_t i) { return std::uint32_t(std::uint8_t(c[i])); };
  const auto tail = [&](std::size_t i) { return byte(i) & 0x3f; };
  switch (c.size()) {
    case 2:
      return (byte(0) & 0x1f) << 6 | tail(1);
    case 3:
      return (byte(0) & 0x0f) << 12 | tail(1) << 6 | tail(2);
    case 4:
      return (byte(0) & 0x07) << 18 | tail(1) << 12 | tail(2) << 6 | tail(3);
    default:
      return byte(0);
  }
}

std::vector<std::string_view> characters(std::string_view text) {
  std::vector<std::string_view> out;
  for (; !text.empty(); text.remove_prefix(out.back().size())) out.push_back(first_character(text));
  return out;
}

std::size_t character_count(std::string_view text) {
  std::size_t count = 0;
  for (; !text.empty(); text.remove_prefix(first_character(text).size())) ++count;
  return count;
}

std::size_t find_text(std::string_view text, std::string_view what, std::size_t from) {
  if (from > text.size()) return text.npos;
  if (what.empty()) return from;
  const void* at = memmem(text.data() + from, text.size() - from, what.data(), what.size());
  return at ? std::size_t(static_cast<const char*>(at) - text.data()) : text.npos;
}

bool is_space(std::string_view character) {
  const std::uint32_t c = code_point(character);
  if (character.size() == 1) return (c >= 9 && c <= 13) || (c >= 28 && c <= 32);
  return c == 0x85 || c == 0xa0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200a) || c == 0x2028 || c == 0x2029 || c == 0x202f ||
         c == 0x205f || c == 0x3000;
}

/// The last character of a text that is not empty.
static std::string_view last_character(std::string_view text) {
  for (std::size_t length = std::min<std::size_t>(4, text.size()); length > 1; --length) {
    const std::string_view end = text.substr(text.size() - length);
    if (first_character(end).size() == length) return end;
  }
  return text.substr(text.size() - 1);
}

std::string_view strip(std::string_view text, bool left, bool right, const std::string* set) {
  const std::vector<std::string_view> unwanted = set ? characters(*set) : std::vector<std::string_view>();
  const auto goes = [&](std::string_view c) { return set ? std::ranges::find(unwanted, c) != unwanted.end() : is_space(c); };
  while (left && !text.empty() && goes(first_character(text))) text.remove_prefix(first_character(text).size());
  while (right && !text.empty() && goes(last_character(text))) text.remove_suffix(last_character(text).size());
  return text;
}

std::string upper(std::string_view text) { return mapped(text, towupper_l, toupper); }
std::string lower(std::string_view text) { return mapped(text, towlower_l, tolower); }

std::string capitalised(std::string_view text) {
  if (text.empty()) return "";
  const std::size_t first = first_character(text).size();
  return upper(text.substr(0, first)) + lower(text.substr(first));
}

std::string titled(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    std::size_t end = 0;
    while (end < text.size() && (std::isalpha(std::uint8_t(text[end])) || std::uint8_t(text[end]) >= 0x80)) ++end;
    out += capitalised(text.substr(0, end));
    if (end < text.size()) out += text[end++];
    text.remove_prefix(end);
  }
  return out;
}

}  // namespace heddle::chat
