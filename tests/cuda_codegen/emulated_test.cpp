// Every case's kernels, run on the host by the emulator, against the interpreter.
#include <gtest/gtest.h>

#include "tests/support/cuda_emulator.h"

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
    for (int mode : {int(copies_late), int(backwards)}) {
      auto found = emulate(test, *prepared, **kernels, mode);
      ASSERT_TRUE(found.ok()) << found.error().message();
      EXPECT_EQ(difference(test, *wanted, *found), "") << "mode " << mode;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Cases, Emulated, ::testing::ValuesIn(case_names()), [](const auto& info) { return info.param; });

}  // namespace
}  // namespace heddle::testing
