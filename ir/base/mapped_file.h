#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "ir/base/error.h"

namespace heddle {

/// A file mapped read-only. Pages are read when touched, so mapping a large model costs nothing.
class MappedFile {
 public:
  /// "path: cannot open: No such file or directory" and the like; a directory and an empty file are refused.
  static Result<MappedFile> open(const std::string& path);
  MappedFile() = default;
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }
  const std::string& path() const { return path_; }

 private:
  std::string path_;
  const std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Writes to a temporary name beside `path` and renames, so that readers see the old file or the new one, never half of it.
/// Creates missing parent folders. On failure nothing is left behind.
Result<void> write_file_atomically(const std::string& path, std::span<const std::byte> bytes);

/// The whole file as text.
Result<std::string> read_text_file(const std::string& path);

}  // namespace heddle
