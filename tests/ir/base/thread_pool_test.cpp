#include "ir/base/thread_pool.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <sys/resource.h>

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

namespace heddle {
namespace {

class Teams : public ::testing::TestWithParam<int> {};

TEST_P(Teams, EachMemberWorksOncePerRun) {
  ThreadPool pool(GetParam());
  ASSERT_EQ(pool.size(), GetParam());
  std::vector<int> calls(std::size_t(GetParam()), 0);  // plain: run orders everything
  const auto caller = std::this_thread::get_id();
  for (int run = 1; run <= 500; ++run) {
    pool.run([&](int member) {
      ++calls[std::size_t(member)];
      if ((std::this_thread::get_id() == caller) != (member == 0)) calls[std::size_t(member)] = -1;
    });
    for (const int c : calls) ASSERT_EQ(c, run);
  }
}

TEST_P(Teams, BarriersOrderTheAccessesOfAll) {
  const int n = GetParam();
  ThreadPool pool(n);
  std::vector<int> cells(std::size_t(n), 0);  // plain: the barrier orders everything
  std::atomic<int> wrong{0};
  constexpr int rounds = 400;
  for (int run = 0; run < 3; ++run) {
    pool.run([&](int member) {
      for (int round = 0; round < rounds; ++round) {
        cells[std::size_t(member)] = run * rounds + round;
        pool.barrier();
        for (const int c : cells) wrong += c != run * rounds + round;
        pool.barrier();  // nobody writes while others read
      }
    });
  }
  EXPECT_EQ(wrong, 0);
}

TEST_P(Teams, AnOddNumberOfBarriersPerRun) {  // a barrier's state carries over to the next run
  ThreadPool pool(GetParam());
  std::atomic<int> before{0};
  std::atomic<int> wrong{0};
  for (int run = 1; run <= 200; ++run) {
    pool.run([&](int) {
      ++before;
      pool.barrier();
      wrong += before != run * pool.size();
    });
  }
  EXPECT_EQ(wrong, 0);
}

TEST_P(Teams, MembersMayComeLate) {  // past the spinning: members and caller sleep and are woken
  ThreadPool pool(GetParam());
  std::atomic<int> finished{0};
  for (int late = 0; late < GetParam(); ++late) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
    pool.run([&](int member) {
      if (member == late) std::this_thread::sleep_for(std::chrono::milliseconds(5));
      pool.barrier();
      if (member == (late + 1) % pool.size()) std::this_thread::sleep_for(std::chrono::milliseconds(5));
      ++finished;
    });
    ASSERT_EQ(finished, (late + 1) * GetParam());
  }
}

INSTANTIATE_TEST_SUITE_P(ThreadPool, Teams, ::testing::Range(1, 9));

TEST(ThreadPool, SurvivesAProcessorForItself) {  // all members on one processor, though the pool was made for more
  cpu_set_t all, one;
  ASSERT_EQ(::sched_getaffinity(0, sizeof(all), &all), 0);
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++cpu) {
    if (CPU_ISSET(cpu, &all)) CPU_SET(cpu, &one);
  }
  ThreadPool pool(std::max(2, usable_processors()));
  std::atomic<int> count{0};
  pool.run([&](int) {
    ::sched_setaffinity(0, sizeof(one), &one);
    for (int i = 0; i < 50; ++i) {
      ++count;
      pool.barrier();
    }
    ::sched_setaffinity(0, sizeof(all), &all);
  });
  EXPECT_EQ(count, 50 * pool.size());
}

TEST(ThreadPool, ManyPoolsComeAndGo) {
  for (int i = 0; i < 100; ++i) {
    ThreadPool pool(1 + i % 5);
    if (i % 3 == 0) continue;  // never used
    std::atomic<int> members{0};
    pool.run([&](int) { ++members; });
    ASSERT_EQ(members, pool.size());
  }
}

double seconds_of_processor() {
  rusage usage;
  ::getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) { return double(t.tv_sec) + double(t.tv_usec) * 1e-6; };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

TEST(ThreadPool, AnIdlePoolBurnsNothing) {
  ThreadPool pool(4);
  pool.run([](int) {});
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  const double before = seconds_of_processor();
  std::this_thread::sleep_for(std::chrono::milliseconds(200));
  EXPECT_LT(seconds_of_processor() - before, 0.02);  // one spinning member would take up to 0.2
}

TEST(ThreadPool, WaitingForALateMemberBurnsLittle) {
  ThreadPool pool(2);
  const double before = seconds_of_processor();
  pool.run([&](int member) {
    if (member == 1) std::this_thread::sleep_for(std::chrono::milliseconds(200));
    pool.barrier();
  });
  EXPECT_LT(seconds_of_processor() - before, 0.02);
}

TEST(ThreadPool, MisuseIsRefused) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  EXPECT_DEATH(ThreadPool(0), "0 threads");
  EXPECT_DEATH(
      {
        ThreadPool pool(1);
        pool.run([&](int) { pool.run([](int) {}); });
      },
      "a run inside a run");
}

TEST(UsableProcessors, FollowTheAffinity) {
  cpu_set_t all, one;
  ASSERT_EQ(::sched_getaffinity(0, sizeof(all), &all), 0);
  EXPECT_GE(usable_processors(), 1);
  EXPECT_LE(usable_processors(), CPU_COUNT(&all));
  CPU_ZERO(&one);
  for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++cpu) {
    if (CPU_ISSET(cpu, &all)) CPU_SET(cpu, &one);
  }
  ASSERT_EQ(::sched_setaffinity(0, sizeof(one), &one), 0);
  EXPECT_EQ(usable_processors(), 1);
  ::sched_setaffinity(0, sizeof(all), &all);
}

}  // namespace
}  // namespace heddle
