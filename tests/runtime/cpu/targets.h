#pragma once
#include <gtest/gtest.h>

#include "runtime/cpu/rows/program.h"
#include "runtime/cpu/simd.h"
// After simd.h, which says what is compiled.
#include <hwy/highway.h>

namespace heddle::testing {

/// Runs a test body with every instruction set that the CPU device has code for and this machine can run.
template <class Body>
void on_every_target(const Body& body) {
  const std::int64_t candidates[] = {HWY_SCALAR, HWY_SSE4, HWY_AVX2, HWY_AVX3, HWY_AVX3_DL, HWY_NEON};
  const std::int64_t supported = (hwy::SupportedTargets() | HWY_SCALAR) & HWY_TARGETS;
  for (const std::int64_t target : candidates) {
    if (!(supported & target)) continue;
    SCOPED_TRACE(hwy::TargetName(target));
    hwy::GetChosenTarget().Update(target);
    ASSERT_STREQ(runtime::cpu::instruction_set(), hwy::TargetName(target));
    body();
  }
  hwy::GetChosenTarget().Update(supported);
}

}  // namespace heddle::testing
