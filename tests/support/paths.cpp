#include "tests/support/paths.h"

#include <cstdlib>
#include <filesystem>

#include "ir/base/check.h"

namespace heddle::testing {
namespace fs = std::filesystem;

std::string source_path(const std::string& relative) { return std::string(HEDDLE_SOURCE_DIR) + "/" + relative; }

std::string shared_path(const std::string& relative) {
  const fs::path path = fs::path(HEDDLE_SOURCE_DIR).parent_path() / "shared" / relative;
  return fs::exists(path) ? path.string() : std::string();
}

TempDir::TempDir() {
  std::string name = (fs::temp_directory_path() / "heddle-test-XXXXXX").string();
  HEDDLE_CHECK(mkdtemp(name.data()) != nullptr);
  path_ = name;
}

TempDir::~TempDir() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

}  // namespace heddle::testing
