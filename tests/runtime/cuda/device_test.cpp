#include "runtime/cuda/device.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <filesystem>

#include "cuda_plan.h"
#include "fake_driver.h"

namespace heddle::testing {
namespace {

using runtime::CudaDevice;
using runtime::CudaOptions;
using runtime::StepRow;

template <class T>
std::string message(const Result<T>& result) {
  return result.ok() ? "" : result.error().message();
}

constexpr runtime::Capacity capacity{2, 20};

class CudaDeviceTest : public ::testing::Test {
 protected:
  std::string load(const CudaOptions& options = {}) {
    auto made = runtime::make_cuda_device(options, &fake.api());
    if (!made.ok()) return message(made);
    device = std::move(*made);
    return message(device->load(p.plan, capacity, {}));
  }
  std::string run(std::size_t entry, std::vector<StepRow> rows) { return message(device->run(entry, rows)); }
  /// Entries and grids of what ran, one a line.
  std::string log() const {
    std::string text;
    for (const auto& kernel : fake.ran) text += fmt::format("{} {} {}\n", kernel.entry, kernel.grid[0], kernel.block[0]);
    return text;
  }
  template <class T>
  static std::vector<T> at(std::uint64_t address, std::size_t count) {
    std::vector<T> out(count);
    std::memcpy(out.data(), reinterpret_cast<const void*>(address), count * sizeof(T));
    return out;
  }

  FakeDriver fake;
  CudaPlan p;
  std::unique_ptr<CudaDevice> device;
};

TEST_F(CudaDeviceTest, DescribesItself) {
  ASSERT_EQ(load(), "");
  EXPECT_EQ(device->description(), "cuda, Fake H100, sm_90, driver for CUDA 12.4");
}

TEST_F(CudaDeviceTest, AStepIsOneGraphLaunchOverItsInputs) {
  std::vector<std::int32_t> tokens, slots, positions;
  fake.kernels["embed_6"] = [&](const FakeDriver::Kernel& kernel) { tokens = at<std::int32_t>(kernel.pointer(1), 2); };
  fake.kernels["attend_8"] = [&](const FakeDriver::Kernel& kernel) {
    slots = at<std::int32_t>(kernel.pointer(2), 2), positions = at<std::int32_t>(kernel.pointer(3), 2);
  };
  ASSERT_EQ(load(), "");
  EXPECT_EQ(run(1, {{7, 1, 5}, {9, -1, 3}}), "");
  EXPECT_EQ(fake.graph_launches, 1);
  EXPECT_EQ(log(), "embed_6 7 128\nproject_7 8 128\nattend_8 9 128\noutput_9 10 128\nnorm_10 11 128\nhead_11 12 128\n");
  EXPECT_EQ(tokens, (std::vector<std::int32_t>{7, 9}));
  EXPECT_EQ(slots, (std::vector<std::int32_t>{1, -1}));
  EXPECT_EQ(positions, (std::vector<std::int32_t>{5, 3}));
}

TEST_F(CudaDeviceTest, ParametersAreTheBytesThatThePlanMeans) {
  p.plan->kernels[1].cuda->scratch_bytes = 64;
  p.make_images();
  ASSERT_EQ(load(), "");
  ASSERT_EQ(run(0, {{7, 0, 0}}), "");
  const auto& embed = fake.ran[0];
  const auto& project = fake.ran[1];
  EXPECT_EQ(embed.pointer(2), project.pointer(0));  // the same buffer of the arena
  for (std::size_t i = 1; i <= 4; ++i) {
    const plan::Weight& weight = p.plan->weights[i];
    const auto& source = weight.sources[0];
    const auto found = at<std::byte>(project.pointer(i), source.bytes);
    EXPECT_TRUE(std::ranges::equal(found, std::span(p.file).subspan(source.offset, source.bytes))) << weight.name;
  }
  EXPECT_EQ(project.pointer(5) - project.pointer(0), p.plan->entries[0].nodes[1].args[5].offset);
  struct State {
    std::uint64_t keys, values, capacity;
  };
  const auto state = project.parameter<State>(6);
  EXPECT_EQ(state.capacity, 20u);
  const std::size_t plane = 2 * 20 * 16;
  EXPECT_EQ(at<float>(state.keys, plane), std::vector<float>(plane));
  EXPECT_EQ(at<float>(state.values, plane), std::vector<float>(plane));
  EXPECT_TRUE(fake.is_device_range(state.values, plane * 4));
  EXPECT_EQ(project.pointer(8) - embed.pointer(1), 8u);                          // tokens, slots, positions lie one after the other
  EXPECT_EQ(at<std::byte>(project.pointer(9), 64), std::vector<std::byte>(64));  // scratch
  ASSERT_EQ(project.parameters.size(), 10u);
}

TEST_F(CudaDeviceTest, LogitsAreThoseOfTheRow) {
  fake.kernels["head_11"] = [&](const FakeDriver::Kernel& kernel) {
    auto* out = reinterpret_cast<float*>(kernel.pointer(2));
    for (int i = 0; i < 2 * 48; ++i) out[i] = float(i);
  };
  ASSERT_EQ(load(), "");
  fake.deferred = true;
  ASSERT_EQ(run(1, {{1, 0, 0}, {2, 1, 0}}), "");
  EXPECT_TRUE(fake.ran.empty());  // run returns when the step is queued
  const auto logits = device->logits(1, 1);
  ASSERT_TRUE(logits.ok());
  ASSERT_EQ(logits->size(), 48u);
  EXPECT_EQ((*logits)[0], 48);
  EXPECT_EQ((*logits)[47], 95);
  EXPECT_EQ(message(device->logits(1, 2)), "cuda: decode_2 has no logits of row 2");
  EXPECT_EQ(message(device->logits(2, 0)), "cuda: prefill_4 has no logits of row 0");
}

TEST(CudaDevicePrompt, ItsLastRowIsAnInputAndItsLogitsAreOneRow) {
  FakeDriver fake;
  CudaPlan p(true);
  std::vector<std::int32_t> inputs;
  std::uint64_t slot = 0, position = 0;
  fake.kernels["select_16"] = [&](const FakeDriver::Kernel& kernel) {
    inputs.resize(13);
    std::memcpy(inputs.data(), reinterpret_cast<const void*>(kernel.pointer(0) - 12 * sizeof(std::int32_t)), 13 * sizeof(std::int32_t));
    slot = kernel.pointer(6), position = kernel.pointer(8);
  };
  fake.kernels["attend_17"] = [&](const FakeDriver::Kernel& kernel) {
    EXPECT_EQ(kernel.pointer(2), slot);
    EXPECT_EQ(kernel.pointer(3), position);
  };
  fake.kernels["head_20"] = [&](const FakeDriver::Kernel& kernel) {
    auto* out = reinterpret_cast<float*>(kernel.pointer(2));
    for (int i = 0; i < 48; ++i) out[i] = float(i);
  };
  for (const bool graph : {true, false}) {
    auto device = runtime::make_cuda_device({.graph = graph}, &fake.api());
    ASSERT_TRUE(device.ok());
    ASSERT_EQ(message((*device)->load(p.plan, capacity, {})), "");
    for (int step = 0; step < 20; ++step) {  // more than inputs wait side by side
      ASSERT_EQ(message((*device)->run(3, std::vector<StepRow>{{7, 0, 4}, {9, 0, 5}, {8, 0, 6}, {}})), "");
      EXPECT_EQ(inputs, (std::vector<std::int32_t>{7, 9, 8, 0, 0, 0, 0, -1, 4, 5, 6, 0, 2}));
      ASSERT_EQ(message((*device)->run(3, std::vector<StepRow>{{7, 0, 4}, {9, 0, 5}, {8, 0, 6}, {5, 0, 7}})), "");
      EXPECT_EQ(inputs, (std::vector<std::int32_t>{7, 9, 8, 5, 0, 0, 0, 0, 4, 5, 6, 7, 3}));
    }
    const auto logits = (*device)->logits(3, 0);
    ASSERT_TRUE(logits.ok());
    EXPECT_EQ((*logits)[47], 47);
    EXPECT_EQ(message((*device)->logits(3, 1)), "cuda: prompt_4 has no logits of row 1");
    plan::Ref last;
    last.where = plan::Where::input, last.index = 3;
    const auto bytes = (*device)->read(3, last);
    ASSERT_TRUE(bytes.ok());
    EXPECT_EQ(*bytes, (std::vector<std::byte>{std::byte(3), std::byte(0), std::byte(0), std::byte(0)}));
  }
}

TEST_F(CudaDeviceTest, EagerLaunchesWhatTheGraphHolds) {
  ASSERT_EQ(load(), "");
  ASSERT_EQ(run(0, {{7, 0, 0}}), "");
  const std::string graph = log();
  device.reset();
  fake.ran.clear(), fake.graph_launches = 0;
  ASSERT_EQ(load({.graph = false}), "");
  ASSERT_EQ(run(0, {{7, 0, 0}}), "");
  EXPECT_EQ(log(), graph);
  EXPECT_EQ(fake.graph_launches, 0);
  EXPECT_EQ(device->kernel_nodes(0), 0u);
}

TEST_F(CudaDeviceTest, EdgesAreProgrammaticWhereThePlanSaysAndPlainOnDemand) {
  for (auto& kernel : p.plan->kernels) kernel.cuda->programmatic = true;
  p.plan->kernels[2].cuda->programmatic = false;
  p.plan->entries[0].nodes[5].after = {4, 0};
  const auto edges = [&](std::size_t node) {
    std::string text;
    for (const auto& [from, kind] : fake.graphs.front().nodes[node].edges) text += fmt::format("{}:{} ", from, kind.type);
    return text;
  };
  ASSERT_EQ(load(), "");
  ASSERT_EQ(fake.graphs.size(), 3u);
  EXPECT_EQ(device->kernel_nodes(0), 6u);
  EXPECT_EQ(device->kernel_nodes(2), 2u);
  EXPECT_EQ(edges(1), "0:1 ");
  EXPECT_EQ(edges(2), "1:0 ");
  EXPECT_EQ(edges(3), "2:0 ");
  EXPECT_EQ(edges(5), "0:0 4:1 ");
  device.reset();
  fake.graphs.clear();
  ASSERT_EQ(load({.plain_edges = true}), "");
  for (std::size_t i = 1; i < 6; ++i) EXPECT_EQ(edges(i).find(":1"), std::string::npos);
}

TEST_F(CudaDeviceTest, ManyStepsMayWaitForTheDevice) {
  std::vector<std::int32_t> tokens;
  fake.kernels["embed_0"] = [&](const FakeDriver::Kernel& kernel) { tokens.push_back(at<std::int32_t>(kernel.pointer(1), 1)[0]); };
  ASSERT_EQ(load(), "");
  fake.deferred = true;
  std::vector<std::int32_t> wanted;
  for (int i = 0; i < 45; ++i) {
    ASSERT_EQ(run(0, {{i, 0, i % 20}}), "");
    wanted.push_back(i);
  }
  ASSERT_TRUE(device->logits(0, 0).ok());
  EXPECT_EQ(tokens, wanted);
  EXPECT_GT(fake.most_queued, 30);
}

TEST_F(CudaDeviceTest, RefusesRowsOutsideThePlan) {
  ASSERT_EQ(load(), "");
  EXPECT_EQ(run(1, {{7, 0, 0}}), "cuda: 1 rows, decode_2 has 2");
  EXPECT_EQ(run(0, {{7, 2, 0}}), "cuda: row at slot 2, position 0 is outside the cache of 2 slots, 20 positions");
  EXPECT_EQ(run(0, {{7, 0, 20}}), "cuda: row at slot 0, position 20 is outside the cache of 2 slots, 20 positions");
  EXPECT_EQ(run(0, {{48, 0, 0}}), "cuda: token 48 is outside the vocabulary of 48");
  EXPECT_EQ(fake.graph_launches, 0);
}

TEST_F(CudaDeviceTest, NodesRunOneByOneForALook) {
  fake.kernels["output_3"] = [](const FakeDriver::Kernel& kernel) { *reinterpret_cast<float*>(kernel.pointer(3)) = 2.5f; };
  ASSERT_EQ(load(), "");
  std::vector<std::size_t> seen;
  float found = 0;
  const auto ran = device->run_nodes(0, std::vector<StepRow>{{7, 0, 0}}, [&](std::size_t node) -> Result<void> {
    seen.push_back(node);
    EXPECT_EQ(fake.ran.size(), seen.size());
    HEDDLE_ASSIGN(const auto bytes, device->read(0, p.plan->entries[0].nodes[3].args[3]));
    EXPECT_EQ(bytes.size(), 128u);
    std::memcpy(&found, bytes.data(), 4);
    EXPECT_EQ(found, node < 3 ? 0 : 2.5f);
    return {};
  });
  EXPECT_EQ(message(ran), "");
  EXPECT_EQ(seen, (std::vector<std::size_t>{0, 1, 2, 3, 4, 5}));
}

const std::vector<StepRow> two_rows = {{7, 0, 3}, {9, -1, 0}};

TEST_F(CudaDeviceTest, KernelsAreTimedByManyCallsInTurn) {
  // Two nodes share a kernel, as layers do: the second of the same output on another weight.
  auto& nodes = p.plan->entries[1].nodes;
  nodes.push_back(nodes[3]);
  nodes.back().after = {5};
  nodes.back().args[1].index = 0;
  const std::uint32_t shared = nodes[3].kernel, alone = nodes[0].kernel;
  ASSERT_EQ(load(), "");
  const std::size_t graphs = fake.graphs.size();
  const auto times = device->time_kernels(1, two_rows, 3);
  ASSERT_TRUE(times.ok()) << message(times);
  for (std::size_t kernel = 0; kernel < times->size(); ++kernel) {
    const bool used = std::ranges::any_of(nodes, [&](const auto& node) { return node.kernel == kernel; });
    EXPECT_EQ((*times)[kernel], used ? std::vector<double>(3, 1e-3 / 64) : std::vector<double>()) << kernel;  // a millisecond for all 64
  }
  ASSERT_EQ(fake.graphs.size(), graphs + 6);
  const auto& chains = fake.graphs;
  const auto chain_of = [&](std::uint32_t kernel) {
    const std::string& entry = p.plan->kernels[kernel].cuda->entry;
    return std::ranges::find_if(chains.begin() + std::ptrdiff_t(graphs), chains.end(),
                                [&](const auto& graph) { return graph.nodes[0].kernel.entry == entry; });
  };
  const auto& chain = chain_of(shared)->nodes;
  ASSERT_EQ(chain.size(), 64u);
  EXPECT_NE(chain[0].kernel.pointer(1), chain[1].kernel.pointer(1)) << "each call with its own weight";
  EXPECT_EQ(chain[0].kernel.pointer(1), chain[2].kernel.pointer(1));
  for (std::size_t i = 0; i < chain.size(); ++i) {
    ASSERT_EQ(chain[i].edges.size(), i == 0 ? 0u : 1u);
    EXPECT_TRUE(i == 0 || chain[i].edges[0].first == i - 1);
  }
  EXPECT_EQ(chain_of(alone)->nodes.size(), 64u);
}

TEST_F(CudaDeviceTest, AStepIsTimedAsItRunsAndTracedNodeByNode) {
  ASSERT_EQ(load(), "");
  const auto steps = device->time_step(1, two_rows, 2);
  ASSERT_TRUE(steps.ok()) << message(steps);
  EXPECT_EQ(*steps, std::vector<double>(2, 1e-3 / 16));
  EXPECT_EQ(fake.graph_launches, 3 * 16);  // a warm-up, two samples
  const auto spans = device->trace_step(1, two_rows);
  ASSERT_TRUE(spans.ok()) << message(spans);
  ASSERT_EQ(spans->size(), 6u);
  EXPECT_EQ((*spans)[0].begin, 0);
  EXPECT_EQ((*spans)[1].begin, (*spans)[0].end);
  EXPECT_EQ(message(device->time_step(1, std::vector<StepRow>{{7, 0, 0}}, 2)), "cuda: 1 rows, decode_2 has 2");
}

TEST_F(CudaDeviceTest, TheReadRateIsOfABufferThatFits) {
  fake.free_bytes = 100 << 20;
  ASSERT_EQ(load(), "");
  const auto rate = device->read_rate();
  ASSERT_TRUE(rate.ok()) << message(rate);
  const std::uint64_t pass = 132 * 4 * 512 * 64;
  EXPECT_EQ(rate->buffer_bytes % pass, 0u);
  EXPECT_LE(rate->buffer_bytes, 50u << 20);
  EXPECT_GT(rate->buffer_bytes, 30u << 20);
  EXPECT_NEAR(rate->bytes_per_second, double(rate->buffer_bytes) * 1e3, 1e6);  // in a millisecond
  EXPECT_EQ(rate->cache_bytes, 50u << 20);
  ASSERT_EQ(fake.ran.size(), 10u);
  EXPECT_EQ(fake.ran[0].entry, "read_all");
  EXPECT_EQ(fake.ran[0].grid[0], 132u * 4);
  EXPECT_EQ(fake.ran[0].parameter<std::uint64_t>(1) * pass, rate->buffer_bytes);
  fake.free_bytes = 1 << 20;
  EXPECT_EQ(message(device->read_rate()), "no memory is left on GPU 0 (Fake H100) to measure how fast it reads");
}

TEST_F(CudaDeviceTest, ReadsEveryKindOfMemory) {
  ASSERT_EQ(load(), "");
  ASSERT_EQ(run(1, {{7, 1, 5}, {9, -1, 3}}), "");
  const auto read = [&](plan::Where where, unsigned index) {
    plan::Ref ref;
    ref.where = where, ref.index = index;
    return *device->read(1, ref);
  };
  const auto slots = read(plan::Where::input, 1);
  const std::int32_t wanted[] = {1, -1};
  ASSERT_EQ(slots.size(), sizeof wanted);
  EXPECT_EQ(std::memcmp(slots.data(), wanted, sizeof wanted), 0);
  EXPECT_EQ(read(plan::Where::output, 0).size(), 2u * 48 * 4);
  EXPECT_EQ(read(plan::Where::state, 0), std::vector<std::byte>(2 * 2 * 20 * 16 * 4));  // zero at load
  const auto& source = p.plan->weights[1].sources[0];
  EXPECT_TRUE(std::ranges::equal(read(plan::Where::weight, 1), std::span(p.file).subspan(source.offset, source.bytes)));
}

TEST_F(CudaDeviceTest, RefusesWhatDoesNotFitBeforeAnythingIsRead) {
  fake.free_bytes = 6 << 20;
  std::filesystem::remove(p.plan->files[0].path);
  const std::string why = load();
  EXPECT_EQ(why,
            "out of memory: needs 8.4 MB (weights 13312 bytes, cache 5120 bytes, arena 2560 bytes, scratch 1536 bytes), 6.3 MB of GPU 0 "
            "(Fake H100) are "
            "free; no --ctx fits");
  EXPECT_TRUE(fake.allocated().empty());
}

TEST_F(CudaDeviceTest, AFaultIsToldByTheNextLookAndStays) {
  ASSERT_EQ(load(), "");
  const std::string wanted = "cuda: decode_1 failed: CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered";
  fake.deferred = true;
  fake.fault_at(3);
  EXPECT_EQ(run(0, {{7, 0, 0}}), "");
  EXPECT_EQ(message(device->logits(0, 0)), wanted);
  const auto calls = fake.calls();
  EXPECT_EQ(message(device->logits(0, 0)), wanted);
  EXPECT_EQ(run(1, {{7, 0, 0}, {8, 1, 0}}), wanted);
  EXPECT_EQ(fake.calls(), calls);  // nothing more is asked of a lost device
}

TEST_F(CudaDeviceTest, AFaultSeenByALaterStepIsTheEarlierOnes) {
  ASSERT_EQ(load(), "");
  fake.fault_at(1);
  EXPECT_EQ(run(2, {{7, 0, 0}, {7, 0, 1}, {7, 0, 2}, {7, 0, 3}}), "");
  EXPECT_EQ(run(0, {{7, 0, 0}}), "cuda: prefill_4 failed: CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered");
}

TEST_F(CudaDeviceTest, AFaultOfALookedAtNodeNamesIt) {
  ASSERT_EQ(load(), "");
  fake.fault_at(2, Status::launch_failed);
  const auto ran = device->run_nodes(0, std::vector<StepRow>{{7, 0, 0}}, [](std::size_t) { return Result<void>(); });
  EXPECT_EQ(message(ran), "cuda: decode_1: node 2 (kernel 'attend') failed: CUDA_ERROR_LAUNCH_FAILED: unspecified launch failure");
}

/// Everything that a device does in its life; the first error.
Result<void> whole_life(const FakeDriver& fake, const CudaPlan& p, bool graph) {
  HEDDLE_ASSIGN(auto device, runtime::make_cuda_device({.graph = graph}, &fake.api()));
  HEDDLE_TRY(device->load(p.plan, capacity, {}));
  HEDDLE_TRY(device->run(1, std::vector<StepRow>{{7, 0, 0}, {8, 1, 0}}));
  HEDDLE_ASSIGN([[maybe_unused]] auto logits, device->logits(1, 1));
  return device->run_nodes(0, std::vector<StepRow>{{9, 0, 1}}, [&](std::size_t) -> Result<void> {
    HEDDLE_ASSIGN([[maybe_unused]] auto bytes, device->read(0, p.plan->entries[0].nodes[0].args[2]));
    return {};
  });
}

/// The same with everything timed.
Result<void> whole_timing(const FakeDriver& fake, const CudaPlan& p, bool graph) {
  HEDDLE_ASSIGN(auto device, runtime::make_cuda_device({.graph = graph}, &fake.api()));
  HEDDLE_TRY(device->load(p.plan, capacity, {}));
  HEDDLE_ASSIGN([[maybe_unused]] const auto steps, device->time_step(1, two_rows, 1));
  HEDDLE_ASSIGN([[maybe_unused]] const auto spans, device->trace_step(1, two_rows));
  HEDDLE_ASSIGN([[maybe_unused]] const auto rate, device->read_rate());
  HEDDLE_ASSIGN([[maybe_unused]] const auto times,
                device->time_kernels(2, std::vector<StepRow>{{7, 0, 0}, {7, 0, 1}, {7, 0, 2}, {7, 0, 3}}, 1));
  return {};
}

TEST(CudaDeviceFailures, EveryCallOfATimingMayFailToo) {
  CudaPlan p;
  for (auto& kernel : p.plan->kernels) kernel.cuda->ptx.clear();
  std::int64_t calls = 0;
  {
    FakeDriver fake;
    fake.free_bytes = 64 << 20;
    ASSERT_EQ(message(whole_timing(fake, p, true)), "");
    EXPECT_EQ(fake.live(), "");
    calls = fake.calls();
  }
  for (std::int64_t call = 60; call < calls - 3; ++call) {  // the load is tested below
    FakeDriver fake;
    fake.free_bytes = 64 << 20;
    fake.fail_at(call);
    const std::string why = message(whole_timing(fake, p, true));
    EXPECT_NE(why.find("CUDA_ERROR_LAUNCH_FAILED"), std::string::npos) << "call " << call << " of " << calls << ": " << why;
    EXPECT_EQ(fake.live(), "") << "call " << call;
  }
}

TEST(CudaDeviceFailures, EveryCallMayFailAndNothingIsLeftBehind) {
  CudaPlan p;
  p.add_sampling(0);
  p.plan->kernels[1].cuda->dynamic_shared_bytes = 1000;
  p.plan->weights[0].layout = Layout::planes;
  for (auto& kernel : p.plan->kernels) kernel.cuda->ptx.clear();  // a cubin that fails has no second way
  for (const bool graph : {true, false}) {
    std::int64_t calls = 0;
    {
      FakeDriver fake;
      ASSERT_EQ(message(whole_life(fake, p, graph)), "");
      EXPECT_EQ(fake.live(), "");
      calls = fake.calls();
    }
    ASSERT_GT(calls, 100);
    for (std::int64_t call = 0; call < calls - 3; ++call) {  // the last ones are of the end, where nobody listens
      FakeDriver fake;
      fake.fail_at(call);
      const std::string why = message(whole_life(fake, p, graph));
      EXPECT_NE(why.find("CUDA_ERROR_LAUNCH_FAILED"), std::string::npos) << "call " << call << " of " << calls << ": " << why;
      EXPECT_EQ(fake.live(), "") << "call " << call;
    }
  }
}

}  // namespace
}  // namespace heddle::testing
