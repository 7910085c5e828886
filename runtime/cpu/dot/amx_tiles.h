#pragma once
#include <cstddef>
#include <cstdint>

/// The matrix unit of some x86 processors (AMX: 8-bit integers, bf16), by its instructions: compilers offer them only to files that are
/// built for it, and the code that uses them is built for several processors.
namespace heddle::runtime::cpu::tiles {

/// Whether the processor has it and the system lets this program use it (asked once): products of bytes, products of bf16.
bool usable();
bool usable_bf16();

/// With fewer rows the vector unit is as fast.
inline constexpr std::int64_t least_rows = 9;

#if defined(__x86_64__)
/// Sets the calling thread's tiles up for products of [16, 4 * words] by [words, 16] words; gives them back at the end.
class Session {
 public:
  explicit Session(int words) {
    struct alignas(64) Configuration {
      std::uint8_t palette = 1, start_row = 0, unused[14] = {};
      std::uint16_t row_bytes[16] = {};
      std::uint8_t rows[16] = {};
    } configuration;
    for (int i = 0; i < 8; ++i) {  // two of each: sums, activations, weights; all eight are the same with 16 words
      configuration.row_bytes[i] = i / 2 == 1 ? std::uint16_t(4 * words) : 64;
      configuration.rows[i] = i / 2 == 2 ? std::uint8_t(words) : 16;
    }
    asm volatile("ldtilecfg %0" : : "m"(configuration));
  }
  ~Session() { asm volatile("tilerelease"); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
};

/// out[16][16] = activations (16 rows of signed bytes, `stride` bytes apart) times weights (rows of 16 words of 4 signed bytes). `set`:
/// which of two sets of registers.
template <int set>
inline void multiply(const std::int8_t* activations, std::int64_t stride, const std::uint8_t* weights, std::int32_t* out) {
  const std::int64_t line = 64;
  if constexpr (set == 0) {
    asm volatile(
        "tilezero %%tmm0\n\ttileloadd (%0,%1,1), %%tmm2\n\ttileloadd (%2,%3,1), %%tmm4\n\t"
        "tdpbssd %%tmm4, %%tmm2, %%tmm0\n\ttilestored %%tmm0, (%4,%3,1)"
        :
        : "r"(activations), "r"(stride), "r"(weights), "r"(line), "r"(out)
        : "memory");
  } else {
    asm volatile(
        "tilezero %%tmm1\n\ttileloadd (%0,%1,1), %%tmm3\n\ttileloadd (%2,%3,1), %%tmm5\n\t"
        "tdpbssd %%tmm5, %%tmm3, %%tmm1\n\ttilestored %%tmm1, (%4,%3,1)"
        :
        : "r"(activations), "r"(stride), "r"(weights), "r"(line), "r"(out)
        : "memory");
  }
}

/// Tile `tile`: 16 rows of 64 bytes, `stride` bytes apart.
template <int tile>
inline void load(const void* from, std::int64_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(tile) : "memory");
}
template <int tile>
inline void store(void* to, std::int64_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(tile) : "memory");
}
template <int tile>
inline void zero() {
  asm volatile("tilezero %%tmm%c0" : : "i"(tile));
}
/// Adds to 16 by 16 floats the products of 16 rows of 32 bf16 with 16 pairs of rows of 16 bf16, the pairs side by side.
template <int sum, int rows, int pairs>
inline void multiply_bf16() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(sum), "i"(rows), "i"(pairs));
}
#endif

}  // namespace heddle::runtime::cpu::tiles
