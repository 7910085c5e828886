// A decode step of every architecture, as the pipeline makes it for a GPU, run on the host by the emulator, against the interpreter.
#include <gtest/gtest.h>

#include "codegen/cuda/backend.h"
#include "codegen/cuda/questions.h"
#include "codegen/cuda/target.h"
#include "codegen/write_plan.h"
#include "frontends/gguf/read.h"
#include "passes/pipeline.h"
#include "tests/support/emulator/cuda_emulator.h"
#include "tests/support/tiny_architectures.h"

namespace heddle::testing {
namespace {

Result<PreparedCase> prepare_model(const GgufWriter& file, DType activations, std::int64_t rows) {
  PreparedCase out;
  const std::string bytes = file.bytes();
  HEDDLE_ASSIGN(const auto model, frontends::gguf::read_model(std::as_bytes(std::span(bytes)), "tiny.gguf"));
  HEDDLE_ASSIGN(const auto target, codegen::cuda::target_named("cuda:sm_90", activations));
  HEDDLE_ASSIGN(out.module, frontends::build_ir(model, {.entries = {{EntryKind::decode, rows}}, .kv = DType::f32, .target = target}));
  const codegen::cuda::CudaQuestions questions(target);
  passes::register_builtin_passes(passes::Registry::global());
  HEDDLE_ASSIGN([[maybe_unused]] const auto report, passes::run_pipeline(*out.module, passes::default_pipeline(codegen::cuda::backend().extra_passes()), &questions, {}));
  for (const ir::Value* weight : out.module->weights()) out.weights.push_back(random_weight(*weight));
  const auto places = [](const std::string&) { return codegen::TensorPlace{}; };  // no file is read
  HEDDLE_TRY(codegen::write_plan(*out.module, places, out.plan));
  return out;
}

class Architectures : public ::testing::TestWithParam<std::string> {};

TEST_P(Architectures, AgreeWithTheInterpreter) {
  for (const TinyArchitecture& tiny : tiny_architectures()) {
    if (tiny.name != GetParam()) continue;
    const bool quantised = tiny.name.ends_with("_q8");
    KernelCase test;
    test.name = tiny.name;
    test.slots = 2, test.capacity = 16;
    test.tolerance = quantised ? 2e-2 : 2e-4;
    for (std::int32_t step = 0; step < 9; ++step) test.steps.push_back({{(7 * step + 1) % 48, 0, step}, {(5 * step + 2) % 48, 1, step}});
    auto prepared = prepare_model(tiny.file, quantised ? DType::q8_16 : DType::f32, 2);
    ASSERT_TRUE(prepared.ok()) << prepared.error().message();
    auto wanted = interpret(test, *prepared);
    ASSERT_TRUE(wanted.ok()) << wanted.error().message();
    auto kernels = build_emulated(*prepared);
    ASSERT_TRUE(kernels.ok()) << kernels.error().message();
    auto found = emulate(test, *prepared, **kernels, copies_late | backwards);
    ASSERT_TRUE(found.ok()) << found.error().message();
    EXPECT_EQ(difference(test, *wanted, *found), "");
  }
}

std::vector<std::string> names() {
  std::vector<std::string> out;
  for (const TinyArchitecture& tiny : tiny_architectures()) out.push_back(tiny.name);
  return out;
}
INSTANTIATE_TEST_SUITE_P(Tiny, Architectures, ::testing::ValuesIn(names()), [](const auto& info) { return info.param; });

}  // namespace
}  // namespace heddle::testing
