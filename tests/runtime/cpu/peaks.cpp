#include "peaks.h"

#include <sys/mman.h>
#include <time.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "runtime/cpu/prefetch.h"
#include "runtime/cpu/simd.h"
#include "runtime/cpu/dot/amx_tiles.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE HEDDLE_PEAKS_FILE
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "runtime/cpu/dot/panels-inl.h"

HWY_BEFORE_NAMESPACE();
namespace heddle::testing {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

/// Adds all words up, so that nothing is left out: as one stream, or as kernels read weights, a few side by side and asked for ahead.
template <Reading how>
HWY_INLINE std::int32_t sum_of(const std::int32_t* from, std::int64_t count) {
  constexpr int streams = how == Reading::ahead ? runtime::cpu::streams : 1;
  const hn::ScalableTag<std::int32_t> d;
  const std::int64_t lanes = std::int64_t(hn::Lanes(d)), apart = count / streams / (4 * lanes) * (4 * lanes);
  auto a = hn::Zero(d), b = a, c = a, e = a;
  for (std::int64_t i = 0; i < apart; i += 4 * lanes) {
    HEDDLE_UNROLL
    for (int stream = 0; stream < streams; ++stream) {
      const std::int32_t* const at = from + stream * apart + i;
      if constexpr (how == Reading::ahead) runtime::cpu::prefetch_stream(at, 4 * lanes * std::int64_t(sizeof(*at)));
      a = hn::Add(a, hn::LoadU(d, at)), b = hn::Add(b, hn::LoadU(d, at + lanes));
      c = hn::Add(c, hn::LoadU(d, at + 2 * lanes)), e = hn::Add(e, hn::LoadU(d, at + 3 * lanes));
    }
  }
  return hn::GetLane(hn::SumOfLanes(d, hn::Add(hn::Add(a, b), hn::Add(c, e))));
}

std::int32_t read_all(const std::int32_t* from, std::int64_t count, Reading how) {
  return how == Reading::ahead ? sum_of<Reading::ahead>(from, count) : sum_of<Reading::plain>(from, count);
}

/// Products of `rounds` rounds; returns how many there were.
double multiply(std::int64_t rounds) {
#if HWY_TARGET == HWY_SCALAR
  return double(rounds);
#else
  using namespace runtime::cpu::HWY_NAMESPACE;
  Int sums[12];
  const Byte w = hn::Set(Bytes(), 3);
  const auto x = hn::Set(SignedBytes(), 1);
  for (Int& sum : sums) sum = hn::Zero(Ints());
  for (std::int64_t i = 0; i < rounds; ++i) {
    HEDDLE_UNROLL
    for (int j = 0; j < 12; ++j) sums[j] = add_products(sums[j], w, x);
  }
  for (int j = 1; j < 12; ++j) sums[0] = hn::Add(sums[0], sums[j]);
  volatile std::int32_t used = hn::GetLane(hn::SumOfLanes(Ints(), sums[0]));
  (void)used;
  return double(rounds) * 12 * 4 * double(lanes);
#endif
}

}  // namespace HWY_NAMESPACE
}  // namespace heddle::testing
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace heddle::testing {
namespace {

HWY_EXPORT(read_all);
HWY_EXPORT(multiply);

/// Processor time of this thread, as the benchmarks count it: the machine may have other work.
double seconds() {
  timespec now;
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return double(now.tv_sec) + double(now.tv_nsec) * 1e-9;
}

/// The best of a few: amount over seconds.
template <class Work>
double best_rate(const Work& work) {
  double best = 0;
  for (int i = 0; i < 7; ++i) {
    const double start = seconds(), amount = work();
    best = std::max(best, amount / (seconds() - start));
  }
  return best;
}

double measure_read() {
  constexpr std::size_t bytes = std::size_t(1) << 29;
  void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ::madvise(data, bytes, MADV_HUGEPAGE);
  std::fill_n(static_cast<std::int32_t*>(data), bytes / 4, 1);
  const double rate = best_rate([&] { return read_memory(data, bytes, Reading::ahead), double(bytes); });
  ::munmap(data, bytes);
  return rate;
}

double measure_tiles() {
#if defined(__x86_64__)
  using namespace runtime::cpu::tiles;
  const Session session(16);
  constexpr int rounds = 200000;
  return best_rate([&] {
    for (int i = 0; i < rounds; ++i) {
      asm volatile("tdpbssd %tmm4, %tmm2, %tmm0\n\ttdpbssd %tmm5, %tmm3, %tmm1");
    }
    return 2.0 * rounds * 16 * 16 * 64;
  });
#else
  return 0;
#endif
}

}  // namespace

void read_memory(const void* from, std::size_t bytes, Reading how) {
  volatile std::int32_t used = HWY_DYNAMIC_DISPATCH(read_all)(static_cast<const std::int32_t*>(from), std::int64_t(bytes / 4), how);
  (void)used;
}

double peak_read() {
  static const double rate = measure_read();
  return rate;
}

double peak_products() {
  static const double rate =
      runtime::cpu::tiles::usable() ? measure_tiles() : best_rate([] { return HWY_DYNAMIC_DISPATCH(multiply)(1 << 20); });
  return rate;
}

const char* peak_unit() { return runtime::cpu::tiles::usable() ? "matrix unit" : "vector unit"; }

}  // namespace heddle::testing
#endif
