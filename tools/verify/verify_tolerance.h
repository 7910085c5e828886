#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ir/interp/interpreter.h"
#include "runtime/plan/plan.h"

namespace heddle::tools {

/// How far a value may be from the interpreter's, by its type. The error of an element is measured against
///   float types   its own magnitude plus the mean magnitude of its row: a single large element hides nothing
///   block types   the largest magnitude of its block
struct Tolerance {
  DType type;
  double limit;
  std::string_view reason;
};
std::span<const Tolerance> tolerances();

/// What a kernel that multiplies halves on the matrix units may be off on top: it rounds weights, keys or probabilities that the IR has in
/// float32, each by 2^-12 on the average, which leaves the worst of many sums some 2e-3 off; silu(gate) * up takes two of them.
/// codegen::Backend::multiplies_halves knows which kernels do.
inline constexpr double halves_tolerance = 1e-2;

double tolerance_of(DType type, bool halves = false);

/// The relative amount by which what is rounded to 8 bits may be off (ir::interp::Nudge).
inline constexpr double rounding_nudge = 4e-6;

/// The worst element of a value.
struct Worst {
  double error = 0;  // infinity where one side is not a number
  std::int64_t row = 0, column = 0;
  float got = 0, wanted = 0;
};

/// What the interpreter says a value is, and how far each element may be off because a rounding to 8 bits on the way is too close to call.
struct Wanted {
  std::span<const float> value;
  std::span<const float> slack = {};  // empty: none
};

/// Compares rows of `width` elements. `live`: the rows that count.
Worst compare(DType type, std::int64_t width, std::span<const float> got, const Wanted& wanted, const std::vector<bool>& live);

}  // namespace heddle::tools
