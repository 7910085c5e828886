#pragma once
#include <functional>
#include <string>
#include <string_view>

namespace heddle::tools {

/// Who hears what the library has to say while it works; it prints nothing itself. Without functions nobody does.
struct Listener {
  /// Remarks and warnings, without the end of the line.
  std::function<void(std::string_view line)> log = {};
  /// Long work begins ("quantising weights"): what it returns is called with the fraction done, in [0, 1]; 1 is the end.
  std::function<std::function<void(double)>(std::string what)> progress = {};

  void say(std::string_view line) const {
    if (log) log(line);
  }
  std::function<void(double)> begin(std::string what) const {
    return progress ? progress(std::move(what)) : [](double) {};
  }
};

}  // namespace heddle::tools
