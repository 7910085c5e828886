#include "ir/base/cache_path.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cstdlib>

namespace heddle {

std::string default_cache_dir() {
  // The XDG base directory specification: a relative path is invalid and to be ignored.
  if (const char* xdg = std::getenv("XDG_CACHE_HOME"); xdg && xdg[0] == '/') return fmt::format("{}/heddle", xdg);
  if (const char* home = std::getenv("HOME"); home && home[0] == '/') return fmt::format("{}/.cache/heddle", home);
  return fmt::format("/tmp/heddle-{}", ::getuid());
}

}  // namespace heddle
