// What the program knows of its surroundings: its build-id and the cache folder.
#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdlib>
#include <optional>
#include <string>

#include "ir/base/build_id.h"
#include "ir/base/cache_path.h"
#include "ir/base/mapped_file.h"

namespace heddle {
namespace {

TEST(BuildId, IsTheLinkersNoteInHex) {
  EXPECT_EQ(build_id().size(), 40u) << build_id();  // linked with --build-id=sha1
  EXPECT_EQ(build_id().find_first_not_of("0123456789abcdef"), std::string::npos) << build_id();
}

TEST(BuildId, IsTheProgramsOwn) {  // not that of a library it has loaded
  std::string bytes;
  for (std::size_t i = 0; i + 1 < build_id().size(); i += 2) bytes += char(std::stoi(build_id().substr(i, 2), nullptr, 16));
  const Result<std::string> program = read_text_file("/proc/self/exe");
  ASSERT_TRUE(program.ok());
  EXPECT_NE(program->find("GNU" + std::string(1, '\0') + bytes), std::string::npos);
}

/// Sets or unsets a variable until the end of the scope.
class Variable {
 public:
  Variable(const char* name, const char* value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old;
    if (value) ::setenv(name, value, 1);
    else ::unsetenv(name);
  }
  ~Variable() {
    if (old_) ::setenv(name_, old_->c_str(), 1);
    else ::unsetenv(name_);
  }

 private:
  const char* name_;
  std::optional<std::string> old_;
};

TEST(CachePath, FollowsXdgThenHomeThenTmp) {
  const std::string last_resort = "/tmp/heddle-" + std::to_string(::getuid());
  const Variable home("HOME", "/home/somebody"), xdg("XDG_CACHE_HOME", "/var/caches");
  EXPECT_EQ(default_cache_dir(), "/var/caches/heddle");
  {
    const Variable relative("XDG_CACHE_HOME", "caches");
    EXPECT_EQ(default_cache_dir(), "/home/somebody/.cache/heddle");
  }
  const Variable no_xdg("XDG_CACHE_HOME", nullptr);
  EXPECT_EQ(default_cache_dir(), "/home/somebody/.cache/heddle");
  const Variable no_home("HOME", nullptr);
  EXPECT_EQ(default_cache_dir(), last_resort);
  const Variable empty_home("HOME", "");
  EXPECT_EQ(default_cache_dir(), last_resort);
}

}  // namespace
}  // namespace heddle
