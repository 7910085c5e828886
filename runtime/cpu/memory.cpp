#include "runtime/cpu/memory.h"

#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstring>
#include <utility>

#include "ir/base/dtype.h"
#include "ir/base/shape.h"
#include "runtime/plan/layout.h"
#include "runtime/plan/panels.h"
#include "runtime/plan/vectors.h"

namespace heddle::runtime::cpu {
namespace {

bool is_vector(const plan::Weight& weight) { return weight.shape.size() == 1; }
bool in_panels(const plan::Weight& weight) { return weight.layout == Layout::panels; }

/// Bytes of a weight's copy outside the file, 0 if it stays there.
std::uint64_t copied_bytes(const plan::Weight& weight) {
  const DType dtype = weight.dtype;
  if (in_panels(weight)) {
    const auto bytes = plan::stored_bytes(Layout::panels, dtype, elements_of(weight.shape) / weight.shape.back(), weight.shape.back());
    HEDDLE_CHECK(bytes.ok(), "weight '{}'", weight.name);  // refused by the plan's check
    return (std::uint64_t(*bytes) + 63) / 64 * 64;
  }
  const bool made = std::ranges::any_of(weight.sources, [](const auto& source) { return plan::is_made(source); });
  if (made || (is_vector(weight) && dtype != DType::f32)) return std::uint64_t(elements_of(weight.shape)) * sizeof(float);
  // Kernels read words of up to four bytes where they stand.
  if (weight.sources.size() != 1 || weight.sources[0].offset % 4 != 0) return std::uint64_t(bytes_of(dtype, elements_of(weight.shape)));
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

void Region::want_large_pages() const {
  if (data_) ::madvise(data_, size_, MADV_HUGEPAGE);
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

Result<void> check_memory(const plan::Plan& plan, const Capacity& capacity, std::uint64_t available) {
  MemoryUse use = memory_use(plan, capacity);
  use.weights = 0;
  for (const auto& weight : plan.weights) use.weights += copied_bytes(weight);
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

namespace {

/// Rows of a file that become panels.
struct PanelPiece {
  DType dtype;
  const std::byte* from;
  std::int64_t row_begin, rows, columns;  // of the matrix at `to`
  std::byte* to;
};

/// Cuts every matrix in panels into pieces of about a megabyte. `places`: of every weight's panels.
std::vector<PanelPiece> panel_pieces(const plan::Plan& plan, std::span<const MappedFile> files, std::span<std::byte* const> places) {
  std::vector<PanelPiece> pieces;
  for (std::size_t i = 0; i < plan.weights.size(); ++i) {
    if (!places[i]) continue;
    const DType dtype = plan.weights[i].dtype;
    std::int64_t row_begin = 0;
    for (const auto& source : plan.weights[i].sources) {
      const std::int64_t row_bytes = bytes_of(dtype, source.columns);
      const std::int64_t step = std::max<std::int64_t>(1, (1 << 20) / (row_bytes * plan::panel_rows)) * plan::panel_rows;
      const std::byte* const from = files[source.file].bytes().data() + source.offset;
      for (std::int64_t row = 0; row < source.rows; row += step)
        pieces.push_back({dtype, from + row * row_bytes, row_begin + row, std::min(step, source.rows - row), source.columns, places[i]});
      row_begin += source.rows;
    }
  }
  return pieces;
}

/// Gives the whole pages of a file's bytes back: they are not read again, and would count as ours.
void forget_pages(const std::byte* from, std::int64_t bytes) {
  constexpr std::uintptr_t page = 4096;
  const std::uintptr_t begin = (reinterpret_cast<std::uintptr_t>(from) + page - 1) / page * page;
  const std::uintptr_t end = (reinterpret_cast<std::uintptr_t>(from) + std::uintptr_t(bytes)) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

}  // namespace

Result<Weights> Weights::open(const plan::Plan& plan, ThreadPool& pool, const Progress& progress) {
  Weights weights;
  for (const auto& file : plan.files) {
    HEDDLE_ASSIGN(MappedFile mapped, MappedFile::open(file.path));
    if (mapped.bytes().size() != file.bytes)
      return error("{}: has {} bytes, the plan was made for {}", file.path, mapped.bytes().size(), file.bytes);
    weights.files_.push_back(std::move(mapped));
  }
  std::uint64_t panel_bytes = 0;
  for (const auto& weight : plan.weights) {
    if (weight.layout != Layout::rows && weight.layout != Layout::panels)
      return error("weight '{}': layout is '{}', the cpu reads 'rows' and 'panels'", weight.name, weight.layout);
    if (in_panels(weight)) panel_bytes += copied_bytes(weight);
  }
  HEDDLE_ASSIGN(weights.panels_, Region::make(panel_bytes));
  weights.panels_.want_large_pages();

  std::byte* next_panels = weights.panels_.data();
  std::vector<std::byte*> places;
  for (const auto& weight : plan.weights) {
    const DType dtype = weight.dtype;
    const auto file_of = [&](const plan::WeightSource& from) { return weights.files_[from.file].bytes().data(); };
    const auto source = [&](const plan::WeightSource& from) { return file_of(from) + from.offset; };
    const std::uint64_t bytes = copied_bytes(weight);
    weights.bytes_.push_back(in_panels(weight) ? std::size_t(bytes)
                                                : std::size_t(bytes_of(is_vector(weight) ? DType::f32 : dtype, elements_of(weight.shape))));
    places.push_back(nullptr);
    if (in_panels(weight)) {
      places.back() = next_panels;
      weights.data_.push_back(next_panels);
      next_panels += bytes;
    } else if (bytes == 0) {
      weights.data_.push_back(source(weight.sources[0]));
    } else {
      HEDDLE_ASSIGN(Region copy, Region::make(bytes));
      std::byte* to = copy.data();
      for (const auto& from : weight.sources) {
        if (is_vector(weight)) {
          const std::vector<float> floats = plan::floats_of(from, dtype, from.values.empty() ? file_of(from) : nullptr);
          std::memcpy(to, floats.data(), floats.size() * sizeof(float));
          to += floats.size() * sizeof(float);
        } else {
          std::memcpy(to, source(from), from.bytes);
          to += from.bytes;
        }
      }
      weights.data_.push_back(copy.data());
      weights.copies_.push_back(std::move(copy));
    }
  }

  const auto pieces = panel_pieces(plan, weights.files_, places);
  std::atomic<std::size_t> next{0};
  pool.run([&](int member) {
    for (std::size_t i; (i = next.fetch_add(1)) < pieces.size();) {
      const PanelPiece& piece = pieces[i];
      plan::to_panels(piece.dtype, piece.from, piece.row_begin, piece.rows, piece.columns, piece.to);
      forget_pages(piece.from, piece.rows * bytes_of(piece.dtype, piece.columns));
      if (member == 0 && progress) progress(double(i + 1) / double(pieces.size() + 1));
    }
  });
  if (progress) progress(1);
  return weights;
}

}  // namespace heddle::runtime::cpu
