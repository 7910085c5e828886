// Every case's kernels on a real GPU against the interpreter, and the sampler against the host's. Skipped where there is no GPU.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <numeric>
#include <random>

#include "codegen/cuda/kernel_cache.h"
#include "codegen/cuda/measure/matrix_peak.h"
#include "codegen/cuda/kernels/sample/sampler.h"
#include "codegen/cuda/target.h"
#include "ir/base/thread_pool.h"
#include "runtime/cuda/device.h"
#include "runtime/cuda/measure/matrix_rate.h"
#include "runtime/sampling/sampling.h"
#include "tests/support/cases/kernel_case.h"
#include "tests/support/paths.h"

namespace heddle::testing {
namespace {

using runtime::CudaOptions;

/// Compiled kernels of all cases of this process.
const std::string& kernel_folder() {
  static const TempDir folder;
  return folder.path();
}

/// A case with compiled kernels and its weights in a file.
struct GpuCase {
  TempDir folder;
  PreparedCase prepared;
  std::shared_ptr<plan::Plan> plan;
};

Result<void> make_ready(const KernelCase& test, const std::string& target, bool sampling, GpuCase& out) {
  HEDDLE_ASSIGN(out.prepared, prepare(test, target));
  out.plan = std::make_shared<plan::Plan>(out.prepared.plan);
  if (sampling) codegen::cuda::add_sampling(*out.plan);
  HEDDLE_ASSIGN(const auto device_target, codegen::cuda::target_named(target));
  HEDDLE_ASSIGN([[maybe_unused]] auto report,
                codegen::cuda::compile_kernels(*out.plan, device_target, kernel_folder(), usable_processors()));
  std::string file;
  for (const auto& bytes : out.prepared.weights) {
    file.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    file.resize((file.size() + 255) / 256 * 256);
  }
  auto& model = out.plan->files.emplace_back();
  model.path = out.folder.file("weights");
  model.bytes = file.size();
  std::ofstream(model.path, std::ios::binary).write(file.data(), std::streamsize(file.size()));
  // The device refuses tokens outside the vocabulary; a case's outputs are no logits, so its tokens say how large it must be.
  out.plan->model.vocabulary = std::uint32_t(out.plan->entries.front().outputs.front().shape.back());
  for (const auto& step : test.steps)
    for (const CaseRow& row : step) out.plan->model.vocabulary = std::max(out.plan->model.vocabulary, std::uint32_t(row.token) + 1);
  return {};
}

Result<std::vector<std::vector<float>>> run(const KernelCase& test, const GpuCase& ready, const CudaOptions& options) {
  HEDDLE_ASSIGN(auto device, runtime::make_cuda_device(options));
  std::int64_t slots = test.slots;  // cases without a cache number their rows' slots freely
  for (const auto& step : test.steps)
    for (const CaseRow& row : step) slots = std::max<std::int64_t>(slots, row.slot + 1);
  HEDDLE_TRY(device->load(ready.plan, {.slots = slots, .context = test.capacity}, {}));
  std::vector<std::vector<float>> out;
  for (const auto& step : test.steps) {
    std::vector<runtime::StepRow> rows;
    for (const CaseRow& row : step) rows.push_back({row.token, row.slot, row.position});
    HEDDLE_TRY(device->run(0, rows));
    auto& all = out.emplace_back();
    for (std::size_t r = 0; r < std::size_t(ready.plan->entries[0].outputs[0].shape[0]); ++r) {
      HEDDLE_ASSIGN(const auto logits, device->logits(0, r));
      all.insert(all.end(), logits.begin(), logits.end());
    }
  }
  return out;
}

class OnGpu : public ::testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    auto target = runtime::cuda_target_here();
    if (!target.ok()) GTEST_SKIP() << target.error().message();
    target_ = *target;
  }
  std::string target_;
};

TEST_P(OnGpu, AgreesWithTheInterpreterInEveryMode) {
  for (const KernelCase& test : kernel_cases()) {
    if (test.name != GetParam()) continue;
    GpuCase ready;
    const auto made = make_ready(test, target_, false, ready);
    ASSERT_TRUE(made.ok()) << made.error().message();
    auto wanted = interpret(test, ready.prepared);
    ASSERT_TRUE(wanted.ok()) << wanted.error().message();
    auto eager = run(test, ready, {.graph = false});
    ASSERT_TRUE(eager.ok()) << eager.error().message();
    EXPECT_EQ(difference(test, *wanted, *eager), "");
    for (const CudaOptions& options : {CudaOptions{}, CudaOptions{.plain_edges = true}}) {
      auto graph = run(test, ready, options);
      ASSERT_TRUE(graph.ok()) << graph.error().message();
      EXPECT_TRUE(*graph == *eager) << (options.plain_edges ? "plain edges" : "graph")
                                    << " differs from eager: " << difference(test, *eager, *graph);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, OnGpu, ::testing::ValuesIn(case_names()), [](const auto& info) { return info.param; });

/// A model whose logits are the row of a table that belongs to the token, with the table's values.
class SamplerOnGpu : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto target = runtime::cuda_target_here();
    if (!target.ok()) GTEST_SKIP() << target.error().message();
    target_ = *target;
  }
  void open(int vocabulary, std::int64_t context) {
    vocabulary_ = vocabulary;
    KernelCase test;
    test.name = "sampler";
    test.text = fmt::format(
        "heddle-ir 1\nweight @table : f32[{0}, {0}]\nfunc @decode_1 decode rows=1 (%tokens: i32[1], %slot: i32[1], %pos: i32[1], %kv: "
        "state "
        "f16[2, 1, 8]) {{\n"
        "  %y = group \"embed\" {{\n    %e = embed @table, %tokens\n    %c = constant {{value=150}}\n    %s = mul %e, %c\n    yield %s\n  "
        "}}\n  ret %y, %kv\n}}\n",
        vocabulary);
    test.capacity = context;
    const auto made = make_ready(test, target_, true, ready_);
    ASSERT_TRUE(made.ok()) << made.error().message();
    auto device = runtime::make_cuda_device({});
    ASSERT_TRUE(device.ok()) << device.error().message();
    device_ = std::move(*device);
    const auto loaded = device_->load(ready_.plan, {.slots = 1, .context = context}, {});
    ASSERT_TRUE(loaded.ok()) << loaded.error().message();
  }
  std::vector<float> logits_after(std::int32_t token) const {
    const auto* row = reinterpret_cast<const float*>(ready_.prepared.weights[0].data()) + std::size_t(token) * std::size_t(vocabulary_);
    std::vector<float> out(row, row + vocabulary_);
    for (float& x : out) x *= 150.0f;
    return out;
  }
  /// Draws `count` tokens behind `history` and checks each against the host's; calls `drew(before, token)`.
  void draw(const runtime::SamplingOptions& options, std::vector<std::int32_t> history, int count,
            const std::function<void(std::int32_t, std::int32_t)>& drew = {}) {
    ASSERT_TRUE(device_->can_generate(0, options));
    const std::int32_t first = std::int32_t(history.size()) - 1;
    const runtime::GenerationRow row{{history.back(), 0, first}, options, history, count};
    const auto begun = device_->begin_generation(0, std::span(&row, 1), {});
    ASSERT_TRUE(begun.ok()) << begun.error().message();
    for (int i = 0; i < count; ++i) {
      const auto draws = device_->next_draws();
      ASSERT_TRUE(draws.ok()) << draws.error().message();
      const auto wanted = runtime::sample(logits_after(history.back()), options, history, std::uint64_t(first + 1 + i));
      ASSERT_TRUE(wanted.ok());
      ASSERT_EQ(draws->front().token, *wanted) << "draw " << i << ", top_k " << options.top_k << ", temperature " << options.temperature;
      if (drew) drew(history.back(), *wanted);
      history.push_back(*wanted);
    }
    ASSERT_TRUE(device_->end_generation().ok());
  }

  std::string target_;
  int vocabulary_ = 0;
  GpuCase ready_;
  std::unique_ptr<runtime::CudaDevice> device_;
};

TEST_F(SamplerOnGpu, DrawsWhatTheHostDraws) {
  open(3000, 300);
  const runtime::SamplingOptions all_options[] = {{.temperature = 0},
                                                  {},
                                                  {.top_k = 1},
                                                  {.top_k = 512, .top_p = 0.99f},
                                                  {.top_k = 0, .top_p = 1, .min_p = 0},
                                                  {.temperature = 2, .top_k = 0, .top_p = 0.8f, .min_p = 0},
                                                  {.top_k = 700, .min_p = 0.01f},
                                                  {.temperature = 1.5f, .repeat_penalty = 1.2f, .repeat_last_n = 20},
                                                  {.temperature = 0, .repeat_penalty = 1.4f, .repeat_last_n = -1}};
  for (runtime::SamplingOptions options : all_options) {
    options.seed = 0x123456789abcdefu;
    ASSERT_NO_FATAL_FAILURE(draw(options, {3, 14, 15, 92}, 200));
  }
}

/// What the knobs leave of softmax(logits), by their definition in plain double precision.
std::vector<double> probabilities(const std::vector<float>& logits, const runtime::SamplingOptions& options) {
  std::vector<std::size_t> order(logits.size());
  std::iota(order.begin(), order.end(), std::size_t(0));
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return logits[a] > logits[b]; });
  if (options.top_k > 0) order.resize(std::min(order.size(), std::size_t(options.top_k)));
  const double best = logits[order[0]];
  const auto weight = [&](std::size_t i, double t) { return std::exp((double(logits[i]) - best) / t); };
  double sum = 0, reached = 0;
  for (const std::size_t i : order) sum += weight(i, 1);
  std::size_t kept = 0;
  while (kept < order.size() && (kept == 0 || reached < double(options.top_p) * sum)) reached += weight(order[kept++], 1);
  order.resize(kept);
  std::erase_if(order, [&](std::size_t i) { return weight(i, 1) < double(options.min_p); });
  std::vector<double> out(logits.size());
  sum = 0;
  for (const std::size_t i : order) sum += out[i] = weight(i, options.temperature);
  for (double& p : out) p /= sum;
  return out;
}

/// 10 000 draws from five rows of logits, each row's against its probabilities. The limit is chi-squared's quantile for p = 0.001, by
/// Wilson and Hilferty's approximation; tokens of small expectation count together.
TEST_F(SamplerOnGpu, DrawsAreDistributedAsTheKnobsSay) {
  constexpr int rows = 5, draws = 10000;
  open(rows, draws + 8);
  const runtime::SamplingOptions knobs[] = {
      {.temperature = 1, .top_k = 0, .top_p = 1, .min_p = 0},     {.temperature = 2.5f, .top_k = 0, .top_p = 1, .min_p = 0},
      {.temperature = 3, .top_k = 3, .top_p = 1, .min_p = 0},     {.temperature = 3, .top_k = 0, .top_p = 0.9f, .min_p = 0},
      {.temperature = 3, .top_k = 0, .top_p = 1, .min_p = 0.05f}, {.temperature = 3, .top_k = 4, .top_p = 0.95f, .min_p = 0.01f}};
  for (runtime::SamplingOptions options : knobs) {
    options.seed = 20260101;
    std::vector<std::vector<int>> counts(rows, std::vector<int>(rows));
    ASSERT_NO_FATAL_FAILURE(
        draw(options, {0}, draws, [&](std::int32_t before, std::int32_t token) { ++counts[std::size_t(before)][std::size_t(token)]; }));
    for (int r = 0; r < rows; ++r) {
      const std::vector<double> p = probabilities(logits_after(r), options);
      const double total = std::accumulate(counts[std::size_t(r)].begin(), counts[std::size_t(r)].end(), 0);
      double chi = 0, few_expected = 0, few_found = 0;
      int freedom = -1;
      const auto add = [&](double expected, double found) {
        chi += (found - expected) * (found - expected) / expected;
        ++freedom;
      };
      for (std::size_t i = 0; i < p.size(); ++i) {
        const double expected = p[i] * total, found = counts[std::size_t(r)][i];
        if (p[i] == 0) {
          ASSERT_EQ(found, 0) << "row " << r << " token " << i << " was left out";
        } else if (expected < 5) {
          few_expected += expected, few_found += found;
        } else {
          add(expected, found);
        }
      }
      if (few_expected > 0.5) add(few_expected, few_found);
      if (freedom < 1) continue;
      const double k = freedom, limit = k * std::pow(1 - 2 / (9 * k) + 3.0902 * std::sqrt(2 / (9 * k)), 3);
      EXPECT_LT(chi, limit) << "row " << r << ", " << total << " draws, " << freedom << " degrees of freedom, temperature "
                            << options.temperature << ", top_k " << options.top_k;
      fmt::print("chi-squared of row {}: {:.2f}, limit {:.2f}, {} draws\n", r, chi, limit, total);
    }
  }
}

/// Between a tenth of the slowest card's and ten times the fastest one's; twice about the same.
TEST(MatrixRateOnGpu, IsPlausible) {
  const auto name = runtime::cuda_target_here();
  if (!name.ok()) GTEST_SKIP() << name.error().message();
  const auto kernel = codegen::cuda::multiply_kernel(*codegen::cuda::target_named(*name), kernel_folder());
  ASSERT_TRUE(kernel.ok()) << kernel.error().message();
  double rates[2] = {};
  for (double& found : rates) {
    const auto rate = runtime::matrix_rate(0, *kernel->plan, kernel->operations);
    ASSERT_TRUE(rate.ok()) << rate.error().message();
    found = *rate;
    fmt::print("{}: {:.1f} TFLOP/s\n", *name, *rate * 1e-12);
  }
  EXPECT_GT(rates[0], 5e12);
  EXPECT_LT(rates[0], 1e16);
  EXPECT_NEAR(rates[1] / rates[0], 1, 0.2);
  if (*name == "cuda:sm_90") {
    EXPECT_NEAR(rates[0], 750e12, 350e12);  // 1070 at the highest clock; the power limit takes some of it
  }
}

}  // namespace
}  // namespace heddle::testing
