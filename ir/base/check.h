#pragma once
#include <fmt/format.h>

#include <string_view>

namespace heddle {

/// Prints "file:line: check failed: text: message" to stderr and aborts.
[[noreturn]] void check_failed(const char* file, int line, std::string_view text, const std::string& message);

}  // namespace heddle

/// A broken invariant of heddle itself (never bad input: that is an `Error`). Aborts in every build type.
#define HEDDLE_CHECK(condition, ...)                                                                    \
  do {                                                                                                  \
    if (!(condition)) [[unlikely]]                                                                      \
      ::heddle::check_failed(__FILE__, __LINE__, #condition, ::fmt::format("" __VA_ARGS__));            \
  } while (false)
