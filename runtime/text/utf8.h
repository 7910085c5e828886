#pragma once
#include <cstddef>
#include <string>
#include <string_view>

/// UTF-8 as the Unicode standard defines it (table 3-7: no overlong forms, no surrogates, nothing above U+10FFFF).
namespace heddle::text {

struct Utf8Step {
  enum State {
    whole,   // a character
    broken,  // `length` bytes that can never become a character: the longest start of one, or a byte that starts none
    cut      // `text` ends inside a character: all `length` bytes of it
  } state;
  std::size_t length;
};
/// What stands at the start of `text`, which is not empty.
Utf8Step utf8_step(std::string_view text);

/// Length of the longest start of `text` that is UTF-8.
std::size_t utf8_prefix(std::string_view text);

/// Takes everything from `held` but an unfinished character at its end. Broken bytes become U+FFFD, one for each step.
std::string take_characters(std::string& held);

std::string to_utf8(char32_t code_point);

inline constexpr std::string_view replacement_character = "\xef\xbf\xbd";

}  // namespace heddle::text
