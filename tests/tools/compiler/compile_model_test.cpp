#include "tools/compiler/compile_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "codegen/backend.h"
#include "tests/support/paths.h"
#include "tools/compiler/measured_choices.h"
#include "tools/compiler/targets.h"

namespace heddle::tools {
namespace {

using ::testing::HasSubstr;

TEST(CompileModel, PrintsNothingAndTellsItsListener) {
  CompileOptions options;
  options.target = "cpu";
  options.use_cache = false;
  options.print_after = "cse";
  std::string heard;
  options.listener.log = [&](std::string_view line) { heard += line; };
  ::testing::internal::CaptureStderr();
  ::testing::internal::CaptureStdout();
  const auto compiled = compile_model(testing::source_path("tests/models/tiny-llama-Q4_K_M.gguf"), options);
  EXPECT_EQ(::testing::internal::GetCapturedStdout() + ::testing::internal::GetCapturedStderr(), "");
  ASSERT_TRUE(compiled.ok()) << compiled.error().message();
  EXPECT_THAT(heard, HasSubstr("# after cse\nheddle-ir 1"));
  EXPECT_TRUE(compiled->remarks.empty());
}

TEST(CompileModel, APlanForACardIsCompiledForItsArchitecture) {
  if (const auto compiler = codegen::backend(BackendKind::cuda).kernel_compiler(); !compiler.ok()) GTEST_SKIP() << compiler.error().message();
  const testing::TempDir folder;
  CompileOptions options;
  options.cache_dir = folder.path();
  options.prefill = {0};
  const auto compile = [&](const char* target) {
    options.target = target;
    return compile_model(testing::source_path("tests/models/tiny-llama-Q4_K_M.gguf"), options);
  };
  const auto card = compile("cuda:h200"), same = compile("cuda:h200"), generic = compile("cuda:sm_90");
  ASSERT_TRUE(card.ok()) << card.error().message();
  ASSERT_TRUE(same.ok() && generic.ok());
  EXPECT_EQ(card->plan->target, "cuda:h200");
  EXPECT_FALSE(card->plan->kernels.front().cuda->cubin.empty());
  EXPECT_FALSE(same->built);
  EXPECT_THAT(generic->plan->remarks.front(), HasSubstr("the figures of cuda:sm_90 are those of cuda:h100"));
  EXPECT_EQ(generic->remarks.front(), generic->plan->remarks.front());
  EXPECT_NE(generic->path, card->path);
}

TEST(Targets, AreThoseOfTheBackends) {
  EXPECT_EQ(target_named("cpu", "q8")->activations, DType::q8_1);
  EXPECT_EQ(target_named("cuda:h200", "q8")->activations, DType::q8_16);
  EXPECT_EQ(target_named("cuda:h200", "f32")->activations, DType::f32);
  EXPECT_EQ(target_named("cuda:h200", "f16").error().message(), "activations 'f16' are not known (known: q8, f32)");
  for (const char* name : {"cuda:h2000", "cuda:", "cuda", "cpu:auto", "h200"})
    EXPECT_THAT(target_named(name, "q8").error().message(), HasSubstr(fmt::format("target '{}' is not known (known: auto, cpu, cuda:auto, cuda:a100,", name)));
}

TEST(MeasuredChoices, AreKeptByCard) {
  CompileOptions options;
  options.cache_dir = "cache";
  EXPECT_EQ(tuning_path(*target_named("cuda:sm_90", "q8"), options), "cache/tuning-h100.json");
  EXPECT_EQ(tuning_path(*target_named("cuda:h200", "q8"), options), "cache/tuning-h200.json");
  options.tuning = "mine.json";
  EXPECT_EQ(tuning_path(*target_named("cuda:h200", "q8"), options), "mine.json");
}

TEST(MeasuredChoices, OfAnotherCardAreTakenAndNamed) {
  const testing::TempDir folder;
  CompileOptions options;
  options.cache_dir = folder.path();
  EXPECT_EQ(choices_for(*target_named("cuda:sm_90", "q8"), options)->remark, "");
  const auto newer = *target_named("cuda:h200", "q8");
  const auto borrowed = choices_for(newer, options);
  ASSERT_TRUE(borrowed.ok());
  const bool own = borrowed->tuning.target == newer.name;
  EXPECT_EQ(borrowed->remark, own ? "" : "no measured choices are shipped for cuda:h200: those of cuda:h100 are taken");
  EXPECT_TRUE(choices_for(*target_named("cpu", "q8"), options)->tuning.target.empty());
}

}  // namespace
}  // namespace heddle::tools
