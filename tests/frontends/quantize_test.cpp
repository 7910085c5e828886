#include "frontends/quantize/quantize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <random>

#include "frontends/quantize/quantize_q4_0.h"
#include "frontends/quantize/quantize_q4_K.h"
#include "ir/base/mapped_file.h"
#include "tests/support/paths.h"
#include "tests/support/safetensors_writer.h"

namespace heddle::testing {
namespace {

using namespace frontends;

const TinyModel wide{
    .layers = 1, .width = 256, .ffn = 320, .heads = 4, .kv_heads = 2, .head_dim = 16, .vocabulary = 64, .matrices = DType::bf16};

class Quantize : public ::testing::Test {
 protected:
  void SetUp() override {
    tiny_folder(wide).write(folder_.path());
    auto opened = open_model(folder_.path());
    ASSERT_TRUE(opened.ok()) << opened.error().message();
    model_ = std::move(*opened);
  }
  std::string write(DType type) {
    const auto from = quantized_from(model_.files, model_.fingerprint, type);
    HEDDLE_CHECK(from.ok());
    const auto written = write_quantized(model_, type, path_, *from, {});
    HEDDLE_CHECK(written.ok(), "{}", written.error().message());
    return *from;
  }
  std::vector<float> values(const Model& model, const std::string& name) {
    const TensorInfo& tensor = *model.tensor(name);
    const auto file = MappedFile::open(model.files[tensor.file].path);
    HEDDLE_CHECK(file.ok());
    const std::int64_t blocks = std::int64_t(tensor.bytes) / info(tensor.dtype).bytes;
    std::vector<float> out(std::size_t(blocks * info(tensor.dtype).elements));
    info(tensor.dtype).dequantize(file->bytes().data() + tensor.offset, out.data(), blocks);
    return out;
  }
  TempDir folder_, cache_;
  std::string path_ = cache_.file("deep/er/w.weights");
  Model model_;
};

TEST_F(Quantize, MatricesWithWholeBlocks) {
  const Model q8 = quantized(model_, DType::q8_0, path_), q4 = quantized(model_, DType::q4_K, path_);
  EXPECT_EQ(q8.tensor("blk.0.attn_q.weight")->dtype, DType::q8_0);
  EXPECT_EQ(q8.tensor("blk.0.ffn_down.weight")->dtype, DType::q8_0);
  EXPECT_EQ(q8.tensor("blk.0.attn_norm.weight")->dtype, DType::f32);
  EXPECT_EQ(q4.tensor("blk.0.attn_q.weight")->dtype, DType::q4_K);
  EXPECT_EQ(q4.tensor("blk.0.ffn_down.weight")->dtype, DType::bf16) << "rows of 320";
  EXPECT_EQ(q4.tensor("blk.0.attn_output.weight")->dtype, DType::bf16) << "rows of 64";
  EXPECT_EQ(q4.files.size(), 2u);
  EXPECT_EQ(q4.fingerprint, model_.fingerprint);
  EXPECT_FALSE(std::filesystem::exists(path_));
}

TEST_F(Quantize, IsTheReferenceRoundingFor8Bits) {
  const std::string from = write(DType::q8_0);
  const Model q8 = quantized(model_, DType::q8_0, path_);
  EXPECT_EQ(std::filesystem::file_size(path_), q8.files[1].bytes);
  const auto checked = check_quantized(path_, from);
  EXPECT_TRUE(checked.ok()) << checked.error().message();
  for (const TensorInfo& tensor : q8.tensors) {
    std::vector<float> want = values(model_, tensor.name);
    if (tensor.dtype == DType::q8_0) {
      std::vector<std::byte> blocks(tensor.bytes);
      info(DType::q8_0).quantize(want.data(), blocks.data(), std::int64_t(want.size()) / 32);
      info(DType::q8_0).dequantize(blocks.data(), want.data(), std::int64_t(want.size()) / 32);
    }
    EXPECT_EQ(values(q8, tensor.name), want) << tensor.name;
  }
}

TEST_F(Quantize, DamageAndOtherWeightsAreSeen) {
  const std::string from = write(DType::q4_0);
  const auto message = [&](const std::string& wanted) {
    const auto checked = check_quantized(path_, wanted);
    return checked.ok() ? "" : checked.error().message().substr(path_.size());
  };
  EXPECT_EQ(message(from), "");
  EXPECT_EQ(message(from + "x"), ": it was made from other weights");
  std::fstream file(path_, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(1000);
  file.put('\x55');
  file.close();
  EXPECT_EQ(message(from), ": its checksum is wrong");
  std::filesystem::resize_file(path_, 999);
  EXPECT_EQ(message(from).substr(0, 12), ": 999 bytes,");
  std::ofstream(path_) << "something else, longer than the header of such a file, which has 64 bytes";
  EXPECT_EQ(message(from), ": no file of quantised weights");
}

TEST_F(Quantize, ChangedWeightsAreSeenThoughTheHeaderIsTheSame) {
  const auto from = quantized_from(model_.files, model_.fingerprint, DType::q8_0);
  std::filesystem::last_write_time(folder_.file("model.safetensors"),
                                   std::filesystem::file_time_type::clock::now() + std::chrono::seconds(5));
  const auto later = quantized_from(model_.files, model_.fingerprint, DType::q8_0);
  ASSERT_TRUE(from.ok() && later.ok());
  EXPECT_NE(*from, *later);
}

TEST_F(Quantize, OnlyTheFormatsThereAre) {
  EXPECT_EQ(quantization_named("q5_K").error().message(), "format 'q5_K' cannot be quantised to (known: q8_0, q4_0, q4_K)");
}

double squared_error(const std::vector<float>& x, const std::vector<float>& y) {
  double error = 0;
  for (std::size_t i = 0; i < x.size(); ++i) error += (double(x[i]) - y[i]) * (double(x[i]) - y[i]);
  return error;
}

using Rounding = void (*)(const float*, std::byte*, std::int64_t);

std::vector<float> through(DType type, Rounding quantize, const std::vector<float>& x) {
  const auto blocks = std::int64_t(x.size()) / info(type).elements;
  std::vector<std::byte> bytes(std::size_t(blocks * info(type).bytes));
  std::vector<float> out(x.size());
  quantize(x.data(), bytes.data(), blocks);
  info(type).dequantize(bytes.data(), out.data(), blocks);
  return out;
}

constexpr std::pair<DType, Rounding> searches[] = {{DType::q4_0, quantize_q4_0}, {DType::q4_K, quantize_q4_K}};

TEST(QuantizeBySearch, ErrsLessThanTheReferenceRounding) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::student_t_distribution<float> heavy(4);
  for (const auto& [type, quantize] : searches) {
    for (const bool tails : {false, true}) {
      std::vector<float> x(256 * 64);
      for (float& v : x) v = 0.02f * (tails ? heavy(random) : normal(random));
      const double ours = squared_error(x, through(type, quantize, x)), reference = squared_error(x, through(type, info(type).quantize, x));
      EXPECT_LT(ours, 0.96 * reference) << name(type) << (tails ? ", heavy tails" : ", normal");
    }
  }
}

TEST(QuantizeBySearch, BlocksOfAKind) {
  for (const auto& [type, quantize] : searches) {
    for (const float constant : {0.0f, 1.0f, -2.5f, 1e-30f}) {
      const std::vector<float> x(256, constant);
      for (const float v : through(type, quantize, x)) EXPECT_NEAR(v, constant, 0.01 * std::fabs(constant) + 1e-8) << name(type);
    }
    std::vector<float> x(512);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] = i < 256 ? 0.5f : -0.25f * float(i % 16);
    x[7] = std::nanf("");
    const auto y = through(type, quantize, x);
    EXPECT_TRUE(std::isnan(y[7])) << name(type);
    for (std::size_t i = 256; i < 512; ++i) EXPECT_NEAR(y[i], x[i], 0.3) << name(type);
  }
}

}  // namespace
}  // namespace heddle::testing
