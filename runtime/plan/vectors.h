#pragma once
#include <cstddef>
#include <vector>

#include "ir/base/dtype.h"
#include "runtime/plan/plan.h"

/// Weight vectors that are not stored as they are used (WeightSource in plan.fbs).
namespace heddle::plan {

/// Whether a source's numbers are made while the weight is loaded: its bytes in the file are not the weight's.
bool is_made(const WeightSource& source);

/// The numbers of a source of a weight of type `weight`: `file` holds the bytes of the file it names (unused if it names none).
std::vector<float> floats_of(const WeightSource& source, DType weight, const std::byte* file);

}  // namespace heddle::plan
