#include "ir/base/new_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <system_error>
#include <utility>

namespace heddle {
namespace {

Error failed(const std::string& path, std::string_view what, int code) {
  return error("{}: cannot {}: {}", path, what, std::generic_category().message(code));
}

/// Opens a new file in `folder` under a name that nobody else has; -1 with errno on failure.
int open_temporary(const std::string& folder, std::string& name) {
  static std::atomic<unsigned> serial{0};
  for (;;) {
    name = fmt::format("{}/.heddle-{}-{}", folder, ::getpid(), serial++);
    const int fd = ::open(name.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd >= 0 || errno != EEXIST) return fd;
  }
}

Result<void> make_folders(const std::filesystem::path& folder, const std::string& path, std::vector<std::filesystem::path>& made) {
  std::vector<std::filesystem::path> missing;
  std::error_code code;
  for (auto at = folder; !at.empty() && !std::filesystem::exists(at, code); at = at.parent_path()) {
    missing.push_back(at);
    if (at == at.parent_path()) break;
  }
  for (; !missing.empty(); missing.pop_back()) {
    if (::mkdir(missing.back().c_str(), 0777) == 0) {
      made.push_back(missing.back());
    } else if (errno != EEXIST) {
      return failed(path, fmt::format("create folder '{}'", missing.back().string()), errno);
    }
  }
  return {};
}

}  // namespace

Result<NewFile> NewFile::create(const std::string& path) {
  // A rename would put a plain file in the place of a device (-o /dev/null) or fail late on a folder.
  struct stat status;
  if (::stat(path.c_str(), &status) == 0) {
    if (S_ISDIR(status.st_mode)) return error("{}: is a directory, wanted a file", path);
    if (!S_ISREG(status.st_mode)) return error("{}: is not a regular file", path);
  }
  std::filesystem::path folder = std::filesystem::path(path).parent_path();
  if (folder.empty()) folder = ".";
  NewFile file(path);
  HEDDLE_TRY(make_folders(folder, path, file.made_folders_));
  file.fd_ = open_temporary(folder.string(), file.temporary_);
  if (file.fd_ < 0) return failed(path, "write", errno);
  return file;
}

NewFile::NewFile(NewFile&& other) noexcept
    : path_(std::move(other.path_)),
      temporary_(std::move(other.temporary_)),
      made_folders_(std::exchange(other.made_folders_, {})),
      fd_(std::exchange(other.fd_, -1)),
      data_(std::exchange(other.data_, nullptr)),
      size_(other.size_) {}

NewFile::~NewFile() {
  if (data_) ::munmap(data_, size_);
  if (fd_ >= 0) {
    ::close(fd_);
    ::unlink(temporary_.c_str());
  }
  for (; !made_folders_.empty(); made_folders_.pop_back()) ::rmdir(made_folders_.back().c_str());  // deepest first
}

Result<void> NewFile::append(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd_, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed(path_, "write", errno);
    bytes = bytes.subspan(std::size_t(n));
  }
  return {};
}

Result<std::span<std::byte>> NewFile::map(std::uint64_t bytes) {
  HEDDLE_CHECK(!data_ && bytes > 0);
  if (const int code = ::posix_fallocate(fd_, 0, off_t(bytes)); code != 0) return failed(path_, "write", code);
  void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd_, 0);
  if (data == MAP_FAILED) return failed(path_, "map", errno);
  data_ = static_cast<std::byte*>(data);
  size_ = bytes;
  return std::span(data_, size_);
}

Result<void> NewFile::commit() {
  const int fd = std::exchange(fd_, -1);
  Result<void> written;
  if (::close(fd) != 0) written = failed(path_, "write", errno);  // quota and network errors may come this late
  if (written.ok() && ::rename(temporary_.c_str(), path_.c_str()) != 0) written = failed(path_, "write", errno);
  if (!written.ok()) ::unlink(temporary_.c_str());
  else made_folders_.clear();
  return written;
}

}  // namespace heddle
