#include "runtime/cuda/measure/timing.h"

#include <algorithm>

#include "ir/base/timing.h"

namespace heddle::runtime::cuda {
namespace {

constexpr std::size_t least_launches = 64;

/// Every thread takes four pieces of 16 bytes a pass, one stride of the grid apart. The sum is written only where it is a value that it
/// never has, but the compiler does not know that.
constexpr const char* read_text = R"(.version 7.4
.target sm_80
.address_size 64
.visible .entry read_all(.param .u64 from, .param .u64 passes, .param .u64 out) {
  .reg .b64 %at, %out, %left, %stride, %a<4>;
  .reg .b32 %t<4>, %w<16>, %s<4>;
  .reg .pred %p;
  ld.param.u64 %at, [from]; ld.param.u64 %left, [passes]; ld.param.u64 %out, [out];
  mov.u32 %t0, %ctaid.x; mov.u32 %t1, %ntid.x; mov.u32 %t2, %tid.x; mov.u32 %t3, %nctaid.x;
  mad.lo.u32 %t2, %t0, %t1, %t2; mul.lo.u32 %t3, %t3, %t1;
  mad.wide.u32 %at, %t2, 16, %at; mul.wide.u32 %stride, %t3, 16;
  mov.u32 %s0, 0; mov.u32 %s1, 0; mov.u32 %s2, 0; mov.u32 %s3, 0;
loop:
  add.u64 %a1, %at, %stride; add.u64 %a2, %a1, %stride; add.u64 %a3, %a2, %stride;
  ld.global.nc.L1::no_allocate.v4.u32 {%w0, %w1, %w2, %w3}, [%at];
  ld.global.nc.L1::no_allocate.v4.u32 {%w4, %w5, %w6, %w7}, [%a1];
  ld.global.nc.L1::no_allocate.v4.u32 {%w8, %w9, %w10, %w11}, [%a2];
  ld.global.nc.L1::no_allocate.v4.u32 {%w12, %w13, %w14, %w15}, [%a3];
  add.u32 %s0, %s0, %w0; add.u32 %s1, %s1, %w1; add.u32 %s2, %s2, %w2; add.u32 %s3, %s3, %w3;
  xor.b32 %s0, %s0, %w4; xor.b32 %s1, %s1, %w5; xor.b32 %s2, %s2, %w6; xor.b32 %s3, %s3, %w7;
  add.u32 %s0, %s0, %w8; add.u32 %s1, %s1, %w9; add.u32 %s2, %s2, %w10; add.u32 %s3, %s3, %w11;
  xor.b32 %s0, %s0, %w12; xor.b32 %s1, %s1, %w13; xor.b32 %s2, %s2, %w14; xor.b32 %s3, %s3, %w15;
  add.u64 %at, %a3, %stride;
  sub.u64 %left, %left, 1; setp.ne.u64 %p, %left, 0; @%p bra loop;
  xor.b32 %s0, %s0, %s1; xor.b32 %s2, %s2, %s3; xor.b32 %s0, %s0, %s2;
  setp.eq.u32 %p, %s0, 0x5eed1234; @%p st.global.u32 [%out], %s0;
  ret;
})";
constexpr unsigned read_threads = 512, read_blocks_per_sm = 4, read_bytes = 64;  // of a thread in a pass
constexpr int read_samples = 9;

}  // namespace

Result<EventPair> EventPair::make(const Gpu& gpu) {
  EventPair pair;
  pair.driver_ = &gpu.driver();
  HEDDLE_ASSIGN(pair.begin_, gpu.make_timing_event());
  HEDDLE_ASSIGN(pair.end_, gpu.make_timing_event());
  return pair;
}

Result<void> EventPair::start(Stream stream) const { return check(*driver_, driver_->event_record(begin_.get(), stream), "cuEventRecord"); }

Result<double> EventPair::stop(Stream stream) const {
  float milliseconds = 0;
  HEDDLE_TRY(check(*driver_, driver_->event_record(end_.get(), stream), "cuEventRecord"));
  HEDDLE_TRY(check(*driver_, driver_->event_synchronize(end_.get()), "timing"));
  HEDDLE_TRY(check(*driver_, driver_->event_elapsed(&milliseconds, begin_.get(), end_.get()), "cuEventElapsedTime"));
  return double(milliseconds) * 1e-3;
}

Result<std::vector<double>> time_calls(const Gpu& gpu, std::span<const Launch> calls, bool plain_only, int samples, Stream stream) {
  std::vector<Launch> chain;
  do {
    for (const Launch& call : calls) {
      Launch& next = chain.emplace_back(call);
      next.after.clear();
      if (chain.size() > 1) next.after.push_back(std::uint32_t(chain.size() - 2));
    }
  } while (chain.size() < least_launches);
  HEDDLE_ASSIGN(const Graph graph, Graph::build(gpu.driver(), chain, plain_only, stream));
  HEDDLE_ASSIGN(const EventPair events, EventPair::make(gpu));
  std::vector<double> seconds;
  for (int sample = -1; sample < samples; ++sample) {
    HEDDLE_TRY(events.start(stream));
    HEDDLE_TRY(check(gpu.driver(), graph.launch(gpu.driver(), stream), calls.front().kernel->name));
    HEDDLE_ASSIGN(const double whole, events.stop(stream));
    if (sample >= 0) seconds.push_back(whole / double(chain.size()));
  }
  return seconds;
}

Result<std::vector<NodeSpan>> trace_launches(const Gpu& gpu, std::span<const Launch> schedule, Stream stream) {
  const Driver& driver = gpu.driver();
  std::vector<OwnedEvent> events;
  for (std::size_t i = 0; i <= schedule.size(); ++i) {
    HEDDLE_ASSIGN(OwnedEvent event, gpu.make_timing_event());
    events.push_back(std::move(event));
  }
  HEDDLE_TRY(check(driver, driver.event_record(events[0].get(), stream), "cuEventRecord"));
  for (std::size_t i = 0; i < schedule.size(); ++i) {
    HEDDLE_TRY(check(driver, launch_one(driver, schedule[i], stream), schedule[i].kernel->name));
    HEDDLE_TRY(check(driver, driver.event_record(events[i + 1].get(), stream), "cuEventRecord"));
  }
  HEDDLE_TRY(check(driver, driver.event_synchronize(events.back().get()), "timing"));
  std::vector<NodeSpan> spans;
  double end = 0;
  for (std::size_t i = 0; i < schedule.size(); ++i) {
    float milliseconds = 0;
    HEDDLE_TRY(check(driver, driver.event_elapsed(&milliseconds, events[0].get(), events[i + 1].get()), "cuEventElapsedTime"));
    spans.push_back({end, double(milliseconds) * 1e-3});
    end = spans.back().end;
  }
  return spans;
}

Result<ReadRate> read_rate(const Gpu& gpu, Stream stream) {
  const Driver& driver = gpu.driver();
  std::size_t free = 0, total = 0;
  HEDDLE_TRY(check(driver, driver.memory_info(&free, &total), "cuMemGetInfo"));
  const std::uint64_t pass_bytes = std::uint64_t(gpu.multiprocessors) * read_blocks_per_sm * read_threads * read_bytes;
  const std::uint64_t passes = std::min<std::uint64_t>(std::uint64_t(1) << 30, free / 2) / pass_bytes;
  if (passes == 0) return error("no memory is left on {} to measure how fast it reads", gpu.text());
  ReadRate rate;
  rate.buffer_bytes = passes * pass_bytes;
  rate.cache_bytes = std::uint64_t(gpu.l2_bytes);
  HEDDLE_ASSIGN(const OwnedMemory buffer, gpu.allocate(rate.buffer_bytes, "the measurement of its memory"));
  HEDDLE_TRY(check(driver, driver.memory_set(buffer.get(), 0xa5, rate.buffer_bytes, stream), "cuMemsetD8Async"));

  Module handle = nullptr;
  HEDDLE_TRY(check(driver, driver.module_load(&handle, read_text), "cuModuleLoadData of 'read_all'"));
  const OwnedModule module(driver, handle);
  LoadedKernel kernel;
  kernel.name = "read_all";
  kernel.grid = {unsigned(gpu.multiprocessors) * read_blocks_per_sm, 1, 1}, kernel.block = {read_threads, 1, 1};
  HEDDLE_TRY(check(driver, driver.module_function(&kernel.function, module.get(), "read_all"), "cuModuleGetFunction"));
  Launch launch;
  launch.kernel = &kernel;
  for (const std::uint64_t word : {std::uint64_t(buffer.get()), passes, std::uint64_t(buffer.get())}) launch.parameters.add(word);

  HEDDLE_ASSIGN(const EventPair events, EventPair::make(gpu));
  std::vector<double> seconds;
  for (int sample = -1; sample < read_samples; ++sample) {
    HEDDLE_TRY(events.start(stream));
    HEDDLE_TRY(check(driver, launch_one(driver, launch, stream), "read_all"));
    HEDDLE_ASSIGN(const double once, events.stop(stream));
    if (sample >= 0) seconds.push_back(once);
  }
  rate.bytes_per_second = double(rate.buffer_bytes) / median(seconds);
  return rate;
}

}  // namespace heddle::runtime::cuda
