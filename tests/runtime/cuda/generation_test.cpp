#include "runtime/cuda/generation.h"

#include <gtest/gtest.h>

#include <cmath>

#include "cuda_plan.h"
#include "fake_driver.h"
#include "runtime/cuda/device.h"

namespace heddle::testing {
namespace {

using runtime::CudaDevice;
using runtime::CudaOptions;
using runtime::Draw;
using runtime::GenerationRow;
using runtime::SamplingOptions;
using runtime::StepRow;

template <class T>
std::string message(const Result<T>& result) {
  return result.ok() ? "" : result.error().message();
}

constexpr int vocabulary = 48;
constexpr std::int64_t context = 200;

std::vector<float> logits_after(std::int32_t token, std::int32_t position) {
  std::vector<float> out(vocabulary);
  for (int i = 0; i < vocabulary; ++i) out[std::size_t(i)] = 3 * std::sin(float(token * 7 + position * 13 + i * 5));
  return out;
}

/// A fake device with a head that computes `logits_after` and a sampler that keeps to sample_control.h.
class GenerationTest : public ::testing::Test {
 protected:
  GenerationTest() {
    p.add_sampling(0);
    p.add_sampling(1);
    for (const int rows : {1, 2}) {
      fake.kernels[rows == 1 ? "embed_0" : "embed_6"] = [this](const FakeDriver::Kernel& kernel) { inputs = kernel.pointer(1); };
      fake.kernels[rows == 1 ? "head_5" : "head_11"] = [this, rows](const FakeDriver::Kernel& kernel) { head(kernel, rows); };
      fake.kernels[fmt::format("sample_{}", rows)] = [this](const FakeDriver::Kernel& kernel) { draw(kernel); };
    }
  }

  std::string load(const CudaOptions& options = {}) {
    device = std::move(*runtime::make_cuda_device(options, &fake.api()));
    return message(device->load(p.plan, {2, context}, {}));
  }

  void head(const FakeDriver::Kernel& kernel, int rows) {
    const auto* tokens = reinterpret_cast<const std::int32_t*>(inputs);
    auto* out = reinterpret_cast<float*>(kernel.pointer(2));
    for (int r = 0; r < rows; ++r) {
      const std::int32_t position = tokens[2 * rows + r];
      if (tokens[rows + r] >= 0) {
        EXPECT_LT(position, context);
        fed.push_back(position);
      }
      const auto logits = logits_after(tokens[r], position);
      std::copy(logits.begin(), logits.end(), out + r * vocabulary);
      if (position == bad_position) out[r * vocabulary + 17] = NAN;
    }
  }

  void draw(const FakeDriver::Kernel& kernel) {
    const auto* logits = reinterpret_cast<const float*>(kernel.pointer(0));
    auto *tokens = reinterpret_cast<std::int32_t*>(kernel.pointer(1)), *slots = reinterpret_cast<std::int32_t*>(kernel.pointer(2));
    auto* positions = reinterpret_cast<std::int32_t*>(kernel.pointer(3));
    const auto& control = *reinterpret_cast<const SampleControl*>(kernel.pointer(4));
    if (silent) return;
    for (int r = 0; r < control.row_count; ++r) {
      if (slots[r] < 0) continue;
      SampleRow& row = reinterpret_cast<SampleRow*>(control.rows)[r];
      auto* history = reinterpret_cast<std::int32_t*>(control.history) + r * control.history_capacity;
      const SamplingOptions knobs{row.temperature, row.top_k, row.top_p, row.min_p, row.repeat_penalty, row.repeat_last_n, row.seed};
      const auto drawn = runtime::sample({logits + r * vocabulary, vocabulary}, knobs, {history, std::size_t(row.history_count)},
                                         std::uint64_t(positions[r] + 1));
      RingEntry entry;
      if (drawn.ok()) {
        entry.token = *drawn;
        ASSERT_LT(row.history_count, control.history_capacity);
        history[row.history_count++] = *drawn;
        const auto* ends = reinterpret_cast<const std::int32_t*>(control.end_tokens);
        const bool end = std::find(ends, ends + control.end_token_count, *drawn) != ends + control.end_token_count;
        entry.status = --row.remaining == 0 ? SampleStatus::last : SampleStatus::more;
        if (end) entry.status = SampleStatus::end_token;
      } else {
        entry.token = 17, entry.status = SampleStatus::nan;
      }
      if (entry.status == SampleStatus::more) tokens[r] = entry.token, ++positions[r];
      else slots[r] = -1;
      entry.sequence = ++row.sequence;
      reinterpret_cast<RingEntry*>(control.ring)[r * control.ring_capacity + int(entry.sequence % std::uint64_t(control.ring_capacity))] =
          entry;
    }
  }

  /// What the host draws by itself.
  static std::vector<std::int32_t> on_host(std::int32_t token, std::int32_t position, const SamplingOptions& knobs,
                                           std::vector<std::int32_t> history, std::size_t count, std::int32_t end = -1) {
    std::vector<std::int32_t> out;
    while (out.size() < count && (out.empty() || token != end)) {
      token = *runtime::sample(logits_after(token, position), knobs, history, std::uint64_t(position + 1));
      ++position;
      out.push_back(token), history.push_back(token);
    }
    return out;
  }

  /// All draws of a row until it ends; its last kind.
  std::vector<std::int32_t> all_draws(Draw::Kind& kind, std::size_t row = 0) {
    std::vector<std::int32_t> out;
    for (kind = Draw::more; kind == Draw::more;) {
      const auto draws = device->next_draws();
      if (!draws.ok()) {
        ADD_FAILURE() << draws.error().message();
        break;
      }
      kind = (*draws)[row].kind;
      if (kind != Draw::none) out.push_back((*draws)[row].token);
    }
    return out;
  }

  FakeDriver fake;
  CudaPlan p;
  std::uint64_t inputs = 0;
  std::vector<std::int32_t> fed;  // positions
  std::int32_t bad_position = -1;
  bool silent = false;
  std::unique_ptr<CudaDevice> device;  // goes first: it waits for kernels, which use all above
};

TEST_F(GenerationTest, DrawsWhatTheHostDraws) {
  ASSERT_EQ(load(), "");
  const std::vector<std::int32_t> history = {1, 5, 9};
  SamplingOptions greedy, penalised, all, seeded;
  greedy.temperature = 0;
  penalised.repeat_penalty = 1.7f, penalised.repeat_last_n = 2;
  all.top_k = 0, all.repeat_penalty = 1.3f, all.repeat_last_n = -1;
  seeded.seed = 99, seeded.temperature = 1.5f, seeded.min_p = 0.2f, seeded.top_p = 0.7f;
  for (const auto& knobs : {greedy, penalised, all, seeded}) {
    ASSERT_EQ(message(device->begin_generation(0, std::vector<GenerationRow>{{{9, 0, 2}, knobs, history, 150}}, {})), "");
    Draw::Kind kind;
    EXPECT_EQ(all_draws(kind), on_host(9, 2, knobs, history, 150));  // more than the ring holds
    EXPECT_EQ(kind, Draw::last);
    EXPECT_EQ(device->next_draws()->front().kind, Draw::none);
    ASSERT_EQ(message(device->end_generation()), "");
  }
}

TEST_F(GenerationTest, EagerDrawsTheSame) {
  ASSERT_EQ(load({.graph = false}), "");
  ASSERT_EQ(message(device->begin_generation(0, std::vector<GenerationRow>{{{9, 0, 2}, {}, {}, 30}}, {})), "");
  Draw::Kind kind;
  EXPECT_EQ(all_draws(kind), on_host(9, 2, {}, {}, 30));
  EXPECT_EQ(fake.graph_launches, 0);
}

TEST_F(GenerationTest, TheGraphThatDrawsHasOneNodeMore) {
  ASSERT_EQ(load(), "");
  EXPECT_EQ(device->kernel_nodes(0), 6u);
  EXPECT_EQ(device->kernel_nodes(0, true), 7u);
  ASSERT_EQ(message(device->run(0, std::vector<StepRow>{{7, 0, 0}})), "");
  EXPECT_EQ(fake.ran.size(), 6u);  // a step by hand draws nothing
}

TEST_F(GenerationTest, StopsSoonAfterAnEndToken) {
  fake.deferred = true;
  ASSERT_EQ(load({.ahead = 3}), "");
  const auto wanted = on_host(9, 2, {}, {}, 100);
  const std::int32_t end = wanted[20];
  const auto until_end = on_host(9, 2, {}, {}, 100, end);
  fake.graph_launches = 0;
  ASSERT_EQ(message(device->begin_generation(0, std::vector<GenerationRow>{{{9, 0, 2}, {}, {}, 100}}, std::vector<std::int32_t>{47, end})),
            "");
  Draw::Kind kind;
  EXPECT_EQ(all_draws(kind), until_end);
  EXPECT_EQ(kind, Draw::end_token);
  ASSERT_EQ(message(device->end_generation()), "");
  EXPECT_LE(fake.graph_launches, int(until_end.size()) + 2);
  EXPECT_EQ(fed.size(), until_end.size());  // the rest were idle
}

TEST_F(GenerationTest, StaysAheadByNoMoreThanItWasTold) {
  fake.deferred = true;
  ASSERT_EQ(load({.ahead = 3}), "");
  fake.graph_launches = 0;
  ASSERT_EQ(message(device->begin_generation(0, std::vector<GenerationRow>{{{9, 0, 2}, {}, {}, 10}}, {})), "");
  for (int taken = 1; taken <= 10; ++taken) {
    ASSERT_TRUE(device->next_draws().ok());
    EXPECT_EQ(fake.graph_launches, std::min(10, taken + 2));
  }
}

TEST_F(GenerationTest, EndsWhereTheCacheIsFull) {
  ASSERT_EQ(load(), "");
  ASSERT_EQ(message(device->begin_generation(0, std::vector<GenerationRow>{{{9, 0, context - 4}, {}, {}, 100}}, {})), "");
  Draw::Kind kind;
  EXPECT_EQ(all_draws(kind), on_host(9, context - 4, {}, {}, 4));
  EXPECT_EQ(kind, Draw::last);
  EXPECT_EQ(fed.back(), context - 1);
}

TEST_F(GenerationTest, RowsEndOnTheirOwn) {
  ASSERT_EQ(load(), "");
  ASSERT_EQ(message(device->begin_generation(1, std::vector<GenerationRow>{{{9, 1, 2}, {}, {}, 3}, {{4, 0, 7}, {}, {}, 5}}, {})), "");
  std::vector<std::int32_t> found[2];
  for (int step = 0; step < 6; ++step) {
    const auto draws = *device->next_draws();
    ASSERT_EQ(draws.size(), 2u);
    EXPECT_EQ(draws[0].kind, step < 2 ? Draw::more : step == 2 ? Draw::last : Draw::none);
    EXPECT_EQ(draws[1].kind, step < 4 ? Draw::more : step == 4 ? Draw::last : Draw::none);
    for (int r = 0; r < 2; ++r)
      if (draws[std::size_t(r)].kind != Draw::none) found[r].push_back(draws[std::size_t(r)].token);
  }
  EXPECT_EQ(found[0], on_host(9, 2, {}, {}, 3));
  EXPECT_EQ(found[1], on_host(4, 7, {}, {}, 5));
}

TEST_F(GenerationTest, IdleRowsDrawNothing) {
  ASSERT_EQ(load(), "");
  ASSERT_EQ(message(device->begin_generation(1, std::vector<GenerationRow>{{{0, -1, 0}, {}, {}, 3}, {{4, 0, 7}, {}, {}, 2}}, {})), "");
  Draw::Kind kind;
  EXPECT_EQ(all_draws(kind, 1), on_host(4, 7, {}, {}, 2));
  EXPECT_EQ(fed, (std::vector<std::int32_t>{7, 8}));
  ASSERT_EQ(message(device->end_generation()), "");
  ASSERT_EQ(message(device->begin_generation(0, std::vector<GenerationRow>{{{4, 0, 7}, {}, {}, 0}}, {})), "");
  EXPECT_EQ(device->next_draws()->front().kind, Draw::none);
}

TEST_F(GenerationTest, ALogitThatIsNotFiniteStopsItByName) {
  fake.deferred = true;
  ASSERT_EQ(load(), "");
  bad_position = 5;
  ASSERT_EQ(message(device->begin_generation(0, std::vector<GenerationRow>{{{9, 0, 2}, {}, {}, 50}}, {})), "");
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(device->next_draws().ok());
  std::vector<float> bad(vocabulary);
  bad[17] = NAN;
  EXPECT_EQ(message(device->next_draws()), message(runtime::sample(bad, {}, {}, 6)));
  EXPECT_EQ(message(device->run(0, std::vector<StepRow>{{7, 0, 0}})), "");  // the device is well
}

TEST_F(GenerationTest, MayBeLeftEarlyAndBegunAgain) {
  fake.deferred = true;
  ASSERT_EQ(load(), "");
  for (int round = 0; round < 3; ++round) {
    ASSERT_EQ(message(device->begin_generation(0, std::vector<GenerationRow>{{{9, 0, round}, {}, {}, 50}}, {})), "");
    EXPECT_EQ(device->next_draws()->front().token, on_host(9, round, {}, {}, 1)[0]);
    ASSERT_EQ(message(device->end_generation()), "");
    ASSERT_EQ(message(device->end_generation()), "");
    ASSERT_EQ(message(device->run(0, std::vector<StepRow>{{7, 0, 0}})), "");
  }
}

TEST_F(GenerationTest, AFaultEndsItAtOnce) {
  fake.deferred = true;
  ASSERT_EQ(load(), "");
  ASSERT_EQ(message(device->begin_generation(0, std::vector<GenerationRow>{{{9, 0, 2}, {}, {}, 50}}, {})), "");
  fake.fault_at(7 * 4 + 2);
  const std::string wanted = "cuda: decode_1 failed: CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered";
  std::string found;
  int draws = 0;
  for (; found.empty() && draws < 50; ++draws) found = message(device->next_draws());
  EXPECT_EQ(found, wanted);
  EXPECT_EQ(draws, 5);
  EXPECT_EQ(message(device->run(0, std::vector<StepRow>{{7, 0, 0}})), wanted);
  device.reset();
  EXPECT_EQ(fake.live(), "");
}

TEST_F(GenerationTest, ASilentSamplerIsNoticed) {
  fake.deferred = true;
  ASSERT_EQ(load(), "");
  silent = true;
  ASSERT_EQ(message(device->begin_generation(0, std::vector<GenerationRow>{{{9, 0, 2}, {}, {}, 50}}, {})), "");
  EXPECT_EQ(message(device->next_draws()), "cuda: row 0 drew no token in step 1");
}

TEST_F(GenerationTest, TooManyEndTokensAreRefused) {
  ASSERT_EQ(load(), "");
  const std::vector<std::int32_t> ends(most_end_tokens + 1);
  EXPECT_EQ(message(device->begin_generation(0, std::vector<GenerationRow>{{{9, 0, 2}, {}, {}, 50}}, ends)),
            "1025 end tokens, at most 1024 are possible");
}

TEST_F(GenerationTest, TellsWhatItCanDraw) {
  p.plan->kernels.back().spec.sample()->max_top_k = 64;  // of decode_2
  ASSERT_EQ(load(), "");
  SamplingOptions greedy, all, wide;
  greedy.temperature = 0, greedy.top_k = 0;
  all.top_k = 0, wide.top_k = 65;
  EXPECT_TRUE(device->can_generate(0, all));
  EXPECT_TRUE(device->can_generate(1, {}));
  EXPECT_TRUE(device->can_generate(1, greedy));
  EXPECT_FALSE(device->can_generate(1, all));
  EXPECT_FALSE(device->can_generate(1, wide));
  EXPECT_FALSE(device->can_generate(2, greedy));  // prefill
}

}  // namespace
}  // namespace heddle::testing
