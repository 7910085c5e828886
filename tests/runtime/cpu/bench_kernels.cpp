// The kernels' loops per weight format on one thread, beside what the machine can do in the same run: bytes read a second from memory, and
// 8-bit products a second of the vector and the matrix unit. `of_peak` is the share of whichever bounds the loop: reading for one
// activation row out of memory, products for many rows.
#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <sys/mman.h>

#include "ir/base/thread_pool.h"
#include "kernel_case.h"
#include "peaks.h"
#include "runtime/cpu/dot/dot.h"
#include "runtime/cpu/memory.h"
#include "runtime/cpu/dot/amx_tiles.h"
#include "runtime/plan/panels.h"
#include "tests/support/weight_formats.h"

namespace heddle::runtime::cpu {
namespace {

constexpr std::int64_t k = 2048;
constexpr std::int64_t in_memory = 256, in_cache = 1;  // megabytes of weights

/// Weights of about `megabytes`: one random panel, or row, repeated. Making random numbers for all would take longer than the measurement.
struct Weights {
  Weights(DType dtype, bool panels, std::int64_t megabytes) : dtype(dtype), panels(panels) {
    std::mt19937 random(1);
    auto piece = testing::random_elements(dtype, plan::panel_rows * k, random);
    if (panels) piece = testing::panels_of(dtype, piece, k);
    const std::size_t count = std::max<std::size_t>(1, (std::size_t(megabytes) << 20) / piece.size());
    columns = std::int64_t(count) * plan::panel_rows;
    size = count * piece.size();
    piece_bytes = std::int64_t(piece.size());
    data = static_cast<std::byte*>(::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    ::madvise(data, size, MADV_HUGEPAGE);
    for (std::size_t i = 0; i < count; ++i) std::copy(piece.begin(), piece.end(), data + i * piece.size());
  }
  ~Weights() { ::munmap(data, size); }
  DType dtype;
  bool panels;
  std::byte* data;
  std::size_t size;
  std::int64_t columns, piece_bytes;
};

void run(benchmark::State& state, DType dtype, bool panels, std::int64_t megabytes, std::int64_t rows) {
  const Weights w(dtype, panels, megabytes);
  std::mt19937 random(1);
  const auto x = testing::random_elements(panels ? DType::q8_1 : DType::f32, rows * k, random);
  const std::int64_t stride = q8_rows(rows);
  std::vector<Q8Group> groups(std::size_t(stride * q8_groups(k)));
  if (panels)
    for (std::int64_t r = 0; r < rows; ++r) unpack_q8_1(x.data() + r * bytes_of(DType::q8_1, k), k, groups.data() + r, stride);
  constexpr std::int64_t item = 64;  // columns, as gemm's work items
  std::vector<float> out(std::size_t(rows * item));
  const bool tiles = !panels && rows >= tiles::least_rows && has_dot_tiles(dtype, item, k);  // as gemm decides
  const auto split = Region::make(split_bytes(rows, k)), scratch = Region::make(dot_tiles_scratch_bytes(dtype, item, k));
  for (std::int64_t r = 0; tiles && r < rows; ++r) split_row(reinterpret_cast<const float*>(x.data()) + r * k, k, r, split->data());
  for (auto _ : state) {
    for (std::int64_t c = 0; c < w.columns; c += item) {
      const std::int64_t count = std::min(item, w.columns - c);
      const std::byte* const from = w.data + c / plan::panel_rows * w.piece_bytes;
      if (panels) dot_panels(dtype, from, count / plan::panel_rows, k, groups.data(), stride, rows, out.data(), item);
      else if (tiles) dot_tiles(dtype, from, count, k, split->data(), rows, scratch->data(), out.data(), item);
      else dot_f32(dtype, from, count, k, reinterpret_cast<const float*>(x.data()), k, rows, out.data(), item);
    }
    benchmark::DoNotOptimize(out.data());
  }
  const double bytes = double(state.iterations()) * double(w.size), products = double(state.iterations()) * double(w.columns * k * rows);
  using benchmark::Counter;
  state.counters["GB"] = Counter(bytes * 1e-9, Counter::kIsRate);
  state.counters["GMAC"] = Counter(products * 1e-9, Counter::kIsRate);
  if (rows == 1 && megabytes == in_memory) state.counters["of_peak"] = Counter(bytes / testing::peak_read(), Counter::kIsRate);
  if (panels && rows > 1) state.counters["of_peak"] = Counter(products / testing::peak_products(), Counter::kIsRate);
}

/// What all threads together read from memory: the floor of a decode step.
void read_with_threads(benchmark::State& state, testing::Reading how) {
  const int threads = int(state.range(0));
  constexpr std::size_t bytes = std::size_t(1) << 29;
  auto* const data = static_cast<std::byte*>(::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ::madvise(data, bytes, MADV_HUGEPAGE);
  std::fill_n(data, bytes, std::byte(1));
  ThreadPool pool(threads);
  const std::size_t share = bytes / std::size_t(threads);
  for (auto _ : state) pool.run([&](int member) { testing::read_memory(data + std::size_t(member) * share, share, how); });
  state.counters["GB"] = benchmark::Counter(double(state.iterations()) * double(bytes) * 1e-9, benchmark::Counter::kIsRate);
  ::munmap(data, bytes);
}

/// A barrier among the team, as between two kernels.
void wait_with_threads(benchmark::State& state) {
  ThreadPool pool(int(state.range(0)));
  constexpr int barriers = 1000;
  for (auto _ : state)
    pool.run([&](int) {
      for (int i = 0; i < barriers; ++i) pool.barrier();
    });
  state.SetItemsProcessed(state.iterations() * barriers);
}

void add(DType dtype, bool panels) {
  const auto add_one = [&](std::int64_t megabytes, std::int64_t rows) {
    const std::string title = fmt::format("{}_{}/rows:{}/{}", name(dtype), panels ? "panels_x_q8_1" : "rows_x_f32", rows,
                                          megabytes == in_memory ? "memory" : "cache");
    benchmark::RegisterBenchmark(title.c_str(), run, dtype, panels, megabytes, rows);
  };
  add_one(in_memory, 1), add_one(in_cache, 1);
  for (const std::int64_t rows : {4, 8, 32, 128}) add_one(in_cache, rows);
}

}  // namespace
}  // namespace heddle::runtime::cpu

int main(int argc, char** argv) {
  using heddle::DType;
  for (const DType dtype : heddle::testing::weight_formats()) heddle::runtime::cpu::add(dtype, true);
  for (const DType dtype : {DType::f32, DType::f16, DType::bf16, DType::q4_K}) heddle::runtime::cpu::add(dtype, false);
  const auto counts = [](benchmark::internal::Benchmark* registered) {
    for (int threads = 1; threads <= std::min(heddle::usable_processors(), 16); threads *= 2) registered->Arg(threads);
    registered->ArgName("threads")->UseRealTime();
  };
  counts(benchmark::RegisterBenchmark("read", heddle::runtime::cpu::read_with_threads, heddle::testing::Reading::ahead));
  counts(benchmark::RegisterBenchmark("read_plain", heddle::runtime::cpu::read_with_threads, heddle::testing::Reading::plain));
  counts(benchmark::RegisterBenchmark("barrier", heddle::runtime::cpu::wait_with_threads));
  benchmark::Initialize(&argc, argv);
  benchmark::AddCustomContext("peak_read", fmt::format("{:.1f} GB/s on one thread", heddle::testing::peak_read() * 1e-9));
  benchmark::AddCustomContext("peak_products", fmt::format("{:.0f} GMAC/s on one thread ({})", heddle::testing::peak_products() * 1e-9,
                                                           heddle::testing::peak_unit()));
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
