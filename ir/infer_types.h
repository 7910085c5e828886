#pragma once
#include "ir/graph.h"

namespace heddle::ir {

/// The type of the node's (only) result by its row's rule in ops.def, from operands and attributes. Errors read like
/// "matmul: w is q4_K[8, 512], x has 256 columns". Not for groups (their results are what they yield) and terminators.
Result<Type> infer_type(const Node& node);

/// Number of operands and kinds of attributes are those of the node's row: "add: has 1 operand, wants 2".
Result<void> check_row(const Node& node);

/// A type that a value may have: at most 4 dimensions, each at least 1, at most 2^40 elements, rows of whole blocks, a state of the form
/// [2, kv_heads, head_dim] in a float type. "q4_K[2, 100]: rows are not whole blocks of 256".
Result<void> check_type(const Type& type);

/// Whether `matmul` takes activations of this type beside f32: a block format of 8 bits or more that heddle can write.
bool is_activation_format(DType type);

/// The rules that ops.def names in its column `result`.
struct ResultRule {
  std::string_view name, meaning;
};
std::span<const ResultRule> result_rules();

}  // namespace heddle::ir
