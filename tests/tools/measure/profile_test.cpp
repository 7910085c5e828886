#include "tools/measure/profile.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "runtime/cpu/device.h"
#include "tests/support/paths.h"
#include "tools/measure/matrix_peak.h"
#include "tools/verify/open_session.h"

namespace heddle::tools {
namespace {

std::shared_ptr<const plan::Plan> bundled_plan() {
  CompileOptions options;
  options.target = "cpu";
  options.use_cache = false;
  auto compiled = compile_model(testing::source_path("tests/models/tiny-llama-Q4_K_M.gguf"), options);
  HEDDLE_CHECK(compiled.ok(), "{}", compiled.error().message());
  return compiled->plan;
}

TEST(Profile, CountsEveryNodeOnceAndNamesTheLeastBytes) {
  const auto plan = bundled_plan();
  const auto device = runtime::make_cpu_device(2);
  ASSERT_TRUE(device->load(plan, {1, 64}, {}).ok());
  const auto profile = profile_step(*device, *plan, 0, 31, 3);
  ASSERT_TRUE(profile.ok()) << profile.error().message();
  int calls = 0;
  std::int64_t bytes = 0;
  double sum = 0;
  for (const KernelProfile& kernel : profile->kernels) {
    calls += kernel.calls, bytes += kernel.bytes * kernel.calls, sum += kernel.total();
    EXPECT_GT(kernel.seconds, 0) << kernel.kernel;
    EXPECT_FALSE(kernel.group.empty());
  }
  EXPECT_EQ(std::size_t(calls), plan->entries[0].nodes.size());
  EXPECT_EQ(bytes, profile->bytes);
  EXPECT_NEAR(sum, profile->kernel_sum, 1e-9);
  EXPECT_TRUE(std::ranges::is_sorted(profile->kernels, std::greater<>(), &KernelProfile::total));
  EXPECT_GT(profile->step, 0);
  EXPECT_GT(profile->read_rate.bytes_per_second, 1e8);

  const nlohmann::json trace = nlohmann::json::parse(trace_json(*profile));
  double end = 0;
  int nodes = 0;
  for (const auto& event : trace["traceEvents"]) {
    if (event["ph"] != "X") continue;
    EXPECT_GE(event["ts"].get<double>(), end - 1e-3) << "one node after another";
    EXPECT_EQ(event["args"]["node"], nodes++);
    end = event["ts"].get<double>() + event["dur"].get<double>();
  }
  EXPECT_EQ(nodes, calls);
}

TEST(Profile, AttentionReadsWhatItsRowsSee) {
  const auto plan = bundled_plan();
  const plan::EntryPoint& entry = plan->entries[0];
  const auto attention =
      std::ranges::find_if(entry.nodes, [&](const auto& node) { return plan->kernels[node.kernel].spec.attention() != nullptr; });
  ASSERT_NE(attention, entry.nodes.end());
  const auto at = [&](std::vector<runtime::StepRow> rows) { return least_bytes(*plan, *attention, rows); };
  const std::int64_t position = 2 * 2 * 64 * 4;  // keys and values, heads, their size, f32
  EXPECT_EQ(at({{1, 0, 99}}) - at({{1, 0, 0}}), 99 * position);
  EXPECT_EQ(at({{1, 0, 8}, {1, 0, 9}}), at({{1, 0, 9}})) << "rows of one slot share what they read";
  EXPECT_EQ(at({{1, -1, 0}}), plan->kernels[attention->kernel].min_bytes);
  const plan::Kernel windowed = plan->kernels[attention->kernel];
  plan::Plan copy = *plan;
  copy.kernels[attention->kernel].spec.attention()->window = 10;
  const std::vector<runtime::StepRow> far = {{1, 0, 99}};
  EXPECT_EQ(least_bytes(copy, *attention, far), windowed.min_bytes + 10 * position);
}

TEST(Profile, OperationsAreThoseOfTheProductsOfRowsThatAreNotIdle) {
  const auto plan = bundled_plan();
  std::int64_t products = 0;  // of one row, but for attention
  for (const auto& node : plan->entries[0].nodes)
    if (!plan->kernels[node.kernel].spec.attention()) products += operations(*plan, node, std::vector<runtime::StepRow>{{1, 0, 0}});
  // Four layers: q and output, k and v, gate, up and down; the head.
  EXPECT_EQ(products, 2 * (4 * (2 * 256 * 256 + 2 * 128 * 256 + 3 * 768 * 256) + 2048 * 256));
  const auto attention = std::ranges::find_if(plan->entries[0].nodes,
                                              [&](const auto& node) { return plan->kernels[node.kernel].spec.attention() != nullptr; });
  const auto at = [&](std::vector<runtime::StepRow> rows) { return operations(*plan, *attention, rows); };
  EXPECT_EQ(at({{1, 0, 99}}), 2 * 2 * 100 * 4 * 64);  // scores and sums, positions, heads, their size
  EXPECT_EQ(at({{1, 0, 8}, {1, 0, 9}, {1, -1, 0}}), 2 * 2 * (9 + 10) * 4 * 64);
}

TEST(Profile, SharesOfThePeakAreOfWhatWasMeasured) {
  Profile profile;
  profile.matrix_peak = 800e12;
  profile.step = 2e-3, profile.operations = 400'000'000'000;
  KernelProfile kernel;
  kernel.calls = 3, kernel.seconds = 50e-6, kernel.operations = 20'000'000'000;  // 400 TFLOP/s, however often it is called
  EXPECT_DOUBLE_EQ(profile.share_of_peak(kernel.operation_rate()).value(), 0.5);
  EXPECT_DOUBLE_EQ(profile.share_of_peak(profile.operation_rate()).value(), 0.25);
  EXPECT_FALSE(profile.share_of_peak(KernelProfile{}.operation_rate())) << "no products";
  profile.matrix_peak = 0;
  EXPECT_FALSE(profile.share_of_peak(kernel.operation_rate())) << "not measured";
}

TEST(Profile, OnlyGpusHaveAMatrixPeak) {
  const auto peak = matrix_peak(*bundled_plan(), "");
  ASSERT_TRUE(peak.ok()) << peak.error().message();
  EXPECT_FALSE(*peak);
}

}  // namespace
}  // namespace heddle::tools
