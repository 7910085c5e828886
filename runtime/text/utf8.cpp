#include "runtime/text/utf8.h"

#include <cstdint>
#include <cstring>

namespace heddle::text {

Utf8Step utf8_step(std::string_view text) {
  const auto byte = [&](std::size_t i) { return std::uint8_t(text[i]); };
  const std::uint8_t lead = byte(0);
  if (lead < 0x80) return {Utf8Step::whole, 1};
  if (lead < 0xc2 || lead > 0xf4) return {Utf8Step::broken, 1};
  const std::size_t length = lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
  for (std::size_t i = 1; i < length; ++i) {
    if (i == text.size()) return {Utf8Step::cut, i};
    std::uint8_t low = 0x80, high = 0xbf;
    if (i == 1) {  // overlong forms, surrogates and what is above U+10FFFF show in the second byte
      if (lead == 0xe0) low = 0xa0;
      if (lead == 0xed) high = 0x9f;
      if (lead == 0xf0) low = 0x90;
      if (lead == 0xf4) high = 0x8f;
    }
    if (byte(i) < low || byte(i) > high) return {Utf8Step::broken, i};
  }
  return {Utf8Step::whole, length};
}

std::size_t utf8_prefix(std::string_view text) {
  std::size_t i = 0;
  while (i < text.size()) {
    std::uint64_t eight;
    if (i + 8 <= text.size() && (std::memcpy(&eight, text.data() + i, 8), (eight & 0x8080808080808080u) == 0)) {
      i += 8;
      continue;
    }
    const Utf8Step step = utf8_step(text.substr(i));
    if (step.state != Utf8Step::whole) break;
    i += step.length;
  }
  return i;
}

std::string take_characters(std::string& held) {
  std::string out;
  std::string_view rest = held;
  while (!rest.empty()) {
    const std::size_t good = utf8_prefix(rest);
    out += rest.substr(0, good);
    rest.remove_prefix(good);
    if (rest.empty()) break;
    const Utf8Step step = utf8_step(rest);
    if (step.state == Utf8Step::cut) break;
    out += replacement_character;
    rest.remove_prefix(step.length);
  }
  held.erase(0, held.size() - rest.size());
  return out;
}

std::string to_utf8(char32_t code_point) {
  std::string out;
  const auto tail = [&](int shift) { out += char(0x80 | ((code_point >> shift) & 0x3f)); };
  if (code_point < 0x80) {
    out += char(code_point);
  } else if (code_point < 0x800) {
    out += char(0xc0 | (code_point >> 6));
    tail(0);
  } else if (code_point < 0x10000) {
    out += char(0xe0 | (code_point >> 12));
    tail(6);
    tail(0);
  } else {
    out += char(0xf0 | (code_point >> 18));
    tail(12);
    tail(6);
    tail(0);
  }
  return out;
}

}  // namespace heddle::text
