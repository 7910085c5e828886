// Dot products of one thread: a matrix that stays in the second-level cache, and one that comes from memory. Bytes are the weights'.
#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include "kernel_case.h"
#include "runtime/cpu/dot.h"

namespace heddle::runtime::cpu {
namespace {

constexpr std::int64_t k = 2048;

void run(benchmark::State& state, DType weight, bool integers, std::int64_t megabytes, std::int64_t rows) {
  std::mt19937 random(1);
  const std::int64_t row_bytes = bytes_of(weight, k), columns = std::max<std::int64_t>(1, (megabytes << 20) / row_bytes);
  // One random row, repeated: making random numbers for all would take longer than the measurement.
  const auto row = testing::random_elements(weight, k, random);
  std::vector<std::byte> w;
  w.reserve(std::size_t(columns * row_bytes));
  for (std::int64_t c = 0; c < columns; ++c) w.insert(w.end(), row.begin(), row.end());
  const auto x = testing::random_elements(integers ? DType::q8_1 : DType::f32, rows * k, random);
  std::vector<Q8Group> groups(std::size_t(rows * q8_groups(k)));
  if (integers)
    for (std::int64_t r = 0; r < rows; ++r) unpack_q8_1(x.data() + r * bytes_of(DType::q8_1, k), k, groups.data() + r * q8_groups(k));
  std::vector<float> out(std::size_t(rows * columns));
  for (auto _ : state) {
    // In pieces, as gemm's work items.
    for (std::int64_t c = 0; c < columns; c += 64) {
      const std::int64_t count = std::min<std::int64_t>(64, columns - c);
      const std::byte* const from = w.data() + c * row_bytes;
      if (integers) dot_q8(weight, from, count, k, groups.data(), q8_groups(k), rows, out.data() + c, columns);
      else dot_f32(weight, from, count, k, reinterpret_cast<const float*>(x.data()), k, rows, out.data() + c, columns);
    }
    benchmark::DoNotOptimize(out.data());
  }
  state.SetBytesProcessed(state.iterations() * columns * row_bytes);
  state.counters["GMAC/s"] =
      benchmark::Counter(double(state.iterations()) * double(columns * k * rows) * 1e-9, benchmark::Counter::kIsRate);
}

void add(DType weight, bool integers) {
  for (const std::int64_t megabytes : {1, 512})
    for (const std::int64_t rows : {1, 8, 32}) {
      if (rows > 1 && megabytes > 1) continue;
      const std::string title = fmt::format("{}_x_{}/rows:{}/{}MB", name(weight), integers ? "q8_1" : "f32", rows, megabytes);
      benchmark::RegisterBenchmark(title.c_str(), run, weight, integers, megabytes, rows);
    }
}

}  // namespace
}  // namespace heddle::runtime::cpu

int main(int argc, char** argv) {
  using heddle::DType;
  for (const DType weight : {DType::q4_K, DType::q6_K, DType::q5_K, DType::q8_0, DType::q4_0}) heddle::runtime::cpu::add(weight, true);
  for (const DType weight : {DType::f32, DType::f16, DType::bf16, DType::q4_K, DType::q6_K, DType::q5_K, DType::q8_0, DType::q4_0})
    heddle::runtime::cpu::add(weight, false);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
