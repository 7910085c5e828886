#pragma once
#include <string>

namespace heddle::testing {

/// A path in the source tree: `source_path("tests/passes/cse.ir")`.
std::string source_path(const std::string& relative);
/// A path in the folder of shared fixtures beside the source tree; empty if it is not there (then GTEST_SKIP).
std::string shared_path(const std::string& relative);
/// A new empty folder that is removed when the object goes.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  const std::string& path() const { return path_; }
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace heddle::testing
