#include "tests/support/weight_formats.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "ir/base/blocks.h"
#include "ir/base/check.h"

namespace heddle::testing {
namespace {

/// All scales of a block by the names that blocks.h gives them.
template <class Block>
void set_scales(Block& block, float scale, std::mt19937& random) {
  const auto half = [&] { return to_f16(scale * (random() % 2 ? 1.0f : -1.0f) * (0.75f + float(random() % 1000) / 2000)); };
  if constexpr (requires { block.d; }) block.d = half();
  if constexpr (requires { block.dmin; }) block.dmin = half();
  if constexpr (requires { block.e; }) block.e = std::uint8_t(128 + std::ilogb(scale) + int(random() % 2));
  if constexpr (requires { block.m; }) block.m = to_f16(-8 * to_float(half()));
}

template <class Block>
std::vector<std::byte> make_blocks(DType type, std::int64_t blocks, float size, std::mt19937& random) {
  std::vector<std::byte> out(std::size_t(blocks) * sizeof(Block));
  for (std::byte& byte : out) byte = std::byte(random());
  for (std::int64_t b = 0; b < blocks; ++b) {
    Block block;
    std::byte* const at = out.data() + b * std::int64_t(sizeof(Block));
    const auto set = [&](float scale) {
      std::memcpy(&block, at, sizeof block);
      set_scales(block, scale, random);
      std::memcpy(at, &block, sizeof block);
    };
    set(1);
    float values[256], largest = 0;
    info(type).dequantize(at, values, 1);
    for (int i = 0; i < info(type).elements; ++i) largest = std::max(largest, std::fabs(values[i]));
    set(largest > 0 ? size / largest : size);
  }
  return out;
}

}  // namespace

std::vector<DType> weight_formats() {
  return {
#define HEDDLE_DTYPE(name, elements, bytes, ggml)
#define HEDDLE_WEIGHT_FORMAT(name, elements, bytes, ggml, Block) DType::name,
#include "ir/base/dtype.def"
  };
}

std::vector<std::byte> random_blocks(DType type, std::int64_t blocks, float size, std::mt19937& random) {
  switch (type) {
#define HEDDLE_DTYPE(name, elements, bytes, ggml)
#define HEDDLE_WEIGHT_FORMAT(name, elements, bytes, ggml, Block) \
  case DType::name:                                              \
    return make_blocks<Block>(type, blocks, size, random);
#include "ir/base/dtype.def"
    default:
      HEDDLE_CHECK(false, "blocks of {}", name(type));
  }
}

std::vector<std::byte> random_elements(DType type, std::int64_t elements, float size, std::mt19937& random) {
  const DTypeInfo& row = info(type);
  if (!row.quantize) return random_blocks(type, elements / row.elements, size, random);
  std::vector<std::byte> bytes(std::size_t(bytes_of(type, elements)));
  std::vector<float> values(static_cast<std::size_t>(elements));
  for (float& value : values) value = size * float(int(random() % 4001) - 2000) / 2000;
  row.quantize(values.data(), bytes.data(), elements / row.elements);
  return bytes;
}

}  // namespace heddle::testing
