// The text of every case's kernels, compiled by NVRTC where it is there.
#include <gtest/gtest.h>

#include <chrono>
#include <map>

#include "codegen/cuda/emit.h"
#include "codegen/cuda/nvrtc.h"
#include "codegen/cuda/targets.h"
#include "tests/support/kernel_case.h"

namespace heddle::testing {
namespace {

using namespace codegen::cuda;

class Compiles : public ::testing::TestWithParam<std::string> {};

TEST_P(Compiles, WithoutSpills) {
  auto nvrtc = Nvrtc::open();
  if (!nvrtc.ok()) GTEST_SKIP() << nvrtc.error().message();
  std::map<std::string, int> seen;
  for (const KernelCase& test : kernel_cases()) {
    const bool here = GetParam() == "cuda:sm_90" || test.compiled_for_all;
    if (!here) continue;
    auto prepared = prepare(test, GetParam());
    ASSERT_TRUE(prepared.ok()) << test.name << ": " << prepared.error().message();
    for (const auto& kernel : prepared->plan.kernels) {
      auto text = emit(*kernel->spec, prepared->module->target);
      ASSERT_TRUE(text.ok()) << text.error().message();
      if (seen[text->text]++) continue;
      const auto start = std::chrono::steady_clock::now();
      auto compiled = (*nvrtc)->compile(text->entry, text->text, architecture_of(prepared->module->target));
      const double ms = std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - start).count();
      ASSERT_TRUE(compiled.ok()) << compiled.error().message() << "\n" << text->text;
      EXPECT_EQ(compiled->spill_bytes, 0) << text->entry << " " << compiled->registers;
      printf("%-28s %-100s %3d regs %6d dyn smem %4.0f ms %zu cubin\n", test.name.c_str(), text->entry.substr(0, 100).c_str(), compiled->registers,
             text->dynamic_shared_bytes, ms, compiled->cubin.size());
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Targets, Compiles, ::testing::ValuesIn(target_names()), [](const auto& info) { return info.param.substr(5); });

}  // namespace
}  // namespace heddle::testing
