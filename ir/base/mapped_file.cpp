#include "ir/base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

namespace heddle {
namespace {

/// Closes the descriptor at the end of the scope.
struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

Error failed(const std::string& path, std::string_view what, int code) {
  return error("{}: cannot {}: {}", path, what, std::generic_category().message(code));
}

Result<void> write_all(int fd, std::span<const std::byte> bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed(path, "write", errno);
    bytes = bytes.subspan(std::size_t(n));
  }
  return {};
}

/// Opens a new file in `folder` under a name that nobody else has; -1 with errno on failure.
int open_temporary(const std::string& folder, std::string& name) {
  static std::atomic<unsigned> serial{0};
  for (;;) {
    name = fmt::format("{}/.heddle-{}-{}", folder, ::getpid(), serial++);
    const int fd = ::open(name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0 || errno != EEXIST) return fd;
  }
}

/// Folders made on the way, removed again (deepest first) unless they are kept.
struct MadeFolders {
  std::vector<std::filesystem::path> made;
  ~MadeFolders() {
    for (; !made.empty(); made.pop_back()) ::rmdir(made.back().c_str());
  }
};

Result<void> make_folders(const std::filesystem::path& folder, const std::string& path, MadeFolders& folders) {
  std::vector<std::filesystem::path> missing;
  std::error_code code;
  for (auto at = folder; !at.empty() && !std::filesystem::exists(at, code); at = at.parent_path()) {
    missing.push_back(at);
    if (at == at.parent_path()) break;
  }
  for (; !missing.empty(); missing.pop_back()) {
    if (::mkdir(missing.back().c_str(), 0777) == 0) {
      folders.made.push_back(missing.back());
    } else if (errno != EEXIST) {
      return failed(path, fmt::format("create folder '{}'", missing.back().string()), errno);
    }
  }
  return {};
}

Result<void> write_beside_and_rename(const std::string& folder, const std::string& path, std::span<const std::byte> bytes) {
  std::string temporary;
  const int fd = open_temporary(folder, temporary);
  if (fd < 0) return failed(path, "write", errno);
  Result<void> written = write_all(fd, bytes, path);
  if (::close(fd) != 0 && written.ok()) written = failed(path, "write", errno);  // quota and network errors may come this late
  if (written.ok() && ::rename(temporary.c_str(), path.c_str()) != 0) written = failed(path, "write", errno);
  if (!written.ok()) ::unlink(temporary.c_str());
  return written;
}

}  // namespace

Result<MappedFile> MappedFile::open(const std::string& path) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};  // not blocking: a pipe must be refused, not waited for
  if (file.fd < 0) return failed(path, "open", errno);
  struct stat status;
  if (::fstat(file.fd, &status) != 0) return failed(path, "open", errno);
  if (S_ISDIR(status.st_mode)) return error("{}: is a directory, wanted a file", path);
  if (!S_ISREG(status.st_mode)) return error("{}: is not a regular file", path);
  if (status.st_size == 0) return error("{}: file is empty", path);
  void* data = ::mmap(nullptr, std::size_t(status.st_size), PROT_READ, MAP_SHARED, file.fd, 0);
  if (data == MAP_FAILED) return failed(path, "map", errno);
  MappedFile mapped;
  mapped.path_ = path;
  mapped.data_ = static_cast<const std::byte*>(data);
  mapped.size_ = std::size_t(status.st_size);
  return mapped;
}

MappedFile::MappedFile(MappedFile&& other) noexcept { *this = std::move(other); }

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
}

Result<void> write_file_atomically(const std::string& path, std::span<const std::byte> bytes) {
  // A rename would put a plain file in the place of a device (-o /dev/null) or fail late on a folder.
  struct stat status;
  if (::stat(path.c_str(), &status) == 0) {
    if (S_ISDIR(status.st_mode)) return error("{}: is a directory, wanted a file", path);
    if (!S_ISREG(status.st_mode)) return error("{}: is not a regular file", path);
  }
  std::filesystem::path folder = std::filesystem::path(path).parent_path();
  if (folder.empty()) folder = ".";
  MadeFolders folders;
  HEDDLE_TRY(make_folders(folder, path, folders));
  HEDDLE_TRY(write_beside_and_rename(folder.string(), path, bytes));
  folders.made.clear();
  return {};
}

Result<std::string> read_text_file(const std::string& path) {
  const Descriptor file{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (file.fd < 0) return failed(path, "open", errno);
  std::string text;
  char buffer[1 << 16];
  for (;;) {
    const ssize_t n = ::read(file.fd, buffer, sizeof(buffer));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EISDIR) return error("{}: is a directory, wanted a file", path);
    if (n < 0) return failed(path, "read", errno);
    if (n == 0) return text;
    text.append(buffer, std::size_t(n));
  }
}

}  // namespace heddle
