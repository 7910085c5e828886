// The whole device on a small plan, against the reference run node by node on the plan's own memory map.
#include "runtime/cpu/device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <fstream>

#include "ir/base/thread_pool.h"
#include "kernel_case.h"
#include "runtime/cpu/memory.h"
#include "runtime/plan/panels.h"
#include "runtime/plan/plan_file.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_plan.h"

namespace heddle::runtime {
namespace {

using testing::KernelCase;

/// Memory of a plan and what a step makes of it.
class PlanReference {
 public:
  PlanReference(const plan::Plan& plan, const std::vector<std::byte>& file, Capacity capacity) : plan_(plan), capacity_(capacity) {
    for (const auto& weight : plan.weights) {
      auto& bytes = weights_.emplace_back();
      for (const auto& source : weight.sources)
        bytes.insert(bytes.end(), file.begin() + std::ptrdiff_t(source.offset),
                     file.begin() + std::ptrdiff_t(source.offset + source.bytes));
    }
    for (const auto& state : plan.states)
      states_.emplace_back(std::size_t(product(state.shape) * capacity.slots * capacity.context * info(state.dtype).bytes));
  }

  /// Output 0, or nothing.
  std::vector<float> run(std::size_t index, const std::vector<StepRow>& rows) {
    const plan::EntryPoint& entry = plan_.entries[index];
    std::vector<std::byte> arena(entry.arena_bytes), inputs[3];
    for (const StepRow& row : rows) {
      const std::int32_t values[3] = {row.slot < 0 ? 0 : row.token, row.slot, row.slot < 0 ? 0 : row.position};
      for (int i = 0; i < 3; ++i) {
        inputs[i].resize(inputs[i].size() + 4);
        std::memcpy(inputs[i].data() + inputs[i].size() - 4, &values[i], 4);
      }
    }
    std::vector<std::vector<std::byte>> outputs;
    for (const auto& output : entry.outputs) outputs.emplace_back(std::size_t(product(output.shape)) * 4);
    for (const auto& node : entry.nodes) {
      KernelCase kernel(plan_.kernels[node.kernel].spec.loop, entry.rows);
      kernel.spec = plan_.kernels[node.kernel].spec;
      kernel.slot_count = capacity_.slots, kernel.capacity = capacity_.context;
      std::vector<std::byte*> places;
      for (std::size_t i = 0; i < node.args.size(); ++i) {
        const plan::Ref& ref = node.args[i];
        std::byte* place = nullptr;
        std::size_t size = ref.bytes;
        const auto whole = [&](std::vector<std::byte>& bytes) { place = bytes.data(), size = bytes.size(); };
        switch (ref.where) {
          case plan::Where::arena:
            place = arena.data() + ref.offset;
            break;
          case plan::Where::weight:
            whole(weights_[ref.index]);
            break;
          case plan::Where::state:
            whole(states_[ref.index]);
            break;
          case plan::Where::input:
            whole(inputs[ref.index]);
            break;
          case plan::Where::output:
            whole(outputs[ref.index]);
            break;
        }
        places.push_back(place);
        kernel.memory.emplace_back(place, place + size);
      }
      for (const auto& [arg, values] : testing::reference(kernel)) {
        const std::vector<float> rounded(values.begin(), values.end());
        const DTypeInfo& format = info(kernel.dtype(arg));
        format.quantize(rounded.data(), places[arg], std::int64_t(rounded.size()) / format.elements);
      }
    }
    std::vector<float> out(outputs.empty() ? 0 : outputs[0].size() / 4);
    if (!outputs.empty()) std::memcpy(out.data(), outputs[0].data(), outputs[0].size());
    return out;
  }

 private:
  static std::int64_t product(const std::vector<std::int64_t>& shape) {
    std::int64_t out = 1;
    for (const std::int64_t size : shape) out *= size;
    return out;
  }
  const plan::Plan& plan_;
  Capacity capacity_;
  std::vector<std::vector<std::byte>> weights_, states_;
};

class CpuDevice : public ::testing::Test {
 protected:
  CpuDevice() : plan(std::make_shared<plan::Plan>(testing::tiny_plan())) {
    plan->files[0].path = dir.file("tiny.bin");
    std::mt19937 random(5);
    file.resize(plan->files[0].bytes);
    for (const auto& weight : plan->weights) {
      for (const auto& source : weight.sources) {
        const auto bytes = testing::random_elements(weight.dtype, source.rows * source.columns, random);
        std::copy(bytes.begin(), bytes.end(), file.begin() + std::ptrdiff_t(source.offset));
      }
    }
    write();
  }
  void write() {
    std::ofstream out(plan->files[0].path, std::ios::binary);
    out.write(reinterpret_cast<const char*>(file.data()), std::streamsize(file.size()));
  }
  void expect_reference_on_every_thread_count();
  std::string load_error(Device& device, Capacity capacity = {1, 16}) {
    auto loaded = device.load(plan, capacity, {});
    return loaded.ok() ? "" : loaded.error().message();
  }

  testing::TempDir dir;
  std::shared_ptr<plan::Plan> plan;
  std::vector<std::byte> file;
};

/// Steps through every entry point of the tiny plan, two slots filled side by side, with idle rows.
struct StepOf {
  std::size_t entry;
  std::vector<StepRow> rows;
};
const std::vector<StepOf> steps = {{2, {{7, 0, 0}, {8, 1, 0}, {}, {9, 0, 1}}}, {0, {{11, 0, 2}}},    {1, {{12, 1, 1}, {13, 0, 3}}},
                                   {2, {{40, 1, 2}, {47, 1, 3}, {}, {}}},      {1, {{}, {2, 1, 4}}}, {0, {{0, 1, 5}}}};

void CpuDevice::expect_reference_on_every_thread_count() {
  ASSERT_TRUE(plan::check(*plan).ok()) << plan::check(*plan).error().message();
  std::vector<std::vector<float>> first;
  for (const int threads : {1, 2, 3, 4}) {
    SCOPED_TRACE(threads);
    auto device = make_cpu_device(threads);
    ASSERT_EQ(load_error(*device, {2, 16}), "");
    PlanReference reference(*plan, file, {2, 16});
    std::size_t checked = 0;
    for (const StepOf& step : steps) {
      ASSERT_TRUE(device->run(step.entry, step.rows).ok());
      const std::vector<float> wanted = reference.run(step.entry, step.rows);
      if (wanted.empty()) continue;
      for (std::size_t row = 0; row < step.rows.size(); ++row) {
        const auto logits = device->logits(step.entry, row);
        ASSERT_TRUE(logits.ok());
        ASSERT_EQ(logits->size(), 48u);
        if (step.rows[row].slot < 0) continue;
        for (std::size_t i = 0; i < 48; ++i)
          EXPECT_NEAR((**&logits)[i], wanted[row * 48 + i], 2e-2) << "entry " << step.entry << " row " << row;
        const std::vector<float> copy(logits->begin(), logits->end());
        if (threads == 1) first.push_back(copy);
        else EXPECT_EQ(copy, first.at(checked));
        ++checked;
      }
    }
    EXPECT_EQ(checked, 5u);
  }
}

TEST_F(CpuDevice, AgreesWithTheReferenceOnEveryThreadCount) { expect_reference_on_every_thread_count(); }

TEST_F(CpuDevice, AgreesWithTheReferenceWithWeightsInPanels) {
  std::vector<bool> panels;
  for (auto& weight : plan->weights) {
    panels.push_back(weight.shape.size() == 2 && plan::has_panels(weight.dtype));
    if (panels.back()) weight.layout = Layout::panels;
  }
  EXPECT_GE(std::ranges::count(panels, true), 4);
  for (const auto& entry : plan->entries)
    for (const auto& node : entry.nodes)
      for (std::size_t i = 0; i < node.args.size(); ++i)
        if (node.args[i].where == plan::Where::weight && panels[node.args[i].index])
          plan->kernels[node.kernel].spec.args[i].layout = Layout::panels;
  expect_reference_on_every_thread_count();
}

TEST_F(CpuDevice, APromptGivesTheLogitsOfItsLastRow) {
  const std::string path = plan->files[0].path;
  *plan = testing::tiny_plan_with_prompt();
  plan->files[0].path = path;
  ASSERT_TRUE(plan::check(*plan).ok()) << plan::check(*plan).error().message();
  const std::vector<StepRow> first = {{7, 1, 0}, {8, 1, 1}, {9, 1, 2}, {10, 1, 3}}, rest = {{20, 1, 4}, {21, 1, 5}, {22, 1, 6}, {}};
  const std::vector<StepRow> before = {{20, 1, 4}, {21, 1, 5}, {}, {}}, last = {{22, 1, 6}};
  std::vector<float> found;
  for (const int threads : {1, 2, 3, 4}) {
    SCOPED_TRACE(threads);
    auto prompt = make_cpu_device(threads), apart = make_cpu_device(threads);
    ASSERT_EQ(load_error(*prompt, {2, 16}) + load_error(*apart, {2, 16}), "");
    ASSERT_TRUE(prompt->run(2, first).ok() && prompt->run(3, rest).ok());
    ASSERT_TRUE(apart->run(2, first).ok() && apart->run(2, before).ok() && apart->run(0, last).ok());
    const auto logits = prompt->logits(3, 0), wanted = apart->logits(0, 0);
    ASSERT_TRUE(logits.ok() && wanted.ok());
    ASSERT_EQ(logits->size(), 48u);
    for (std::size_t i = 0; i < 48; ++i) EXPECT_NEAR((*logits)[i], (*wanted)[i], 2e-2);
    const std::vector<float> copy(logits->begin(), logits->end());
    if (found.empty()) found = copy;
    EXPECT_EQ(copy, found);
    // The same node by node; the rows behind the last are no part of it.
    ASSERT_TRUE(prompt->run_nodes(3, rest, [](std::size_t) -> Result<void> { return {}; }).ok());
    EXPECT_THAT(*prompt->logits(3, 0), ::testing::ElementsAreArray(found));
    ASSERT_TRUE(prompt->run(3, std::vector<StepRow>{{20, 1, 4}, {}, {}, {}}).ok());
    EXPECT_THAT(*prompt->logits(3, 0), ::testing::Not(::testing::ElementsAreArray(found)));
  }
}

TEST_F(CpuDevice, MissingEdgesDoNotLetNodesOverlap) {
  // What a node reads and writes orders it, whether or not the plan has an edge.
  auto ordered = make_cpu_device(1), free = make_cpu_device(4);
  ASSERT_EQ(load_error(*ordered), "");
  for (auto& node : plan->entries[0].nodes) node.after.clear();
  ASSERT_EQ(load_error(*free), "");
  for (std::int32_t position = 0; position < 16; ++position) {
    const std::vector<StepRow> row{{position + 3, 0, position}};
    ASSERT_TRUE(ordered->run(0, row).ok() && free->run(0, row).ok());
    EXPECT_THAT(*free->logits(0, 0), ::testing::ElementsAreArray(*ordered->logits(0, 0)));
  }
}

TEST_F(CpuDevice, NodeByNodeIsTheSameStepAndCanBeReadInBetween) {
  auto whole = make_cpu_device(2), apart = make_cpu_device(2);
  ASSERT_TRUE(whole->load(plan, {2, 8}, {}).ok() && apart->load(plan, {2, 8}, {}).ok());
  const std::vector<StepRow> rows = {{7, 1, 0}, {9, 0, 0}};
  ASSERT_TRUE(whole->run(1, rows).ok());
  const plan::EntryPoint& entry = plan->entries[1];
  const plan::Ref& embedded = entry.nodes[0].args[2];
  std::vector<std::byte> first;
  std::size_t next = 0;
  const auto ran = apart->run_nodes(1, rows, [&](std::size_t node) -> Result<void> {
    EXPECT_EQ(node, next++);
    HEDDLE_ASSIGN(const auto bytes, apart->read(1, embedded));
    EXPECT_EQ(bytes.size(), 2u * 32 * 4);
    if (node == 0) first = bytes;
    EXPECT_TRUE(node != 1 || bytes == first) << "what the first node left is still there";
    return {};
  });
  ASSERT_TRUE(ran.ok());
  EXPECT_EQ(next, entry.nodes.size());
  plan::Ref ref;
  for (const auto where : {plan::Where::output, plan::Where::state, plan::Where::input}) {
    ref.where = where;
    EXPECT_EQ(*whole->read(1, ref), *apart->read(1, ref)) << int(where);
  }
  EXPECT_EQ(apart->read(1, ref)->size(), 2u * 4);
  ref.where = plan::Where::state;
  EXPECT_EQ(apart->read(1, ref)->size(), 2u * 2 * 8 * 16 * info(plan->states[0].dtype).bytes);
  ref.where = plan::Where::weight, ref.index = 2;
  const auto& source = plan->weights[2].sources[0];
  EXPECT_TRUE(std::ranges::equal(*apart->read(1, ref), std::span(file).subspan(source.offset, source.bytes)));
  EXPECT_EQ(apart->run_nodes(1, rows, [](std::size_t node) -> Result<void> { return error("stop at {}", node); }).error().message(), "stop at 0");
}

TEST_F(CpuDevice, TimesEveryKernelThatAStepUses) {
  auto device = make_cpu_device(2);
  ASSERT_TRUE(device->load(plan, {1, 8}, {}).ok());
  const std::vector<StepRow> rows = {{7, 0, 0}};
  const auto times = device->time_kernels(0, rows, 3);
  ASSERT_TRUE(times.ok());
  for (std::size_t kernel = 0; kernel < times->size(); ++kernel) {
    const auto calls = std::ranges::count_if(plan->entries[0].nodes, [&](const auto& node) { return node.kernel == kernel; });
    EXPECT_EQ((*times)[kernel].size(), std::size_t(3 * calls)) << kernel;
    for (const double seconds : (*times)[kernel]) EXPECT_GT(seconds, 0);
  }
  EXPECT_EQ(device->time_step(0, rows, 4)->size(), 4u);
  const auto spans = device->trace_step(0, rows);
  ASSERT_TRUE(spans.ok());
  for (std::size_t i = 1; i < spans->size(); ++i) EXPECT_GE((*spans)[i].begin, (*spans)[i - 1].end);
}

TEST_F(CpuDevice, TellsItself) {
  EXPECT_THAT(make_cpu_device(1)->description(), ::testing::MatchesRegex("cpu, 1 thread, [A-Z0-9_]+"));
  EXPECT_THAT(make_cpu_device(3)->description(), ::testing::StartsWith("cpu, 3 threads, "));
  EXPECT_THAT(make_cpu_device(0)->description(), ::testing::StartsWith(fmt::format("cpu, {} thread", usable_processors())));
}

TEST_F(CpuDevice, ReportsProgressToTheEnd) {
  double last = 0;
  const auto progress = [&](double done) {
    EXPECT_GT(done, last);
    last = done;
  };
  ASSERT_TRUE(make_cpu_device(1)->load(plan, {1, 4}, progress).ok());
  EXPECT_EQ(last, 1);
}

TEST_F(CpuDevice, RefusesAModelFileThatIsNotThePlans) {
  auto device = make_cpu_device(1);
  file.push_back(std::byte(0));
  write();
  EXPECT_EQ(load_error(*device),
            fmt::format("{}: has {} bytes, the plan was made for {}", plan->files[0].path, file.size(), file.size() - 1));
  plan->files[0].path = dir.file("other.bin");
  EXPECT_EQ(load_error(*device), plan->files[0].path + ": cannot open: No such file or directory");
}

TEST_F(CpuDevice, RefusesPlansForOtherDevices) {
  auto device = make_cpu_device(1);
  plan->weights[2].layout = Layout::planes;
  EXPECT_EQ(load_error(*device), "weight 'blk.0.attn_q.weight': layout is 'planes', the cpu reads 'rows' and 'panels'");
  plan->kernels[5].spec.loop = plan::Sample{};
  EXPECT_EQ(load_error(*device), "entry 'decode_1': kernel 'head' draws tokens, which the cpu leaves to the host");
}

TEST_F(CpuDevice, RefusesRowsOutsideTheCacheAndTheVocabulary) {
  auto device = make_cpu_device(1);
  ASSERT_EQ(load_error(*device, {2, 16}), "");
  const auto run = [&](StepRow row) {
    auto result = device->run(1, std::vector<StepRow>{{1, 0, 0}, row});
    return result.ok() ? "" : result.error().message();
  };
  EXPECT_EQ(run({5, 2, 0}), "row 1: slot is 2, there are 2");
  EXPECT_EQ(run({5, 1, 16}), "row 1: position is 16, the context has 16");
  EXPECT_EQ(run({5, 1, -1}), "row 1: position is -1, the context has 16");
  EXPECT_EQ(run({48, 1, 0}), "row 1: token is 48, the vocabulary has 48");
  EXPECT_EQ(run({-1, 1, 0}), "row 1: token is -1, the vocabulary has 48");
  EXPECT_EQ(run({47, 1, 15}), "");
  EXPECT_EQ(device->logits(2, 0).error().message(), "entry 'prefill_4' has no logits");
}

TEST_F(CpuDevice, RefusesWhatDoesNotFitIntoMemory) {
  // A position takes 2 planes of 16 floats.
  const auto refusal = [&](std::int64_t context, std::uint64_t available) {
    auto result = cpu::check_memory(*plan, {1, context}, available);
    return result.ok() ? "" : result.error().message();
  };
  EXPECT_EQ(refusal(1000, 1'000'000), "");
  EXPECT_EQ(refusal(40'000'000, 3'200'000'000),
            "needs 5.1 GB (copied weights 0.0, cache 5.1, arena 0.0), 3.2 GB are free; --ctx 24999936 fits");
  EXPECT_EQ(refusal(1000, 1000), "needs 0.0 GB (copied weights 0.0, cache 0.0, arena 0.0), 0.0 GB are free; no --ctx fits");
  auto device = make_cpu_device(1);
  EXPECT_THAT(load_error(*device, {1, std::int64_t(1) << 50}), ::testing::HasSubstr("GB are free; --ctx "));
}

TEST_F(CpuDevice, LeavesWeightsInTheFileWherePossible) {
  ThreadPool pool(1);
  auto weights = cpu::Weights::open(*plan, pool, {});
  ASSERT_TRUE(weights.ok());
  for (std::size_t i = 0; i < plan->weights.size(); ++i) {
    const plan::Weight& weight = plan->weights[i];
    std::size_t at = 0;
    for (const auto& source : weight.sources) {
      EXPECT_EQ(std::memcmp(weights->data(i) + at, file.data() + source.offset, source.bytes), 0) << weight.name;
      at += source.bytes;
    }
  }
  // The only weight of two sources, blk.0.attn_v.weight, is one piece of memory; its neighbours stay where the file has them.
  EXPECT_EQ(weights->data(3) - weights->data(2),
            std::ptrdiff_t(plan->weights[3].sources[0].offset - plan->weights[2].sources[0].offset));
  // A matrix that does not start at a whole word is moved to one.
  plan->weights[5].sources[0].offset += 2;
  auto moved = cpu::Weights::open(*plan, pool, {});
  ASSERT_TRUE(moved.ok());
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(moved->data(5)) % 64, 0u);
  EXPECT_EQ(std::memcmp(moved->data(5), file.data() + plan->weights[5].sources[0].offset, plan->weights[5].sources[0].bytes), 0);
  // A vector that is not f32 becomes one.
  plan->weights[1].dtype = DType::f16, plan->weights[1].sources[0].bytes = 64;
  auto converted = cpu::Weights::open(*plan, pool, {});
  ASSERT_TRUE(converted.ok());
  std::vector<float> wanted(32);
  info(DType::f16).dequantize(file.data() + plan->weights[1].sources[0].offset, wanted.data(), 32);
  EXPECT_EQ(std::memcmp(converted->data(1), wanted.data(), 128), 0);
}

}  // namespace
}  // namespace heddle::runtime
