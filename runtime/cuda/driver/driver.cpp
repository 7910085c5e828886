#include "runtime/cuda/driver/driver.h"

#include <dlfcn.h>

#include <mutex>

namespace heddle::runtime::cuda {
namespace {

/// A text of the driver's for a status; every driver has both functions.
std::string text_of(Status (*get)(Status, const char**), Status status) {
  const char* text = nullptr;
  if (get(status, &text) != Status::success || !text) return fmt::format("error {}", int(status));
  return text;
}

std::string needs_driver(std::string_view target) { return fmt::format("an NVIDIA driver is needed to run target '{}'", target); }

}  // namespace

Result<Driver> fetch_functions(GetProcAddress get) {
  Driver driver;
  const auto fetch = [&](const char* symbol, int version, void** function) -> Result<void> {
    int found = 0;
    if (get(symbol, function, version, 0, &found) == Status::success && found == 0 && *function) return {};
    int supported = 0;
    if (driver.driver_version) driver.driver_version(&supported);
    const std::string supports = supported > 0 ? fmt::format(" (it supports CUDA {})", cuda_version_text(supported)) : "";
    return error("the NVIDIA driver is too old: it has no {} of CUDA {}{}", symbol, cuda_version_text(version), supports);
  };
  HEDDLE_TRY(fetch("cuDriverGetVersion", 12000, reinterpret_cast<void**>(&driver.driver_version)));  // first: the others' errors name it
#define HEDDLE_FETCH(member, symbol, version, ...) HEDDLE_TRY(fetch(#symbol, version, reinterpret_cast<void**>(&driver.member)));
  HEDDLE_DRIVER_FUNCTIONS(HEDDLE_FETCH)
#undef HEDDLE_FETCH
  return driver;
}

Result<Driver> open_driver(const std::string& library, std::string_view target) {
  void* handle = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    std::string_view why = ::dlerror();
    if (const std::string prefix = library + ": "; why.starts_with(prefix)) why.remove_prefix(prefix.size());
    return error("{} cannot be opened: {}: {}", library, why, needs_driver(target));
  }
  const auto get = reinterpret_cast<GetProcAddress>(::dlsym(handle, "cuGetProcAddress_v2"));
  if (!get) return error("{} has no cuGetProcAddress of CUDA 12.0: a newer NVIDIA driver is needed to run target '{}'", library, target);
  return fetch_functions(get);
}

Result<const Driver*> system_driver(std::string_view target) {
  static std::mutex mutex;
  static std::unique_ptr<const Driver> driver;
  const std::lock_guard lock(mutex);
  if (!driver) {
    HEDDLE_ASSIGN(Driver opened, open_driver("libcuda.so.1", target));
    driver = std::make_unique<const Driver>(opened);
  }
  return driver.get();
}

Error failure(const Driver& driver, Status status, std::string_view what) {
  return error("{} failed: {}: {}", what, text_of(driver.error_name, status), text_of(driver.error_text, status));
}

Result<void> check(const Driver& driver, Status status, std::string_view what) {
  if (status == Status::success) return {};
  return failure(driver, status, what);
}

Result<std::unique_ptr<Gpu>> Gpu::open(const Driver& driver, int ordinal, std::string_view target) {
  const auto none = [&](Status status) {
    return error("no GPU is found: {}: {}: one is needed to run target '{}'", text_of(driver.error_name, status),
                 text_of(driver.error_text, status), target);
  };
  if (const Status status = driver.init(0); status == Status::no_device) return none(status);
  else HEDDLE_TRY(check(driver, status, "cuInit"));
  int count = 0;
  HEDDLE_TRY(check(driver, driver.gpu_count(&count), "cuDeviceGetCount"));
  if (count == 0) return none(Status::no_device);
  if (ordinal < 0 || ordinal >= count) return error("GPU {} is not there: {} found", ordinal, count);

  auto gpu = std::unique_ptr<Gpu>(new Gpu(driver));
  gpu->ordinal = ordinal;
  HEDDLE_TRY(check(driver, driver.gpu_get(&gpu->id_, ordinal), "cuDeviceGet"));
  char name[256] = {};
  HEDDLE_TRY(check(driver, driver.gpu_name(name, sizeof name - 1, gpu->id_), "cuDeviceGetName"));
  gpu->name = name;
  int major = 0, minor = 0;
  const std::pair<GpuAttribute, int*> attributes[] = {{compute_capability_major, &major},
                                                      {compute_capability_minor, &minor},
                                                      {multiprocessor_count, &gpu->multiprocessors},
                                                      {l2_cache_size, &gpu->l2_bytes},
                                                      {max_shared_memory_per_block_optin, &gpu->most_shared_bytes}};
  for (const auto& [attribute, value] : attributes)
    HEDDLE_TRY(check(driver, driver.gpu_attribute(value, attribute, gpu->id_), "cuDeviceGetAttribute"));
  gpu->compute_capability = 10 * major + minor;
  HEDDLE_TRY(check(driver, driver.driver_version(&gpu->driver_version), "cuDriverGetVersion"));
  HEDDLE_TRY(check(driver, driver.context_retain(&gpu->context_, gpu->id_), "cuDevicePrimaryCtxRetain"));
  HEDDLE_TRY(check(driver, gpu->make_current(), "cuCtxSetCurrent"));
  return gpu;
}

Gpu::~Gpu() {
  if (context_) driver_.context_release(id_);
}

Result<OwnedStream> Gpu::make_stream() const {
  Stream stream = nullptr;
  HEDDLE_TRY(check(driver_, driver_.stream_create(&stream, stream_non_blocking), "cuStreamCreate"));
  return OwnedStream(driver_, stream);
}

Result<OwnedEvent> Gpu::make_event() const {
  Event event = nullptr;
  HEDDLE_TRY(check(driver_, driver_.event_create(&event, event_disable_timing), "cuEventCreate"));
  return OwnedEvent(driver_, event);
}

Result<OwnedEvent> Gpu::make_timing_event() const {
  Event event = nullptr;
  HEDDLE_TRY(check(driver_, driver_.event_create(&event, 0), "cuEventCreate"));
  return OwnedEvent(driver_, event);
}

Result<OwnedMemory> Gpu::allocate(std::uint64_t bytes, std::string_view what) const {
  if (bytes == 0) return OwnedMemory();
  DevicePointer pointer = 0;
  HEDDLE_TRY(check(driver_, driver_.memory_alloc(&pointer, bytes), fmt::format("cuMemAlloc of {} for {}", bytes_text(bytes), what)));
  return OwnedMemory(driver_, pointer);
}

Result<OwnedHostMemory> Gpu::allocate_pinned(std::uint64_t bytes, std::string_view what) const {
  if (bytes == 0) return OwnedHostMemory();
  void* pointer = nullptr;
  HEDDLE_TRY(check(driver_, driver_.host_alloc(&pointer, bytes, mem_host_alloc_portable | mem_host_alloc_device_map),
                   fmt::format("cuMemHostAlloc of {} for {}", bytes_text(bytes), what)));
  return OwnedHostMemory(driver_, pointer);
}

std::string cuda_version_text(int version) { return fmt::format("{}.{}", version / 1000, version % 1000 / 10); }

std::string bytes_text(std::uint64_t bytes) {
  if (bytes >= 1'000'000'000) return fmt::format("{:.1f} GB", double(bytes) / 1e9);
  if (bytes >= 1'000'000) return fmt::format("{:.1f} MB", double(bytes) / 1e6);
  return fmt::format("{} bytes", bytes);
}

}  // namespace heddle::runtime::cuda
