// Every case's kernels on a real GPU against the interpreter, and the sampler against the host's. Skipped where there is no GPU.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <random>

#include "codegen/cuda/kernel_cache.h"
#include "codegen/cuda/sample.h"
#include "codegen/cuda/targets.h"
#include "ir/base/thread_pool.h"
#include "runtime/cuda/device.h"
#include "runtime/sampling.h"
#include "tests/support/kernel_case.h"
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
  std::shared_ptr<plan::PlanT> plan;
};

Result<void> make_ready(const KernelCase& test, const std::string& target, bool sampling, GpuCase& out) {
  HEDDLE_ASSIGN(out.prepared, prepare(test, target));
  out.plan = std::make_shared<plan::PlanT>(out.prepared.plan);
  if (sampling) codegen::cuda::add_sampling(*out.plan);
  HEDDLE_ASSIGN(const auto device_target, codegen::cuda::target_named(target));
  HEDDLE_ASSIGN([[maybe_unused]] auto report,
                codegen::cuda::compile_kernels(*out.plan, device_target, kernel_folder(), usable_processors()));
  std::string file;
  for (const auto& bytes : out.prepared.weights) {
    file.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    file.resize((file.size() + 255) / 256 * 256);
  }
  auto& model = *out.plan->files.emplace_back(std::make_unique<plan::ModelFileT>());
  model.path = out.folder.file("weights");
  model.bytes = file.size();
  std::ofstream(model.path, std::ios::binary).write(file.data(), std::streamsize(file.size()));
  out.plan->model = std::make_unique<plan::ModelInfoT>();
  // The device refuses tokens outside the vocabulary; a case's outputs are no logits, so its tokens say how large it must be.
  out.plan->model->vocabulary = std::uint32_t(out.plan->entries.front()->outputs.front()->shape.back());
  for (const auto& step : test.steps)
    for (const CaseRow& row : step) out.plan->model->vocabulary = std::max(out.plan->model->vocabulary, std::uint32_t(row.token) + 1);
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
    for (std::size_t r = 0; r < rows.size(); ++r) {
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

/// A model whose logits are the row of a table that belongs to the token.
TEST(SamplerOnGpu, DrawsWhatTheHostDraws) {
  auto target = runtime::cuda_target_here();
  if (!target.ok()) GTEST_SKIP() << target.error().message();
  constexpr int vocabulary = 3000;
  KernelCase test;
  test.name = "sampler";
  test.text = fmt::format(
      "heddle-ir 1\nweight @table : f32[{0}, {0}]\nfunc @decode_1 decode rows=1 (%tokens: i32[1], %slot: i32[1], %pos: i32[1], %kv: state "
      "f16[2, 1, 8]) {{\n"
      "  %y = group \"embed\" {{\n    %e = embed @table, %tokens\n    %c = constant {{value=150}}\n    %s = mul %e, %c\n    yield %s\n  "
      "}}\n  ret %y, %kv\n}}\n",
      vocabulary);
  test.capacity = 300;
  GpuCase ready;
  const auto made = make_ready(test, *target, true, ready);
  ASSERT_TRUE(made.ok()) << made.error().message();
  const auto* table = reinterpret_cast<const float*>(ready.prepared.weights[0].data());

  const runtime::SamplingOptions all_options[] = {{.temperature = 0},
                                                  {},
                                                  {.top_k = 1},
                                                  {.top_k = 512, .top_p = 0.99f},
                                                  {.top_k = 0, .top_p = 1, .min_p = 0},
                                                  {.temperature = 2, .top_k = 0, .top_p = 0.8f, .min_p = 0},
                                                  {.top_k = 700, .min_p = 0.01f},
                                                  {.temperature = 1.5f, .repeat_penalty = 1.2f, .repeat_last_n = 20},
                                                  {.temperature = 0, .repeat_penalty = 1.4f, .repeat_last_n = -1}};
  auto device = runtime::make_cuda_device({});
  ASSERT_TRUE(device.ok()) << device.error().message();
  auto loaded = (*device)->load(ready.plan, {.slots = 1, .context = test.capacity}, {});
  ASSERT_TRUE(loaded.ok()) << loaded.error().message();
  for (runtime::SamplingOptions options : all_options) {
    options.seed = 0x123456789abcdefu;
    ASSERT_TRUE((*device)->can_generate(0, options));
    std::vector<std::int32_t> history{3, 14, 15, 92};
    runtime::GenerationRow row{{history.back(), 0, 3}, options, history, 200};
    auto begun = (*device)->begin_generation(0, std::span(&row, 1), {});
    ASSERT_TRUE(begun.ok()) << begun.error().message();
    std::vector<float> logits(vocabulary);
    for (int i = 0; i < 200; ++i) {
      auto draws = (*device)->next_draws();
      ASSERT_TRUE(draws.ok()) << draws.error().message();
      for (int v = 0; v < vocabulary; ++v)
        logits[std::size_t(v)] = table[std::size_t(history.back()) * vocabulary + std::size_t(v)] * 150.0f;
      const auto wanted = runtime::sample(logits, options, history, std::uint64_t(4 + i));
      ASSERT_TRUE(wanted.ok());
      ASSERT_EQ(draws->front().token, *wanted) << "draw " << i << ", top_k " << options.top_k << ", temperature " << options.temperature;
      history.push_back(*wanted);
    }
    ASSERT_TRUE((*device)->end_generation().ok());
  }
}

}  // namespace
}  // namespace heddle::testing
