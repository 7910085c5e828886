#include <gtest/gtest.h>

#include <cstring>

#include "kernel_case.h"

namespace heddle::testing {
namespace {

plan::Arg& add_arg(KernelCase& kernel, plan::ArgRole role, DType dtype, std::vector<std::int64_t> shape, bool written,
                    const std::vector<std::int32_t>& values) {
  auto& arg = kernel.spec.args.emplace_back();
  arg.role = role, arg.dtype = dtype, arg.shape = std::move(shape), arg.layout = Layout::rows, arg.written = written;
  kernel.memory.emplace_back(values.size() * sizeof(std::int32_t));
  std::memcpy(kernel.memory.back().data(), values.data(), kernel.memory.back().size());
  return arg;
}

/// Rows of buffers of several types and of slots and positions, by any number of threads.
TEST(select, rows_are_copied_bit_for_bit) {
  constexpr std::int64_t rows = 9;
  const std::vector<std::int32_t> index = {8, 0, 3};
  KernelCase kernel(plan::GatherRows{}, 3);
  kernel.spec.gather_rows()->rows = rows;
  add_arg(kernel, plan::ArgRole::last, DType::i32, {3}, false, index);
  struct Pair {
    unsigned from, to;
    std::int64_t bytes;
  };
  std::vector<Pair> pairs;
  const auto add = [&](plan::ArgRole role, DType dtype, std::int64_t columns) {
    const bool buffer = role == plan::ArgRole::buffer;
    std::vector<std::int32_t> values(std::size_t(rows * bytes_of(dtype, columns)) / sizeof(std::int32_t));
    for (std::int32_t& value : values) value = std::int32_t(kernel.random());
    add_arg(kernel, role, dtype, buffer ? std::vector{rows, columns} : std::vector{rows}, false, values);
    add_arg(kernel, role, dtype, buffer ? std::vector<std::int64_t>{3, columns} : std::vector<std::int64_t>{3}, true,
            std::vector<std::int32_t>(values.size() / 3));
    pairs.push_back({unsigned(kernel.spec.args.size()) - 2, unsigned(kernel.spec.args.size()) - 1, bytes_of(dtype, columns)});
    auto& pair = kernel.spec.gather_rows()->pairs.emplace_back();
    pair.from = pairs.back().from, pair.to = pairs.back().to;
  };
  add(plan::ArgRole::buffer, DType::f32, 37);
  add(plan::ArgRole::buffer, DType::q8_1, 64);
  add(plan::ArgRole::slots, DType::i32, 1);
  add(plan::ArgRole::positions, DType::i32, 1);
  for (const int threads : {1, 2, 3, 8}) {
    auto found = kernel.run(threads);
    ASSERT_EQ(found.size(), pairs.size());
    for (const Pair& pair : pairs)
      for (std::size_t r = 0; r < index.size(); ++r)
        EXPECT_EQ(std::memcmp(found[pair.to].data() + std::int64_t(r) * pair.bytes, kernel.memory[pair.from].data() + index[r] * pair.bytes,
                              std::size_t(pair.bytes)),
                  0)
            << "argument " << pair.to << ", row " << r << ", " << threads << " threads";
  }
}

}  // namespace
}  // namespace heddle::testing
