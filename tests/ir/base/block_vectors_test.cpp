// Our block formats against those of gguf-py and ggml, bit for bit. The vectors and their layout: tools/scripts/make_block_vectors.py.
#include <gtest/gtest.h>

#include <cstring>
#include <vector>

#include "ir/base/dtype.h"
#include "ir/base/mapped_file.h"
#include "tests/support/paths.h"
#include "tests/support/weight_formats.h"

namespace heddle {
namespace {

using testing::weight_formats;

struct Vectors {
  std::int64_t blocks = 0;
  std::vector<std::byte> quantized;
  std::vector<float> floats;
};

Vectors read(DType type, const char* direction) {
  const std::string path = testing::source_path(fmt::format("tests/ir/base/data/{}.{}.bin", name(type), direction));
  const Result<MappedFile> file = MappedFile::open(path);
  HEDDLE_CHECK(file.ok(), "{}", file.error().message());
  const std::span<const std::byte> bytes = file->bytes();
  std::uint32_t header[3];
  HEDDLE_CHECK(bytes.size() > sizeof(header));
  std::memcpy(header, bytes.data(), sizeof(header));
  HEDDLE_CHECK(int(header[1]) == info(type).elements && int(header[2]) == info(type).bytes, "{}: another block size", path);
  Vectors v;
  v.blocks = header[0];
  v.quantized.resize(std::size_t(v.blocks * info(type).bytes));
  v.floats.resize(std::size_t(v.blocks * info(type).elements));
  HEDDLE_CHECK(bytes.size() == sizeof(header) + v.quantized.size() + v.floats.size() * sizeof(float), "{}: {} bytes", path, bytes.size());
  std::memcpy(v.quantized.data(), bytes.data() + sizeof(header), v.quantized.size());
  std::memcpy(v.floats.data(), bytes.data() + sizeof(header) + v.quantized.size(), v.floats.size() * sizeof(float));
  return v;
}

std::vector<std::uint32_t> bits_of(const std::vector<float>& x) {
  std::vector<std::uint32_t> bits(x.size());
  std::memcpy(bits.data(), x.data(), x.size() * sizeof(float));
  return bits;
}

class Dequantize : public ::testing::TestWithParam<DType> {};

TEST_P(Dequantize, EqualsGgufPy) {
  const Vectors v = read(GetParam(), "dequantize");
  ASSERT_GE(v.blocks, 8);
  std::vector<float> ours(v.floats.size());
  info(GetParam()).dequantize(v.quantized.data(), ours.data(), v.blocks);
  EXPECT_EQ(bits_of(ours), bits_of(v.floats));
}

class Quantize : public ::testing::TestWithParam<DType> {};

TEST_P(Quantize, EqualsTheReference) {
  const Vectors v = read(GetParam(), "quantize");
  ASSERT_GE(v.blocks, 8);
  std::vector<std::byte> ours(v.quantized.size());
  info(GetParam()).quantize(v.floats.data(), ours.data(), v.blocks);
  EXPECT_EQ(ours, v.quantized);
}

std::string type_name(const ::testing::TestParamInfo<DType>& p) { return std::string(name(p.param)); }
INSTANTIATE_TEST_SUITE_P(BlockVectors, Dequantize, ::testing::ValuesIn(weight_formats()), type_name);
INSTANTIATE_TEST_SUITE_P(BlockVectors, Quantize, ::testing::Values(DType::q4_0, DType::q8_0, DType::q4_K, DType::q8_K), type_name);

}  // namespace
}  // namespace heddle
