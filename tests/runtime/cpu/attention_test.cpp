#include <gtest/gtest.h>

#include "kernel_case.h"
#include "targets.h"

namespace heddle::testing {
namespace {


struct Shape {
  std::int64_t heads = 4, kv_heads = 2, head_dim = 32, capacity = 64, slots = 1, window = 0;
  double softcap = 0;
  DType cache = DType::f32;
  DType quantize = DType::f32;  // of the result
};

KernelCase attention(const Shape& shape, std::vector<std::int32_t> slots, std::vector<std::int32_t> positions) {
  KernelCase kernel(plan::Attention{}, std::int64_t(slots.size()));
  kernel.slot_count = shape.slots;
  kernel.capacity = shape.capacity;
  auto& loop = *kernel.spec.attention();
  const std::int64_t n = shape.heads * shape.head_dim;
  loop.q = kernel.buffer(DType::f32, n);
  loop.kv = kernel.state(shape.cache, shape.kv_heads, shape.head_dim);
  loop.heads = shape.heads, loop.kv_heads = shape.kv_heads, loop.head_dim = shape.head_dim;
  loop.scale = 1 / std::sqrt(double(shape.head_dim)), loop.window = shape.window, loop.softcap = shape.softcap;
  kernel.slots(std::move(slots));
  kernel.positions(std::move(positions));
  ProgramWriter epilogue;
  const unsigned result = epilogue.loop(0);
  if (shape.quantize == DType::f32) epilogue.store(result, kernel.output(DType::f32, n));
  else epilogue.store(epilogue.quantize(result, shape.quantize), kernel.output(shape.quantize, n));
  kernel.part(n, shape.head_dim, {}, std::move(epilogue));
  return kernel;
}

TEST(attention, rows_of_several_slots_some_idle) {
  on_every_target([] {
    for (const DType cache : {DType::f32, DType::f16})
      expect_reference(attention({.slots = 3, .cache = cache}, {2, 0, -1, 2, 1}, {63, 0, 0, 17, 4}), 2e-6);
  });
}

TEST(attention, head_sizes_and_groups) {
  for (const std::int64_t head_dim : {8, 20, 64, 80, 128})
    for (const auto& [heads, kv_heads] : {std::pair{1, 1}, {8, 8}, {6, 2}, {7, 1}})
      expect_reference(attention({.heads = heads, .kv_heads = kv_heads, .head_dim = head_dim}, {0, 0}, {40, 7}), 2e-6);
}

TEST(attention, window_and_softcap) {
  on_every_target([] {
    expect_reference(attention({.window = 10}, {0, 0, 0}, {3, 9, 50}), 2e-6);
    expect_reference(attention({.softcap = 0.5}, {0, 0}, {3, 50}), 2e-6);
    expect_reference(attention({.window = 1, .softcap = 30}, {0}, {20}), 2e-6);
  });
}

TEST(attention, results_may_be_quantised) {
  for (const std::int64_t rows : {1, 3})
    expect_reference(
        attention({.quantize = DType::q8_1}, std::vector<std::int32_t>(std::size_t(rows), 0), std::vector<std::int32_t>(std::size_t(rows), 30)),
        1e-5);
}

TEST(attention, long_contexts_are_split_among_threads_with_the_same_result) {
  // 1 and 3 threads do and do not split a decode step of one or two key heads; passes end at 512, 1024, ...
  for (const std::int32_t position : {511, 512, 1023, 1500})
    expect_reference(attention({.heads = 4, .kv_heads = 1, .head_dim = 16, .capacity = 1600}, {0}, {position}), 3e-6);
  expect_reference(
      attention({.heads = 6, .kv_heads = 3, .head_dim = 16, .capacity = 1600, .slots = 3, .cache = DType::f16}, {1, -1, 0}, {1599, 0, 600}),
      3e-6);
  expect_reference(attention({.heads = 4, .kv_heads = 1, .head_dim = 16, .capacity = 1600, .window = 700}, {0}, {1400}), 3e-6);
}

/// `rows` tokens from position `first` on, in slot 0.
KernelCase prompt(const Shape& shape, std::int32_t rows, std::int32_t first) {
  std::vector<std::int32_t> positions;
  for (std::int32_t r = 0; r < rows; ++r) positions.push_back(first + r);
  return attention(shape, std::vector<std::int32_t>(std::size_t(rows), 0), positions);
}

TEST(attention, prompts_go_in_tiles) {
  on_every_target([] {
    for (const DType cache : {DType::f32, DType::f16}) {
      expect_reference(prompt({.cache = cache}, 8, 0), 2e-6);
      expect_reference(prompt({.heads = 6, .kv_heads = 2, .head_dim = 20, .capacity = 220, .cache = cache}, 37, 150), 2e-6);
    }
  });
  for (const auto& [heads, kv_heads] : {std::pair{1, 1}, {8, 8}, {6, 2}, {7, 1}, {40, 1}})
    for (const std::int64_t head_dim : {8, 80})
      expect_reference(prompt({.heads = heads, .kv_heads = kv_heads, .head_dim = head_dim, .capacity = 160}, 19, 100), 2e-6);
}

TEST(attention, tiles_with_window_softcap_and_quantised_results) {
  expect_reference(prompt({.capacity = 300, .window = 10}, 33, 200), 2e-6);
  expect_reference(prompt({.capacity = 300, .window = 100}, 20, 90), 2e-6);
  expect_reference(prompt({.capacity = 90, .softcap = 0.5}, 12, 60), 2e-6);
  expect_reference(prompt({.capacity = 90, .quantize = DType::q8_1}, 12, 60), 1e-5);
}

TEST(attention, a_tile_ends_with_its_slot) {
  expect_reference(attention({.capacity = 90, .slots = 3}, {0, 0, 0, 2, 2, -1, 1, 1, 1, -1}, {3, 4, 5, 80, 81, 0, 0, 66, 67, 0}), 2e-6);
}

TEST(attention, idle_rows_give_zeros) {
  const KernelCase kernel = attention({}, {-1, 0, -1}, {0, 5, 0});
  for (const int threads : {1, 3}) {
    const auto found = kernel.run(threads);
    const auto values = kernel.floats(found.begin()->first, found.begin()->second);
    for (std::size_t i = 0; i < 128; ++i) {
      EXPECT_EQ(values[i], 0);
      EXPECT_EQ(values[256 + i], 0);
    }
    EXPECT_NE(values[128], 0);
  }
}

TEST(attention, not_a_number_in_the_query_comes_out) {
  KernelCase kernel = attention({}, {0}, {20});
  reinterpret_cast<float*>(kernel.memory[kernel.spec.attention()->q].data())[0] = NAN;
  const auto found = kernel.run(1);
  EXPECT_TRUE(std::isnan(kernel.floats(found.begin()->first, found.begin()->second)[0]));
}

}  // namespace
}  // namespace heddle::testing
