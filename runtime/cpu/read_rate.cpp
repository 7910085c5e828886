#include "runtime/cpu/read_rate.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>

#include "ir/base/timing.h"
#include "runtime/cpu/kernel.h"
#include "runtime/cpu/memory.h"
#include "runtime/cpu/prefetch.h"

namespace heddle::runtime::cpu {
namespace {

constexpr int passes = 5;

/// Reads every word once, as kernels read weights: a few streams side by side. Several sums, which the compiler turns into wide loads.
std::uint64_t sum_of(const std::uint64_t* words, std::size_t count) {
  std::array<std::uint64_t, 32> sums = {};
  const std::size_t apart = count / streams / sums.size() * sums.size();
  for (std::size_t i = 0; i < apart; i += sums.size()) {
    for (std::size_t stream = 0; stream < streams; ++stream) {
      const std::uint64_t* const from = words + stream * apart + i;
      prefetch_stream(from, sizeof sums);
      for (std::size_t lane = 0; lane < sums.size(); ++lane) sums[lane] += from[lane];
    }
  }
  std::uint64_t sum = 0;
  for (const std::uint64_t lane : sums) sum += lane;
  return sum;
}

}  // namespace

Result<ReadRate> read_rate(ThreadPool& pool) {
  ReadRate rate;
  if (const long bytes = ::sysconf(_SC_LEVEL3_CACHE_SIZE); bytes > 0) rate.cache_bytes = std::uint64_t(bytes);
  rate.buffer_bytes = std::clamp<std::uint64_t>(4 * rate.cache_bytes, 256 << 20, 1 << 30);
  rate.buffer_bytes = std::min(rate.buffer_bytes, available_memory() / 2);
  HEDDLE_ASSIGN(const Region region, Region::make(rate.buffer_bytes));
  region.want_large_pages();
  auto* words = reinterpret_cast<std::uint64_t*>(region.data());
  const auto count = std::int64_t(rate.buffer_bytes / sizeof(std::uint64_t));
  std::vector<std::uint64_t> sums(std::size_t(pool.size()) * 16);  // a line each
  for (int pass = 0; pass <= passes; ++pass) {
    const auto start = Clock::now();
    pool.run([&](int member) {
      const Share share = share_of(count, member, pool.size());
      if (pass == 0) {  // pages come into being when they are written
        for (std::int64_t i = share.begin; i < share.end; ++i) words[i] = std::uint64_t(i) * 0x9e3779b97f4a7c15;
      } else {
        sums[std::size_t(member) * 16] += sum_of(words + share.begin, std::size_t(share.end - share.begin));
      }
    });
    const double seconds = seconds_since(start);
    if (pass > 0) rate.bytes_per_second = std::max(rate.bytes_per_second, double(rate.buffer_bytes) / seconds);
  }
  volatile std::uint64_t keep = sums[0];  // or nothing would have to be read
  (void)keep;
  return rate;
}

}  // namespace heddle::runtime::cpu
