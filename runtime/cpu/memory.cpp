#include "runtime/cpu/memory.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstring>
#include <utility>

#include "ir/base/dtype.h"

namespace heddle::runtime::cpu {
namespace {

std::int64_t elements_of(const plan::WeightT& weight) {
  std::int64_t elements = 1;
  for (const std::int64_t size : weight.shape) elements *= size;
  return elements;
}

bool is_vector(const plan::WeightT& weight) { return weight.shape.size() == 1; }

/// Bytes of a weight's copy outside the file, 0 if it stays there.
std::uint64_t copied_bytes(const plan::WeightT& weight) {
  const DType dtype = *dtype_named(weight.dtype);
  if (is_vector(weight) && dtype != DType::f32) return std::uint64_t(elements_of(weight)) * sizeof(float);
  // Kernels read words of up to four bytes where they stand.
  if (weight.sources.size() != 1 || weight.sources[0]->offset % 4 != 0) return std::uint64_t(bytes_of(dtype, elements_of(weight)));
  return 0;
}

}  // namespace

Result<Region> Region::make(std::size_t bytes) {
  Region region;
  if (bytes == 0) return region;
  void* data = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (data == MAP_FAILED) return error("cannot allocate {} bytes", bytes);
  region.data_ = static_cast<std::byte*>(data);
  region.size_ = bytes;
  return region;
}

Region& Region::operator=(Region&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

Region::~Region() {
  if (data_) ::munmap(data_, size_);
}

std::uint64_t available_memory() {
  std::uint64_t kilobytes = std::uint64_t(1) << 36;  // more than addresses reach
  if (std::FILE* file = std::fopen("/proc/meminfo", "r")) {
    char line[128];
    while (std::fgets(line, sizeof(line), file)) {
      unsigned long long found;
      if (std::sscanf(line, "MemAvailable: %llu kB", &found) == 1) kilobytes = found;
    }
    std::fclose(file);
  }
  return kilobytes * 1024;
}

Result<void> check_memory(const plan::PlanT& plan, const Capacity& capacity, std::uint64_t available) {
  MemoryUse use = memory_use(plan, capacity);
  use.weights = 0;
  for (const auto& weight : plan.weights) use.weights += copied_bytes(*weight);
  if (use.total() <= available) return {};
  const std::uint64_t fixed = use.weights + use.arena;
  const std::uint64_t per_position = memory_use(plan, {capacity.slots, 1}).cache;
  std::uint64_t fits = available > fixed && per_position > 0 ? (available - fixed) / per_position : 0;
  if (fits > 64) fits = fits / 64 * 64;
  const auto gb = [](std::uint64_t bytes) { return double(bytes) / 1e9; };
  return error("needs {:.1f} GB (copied weights {:.1f}, cache {:.1f}, arena {:.1f}), {:.1f} GB are free; {}", gb(use.total()),
               gb(use.weights), gb(use.cache), gb(use.arena), gb(available),
               fits > 0 ? fmt::format("--ctx {} fits", fits) : std::string("no --ctx fits"));
}

Result<Weights> Weights::open(const plan::PlanT& plan, const Progress& progress) {
  Weights weights;
  for (const auto& file : plan.files) {
    HEDDLE_ASSIGN(MappedFile mapped, MappedFile::open(file->path));
    if (mapped.bytes().size() != file->bytes)
      return error("{}: has {} bytes, the plan was made for {}", file->path, mapped.bytes().size(), file->bytes);
    weights.files_.push_back(std::move(mapped));
  }
  for (const auto& weight : plan.weights) {
    const DType dtype = *dtype_named(weight->dtype);
    if (weight->layout != "rows") return error("weight '{}': layout is '{}', the cpu reads 'rows'", weight->name, weight->layout);
    const auto source = [&](const plan::WeightSourceT& from) { return weights.files_[from.file].bytes().data() + from.offset; };
    const std::uint64_t bytes = copied_bytes(*weight);
    weights.bytes_.push_back(std::size_t(bytes_of(is_vector(*weight) ? DType::f32 : dtype, elements_of(*weight))));
    if (bytes == 0) {
      weights.data_.push_back(source(*weight->sources[0]));
    } else {
      HEDDLE_ASSIGN(Region copy, Region::make(bytes));
      std::byte* to = copy.data();
      for (const auto& from : weight->sources) {
        if (is_vector(*weight)) {
          const std::int64_t elements = from->rows * from->columns;
          info(dtype).dequantize(source(*from), reinterpret_cast<float*>(to), elements / info(dtype).elements);
          to += elements * std::int64_t(sizeof(float));
        } else {
          std::memcpy(to, source(*from), from->bytes);
          to += from->bytes;
        }
      }
      weights.data_.push_back(copy.data());
      weights.copies_.push_back(std::move(copy));
    }
    if (progress) progress(double(weights.data_.size()) / double(plan.weights.size()));
  }
  return weights;
}

}  // namespace heddle::runtime::cpu
