#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>

#include "ir/base/mapped_file.h"
#include "tests/support/paths.h"

namespace heddle {
namespace {

namespace fs = std::filesystem;
using testing::TempDir;

std::span<const std::byte> bytes_of_text(std::string_view text) { return std::as_bytes(std::span(text)); }

std::string text_of(std::span<const std::byte> bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

void put(const std::string& path, std::string_view text) { std::ofstream(path, std::ios::binary) << text; }

std::size_t entries(const std::string& folder) { return std::size_t(std::distance(fs::directory_iterator(folder), {})); }

TEST(MappedFile, HoldsTheBytes) {
  const TempDir dir;
  put(dir.file("a"), std::string("one\0two", 7));
  const Result<MappedFile> file = MappedFile::open(dir.file("a"));
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(text_of(file->bytes()), std::string("one\0two", 7));
  EXPECT_EQ(file->path(), dir.file("a"));
}

TEST(MappedFile, Moves) {
  const TempDir dir;
  put(dir.file("a"), "first");
  put(dir.file("b"), "second");
  MappedFile a = std::move(*MappedFile::open(dir.file("a"))), b = std::move(*MappedFile::open(dir.file("b")));
  a = std::move(b);
  EXPECT_EQ(text_of(a.bytes()), "second");
  const MappedFile c(std::move(a));
  EXPECT_EQ(text_of(c.bytes()), "second");
  EXPECT_EQ(c.path(), dir.file("b"));
  EXPECT_TRUE(a.bytes().empty());  // NOLINT: moved from, and says so
  EXPECT_TRUE(MappedFile().bytes().empty());
}

TEST(MappedFile, OutlivesItsName) {  // a rebuilt cache file does not pull the ground from under its readers
  const TempDir dir;
  put(dir.file("a"), "old");
  const MappedFile file = std::move(*MappedFile::open(dir.file("a")));
  ASSERT_TRUE(write_file_atomically(dir.file("a"), bytes_of_text("new")).ok());
  EXPECT_EQ(text_of(file.bytes()), "old");
}

TEST(MappedFile, Errors) {
  const TempDir dir;
  const auto message = [&](const std::string& path) { return MappedFile::open(path).error().message(); };
  EXPECT_EQ(message(dir.file("none")), dir.file("none") + ": cannot open: No such file or directory");
  EXPECT_EQ(message(dir.path()), dir.path() + ": is a directory, wanted a file");
  put(dir.file("empty"), "");
  EXPECT_EQ(message(dir.file("empty")), dir.file("empty") + ": file is empty");
  EXPECT_EQ(message(dir.file("empty") + "/x"), dir.file("empty") + "/x: cannot open: Not a directory");
  ASSERT_EQ(::mkfifo(dir.file("pipe").c_str(), 0600), 0);
  EXPECT_EQ(message(dir.file("pipe")), dir.file("pipe") + ": is not a regular file");
  EXPECT_EQ(message(""), ": cannot open: No such file or directory");
}

TEST(WriteFile, ReplacesAndLeavesNothingElse) {
  const TempDir dir;
  const std::string path = dir.file("plan");
  ASSERT_TRUE(write_file_atomically(path, bytes_of_text("first version")).ok());
  EXPECT_EQ(*read_text_file(path), "first version");
  ASSERT_TRUE(write_file_atomically(path, bytes_of_text("second")).ok());
  EXPECT_EQ(*read_text_file(path), "second");
  ASSERT_TRUE(write_file_atomically(path, {}).ok());
  EXPECT_EQ(*read_text_file(path), "");
  EXPECT_EQ(entries(dir.path()), 1u);
}

TEST(WriteFile, HasTheModeOfAnOrdinaryFile) {
  const TempDir dir;
  const mode_t mask = ::umask(022);
  const bool written = write_file_atomically(dir.file("a"), bytes_of_text("x")).ok();
  ::umask(mask);
  ASSERT_TRUE(written);
  EXPECT_EQ(fs::status(dir.file("a")).permissions(), fs::perms(0644));
}

TEST(WriteFile, CreatesParentFolders) {
  const TempDir dir;
  ASSERT_TRUE(write_file_atomically(dir.file("a/b/c/plan"), bytes_of_text("x")).ok());
  EXPECT_EQ(*read_text_file(dir.file("a/b/c/plan")), "x");
  EXPECT_EQ(entries(dir.file("a/b/c")), 1u);
}

TEST(WriteFile, TakesARelativePathAndTheLongestName) {
  const TempDir dir;
  const fs::path before = fs::current_path();
  fs::current_path(dir.path());
  const std::string longest(255, 'n');
  const bool plain = write_file_atomically("here", bytes_of_text("x")).ok(), long_name = write_file_atomically(longest, {}).ok();
  fs::current_path(before);
  EXPECT_TRUE(plain);
  EXPECT_TRUE(long_name);
  EXPECT_EQ(*read_text_file(dir.file("here")), "x");
  EXPECT_EQ(entries(dir.path()), 2u);
}

TEST(WriteFile, RefusesWhatIsNotAFile) {
  const TempDir dir;
  fs::create_directory(dir.file("folder"));
  EXPECT_EQ(write_file_atomically(dir.file("folder"), bytes_of_text("x")).error().message(),
            dir.file("folder") + ": is a directory, wanted a file");
  fs::create_symlink("/dev/null", dir.file("null"));
  EXPECT_EQ(write_file_atomically(dir.file("null"), bytes_of_text("x")).error().message(), dir.file("null") + ": is not a regular file");
  EXPECT_EQ(entries(dir.path()), 2u);
  EXPECT_EQ(entries(dir.file("folder")), 0u);
  EXPECT_TRUE(fs::is_symlink(dir.file("null")));
}

TEST(WriteFile, AParentThatIsAFile) {
  const TempDir dir;
  put(dir.file("file"), "content");
  EXPECT_EQ(write_file_atomically(dir.file("file/plan"), bytes_of_text("x")).error().message(),
            dir.file("file/plan") + ": cannot write: Not a directory");
  EXPECT_EQ(write_file_atomically(dir.file("file/a/plan"), bytes_of_text("x")).error().message(),
            fmt::format("{0}/a/plan: cannot create folder '{0}/a': Not a directory", dir.file("file")));
  EXPECT_EQ(*read_text_file(dir.file("file")), "content");
  EXPECT_EQ(entries(dir.path()), 1u);
}

/// The superuser may write everywhere: for the length of a scope it is somebody else.
class NotSuperuser {
 public:
  NotSuperuser() : user_(::geteuid()) {
    if (user_ == 0) HEDDLE_CHECK(::seteuid(65534) == 0);
  }
  ~NotSuperuser() { HEDDLE_CHECK(::seteuid(user_) == 0); }

 private:
  uid_t user_;
};

TEST(WriteFile, AFolderThatCannotBeWritten) {
  const TempDir dir;
  fs::permissions(dir.path(), fs::perms(0755));
  fs::create_directory(dir.file("closed"));
  put(dir.file("closed/plan"), "old");
  fs::permissions(dir.file("closed"), fs::perms(0555));
  Result<void> same, below;
  {
    const NotSuperuser somebody;
    same = write_file_atomically(dir.file("closed/plan"), bytes_of_text("x"));
    below = write_file_atomically(dir.file("closed/new/plan"), bytes_of_text("x"));
  }
  fs::permissions(dir.file("closed"), fs::perms(0755));
  ASSERT_FALSE(same.ok() || below.ok());
  EXPECT_EQ(same.error().message(), dir.file("closed/plan") + ": cannot write: Permission denied");
  EXPECT_EQ(below.error().message(), fmt::format("{0}/new/plan: cannot create folder '{0}/new': Permission denied", dir.file("closed")));
  EXPECT_EQ(*read_text_file(dir.file("closed/plan")), "old");
  EXPECT_EQ(entries(dir.file("closed")), 1u);
}

TEST(WriteFile, ANameThatCannotExistTakesItsFoldersBack) {
  const TempDir dir;
  const std::string path = dir.file("a/b/" + std::string(256, 'n'));
  EXPECT_EQ(write_file_atomically(path, bytes_of_text("x")).error().message(), path + ": cannot write: File name too long");
  EXPECT_EQ(entries(dir.path()), 0u);
}

TEST(WriteFile, AFullDiskLeavesTheOldFile) {  // played by the limit on the size of files
  const TempDir dir;
  const std::string path = dir.file("plan");
  put(path, "old");
  rlimit before;
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{4096, before.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
  const Result<void> written = write_file_atomically(path, bytes_of_text(std::string(10000, 'x')));
  ::setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  ASSERT_FALSE(written.ok());
  EXPECT_EQ(written.error().message(), path + ": cannot write: File too large");
  EXPECT_EQ(*read_text_file(path), "old");
  EXPECT_EQ(entries(dir.path()), 1u);
}

TEST(ReadTextFile, ReadsAllOfIt) {
  const TempDir dir;
  std::string text;
  for (int i = 0; i < 30000; ++i) text += std::to_string(i) + '\n';
  put(dir.file("a"), text);
  EXPECT_EQ(*read_text_file(dir.file("a")), text);
  put(dir.file("empty"), "");
  EXPECT_EQ(*read_text_file(dir.file("empty")), "");
}

TEST(ReadTextFile, Errors) {
  const TempDir dir;
  EXPECT_EQ(read_text_file(dir.file("none")).error().message(), dir.file("none") + ": cannot open: No such file or directory");
  EXPECT_EQ(read_text_file(dir.path()).error().message(), dir.path() + ": is a directory, wanted a file");
}

}  // namespace
}  // namespace heddle
