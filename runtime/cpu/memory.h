#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>

#include "ir/base/mapped_file.h"
#include "ir/base/thread_pool.h"
#include "runtime/device/device.h"

namespace heddle::runtime::cpu {

/// Zeroed memory of whole pages, which take space when they are first written.
class Region {
 public:
  Region() = default;
  static Result<Region> make(std::size_t bytes);
  /// Asks for large pages, which cost fewer faults and look-ups. Call before the first write.
  void want_large_pages() const;
  Region(Region&& other) noexcept { *this = std::move(other); }
  Region& operator=(Region&& other) noexcept;
  ~Region();
  std::byte* data() const { return data_; }

 private:
  std::byte* data_ = nullptr;
  std::size_t size_ = 0;
};

/// Bytes that can be had without pushing other programs out; a large number where the system does not say.
std::uint64_t available_memory();

/// Refuses what clearly does not fit into `available` bytes: cache, arena, and of the weights only those copied out of the file.
/// Weights in panels are.
/// "needs 5.1 GB (copied weights 0.0, cache 5.0, arena 0.1), 3.2 GB are free; --ctx 2048 fits"
Result<void> check_memory(const plan::Plan& plan, const Capacity& capacity, std::uint64_t available);

/// The weights of a plan: matrices in rows stay in the mapped model files where possible, else they are copied; panels are made from the
/// file by the whole team, and the file's pages given back as soon as they are read. Vectors (one dimension) are always f32.
class Weights {
 public:
  /// "a.gguf: has 10 bytes, the plan was made for 20". `progress` is called on this thread.
  static Result<Weights> open(const plan::Plan& plan, ThreadPool& pool, const Progress& progress);
  const std::byte* data(std::size_t weight) const { return data_[weight]; }
  std::size_t bytes(std::size_t weight) const { return bytes_[weight]; }  // of `data`

 private:
  std::vector<MappedFile> files_;
  std::vector<Region> copies_;
  Region panels_;
  std::vector<const std::byte*> data_;
  std::vector<std::size_t> bytes_;
};

}  // namespace heddle::runtime::cpu
