#include "runtime/cuda/upload.h"

#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <random>

#include "cuda_plan.h"
#include "fake_driver.h"
#include "runtime/plan/layout.h"

namespace heddle::testing {
namespace {

class Upload : public ::testing::Test {
 protected:
  Upload() : gpu(std::move(*Gpu::open(fake.api(), 0, "cuda"))), stream(std::move(*gpu->make_stream())) {}

  std::string upload(const runtime::Progress& progress = {}) {
    layout = lay_out(*p.plan, {1, 16});
    pool = std::move(*gpu->allocate(layout.weight_bytes, "weights"));
    const auto done = upload_weights(*gpu, stream.get(), *p.plan, layout, pool.get(), progress);
    return done.ok() ? "" : done.error().message();
  }
  std::span<const std::byte> uploaded(std::size_t weight) const {
    return {reinterpret_cast<const std::byte*>(pool.get() + layout.weights[weight]), stored_bytes_of(p.plan->weights[weight])};
  }
  /// The weight's bytes in the model file, its sources one after the other.
  std::vector<std::byte> in_file(std::size_t weight) const {
    std::vector<std::byte> out;
    for (const auto& source : p.plan->weights[weight].sources)
      out.insert(out.end(), p.file.begin() + std::ptrdiff_t(source.offset),
                 p.file.begin() + std::ptrdiff_t(source.offset + source.bytes));
    return out;
  }
  void expect_all_uploaded() const {
    for (std::size_t i = 0; i < p.plan->weights.size(); ++i) {
      const plan::Weight& weight = p.plan->weights[i];
      std::vector<std::byte> wanted = in_file(i), found(uploaded(i).begin(), uploaded(i).end());
      if (weight.layout == Layout::planes) {
        const std::vector<std::byte> rows = std::move(wanted);
        wanted = found;  // what lies between planes is nobody's
        plan::to_planes(weight.dtype, rows.data(), 0, weight.shape[0], weight.shape[1], weight.shape[0], wanted.data());
      }
      EXPECT_TRUE(found == wanted) << weight.name;
    }
  }

  FakeDriver fake;
  CudaPlan p;
  std::unique_ptr<Gpu> gpu;
  OwnedStream stream;
  MemoryLayout layout;
  OwnedMemory pool;
};

TEST_F(Upload, BringsEveryByteInTheFilesOrder) {
  EXPECT_EQ(upload(), "");
  expect_all_uploaded();
}

TEST_F(Upload, BringsPlanesAlsoOutOfSeveralSources) {
  for (const std::size_t i : {0, 2, 4}) p.plan->weights[i].layout = Layout::planes;  // number 4 has two sources
  ASSERT_EQ(p.plan->weights[4].sources.size(), 2u);
  EXPECT_EQ(upload(), "");
  expect_all_uploaded();
}

TEST_F(Upload, LargeWeightsTravelInPieces) {
  fake.deferred = true;  // a buffer must not be filled again before its copies are done
  const std::int64_t rows = 3001, columns = 256 * 40;
  std::mt19937_64 random(5);
  for (const Layout layout : {Layout::planes, Layout::rows}) {
    plan::Weight& weight = p.plan->weights.emplace_back();
    weight.name = name(layout), weight.layout = layout, weight.dtype = DType::q6_K, weight.shape = {rows, columns};
    plan::WeightSource& source = weight.sources.emplace_back();
    source.rows = rows, source.columns = columns, source.offset = p.file.size(), source.bytes = std::uint64_t(rows * 40 * 210);
    p.file.resize(p.file.size() + source.bytes);
    for (std::size_t at = source.offset; at + 8 <= p.file.size(); at += 8) {
      const std::uint64_t word = random();
      std::memcpy(&p.file[at], &word, 8);
    }
  }
  p.plan->files[0].bytes = p.file.size();
  std::ofstream(p.plan->files[0].path, std::ios::binary)
      .write(reinterpret_cast<const char*>(p.file.data()), std::streamsize(p.file.size()));
  std::vector<double> steps;
  EXPECT_EQ(upload([&](double done) { steps.push_back(done); }), "");
  expect_all_uploaded();
  EXPECT_GE(steps.size(), 4u);
  EXPECT_TRUE(std::ranges::is_sorted(steps));
  EXPECT_EQ(steps.back(), 1.0);
  EXPECT_EQ(fake.live(), "1 memory, 1 stream, 1 context");
}

TEST_F(Upload, RefusesAFileThatChanged) {
  std::ofstream(p.plan->files[0].path, std::ios::binary).write("short", 5);
  EXPECT_EQ(upload(), p.plan->files[0].path + ": has 5 bytes, the plan was made for " + std::to_string(p.file.size()));
  p.plan->files[0].path = p.dir.file("gone");
  EXPECT_EQ(upload(), p.dir.file("gone") + ": cannot open: No such file or directory");
}

TEST_F(Upload, NamesTheWeightThatFails) {
  fake.fail_at(fake.calls() + 3, Status::illegal_address);  // after the pool, a buffer and its event
  EXPECT_EQ(upload(), "upload of weight 'token_embd.weight' failed: CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered");
}

}  // namespace
}  // namespace heddle::testing
