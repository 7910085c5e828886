#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "ir/base/check.h"

namespace heddle::runtime::cpu {

/// Items dealt out to a team beforehand, contiguous for each member; who has none left takes from the end of another's. Two processors
/// seldom get the same share of the memory: without this the team waits for the slower one at every barrier.
class WorkRanges {
 public:
  static constexpr std::int64_t most_items = 0xffff;

  WorkRanges() = default;
  /// `starts`: the first item of every member, and the end.
  explicit WorkRanges(const std::vector<std::int64_t>& starts) : starts_(starts), ranges_(std::make_unique<Range[]>(starts.size() - 1)) {
    HEDDLE_CHECK(starts.back() <= most_items, "{} items", starts.back());
  }

  /// Once for each member and step before it takes; steps have different numbers.
  void begin(int member, std::uint32_t step) const {
    ranges_[std::size_t(member)].state.store(pack(step, starts_[std::size_t(member)], starts_[std::size_t(member) + 1]),
                                             std::memory_order_relaxed);
  }
  /// The next item for `member` in this step, or -1. A range whose member has not begun is left to it.
  std::int64_t take(int member, std::uint32_t step) const {
    const int size = int(starts_.size()) - 1;
    for (int i = 0; i < size; ++i) {
      auto& state = ranges_[std::size_t((member + i) % size)].state;
      std::uint64_t now = state.load(std::memory_order_relaxed);
      while (std::uint32_t(now >> 32) == step) {
        const std::int64_t first = std::int64_t(now >> 16 & 0xffff), end = std::int64_t(now & 0xffff);
        if (first >= end) break;
        const std::uint64_t next = i == 0 ? pack(step, first + 1, end) : pack(step, first, end - 1);
        // What items read was ordered by the barrier before, and what they write is by the one behind.
        if (state.compare_exchange_weak(now, next, std::memory_order_relaxed)) return i == 0 ? first : end - 1;
      }
    }
    return -1;
  }

 private:
  struct alignas(64) Range {
    std::atomic<std::uint64_t> state{0};  // step, first item, end
  };
  static std::uint64_t pack(std::uint32_t step, std::int64_t first, std::int64_t end) {
    return std::uint64_t(step) << 32 | std::uint64_t(first) << 16 | std::uint64_t(end);
  }

  std::vector<std::int64_t> starts_;
  std::unique_ptr<Range[]> ranges_;
};

}  // namespace heddle::runtime::cpu
