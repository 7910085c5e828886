#include "runtime/cuda/driver/driver.h"

#include <gtest/gtest.h>

#include "fake_driver.h"
#include "runtime/cuda/device.h"

namespace heddle::testing {
namespace {

template <class T>
std::string message(const Result<T>& result) {
  return result.ok() ? "" : result.error().message();
}

TEST(OpenDriver, NamesTheMissingLibraryAndTheTarget) {
  EXPECT_EQ(
      message(open_driver("libcuda-missing.so.1", "cuda:sm_90")),
      "libcuda-missing.so.1 cannot be opened: cannot open shared object file: No such file or directory: an NVIDIA driver is needed to "
      "run target 'cuda:sm_90'");
}

TEST(OpenDriver, RefusesALibraryThatIsNoDriver) {
  EXPECT_EQ(message(open_driver("libc.so.6", "cuda:sm_90")),
            "libc.so.6 has no cuGetProcAddress of CUDA 12.0: a newer NVIDIA driver is needed to run target 'cuda:sm_90'");
}

TEST(FetchFunctions, FillsTheWholeTable) {
  FakeDriver fake;
  const auto driver = fetch_functions(FakeDriver::get_proc_address());
  ASSERT_TRUE(driver.ok()) << driver.error().message();
#define EXPECT_FETCHED(member, ...) EXPECT_EQ(driver->member, fake.api().member);
  HEDDLE_DRIVER_FUNCTIONS(EXPECT_FETCHED)
#undef EXPECT_FETCHED
}

TEST(FetchFunctions, NamesWhatAnOldDriverLacks) {
  FakeDriver fake;
  fake.version = 12010;
  fake.missing["cuGraphAddNode"] = 12030;
  EXPECT_EQ(message(fetch_functions(FakeDriver::get_proc_address())),
            "the NVIDIA driver is too old: it has no cuGraphAddNode of CUDA 12.3 (it supports CUDA 12.1)");
}

TEST(OpenGpu, ReadsWhatItIs) {
  FakeDriver fake;
  {
    const auto gpu = Gpu::open(fake.api(), 0, "cuda:sm_90");
    ASSERT_TRUE(gpu.ok());
    EXPECT_EQ((*gpu)->text(), "GPU 0 (Fake H100)");
    EXPECT_EQ((*gpu)->compute_capability, 90);
    EXPECT_EQ((*gpu)->multiprocessors, 132);
    EXPECT_EQ((*gpu)->most_shared_bytes, 232448);
    EXPECT_EQ(fake.live(), "1 context");
  }
  EXPECT_EQ(fake.live(), "");
}

TEST(OpenGpu, SaysThatThereIsNone) {
  FakeDriver fake;
  fake.gpus = 0;
  EXPECT_EQ(message(Gpu::open(fake.api(), 0, "cuda:sm_90")),
            "no GPU is found: CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected: one is needed to run target 'cuda:sm_90'");
  fake.gpus = 1;
  EXPECT_EQ(message(Gpu::open(fake.api(), 3, "cuda:sm_90")), "GPU 3 is not there: 1 found");
}

TEST(Owned, GivesBackOnceAlsoAfterMoves) {
  FakeDriver fake;
  const auto gpu = Gpu::open(fake.api(), 0, "cuda");
  {
    OwnedStream stream = std::move(*(*gpu)->make_stream());
    OwnedStream other = std::move(stream);
    stream = std::move(*(*gpu)->make_stream());
    stream = std::move(other);
    EXPECT_EQ(fake.live(), "2 stream, 1 context");
  }
  EXPECT_EQ(fake.live(), "1 context");
}

TEST(Failure, NamesTheError) {
  FakeDriver fake;
  EXPECT_EQ(failure(fake.api(), Status::illegal_address, "cuda: decode_1").message(),
            "cuda: decode_1 failed: CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered");
  EXPECT_EQ(failure(fake.api(), Status(9999), "x").message(), "x failed: error 9999: error 9999");
}

TEST(MakeCudaDevice, RefusesTooManyStepsAhead) {
  FakeDriver fake;
  runtime::CudaOptions options;
  options.ahead = 33;
  EXPECT_EQ(message(runtime::make_cuda_device(options, &fake.api())), "33 steps ahead, wanted 1 to 32");
}

TEST(BytesText, HasOneUnit) {
  EXPECT_EQ(bytes_text(812), "812 bytes");
  EXPECT_EQ(bytes_text(3'210'000), "3.2 MB");
  EXPECT_EQ(bytes_text(4'600'000'000), "4.6 GB");
}

}  // namespace
}  // namespace heddle::testing
