#pragma once
#include <string>

namespace heddle {

/// The default cache folder: $XDG_CACHE_HOME/heddle, else $HOME/.cache/heddle, else /tmp/heddle-<uid>.
std::string default_cache_dir();

}  // namespace heddle
