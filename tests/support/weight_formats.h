#pragma once
#include <random>
#include <string>
#include <vector>

#include "ir/base/dtype.h"

namespace heddle::testing {

/// The block formats that weights come in, all rows of HEDDLE_WEIGHT_FORMAT.
std::vector<DType> weight_formats();

/// `blocks` blocks of a weight format: any quants, with scales that make the largest elements of each about as large as `size`.
std::vector<std::byte> random_blocks(DType type, std::int64_t blocks, float size, std::mt19937& random);

/// `elements` numbers of `type` about as large as `size`: quantised where heddle writes the type, else random blocks.
std::vector<std::byte> random_elements(DType type, std::int64_t elements, float size, std::mt19937& random);

}  // namespace heddle::testing
