#include "runtime/cuda/measure/streams.h"

#include <algorithm>

#include "ir/base/timing.h"
#include "runtime/cuda/graph.h"
#include "runtime/cuda/driver/modules.h"
#include "runtime/cuda/measure/timing.h"

namespace heddle::runtime::cuda {
namespace {

constexpr std::uint64_t word = 16, result_bytes = 32 << 10;
constexpr int warm_ups = 3;

class StreamsImpl final : public Streams {
 public:
  StreamsImpl(std::unique_ptr<Gpu> gpu, std::shared_ptr<const plan::Plan> kernels, std::uint64_t bytes)
      : gpu_(std::move(gpu)), plan_(std::move(kernels)), bytes_((bytes + word - 1) / word * word) {}

  Result<void> prepare() {
    HEDDLE_TRY(check(driver(), gpu_->make_current(), "cuCtxSetCurrent"));
    HEDDLE_ASSIGN(auto modules, Modules::load(*gpu_, *plan_));
    modules_.emplace(std::move(modules));
    HEDDLE_ASSIGN(stream_, gpu_->make_stream());
    HEDDLE_ASSIGN(events_, EventPair::make(*gpu_));
    HEDDLE_ASSIGN(memory_, gpu_->allocate(bytes_, "bytes to stream"));
    HEDDLE_ASSIGN(results_, gpu_->allocate(result_bytes, "results"));
    HEDDLE_TRY(check(driver(), driver().memory_set(results_.get(), 0, result_bytes, stream_.get()), "cuMemsetD8Async"));
    Launch fill{&(*modules_)[0], {}, {}};
    fill.parameters.add(memory_.get());
    fill.parameters.add(bytes_ / word);
    HEDDLE_TRY(check(driver(), launch_one(driver(), fill, stream_.get()), "fill"));
    return check(driver(), driver().stream_synchronize(stream_.get()), "fill");
  }

  Result<double> chain(std::span<const Operator> operators, int repeats) override {
    double best = 0;
    for (std::size_t variant = 1; variant < plan_->kernels.size(); ++variant) {
      HEDDLE_ASSIGN(const double milliseconds, time((*modules_)[variant], operators, repeats));
      if (best == 0 || milliseconds < best) best = milliseconds;
    }
    return best;
  }

 private:
  const Driver& driver() const { return gpu_->driver(); }

  Result<double> time(const LoadedKernel& kernel, std::span<const Operator> operators, int repeats) {
    std::vector<LoadedKernel> kernels(operators.size(), kernel);  // a small operator gets fewer blocks
    std::vector<Launch> launches;
    std::uint64_t at = 0;
    for (std::size_t i = 0; i < operators.size(); ++i) {
      const std::uint64_t words = operators[i].bytes / word;
      kernels[i].grid[0] = unsigned(std::clamp<std::uint64_t>(words / 512, 1, kernel.grid[0]));
      if (at + words * word > bytes_) return error("cuda: a chain reads more than the {} bytes that are there", bytes_);
      Launch& launch = launches.emplace_back(Launch{&kernels[i], {}, operators[i].after});
      launch.parameters.add(memory_.get() + at);
      launch.parameters.add(words);
      launch.parameters.add(results_.get());
      at += words * word;
    }
    HEDDLE_ASSIGN(const Graph graph, Graph::build(driver(), launches, false, stream_.get()));
    std::vector<double> times;
    for (int r = -warm_ups; r < repeats; ++r) {
      HEDDLE_TRY(events_.start(stream_.get()));
      HEDDLE_TRY(check(driver(), graph.launch(driver(), stream_.get()), "cuGraphLaunch"));
      HEDDLE_ASSIGN(const double seconds, events_.stop(stream_.get()));
      if (r >= 0) times.push_back(seconds * 1e3);
    }
    return median(std::move(times));
  }

  std::unique_ptr<Gpu> gpu_;
  std::shared_ptr<const plan::Plan> plan_;
  std::uint64_t bytes_;
  std::optional<Modules> modules_;
  OwnedStream stream_;
  OwnedMemory memory_, results_;
  EventPair events_;
};

}  // namespace
}  // namespace heddle::runtime::cuda

namespace heddle::runtime {

Result<std::unique_ptr<Streams>> Streams::open(int device, std::shared_ptr<const plan::Plan> kernels, std::uint64_t bytes) {
  HEDDLE_ASSIGN(const cuda::Driver* driver, cuda::system_driver(kernels->target));
  HEDDLE_ASSIGN(auto gpu, cuda::Gpu::open(*driver, device, kernels->target));
  auto streams = std::make_unique<cuda::StreamsImpl>(std::move(gpu), std::move(kernels), bytes);
  HEDDLE_TRY(streams->prepare());
  return std::unique_ptr<Streams>(std::move(streams));
}

}  // namespace heddle::runtime
