#include "runtime/cuda/memory.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "cuda_plan.h"
#include "runtime/plan/layout.h"

namespace heddle::testing {
namespace {

using runtime::Capacity;
using namespace runtime::cuda;

TEST(LayOut, PutsEverythingApartAtMultiplesOf256) {
  CudaPlan p;
  p.plan->kernels[2].cuda->scratch_bytes = 100;
  p.add_sampling(0);
  const MemoryLayout layout = lay_out(*p.plan, {2, 100});
  std::uint64_t end = 0;
  for (std::size_t i = 0; i < layout.weights.size(); ++i) {
    EXPECT_EQ(layout.weights[i] % 256, 0u);
    EXPECT_GE(layout.weights[i], end);
    end = layout.weights[i] + stored_bytes_of(p.plan->weights[i]);
  }
  EXPECT_EQ(layout.weight_bytes, end);
  const std::uint64_t plane = 2 * 100 * 1 * 16 * sizeof(float);  // slots, positions, heads, width
  EXPECT_EQ(layout.keys, (std::vector<std::uint64_t>{0}));
  EXPECT_EQ(layout.values, (std::vector<std::uint64_t>{plane}));
  EXPECT_EQ(layout.cache_bytes, 2 * plane);
  EXPECT_EQ(layout.arena_bytes, p.plan->entries[2].arena_bytes);

  std::vector<std::pair<std::uint64_t, std::uint64_t>> scratch;  // offset, bytes
  for (std::size_t e = 0; e < layout.entries.size(); ++e) {
    const EntryMemory& memory = layout.entries[e];
    const std::uint64_t rows = p.plan->entries[e].rows;
    scratch.emplace_back(memory.inputs, 12 * rows);
    for (const std::uint64_t output : memory.outputs) scratch.emplace_back(output, rows * 48 * 4);
  }
  const EntryMemory& first = layout.entries[0];
  ASSERT_EQ(first.node_scratch.size(), 7u);
  scratch.emplace_back(first.node_scratch[2], 100);
  scratch.emplace_back(first.control, 48);
  scratch.emplace_back(first.sample_rows, 48);
  scratch.emplace_back(first.history, 101 * 4);
  scratch.emplace_back(first.end_tokens, most_end_tokens * 4);
  std::ranges::sort(scratch);
  for (std::size_t i = 0; i < scratch.size(); ++i) {
    EXPECT_EQ(scratch[i].first % 256, 0u);
    EXPECT_LE(scratch[i].first + scratch[i].second, i + 1 < scratch.size() ? scratch[i + 1].first : layout.scratch_bytes);
  }
}

TEST(LayOut, SizesWeightsAsTheyAreStored) {
  CudaPlan p;
  p.plan->weights[0].layout = Layout::planes;
  EXPECT_EQ(stored_bytes_of(p.plan->weights[0]), std::uint64_t(*plan::stored_bytes(Layout::planes, DType::q8_0, 48, 32)));
  EXPECT_EQ(stored_bytes_of(p.plan->weights[1]), 32u * 4);
}

TEST(CheckFits, SaysWhatIsNeededAndWhichContextFits) {
  CudaPlan p;
  const Capacity asked{1, 1 << 20};  // 128 bytes a position: 134 MB
  EXPECT_TRUE(check_fits(*p.plan, asked, device_bytes(lay_out(*p.plan, asked)), "GPU 0 (Fake)").ok());
  const auto refused = check_fits(*p.plan, asked, 20 << 20, "GPU 0 (Fake)");
  ASSERT_FALSE(refused.ok());
  EXPECT_EQ(refused.error().message(),
            "out of memory: needs 140.5 MB (weights 13312 bytes, cache 134.2 MB, arena 2560 bytes, scratch 1536 bytes), 21.0 MB of GPU 0 "
            "(Fake) are free; "
            "--ctx 114688 fits");
  // The advice is right, and within the rounding the largest.
  EXPECT_TRUE(check_fits(*p.plan, {1, 114688}, 20 << 20, "").ok());
  EXPECT_FALSE(check_fits(*p.plan, {1, 114688 + 64}, 20 << 20, "").ok());
}

TEST(CheckFits, SaysWhereNothingHelps) {
  CudaPlan p;
  const auto refused = check_fits(*p.plan, {1, 4096}, 1 << 20, "GPU 0 (Fake)");
  ASSERT_FALSE(refused.ok());
  EXPECT_TRUE(refused.error().message().ends_with("1.0 MB of GPU 0 (Fake) are free; no --ctx fits")) << refused.error().message();
}

TEST(CheckFits, AbsurdCapacitiesDoNotWrapRound) {
  CudaPlan p;
  EXPECT_FALSE(check_fits(*p.plan, {INT64_MAX, INT32_MAX}, std::size_t(1) << 40, "").ok());
  EXPECT_FALSE(check_fits(*p.plan, {std::int64_t(1) << 57, 1}, std::size_t(1) << 40, "").ok());
}

}  // namespace
}  // namespace heddle::testing
