#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "ir/base/error.h"

namespace heddle {

/// A file in the making under a temporary name beside its own, which it gets when it is whole: readers see the old file or the new one,
/// never half of it. Missing parent folders are made. Without `commit` nothing is left behind.
class NewFile {
 public:
  /// "path: is a directory, wanted a file", "path: cannot write: No space left on device" and the like.
  static Result<NewFile> create(const std::string& path);
  NewFile(NewFile&& other) noexcept;
  NewFile& operator=(NewFile&&) = delete;
  ~NewFile();

  Result<void> append(std::span<const std::byte> bytes);
  /// Makes the file so many bytes long, zero where nothing was written, and maps it to be written. The room is taken now, so that writing
  /// to it cannot fail later.
  Result<std::span<std::byte>> map(std::uint64_t bytes);
  Result<void> commit();

 private:
  explicit NewFile(std::string path) : path_(std::move(path)) {}
  std::string path_, temporary_;
  std::vector<std::filesystem::path> made_folders_;  // on the way, removed again unless the file stays
  int fd_ = -1;
  std::byte* data_ = nullptr;
  std::uint64_t size_ = 0;
};

}  // namespace heddle
