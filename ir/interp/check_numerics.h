#pragma once
#include <cstdint>
#include <string>

#include "ir/graph.h"

namespace heddle::ir::interp {

struct Difference {
  double largest = 0;                               // of all returned values and cache entries; infinity where only one side is finite
  std::string where;                                // "@decode_1: returned value 0[17]: -0.25 before, 0.5 after"; empty while identical
  bool identical() const { return where.empty(); }  // bit for bit, but for the sign of zero
};

/// Runs every function of both modules on the interpreter with the same random weights, arguments and caches, and compares all that they
/// return. Weights are random numbers in their own format: rounded by its quantizer, or random blocks where it has none. Rows stand at
/// the positions from 4 on of slot 0; the last of three or more is idle. An error where the modules do not take or return the same.
Result<Difference> check_numerics(const Module& before, const Module& after, std::uint64_t seed);

}  // namespace heddle::ir::interp
