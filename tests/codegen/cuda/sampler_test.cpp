// The sampler's kernel on the emulator against runtime/sampling/sampling.h: the same id for the same logits, knobs and seed.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "codegen/cuda/kernels/sample/sampler.h"
#include "codegen/cuda/target.h"
#include "runtime/cuda/sample_control.h"
#include "runtime/sampling/sampling.h"
#include "tests/support/emulator/cuda_emulator.h"

namespace heddle::testing {
namespace {

using runtime::SamplingOptions;
using runtime::cuda::RingEntry;
using runtime::cuda::SampleControl;
using runtime::cuda::SampleRow;
using runtime::cuda::SampleStatus;

/// A sampler for rows of `vocabulary` logits with everything around it.
class Sampler {
 public:
  Sampler(int rows, int vocabulary) : rows_(rows), vocabulary_(vocabulary), spec_(codegen::cuda::sample_spec(rows, vocabulary)) {
    auto text = codegen::cuda::emit(spec_, *codegen::cuda::target_named("cuda:sm_90"));
    EXPECT_TRUE(text.ok()) << text.error().message();
    auto kernels = EmulatedKernels::build({*text}, {&spec_});
    EXPECT_TRUE(kernels.ok()) << kernels.error().message();
    kernels_ = std::move(*kernels);
    logits.resize(std::size_t(rows * vocabulary));
    tokens.assign(std::size_t(rows), 5), slots.assign(std::size_t(rows), 0), positions.assign(std::size_t(rows), 10);
    knobs.resize(std::size_t(rows));
    history.assign(std::size_t(rows * capacity), -7);
    ring.resize(std::size_t(rows * ring_capacity));
    scratch_.resize(std::size_t(text->scratch_bytes / sizeof(double)));
  }
  void set(int row, const SamplingOptions& options, const std::vector<std::int32_t>& seen = {}, int remaining = 100) {
    knobs[std::size_t(row)] = {.temperature = options.temperature,
                               .top_k = options.top_k,
                               .top_p = options.top_p,
                               .min_p = options.min_p,
                               .repeat_penalty = options.repeat_penalty,
                               .repeat_last_n = options.repeat_last_n,
                               .seed = options.seed,
                               .history_count = std::int32_t(seen.size()),
                               .remaining = remaining};
    std::copy(seen.begin(), seen.end(), history.begin() + row * capacity);
  }
  void run(int mode = 0) {
    const auto address = [](auto& list) { return std::uint64_t(reinterpret_cast<std::uintptr_t>(list.data())); };
    SampleControl control{address(knobs), address(history),          address(ring), address(ends), capacity,
                          ring_capacity,  std::int32_t(ends.size()), rows_};
    void* pointers[] = {logits.data(), tokens.data(), slots.data(), positions.data(), scratch_.data(), &control};
    void* parameters[6];
    for (int i = 0; i < 6; ++i) parameters[i] = &pointers[i];
    kernels_->launch(0, parameters, mode);
  }
  const RingEntry& entry(int row) const {
    return ring[std::size_t(row) * ring_capacity + knobs[std::size_t(row)].sequence % ring_capacity];
  }
  std::span<const float> row(int r) const { return std::span(logits).subspan(std::size_t(r * vocabulary_), std::size_t(vocabulary_)); }

  static constexpr int capacity = 32, ring_capacity = 4;
  std::vector<float> logits;
  std::vector<std::int32_t> tokens, slots, positions, history, ends{2};
  std::vector<SampleRow> knobs;
  std::vector<RingEntry> ring;

 private:
  int rows_, vocabulary_;
  plan::KernelSpec spec_;
  std::unique_ptr<EmulatedKernels> kernels_;
  std::vector<double> scratch_;
};

void fill(std::span<float> logits, std::mt19937& random, bool equal_ones) {
  std::normal_distribution<float> normal(0, 3);
  for (float& x : logits) x = equal_ones ? std::round(normal(random)) : normal(random);
}

struct KnobCase {
  const char* name;
  SamplingOptions options;
};
class SampleKnobs : public ::testing::TestWithParam<KnobCase> {};

TEST_P(SampleKnobs, DrawsWhatTheHostDraws) {
  constexpr int vocabulary = 3000;
  static Sampler sampler(2, vocabulary);
  std::mt19937 random(7);
  const bool by_bisection = GetParam().options.temperature > 0 && (GetParam().options.top_k <= 0 || GetParam().options.top_k > 512);
  for (int round = 0; round < (by_bisection ? 2 : 4); ++round) {  // bisection is slow on the emulator
    fill(sampler.logits, random, round % 2 == 1);
    sampler.logits[17] = -0.0f;
    std::vector<std::int32_t> seen;
    for (int i = 0; i < 20; ++i) seen.push_back(std::int32_t(random() % vocabulary));
    seen[3] = seen[9];
    SamplingOptions options[2] = {GetParam().options, GetParam().options};
    for (int r = 0; r < 2; ++r) {
      // What the penalty lowers is among the best.
      for (int i = 15; i < 20; ++i) sampler.logits[std::size_t(r * vocabulary + seen[std::size_t(i)])] += 8;
      options[r].seed = std::uint64_t(random()) << 32 | random();
      sampler.slots[std::size_t(r)] = r, sampler.positions[std::size_t(r)] = 40 + round;
      sampler.set(r, options[r], seen);
    }
    sampler.run(round % 2 == 0 ? 0 : int(backwards));
    for (int r = 0; r < 2; ++r) {
      const auto wanted = runtime::sample(sampler.row(r), options[r], seen, std::uint64_t(41 + round));
      ASSERT_TRUE(wanted.ok());
      EXPECT_EQ(sampler.entry(r).token, *wanted) << "round " << round << " row " << r;
      EXPECT_EQ(sampler.history[std::size_t(r * Sampler::capacity + 20)], *wanted);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Knobs, SampleKnobs,
                         ::testing::Values(KnobCase{"greedy", {.temperature = 0}},
                                           KnobCase{"greedy_penalty", {.temperature = 0, .repeat_penalty = 1.7f, .repeat_last_n = 6}},
                                           KnobCase{"defaults", {}}, KnobCase{"top_k_1", {.top_k = 1}},
                                           KnobCase{"top_k_512", {.top_k = 512, .top_p = 0.99f, .min_p = 0}},
                                           KnobCase{"top_k_600", {.top_k = 600, .top_p = 1, .min_p = 0}},
                                           KnobCase{"top_k_600_top_p", {.top_k = 600, .top_p = 0.9f, .min_p = 0.01f}},
                                           KnobCase{"plain", {.temperature = 1.3f, .top_k = 0, .top_p = 1, .min_p = 0}},
                                           KnobCase{"top_p", {.temperature = 0.9f, .top_k = 0, .top_p = 0.7f, .min_p = 0}},
                                           KnobCase{"top_p_0", {.top_k = 0, .top_p = 0, .min_p = 0}},
                                           KnobCase{"min_p", {.temperature = 2, .top_k = 0, .top_p = 1, .min_p = 0.2f}},
                                           KnobCase{"min_p_above_1", {.top_k = 50, .top_p = 1, .min_p = 2}},
                                           KnobCase{"penalty", {.repeat_penalty = 1.3f, .repeat_last_n = -1}},
                                           KnobCase{"penalty_below_1", {.top_k = 100, .repeat_penalty = 0.5f, .repeat_last_n = 3}},
                                           KnobCase{"hot", {.temperature = 50, .top_k = 0, .top_p = 1, .min_p = 0}}),
                         [](const auto& info) { return info.param.name; });

TEST(SampleKernel, ManyEqualLogitsAreToldApartByTheirIds) {
  Sampler sampler(1, 5000);
  std::fill(sampler.logits.begin(), sampler.logits.end(), 1.5f);
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    const SamplingOptions options{.top_k = 100, .top_p = 0.5f, .min_p = 0, .seed = seed};
    sampler.set(0, options);
    sampler.slots[0] = 0, sampler.positions[0] = 10;
    sampler.run();
    EXPECT_EQ(sampler.entry(0).token, *runtime::sample(sampler.row(0), options, {}, 11));
    EXPECT_LT(sampler.entry(0).token, 50);
  }
}

TEST(SampleKernel, ASmallVocabularyIsDrawnFromWhole) {
  Sampler sampler(1, 7);
  std::mt19937 random(3);
  for (std::uint64_t seed = 0; seed < 5; ++seed) {
    fill(sampler.logits, random, false);
    const SamplingOptions options{.top_k = 40, .top_p = 0.95f, .min_p = 0.01f, .seed = seed};
    sampler.set(0, options);
    sampler.slots[0] = 0, sampler.positions[0] = 3;
    sampler.run();
    EXPECT_EQ(sampler.entry(0).token, *runtime::sample(sampler.row(0), options, {}, 4));
  }
}

TEST(SampleKernel, FeedsTheNextReplayUntilTheRowEnds) {
  Sampler sampler(4, 100);
  const SamplingOptions greedy{.temperature = 0};
  for (int r = 0; r < 4; ++r) {
    sampler.set(r, greedy, {1, 2}, r == 2 ? 1 : 9);
    sampler.logits[std::size_t(r * 100 + 10 + r)] = 4;
  }
  sampler.logits[100 + 2] = 9;  // an end token
  sampler.slots = {3, 1, 0, -1};
  const auto idle = sampler.knobs[3];
  sampler.run();
  EXPECT_EQ(sampler.tokens, (std::vector<std::int32_t>{10, 5, 5, 5}));
  EXPECT_EQ(sampler.positions, (std::vector<std::int32_t>{11, 10, 10, 10}));
  EXPECT_EQ(sampler.slots, (std::vector<std::int32_t>{3, -1, -1, -1}));
  EXPECT_EQ(sampler.entry(0).token, 10);
  EXPECT_EQ(sampler.entry(0).status, SampleStatus::more);
  EXPECT_EQ(sampler.entry(0).sequence, 1u);
  EXPECT_EQ(sampler.entry(1).token, 2);
  EXPECT_EQ(sampler.entry(1).status, SampleStatus::end_token);
  EXPECT_EQ(sampler.entry(2).token, 12);
  EXPECT_EQ(sampler.entry(2).status, SampleStatus::last);
  EXPECT_EQ(sampler.knobs[0].history_count, 3);
  EXPECT_EQ(sampler.knobs[0].remaining, 8);
  EXPECT_EQ(sampler.knobs[3].sequence, idle.sequence);
  EXPECT_EQ(sampler.ring[3 * 4 + 1].sequence, 0u);
  sampler.run();
  EXPECT_EQ(sampler.entry(0).sequence, 2u);
  EXPECT_EQ(sampler.knobs[1].sequence, 1u);  // ended
}

TEST(SampleKernel, ALogitThatIsNotFiniteStopsTheRow) {
  Sampler sampler(3, 100);
  for (int r = 0; r < 3; ++r) sampler.set(r, {}, {1});
  sampler.logits[40] = NAN, sampler.logits[50] = INFINITY;
  sampler.logits[100 + 60] = INFINITY, sampler.logits[100 + 61] = NAN;
  sampler.logits[200 + 99] = -INFINITY;
  sampler.run();
  EXPECT_EQ(sampler.entry(0).token, 40);
  EXPECT_EQ(sampler.entry(0).status, SampleStatus::nan);
  EXPECT_EQ(sampler.entry(1).token, 60);
  EXPECT_EQ(sampler.entry(1).status, SampleStatus::inf);
  EXPECT_EQ(sampler.entry(2).token, 99);
  EXPECT_EQ(sampler.entry(2).status, SampleStatus::minus_inf);
  EXPECT_EQ(sampler.slots, (std::vector<std::int32_t>{-1, -1, -1}));
  EXPECT_EQ(sampler.knobs[0].history_count, 1);
  EXPECT_EQ(sampler.knobs[0].sequence, 1u);
}

}  // namespace
}  // namespace heddle::testing
