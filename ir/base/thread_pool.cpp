#include "ir/base/thread_pool.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <thread>
#include <vector>

#include "ir/base/check.h"

namespace heddle {
namespace {

void pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");
#endif
}

/// Returns the value of `word` once it differs from `old`: looks `spins` times, then sleeps until it is notified.
int await_change(const std::atomic<int>& word, int old, int spins) {
  for (int i = 0; i < spins; ++i) {
    if (const int now = word.load(std::memory_order_acquire); now != old) return now;
    pause();
  }
  word.wait(old, std::memory_order_acquire);
  return word.load(std::memory_order_acquire);
}

/// The processor quota of the control group (version 2, then 1) in whole processors, rounded up; 0 if there is none.
int quota_processors() {
  const auto read = [](const char* path, const char* format, long* a, long* b) {
    std::FILE* file = std::fopen(path, "r");
    if (!file) return 0;
    const int found = std::fscanf(file, format, a, b);
    std::fclose(file);
    return found;
  };
  long quota = 0, period = 0, unused = 0;
  if (read("/sys/fs/cgroup/cpu.max", "%ld %ld", &quota, &period) != 2 &&
      (read("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "%ld", &quota, &unused) < 1 ||
       read("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "%ld", &period, &unused) < 1)) {
    return 0;
  }
  return quota > 0 && period > 0 ? int((quota + period - 1) / period) : 0;
}

// 20 to 100 microseconds, by the processor's pause: many times a barrier, and an idle program is asleep before anybody could notice.
constexpr int spins_with_own_processor = 2000;
// With more members than processors the awaited one may need the very processor that a spinning one holds.
constexpr int spins_when_shared = 20;

}  // namespace

// Every word that is waited on is published by a sequentially consistent read-modify-write before its notify: that is what lets notify
// skip the system call when nobody sleeps. Words written by different members stand on cache lines of their own.
struct ThreadPool::State {
  int size = 1;
  int spins = 0;
  std::vector<std::thread> threads;
  const std::function<void(int)>* work = nullptr;  // null in a started run: leave
  bool running = false;

  alignas(64) std::atomic<int> run{0};         // counts runs; a change starts the members
  alignas(64) std::atomic<int> unfinished{0};  // members other than 0 still in this run
  alignas(64) std::atomic<int> arrived{0};     // members waiting in the current barrier
  alignas(64) std::atomic<int> phase{0};       // counts barriers; a change lets the members go

  void serve(int member) noexcept {  // noexcept: a throwing work function must end the program here, not unwind past the others
    for (int seen = 0;;) {
      seen = await_change(run, seen, spins);
      if (!work) return;
      (*work)(member);
      if (unfinished.fetch_sub(1) == 1) unfinished.notify_one();
    }
  }

  void start(const std::function<void(int)>* next) {
    work = next;
    unfinished.store(size - 1, std::memory_order_relaxed);
    run.fetch_add(1);
    run.notify_all();
  }

  void call_and_finish() noexcept {
    (*work)(0);
    for (int left = unfinished.load(std::memory_order_acquire); left != 0;) left = await_change(unfinished, left, spins);
  }
};

ThreadPool::ThreadPool(int threads) : state_(std::make_unique<State>()) {
  HEDDLE_CHECK(threads >= 1, "{} threads", threads);
  state_->size = threads;
  state_->spins = threads <= usable_processors() ? spins_with_own_processor : spins_when_shared;
  for (int member = 1; member < threads; ++member) state_->threads.emplace_back([s = state_.get(), member] { s->serve(member); });
}

ThreadPool::~ThreadPool() {
  state_->start(nullptr);
  for (std::thread& thread : state_->threads) thread.join();
}

int ThreadPool::size() const { return state_->size; }

void ThreadPool::run(const std::function<void(int member)>& work) {
  State& s = *state_;
  HEDDLE_CHECK(!s.running, "a run inside a run");
  s.running = true;
  s.start(&work);
  s.call_and_finish();
  s.running = false;
}

void ThreadPool::barrier() {
  State& s = *state_;
  if (s.size == 1) return;
  const int phase = s.phase.load(std::memory_order_acquire);  // before arriving: afterwards the last member may already have moved it
  if (s.arrived.fetch_add(1) + 1 == s.size) {
    s.arrived.store(0, std::memory_order_relaxed);
    s.phase.fetch_add(1);
    s.phase.notify_all();
  } else {
    await_change(s.phase, phase, s.spins);
  }
}

int usable_processors() {
  cpu_set_t set;
  int count = ::sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : int(std::thread::hardware_concurrency());
  if (const int quota = quota_processors(); quota > 0) count = std::min(count, quota);
  return std::max(count, 1);
}

}  // namespace heddle
