#include "ir/base/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "ir/base/new_file.h"

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
  HEDDLE_ASSIGN(auto file, NewFile::create(path));
  HEDDLE_TRY(file.append(bytes));
  return file.commit();
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
