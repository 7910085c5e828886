#pragma once
#include <cstdint>
#include <string_view>

/// The loop of decode_attention.cpp over the positions of a block, on tensor cores (mma m16n8k16, f16).
namespace heddle::codegen::cuda {

inline constexpr int mma_keys = 16;  // positions that a warp looks at together
/// Bytes that a warp keeps of them in its ring: keys and values.
constexpr std::int64_t mma_stage_bytes(std::int64_t head_dim) { return 2 * mma_keys * head_dim * 2; }
/// Query heads are half the rows of a tile; a lane's 16 bytes of values cover a tile's columns of 64 elements.
constexpr bool mma_fits(std::int64_t head_dim, std::int64_t group) { return (head_dim == 64 || head_dim == 128) && group <= 8; }

/// From slot and position to warp_best, warp_sum and warp_out.
extern const std::string_view mma_body;

}  // namespace heddle::codegen::cuda
