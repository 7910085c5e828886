#pragma once
#include <cstdint>
#include <vector>

#include "runtime/cuda/driver/driver.h"
#include "runtime/device/device.h"

/// Where everything of a plan lies on the device, known before anything is allocated: four pools, one allocation each.
namespace heddle::runtime::cuda {

/// Offsets in the scratch pool of what an entry point has for itself.
struct EntryMemory {
  std::uint64_t inputs = 0;  // i32 [3, rows]: tokens, slots, positions; behind them, of a prompt, the last row
  std::vector<std::uint64_t> outputs;
  std::vector<std::uint64_t> node_scratch;  // of `nodes`, then of `sampling`; unused where the kernel has none
  // Where it has `sampling`:
  std::uint64_t control = 0, sample_rows = 0, history = 0, end_tokens = 0;
};

struct MemoryLayout {
  std::vector<std::uint64_t> weights;       // offset of each in the weights pool, a multiple of 256
  std::vector<std::uint64_t> keys, values;  // offsets of each state's planes in the cache pool
  std::vector<EntryMemory> entries;
  std::uint64_t weight_bytes = 0, cache_bytes = 0, arena_bytes = 0, scratch_bytes = 0;  // of the pools; at most 2^62 each
};

/// End tokens that a generation may have.
inline constexpr std::size_t most_end_tokens = 1024;

/// Bytes of a weight as its layout stores it.
std::uint64_t stored_bytes_of(const plan::Weight& weight);
/// Bytes of a port, or of a state at one position.
std::uint64_t bytes_of_shape(DType dtype, const std::vector<std::int64_t>& shape);

/// How many numbers of 32 bits a step of an entry point is given.
std::uint64_t input_numbers(const plan::EntryPoint& entry);

MemoryLayout lay_out(const plan::Plan& plan, const Capacity& capacity);

/// Bytes that the pools take of a device: it gives memory in pieces of 2 MiB.
std::uint64_t device_bytes(const MemoryLayout& layout);

/// "out of memory: needs 5.1 GB (weights 4.6 GB, cache 398.5 MB, arena 1.2 MB, scratch 3.0 MB), 3.2 GB of GPU 0 (NVIDIA H100) are free;
/// --ctx 2048 fits", or "...; no --ctx fits".
Result<void> check_fits(const plan::Plan& plan, const Capacity& capacity, std::uint64_t free, std::string_view gpu);

}  // namespace heddle::runtime::cuda
