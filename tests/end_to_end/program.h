#pragma once
#include <string>
#include <vector>

namespace heddle::testing {

/// What the heddle program did.
struct Ran {
  int exit_code = -1;  // -1: killed by a signal
  std::string out, err;
};

/// Runs the built program with these arguments and this standard input, which must be less than a pipe holds. Nothing goes through a shell.
Ran heddle(const std::vector<std::string>& arguments, const std::string& input = "");

/// The bundled model.
std::string bundled_model();

}  // namespace heddle::testing
