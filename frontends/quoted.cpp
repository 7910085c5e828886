#include "frontends/quoted.h"

#include <fmt/format.h>

namespace heddle::frontends {

std::string quoted(std::string_view name) {
  constexpr std::size_t longest = 80;
  std::string text = "'";
  for (const char c : name.substr(0, longest)) {
    if (c >= 0x20 && c <= 0x7e) text += c;
    else text += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
  }
  return text + (name.size() > longest ? "...'" : "'");
}

}  // namespace heddle::frontends
