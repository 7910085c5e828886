#pragma once
#include <algorithm>
#include <span>

#include "ir/base/dtype.h"

namespace heddle {

/// Elements of a shape that was checked: no dimension is below 1 and the product fits.
inline std::int64_t elements_of(std::span<const std::int64_t> shape) {
  std::int64_t elements = 1;
  for (const std::int64_t size : shape) elements *= size;
  return elements;
}

// Bytes of operands that a kernel does not read whole, for whoever counts them: of IR (passes/cost_model), of specs (codegen/estimates).

/// So many rows of a table [.., width].
inline std::int64_t bytes_of_rows(DType type, std::int64_t width, std::int64_t rows) { return rows * bytes_of(type, width); }

/// So many matrices, at most all, of a stack [count, rows, columns].
inline std::int64_t bytes_of_matrices(DType type, std::span<const std::int64_t> shape, std::int64_t matrices) {
  return bytes_of(type, elements_of(shape.subspan(1)) * std::min(matrices, shape[0]));
}

/// So many positions of a cache; the shape is what one position holds.
inline std::int64_t bytes_of_positions(DType type, std::span<const std::int64_t> shape, std::int64_t positions) {
  return positions * bytes_of(type, elements_of(shape));
}

}  // namespace heddle
