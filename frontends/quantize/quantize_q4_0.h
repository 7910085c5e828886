#pragma once
#include <cstddef>
#include <cstdint>

namespace heddle::frontends {

/// Floats to q4_0, `blocks` blocks of 32, with the scale of least squared error that a search finds; the format's reference rounding
/// (ir/base/dtype.h) takes the one that hits the largest element. A block with an element that is not finite reads back as NaN.
void quantize_q4_0(const float* in, std::byte* out, std::int64_t blocks);

}  // namespace heddle::frontends
