#include "ir/base/hash.h"

#include <fmt/format.h>
#include <xxhash.h>

namespace heddle {

std::string Hash128::hex() const { return fmt::format("{:016x}{:016x}", high, low); }

std::array<std::uint8_t, 16> Hash128::bytes() const {
  std::array<std::uint8_t, 16> out;
  for (int i = 0; i < 8; ++i) out[i] = std::uint8_t(high >> (56 - 8 * i)), out[8 + i] = std::uint8_t(low >> (56 - 8 * i));
  return out;
}

Hash128 hash128(std::span<const std::byte> data) {
  const XXH128_hash_t hash = XXH3_128bits(data.data(), data.size());
  return {hash.low64, hash.high64};
}

std::uint64_t hash64(std::string_view text) { return XXH3_64bits(text.data(), text.size()); }

struct Hasher::State {
  const std::unique_ptr<XXH3_state_t, decltype(&XXH3_freeState)> xxh3{XXH3_createState(), XXH3_freeState};
};

Hasher::Hasher() : state_(std::make_unique<State>()) { XXH3_128bits_reset(state_->xxh3.get()); }
Hasher::~Hasher() = default;
void Hasher::add(std::span<const std::byte> data) { XXH3_128bits_update(state_->xxh3.get(), data.data(), data.size()); }

Hash128 Hasher::hash() const {
  const XXH128_hash_t hash = XXH3_128bits_digest(state_->xxh3.get());
  return {hash.low64, hash.high64};
}

}  // namespace heddle
