#pragma once
#include <string>
#include <string_view>

#include "runtime/plan/plan.h"

/// Vocabularies in which U+2581 stands for a blank, and <0xNN> for a byte.
namespace heddle::text {

inline constexpr std::string_view blank = "\xe2\x96\x81";  // U+2581

std::string replace_all(std::string_view text, std::string_view from, std::string_view to);

/// The byte of "<0x0A>"; -1 if `text` is not of this form.
int byte_of(std::string_view text);

/// Tokenizer::piece for such a vocabulary. `token` is one of it.
std::string piece_with_blanks(const plan::Vocabulary& vocabulary, std::int32_t token, bool first, bool special);

}  // namespace heddle::text
