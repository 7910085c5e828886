#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include "ir/base/error.h"
#include "runtime/cuda/driver/driver_api.h"

namespace heddle::runtime::cuda {

/// The driver of this machine, opened once by dlopen; it stays open. `target` is named in the error, for example
/// "libcuda.so.1 cannot be opened: cannot open shared object file: No such file or directory: an NVIDIA driver is needed to run target
/// 'cuda:sm_90'".
Result<const Driver*> system_driver(std::string_view target);

/// The same from any library, every time anew.
Result<Driver> open_driver(const std::string& library, std::string_view target);

/// cuGetProcAddress of CUDA 12.0, the only function that is looked up by its bare name.
using GetProcAddress = Status (*)(const char* symbol, void** function, int version, unsigned long long flags, int* found);
/// "the NVIDIA driver is too old: it has no cuGraphAddNode of CUDA 12.3 (it supports CUDA 12.1)".
Result<Driver> fetch_functions(GetProcAddress get);

/// "<what> failed: CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered".
Error failure(const Driver& driver, Status status, std::string_view what);
Result<void> check(const Driver& driver, Status status, std::string_view what);

/// Something of the driver's that is given back at the end; its context must be current then.
template <class Handle, Status (*Driver::*destroy)(Handle)>
class Owned {
 public:
  Owned() = default;
  Owned(const Driver& driver, Handle handle) : driver_(&driver), handle_(handle) {}
  Owned(Owned&& other) noexcept : driver_(other.driver_), handle_(std::exchange(other.handle_, Handle{})) {}
  Owned& operator=(Owned&& other) noexcept {
    std::swap(driver_, other.driver_);
    std::swap(handle_, other.handle_);
    return *this;
  }
  ~Owned() {
    if (handle_ != Handle{}) (driver_->*destroy)(handle_);
  }
  Handle get() const { return handle_; }

 private:
  const Driver* driver_ = nullptr;
  Handle handle_ = {};
};
using OwnedStream = Owned<Stream, &Driver::stream_destroy>;
using OwnedEvent = Owned<Event, &Driver::event_destroy>;
using OwnedModule = Owned<Module, &Driver::module_unload>;
using OwnedMemory = Owned<DevicePointer, &Driver::memory_free>;
using OwnedHostMemory = Owned<void*, &Driver::host_free>;
using OwnedGraph = Owned<GraphHandle, &Driver::graph_destroy>;
using OwnedGraphExec = Owned<GraphExec, &Driver::graph_exec_destroy>;

/// One GPU with its primary context, which is held as long as the object lives.
class Gpu {
 public:
  /// Initialises the driver. "no GPU is found: CUDA_ERROR_NO_DEVICE: no CUDA-capable device is detected: one is needed to run target
  /// 'cuda:sm_90'", "GPU 3 is not there: 1 found".
  static Result<std::unique_ptr<Gpu>> open(const Driver& driver, int ordinal, std::string_view target);
  Gpu(const Gpu&) = delete;
  ~Gpu();

  const Driver& driver() const { return driver_; }
  Status make_current() const { return driver_.context_set(context_); }

  std::string text() const { return fmt::format("GPU {} ({})", ordinal, name); }  // "GPU 0 (NVIDIA H100)"
  int ordinal = 0;
  std::string name;
  int compute_capability = 0;  // 90: sm_90
  int multiprocessors = 0;
  int most_shared_bytes = 0;  // of a block
  int l2_bytes = 0;
  int driver_version = 0;     // 12040: CUDA 12.4

  Result<OwnedStream> make_stream() const;
  Result<OwnedEvent> make_event() const;
  Result<OwnedEvent> make_timing_event() const;  // one that keeps the time when it is reached
  /// "cuda: weights: 4.6 GB cannot be allocated: ...". Nothing for 0 bytes.
  Result<OwnedMemory> allocate(std::uint64_t bytes, std::string_view what) const;
  /// Pinned memory that the device can address too.
  Result<OwnedHostMemory> allocate_pinned(std::uint64_t bytes, std::string_view what) const;

 private:
  explicit Gpu(const Driver& driver) : driver_(driver) {}
  const Driver& driver_;
  GpuId id_ = 0;
  Context context_ = nullptr;
};

/// "12.4" of 12040.
std::string cuda_version_text(int version);
/// "812 bytes", "3.2 MB", "4.6 GB" (powers of ten).
std::string bytes_text(std::uint64_t bytes);

}  // namespace heddle::runtime::cuda
