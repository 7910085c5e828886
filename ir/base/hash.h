#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

/// xxh3, by which files, plans and cached kernels are recognised again. It protects from damage and chance, not from malice.
namespace heddle {

struct Hash128 {
  std::uint64_t low = 0, high = 0;
  bool operator==(const Hash128&) const = default;
  std::string hex() const;                     // 32 digits, the high ones first
  std::array<std::uint8_t, 16> bytes() const;  // in the order of the digits
};

Hash128 hash128(std::span<const std::byte> data);
inline Hash128 hash128(std::string_view text) { return hash128(std::as_bytes(std::span(text))); }
std::uint64_t hash64(std::string_view text);

/// The same of pieces that come one after the other.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  void add(std::span<const std::byte> data);
  void add(std::string_view text) { add(std::as_bytes(std::span(text))); }
  void number(std::uint64_t n) { add(std::as_bytes(std::span(&n, 1))); }
  Hash128 hash() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace heddle
