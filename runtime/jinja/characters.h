#pragma once
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

/// The characters of a UTF-8 string as Python's str has them. A byte that is no UTF-8 counts as a character of its own.
namespace heddle::chat {

std::string_view first_character(std::string_view text);  // of a text that is not empty
std::uint32_t code_point(std::string_view character);
std::vector<std::string_view> characters(std::string_view text);
std::size_t character_count(std::string_view text);

/// Where `what` stands first at or behind `from`; npos if nowhere. In linear time.
std::size_t find_text(std::string_view text, std::string_view what, std::size_t from = 0);

bool is_space(std::string_view character);  // str.isspace
/// Without white space, or without any of the characters of `set`, on the left, on the right or on both sides.
std::string_view strip(std::string_view text, bool left, bool right, const std::string* set = nullptr);

// One character for one, as the C.UTF-8 locale maps them.
std::string upper(std::string_view text);
std::string lower(std::string_view text);
std::string capitalised(std::string_view text);  // the first character above, the others below
std::string titled(std::string_view text);       // the same for every word

}  // namespace heddle::chat
