#pragma once
#include "codegen/cuda/expression.h"

/// Programs that a block runs over columns of one row, every value a function of the column: what rowwise kernels do, and the epilogues of
/// attention and embed.
namespace heddle::codegen::cuda {

struct ColumnSite {
  int threads;              // of the block, a multiple of 32
  std::string row;          // expressions: the row,
  std::string loop;         // the loop's result at column i (empty: there is none),
  std::string first;        // the first column of this block
  std::int64_t count;       // columns of this block: whole heads, where a value is a norm or a rope of heads
  std::string staged = {};  // what `print_column_weights` was told, if it stands before the wait, and a barrier behind it
};

/// `whole_rows`: whether the block sees all n columns, so that sums over rows are possible.
std::optional<Refusal> check_columns(const Program& program, bool whole_rows);

/// Values v0, v1, ... and the stores. `slot` and `position` are variables where the program needs them.
void print_columns(Text& out, const Program& program, const ColumnSite& site);

/// Copies into shared memory what norms and ropes of heads read of the weights: it can stand before the wait. `name` tells programs of one
/// kernel apart; `condition`: of the blocks that need it, if not all do. False: there is nothing.
bool print_column_weights(Text& out, const Program& program, int threads, std::string_view name, std::string_view condition);

/// Device functions for it.
extern const std::string_view column_prelude;

}  // namespace heddle::codegen::cuda
