#include "ir/text/ops_reference.h"

#include "ir/base/scalar_ops.h"
#include "ir_text.h"

namespace heddle::ir::testing {
namespace {

using ::testing::HasSubstr;

TEST(OpsReference, HasEveryRowAndItsForm) {
  const std::string text = ops_reference();
  for (const OpInfo& row : all_ops()) {
    EXPECT_THAT(text, HasSubstr(fmt::format("\n## {}\n", row.name)));
    EXPECT_THAT(text, HasSubstr(std::string(row.doc)));
  }
  EXPECT_THAT(text, HasSubstr("\n    %y = rope %x, %pos[, %factors] {head_dim=i64, dims=i64, theta=f32, pairing=str}\n"));
  EXPECT_THAT(text, HasSubstr("\n    %y = matmul %w, %x[, %experts][, %gates]\n"));
  EXPECT_THAT(text, HasSubstr("\n    %y, ... = group \"label\" { ... }\n"));
  EXPECT_THAT(text, HasSubstr("\n    ret %values, ...\n"));
  EXPECT_THAT(text, HasSubstr("- expression: `x / (F(1) + exp(F(0) - x))`\n"));
  EXPECT_THAT(text, HasSubstr("- traits: pure, row_wise, reduction\n"));
  EXPECT_THAT(text, HasSubstr("| q4_K | 256 | 144 |\n"));
  EXPECT_THAT(text, HasSubstr("- dominance: "));
}

TEST(OpsReference, ElementwiseOpsAreThoseOfTheScalarTable) {
  for (const OpInfo& row : all_ops()) {
    const auto scalar = scalar_op_named(row.name);
    EXPECT_EQ(row.has(elementwise), scalar.has_value()) << row.name;
    if (!scalar) continue;
    EXPECT_EQ(row.required, unsigned(heddle::info(*scalar).arity)) << row.name;
  }
}

TEST(OpsReference, EveryTraitOfARowIsNamed) {
  for (const OpInfo& row : all_ops()) EXPECT_EQ(row.traits & ~((2u * terminator) - 1), 0u) << row.name;
  const std::string text = ops_reference();
  for (std::string_view trait : {"pure", "elementwise", "row_wise", "row_pair", "reduction", "anchor", "state_write", "state_read",
                                 "blockwise", "gather", "region", "terminator"})
    EXPECT_THAT(text, HasSubstr(fmt::format("\n- {}: ", trait)));
}

}  // namespace
}  // namespace heddle::ir::testing
