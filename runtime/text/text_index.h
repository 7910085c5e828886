#pragma once
#include <bit>
#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "ir/base/check.h"

/// Hash tables with open addressing that only grow: a vocabulary's 10^5 texts and merges are entered at every start and looked up for
/// every pair of neighbours.
namespace heddle::text {

/// Slots for at least `entries` entries at a load of at most a half.
inline std::size_t slots_for(std::size_t entries) { return std::bit_ceil(2 * entries + 2); }

/// Ids, 0 or more, by text. Texts are not copied: they outlive the index.
class TextIndex {
 public:
  explicit TextIndex(std::size_t entries = 0) : slots_(slots_for(entries)) {}

  /// Enters `id` unless the text has one; returns the one it has.
  std::int32_t add(std::string_view text, std::int32_t id) {
    if (2 * (size_ + 1) > slots_.size()) grow();
    Slot& slot = slots_[place(text, hash(text))];
    if (slot.id < 0) {
      slot = {text.data(), std::uint32_t(text.size()), hash(text), id};
      ++size_;
    }
    return slot.id;
  }

  std::int32_t find(std::string_view text) const { return slots_[place(text, hash(text))].id; }  // -1: not there

 private:
  struct Slot {
    const char* data = nullptr;
    std::uint32_t length = 0, hash = 0;
    std::int32_t id = -1;
  };
  static std::uint32_t hash(std::string_view text) { return std::uint32_t(std::hash<std::string_view>()(text)); }

  /// The slot of the text, or the free one where it belongs.
  std::size_t place(std::string_view text, std::uint32_t hash) const {
    for (std::size_t i = hash;; ++i) {
      const Slot& slot = slots_[i & (slots_.size() - 1)];
      if (slot.id < 0 || (slot.hash == hash && std::string_view(slot.data, slot.length) == text)) return i & (slots_.size() - 1);
    }
  }

  void grow() {
    std::vector<Slot> old(slots_for(slots_.size()));
    old.swap(slots_);
    for (const Slot& slot : old)
      if (slot.id >= 0) slots_[place({slot.data, slot.length}, slot.hash)] = slot;
  }

  std::vector<Slot> slots_;
  std::size_t size_ = 0;
};

/// Merges by their two symbols, both 0 or more.
class MergeIndex {
 public:
  struct Merge {
    std::int32_t rank, result;
  };

  explicit MergeIndex(std::size_t entries = 0) : slots_(slots_for(entries)), room_(entries) {}

  /// Enters the merge unless the pair has one. No more entries than the index was made for.
  void add(std::int32_t left, std::int32_t right, Merge merge) {
    Slot& slot = slots_[place(key(left, right))];
    if (slot.key != 0) return;
    HEDDLE_CHECK(room_-- > 0);
    slot = {key(left, right), merge};
  }

  const Merge* find(std::int32_t left, std::int32_t right) const {
    const Slot& slot = slots_[place(key(left, right))];
    return slot.key != 0 ? &slot.merge : nullptr;
  }

 private:
  struct Slot {
    std::uint64_t key = 0;  // 0: free
    Merge merge{};
  };
  static std::uint64_t key(std::int32_t left, std::int32_t right) { return (std::uint64_t(left) + 1) << 32 | std::uint32_t(right); }

  std::size_t place(std::uint64_t key) const {
    std::uint64_t h = key * 0x9e3779b97f4a7c15u;  // Fibonacci hashing: the high bits are the mixed ones
    for (std::size_t i = h >> 32;; ++i) {
      const Slot& slot = slots_[i & (slots_.size() - 1)];
      if (slot.key == 0 || slot.key == key) return i & (slots_.size() - 1);
    }
  }

  std::vector<Slot> slots_;
  std::size_t room_;
};

}  // namespace heddle::text
