#pragma once
#include "codegen/cuda/program.h"

/// Programs that a block runs over columns of one row, every value a function of the column: what rowwise kernels do, and the epilogues of
/// attention and embed.
namespace heddle::codegen::cuda {

struct ColumnSite {
  int threads;         // of the block, a multiple of 32
  std::string row;     // expressions: the row,
  std::string loop;    // the loop's result at column i (empty: there is none),
  std::string first;   // the first column of this block
  std::int64_t count;  // columns of this block
};

/// `whole_rows`: whether the block sees all n columns, so that sums over rows are possible.
std::optional<CannotEmit> check_columns(const Program& program, bool whole_rows);

/// Values v0, v1, ... and the stores. `slot` and `position` are variables where the program needs them.
void print_columns(Text& out, const Program& program, const ColumnSite& site);

/// Device functions for it.
extern const std::string_view column_prelude;

}  // namespace heddle::codegen::cuda
