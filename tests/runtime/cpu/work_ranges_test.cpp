#include "runtime/cpu/work_ranges.h"

#include <gtest/gtest.h>

#include "ir/base/thread_pool.h"

namespace heddle::runtime::cpu {
namespace {

TEST(WorkRanges, EveryItemIsTakenOnceInEveryStep) {
  for (const int threads : {1, 2, 4}) {
    std::vector<std::int64_t> starts;
    for (int member = 0; member <= threads; ++member) starts.push_back(member == threads ? 1000 : 10 * member);  // the last has most
    const WorkRanges work(starts);
    std::vector<std::atomic<int>> taken(1000);
    ThreadPool pool(threads);
    for (std::uint32_t step = 1; step <= 50; ++step) {
      pool.run([&](int member) {
        work.begin(member, step);
        for (std::int64_t i; (i = work.take(member, step)) >= 0;) taken[std::size_t(i)].fetch_add(1);
      });
      for (const auto& count : taken) ASSERT_EQ(count.load(), int(step));
    }
  }
}

TEST(WorkRanges, AMemberTakesItsOwnInOrderAndThenFromTheEndOfOthers) {
  const WorkRanges work({0, 2, 5});
  work.begin(0, 7);
  work.begin(1, 7);
  std::vector<std::int64_t> found;
  for (int i = 0; i < 6; ++i) found.push_back(work.take(0, 7));
  EXPECT_EQ(found, (std::vector<std::int64_t>{0, 1, 4, 3, 2, -1}));
}

TEST(WorkRanges, NothingIsTakenFromAMemberThatHasNotBegun) {
  const WorkRanges work({0, 1, 5});
  work.begin(0, 3);
  work.begin(1, 2);  // the step before
  EXPECT_EQ(work.take(0, 3), 0);
  EXPECT_EQ(work.take(0, 3), -1);
}

}  // namespace
}  // namespace heddle::runtime::cpu
