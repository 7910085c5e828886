#pragma once
#include <algorithm>
#include <iterator>
#include <string_view>

namespace heddle::frontends {

/// Texts of control tokens that end a text or a turn, even if no setting of a file says so.
inline bool is_end_of_text(std::string_view token) {
  constexpr std::string_view texts[] = {"</s>",    "<EOT>",      "<end_of_turn>", "<|end_of_text|>", "<|endoftext|>",
                                        "<|end|>", "<|eom_id|>", "<|eot_id|>",    "<|im_end|>"};
  return std::find(std::begin(texts), std::end(texts), token) != std::end(texts);
}

}  // namespace heddle::frontends
