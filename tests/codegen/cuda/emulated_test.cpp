// The cases' kernels, run on the host by the emulator, against the interpreter. The slow ones: --gtest_also_run_disabled_tests.
#include <gtest/gtest.h>

#include "tests/support/emulator/cuda_emulator.h"

namespace heddle::testing {
namespace {

class Emulated : public ::testing::TestWithParam<std::string> {};

TEST_P(Emulated, AgreesWithTheInterpreter) {
  for (const KernelCase& test : kernel_cases()) {
    if (test.name != GetParam()) continue;
    auto prepared = prepare(test, "cuda:sm_90");
    ASSERT_TRUE(prepared.ok()) << prepared.error().message();
    auto wanted = interpret(test, *prepared);
    ASSERT_TRUE(wanted.ok()) << wanted.error().message();
    auto kernels = build_emulated(*prepared);
    ASSERT_TRUE(kernels.ok()) << kernels.error().message();
    for (int mode : {int(copies_at_once), copies_late | backwards}) {
      auto found = emulate(test, *prepared, **kernels, mode);
      ASSERT_TRUE(found.ok()) << found.error().message();
      EXPECT_EQ(difference(test, *wanted, *found), "") << "mode " << mode;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, Emulated, ::testing::ValuesIn(case_names(false)), [](const auto& info) { return info.param; });
INSTANTIATE_TEST_SUITE_P(DISABLED_Slow, Emulated, ::testing::ValuesIn(case_names(true)), [](const auto& info) { return info.param; });

/// Less shared memory, and no programmatic launches.
TEST(EmulatedFor, AnArchitectureWithLessSharedMemory) {
  for (const KernelCase& test : kernel_cases()) {
    if (test.name != "layer_deferred_4rows" && test.name != "product_f32_20x9216_8rows_f32" && test.name != "layer" &&
        test.name != "layer_tiles_32rows" && test.name != "tiles_q6_K_130x256_64rows" && test.name != "tiles_q4_K_512x256_128rows_gated" &&
        test.name != "layer_flash_head192_window_softcap")
      continue;
    auto prepared = prepare(test, "cuda:sm_86");
    ASSERT_TRUE(prepared.ok()) << prepared.error().message();
    auto wanted = interpret(test, *prepared);
    ASSERT_TRUE(wanted.ok()) << wanted.error().message();
    auto kernels = build_emulated(*prepared);
    ASSERT_TRUE(kernels.ok()) << kernels.error().message();
    auto found = emulate(test, *prepared, **kernels, copies_late);
    ASSERT_TRUE(found.ok()) << found.error().message();
    EXPECT_EQ(difference(test, *wanted, *found), "") << test.name;
  }
}

}  // namespace
}  // namespace heddle::testing
