#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "ir/base/dtype.h"
#include "ir/base/thread_pool.h"
#include "runtime/cpu/rows/rope.h"
#include "runtime/plan/plan.h"

/// A node made ready to run: its spec's names are enums, its arguments addresses. The spec has passed plan::check.
namespace heddle::runtime::cpu {

/// An argument of a node and where it lies. Weight vectors (one dimension) are always f32 here; a weight matrix may be in panels
/// (runtime/plan/panels.h). Written buffers do not overlap others of the same node.
struct Argument {
  plan::ArgRole role;
  DType dtype;
  std::vector<std::int64_t> shape;
  std::byte* data = nullptr;  // weights are only read
  bool panels = false;
};

/// What a node is made for.
struct Binding {
  const plan::KernelSpec& spec;
  std::span<const Argument> args;
  std::int64_t slots, capacity;  // of every cache: sequences, positions of each
  int threads;
  RopeTables* ropes;

  /// A cache is two planes, keys and values, of [slots, kv_heads, capacity, head_dim] each.
  std::int64_t plane_bytes(const Argument& state) const {
    return slots * capacity * state.shape[1] * state.shape[2] * info(state.dtype).bytes;
  }
};

/// One member of the team that runs a node together.
struct Team {
  ThreadPool& pool;
  int member;
  int size;
  std::int64_t rows;       // rows of the kernel that are computed; the rest is idle
  std::byte* scratch;      // of this member alone, aligned to 64 bytes
  std::byte* shared;       // of the team
  std::uint32_t step = 1;  // a number that the kernel's next run does not have; never 0
};

class Kernel {
 public:
  virtual ~Kernel() = default;
  /// Called by every member with the same `rows`. The result does not depend on the size of the team, bit for bit.
  virtual void run(const Team& team) const = 0;

  std::size_t scratch_bytes = 0;  // what `run` needs, multiples of 64
  std::size_t shared_bytes = 0;
};

std::unique_ptr<Kernel> make_gemm(const Binding& binding);
std::unique_ptr<Kernel> make_attention(const Binding& binding);
std::unique_ptr<Kernel> make_rowwise(const Binding& binding);
std::unique_ptr<Kernel> make_embed(const Binding& binding);
std::unique_ptr<Kernel> make_top_experts(const Binding& binding);
std::unique_ptr<Kernel> make_gather_rows(const Binding& binding);
std::unique_ptr<Kernel> make_kernel(const Binding& binding);

inline std::size_t round_up(std::size_t bytes, std::size_t unit = 64) { return (bytes + unit - 1) / unit * unit; }

/// The part of `count` items that belongs to member `member` of `size`.
struct Share {
  std::int64_t begin, end;
};
inline Share share_of(std::int64_t count, int member, int size) { return {count * member / size, count * (member + 1) / size}; }

}  // namespace heddle::runtime::cpu
