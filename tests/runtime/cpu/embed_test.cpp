#include <gtest/gtest.h>

#include "kernel_case.h"
#include "tests/support/weight_formats.h"

namespace heddle::testing {
namespace {

TEST(embed, rows_of_a_table_of_any_format) {
  std::vector<DType> tables = weight_formats();
  tables.insert(tables.end(), {DType::f32, DType::f16, DType::bf16});
  for (const DType table : tables) {
    SCOPED_TRACE(name(table));
    KernelCase kernel(plan::Embed{}, 5);
    kernel.spec.embed()->table = kernel.weight(table, {11, 512});
    kernel.spec.embed()->tokens = kernel.tokens({10, 0, 3, 3, 7});
    const unsigned gain = kernel.weight(DType::f32, {512}), plain = kernel.output(DType::f32, 512),
                   normed = kernel.output(DType::q8_1, 512);
    ProgramWriter epilogue;
    const unsigned x = epilogue.loop(0), g = epilogue.vector(gain);
    epilogue.store(x, plain);
    epilogue.store(epilogue.quantize(epilogue.rms_norm(x, g, 1e-5), DType::q8_1), normed);
    kernel.part(512, 32, {}, std::move(epilogue));
    expect_reference(kernel, 1e-6);
    expect_reference(kernel.in_panels(), 1e-6);
  }
}

}  // namespace
}  // namespace heddle::testing
