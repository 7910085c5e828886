#include "runtime/cuda/measure/matrix_rate.h"

#include <algorithm>

#include "ir/base/timing.h"
#include "runtime/cuda/graph.h"
#include "runtime/cuda/driver/modules.h"
#include "runtime/cuda/measure/timing.h"

namespace heddle::runtime {
namespace {

using namespace cuda;

constexpr std::uint64_t result_bytes = 1024, first_rounds = 1000;
constexpr double launch_seconds = 2e-3, warm_up_seconds = 100e-3;
constexpr int samples = 25;

}  // namespace

Result<double> matrix_rate(int device, const plan::Plan& kernel, double operations, const Driver* driver) {
  if (!driver) {
    HEDDLE_ASSIGN(driver, system_driver(kernel.target));
  }
  HEDDLE_ASSIGN(const auto gpu, Gpu::open(*driver, device, kernel.target));
  HEDDLE_TRY(check(*driver, gpu->make_current(), "cuCtxSetCurrent"));
  HEDDLE_ASSIGN(const Modules modules, Modules::load(*gpu, kernel));
  HEDDLE_ASSIGN(const OwnedStream stream, gpu->make_stream());
  HEDDLE_ASSIGN(const EventPair events, EventPair::make(*gpu));
  HEDDLE_ASSIGN(const OwnedMemory results, gpu->allocate(result_bytes, "results"));
  const auto time = [&](std::uint64_t rounds) -> Result<double> {
    Launch launch{&modules[0], {}, {}};
    launch.parameters.add(results.get());
    launch.parameters.add(rounds);
    HEDDLE_TRY(events.start(stream.get()));
    HEDDLE_TRY(check(*driver, launch_one(*driver, launch, stream.get()), "multiply"));
    return events.stop(stream.get());
  };
  // The first launch only loads the code.
  HEDDLE_TRY(time(1));
  HEDDLE_ASSIGN(const double first, time(first_rounds));
  const auto rounds = std::max<std::uint64_t>(1, std::uint64_t(launch_seconds / std::max(first, 1e-7) * double(first_rounds)));
  for (double warm = 0; warm < warm_up_seconds;) {
    HEDDLE_ASSIGN(const double seconds, time(rounds));
    warm += std::max(seconds, 1e-5);
  }
  std::vector<double> seconds;
  for (int i = 0; i < samples; ++i) {
    HEDDLE_ASSIGN(const double once, time(rounds));
    seconds.push_back(once);
  }
  const double blocks = modules[0].grid[0];
  return blocks * operations * double(rounds) / median(std::move(seconds));
}

}  // namespace heddle::runtime
