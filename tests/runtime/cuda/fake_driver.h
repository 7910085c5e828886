#pragma once
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "runtime/cuda/driver/driver.h"

/// A CUDA driver in host memory, for tests: it keeps count of everything, checks every range and handle, and fails where it is told to.
/// One at a time exists.
///
/// A module's image is text, "<kind> <number> <entry>:<bytes of parameter 0>,<bytes of parameter 1>,...": "cubin 90 embed:8,8,8" (kind ptx
/// begins as PTX does: ".version 8.4 embed:8,8,8").
namespace heddle::testing {

using namespace heddle::runtime::cuda;

class FakeDriver {
 public:
  FakeDriver();
  ~FakeDriver();
  const Driver& api() const { return api_; }
  /// As cuGetProcAddress of this driver.
  static GetProcAddress get_proc_address();

  // ---- What it pretends to be; change before use
  int gpus = 1, compute_capability = 90, multiprocessors = 132, most_shared_bytes = 232448, version = 12040;
  std::string gpu_name = "Fake H100";
  std::string newest_ptx = "8.4";
  std::size_t free_bytes = std::size_t(1) << 32;
  std::map<std::string, int> missing;  // cuGetProcAddress does not know these below this version
  /// Work is done when somebody looks: a query does one piece, a synchronisation all. Otherwise at once.
  bool deferred = false;

  /// A kernel as it runs.
  struct Kernel {
    std::string entry;
    unsigned grid[3], block[3], shared_bytes;
    std::vector<std::vector<std::byte>> parameters;
    template <class T>
    T parameter(std::size_t i) const {
      T value;
      HEDDLE_CHECK(parameters.at(i).size() == sizeof value, "parameter {} of {}", i, entry);
      std::memcpy(&value, parameters[i].data(), sizeof value);
      return value;
    }
    std::uint64_t pointer(std::size_t i) const { return parameter<std::uint64_t>(i); }
  };
  /// What the kernel of an entry does; by default nothing.
  std::map<std::string, std::function<void(const Kernel&)>> kernels;
  std::vector<Kernel> ran;  // all kernels in the order they ran

  struct Graph {
    struct Node {
      Kernel kernel;
      std::vector<std::pair<std::size_t, EdgeData>> edges;
    };
    std::vector<Node> nodes;
  };
  std::vector<Graph> graphs;  // all that were instantiated
  int graph_launches = 0;

  // ---- Failures
  /// Call number `call` (from 0) fails, without effect if it is one that makes something. Texts and calls that give something back do not
  /// count.
  void fail_at(std::int64_t call, Status status = Status::launch_failed) { fail_at_ = call, fail_with_ = status; }
  std::int64_t calls() const { return calls_; }
  /// Kernel launch number `launch` (from 0, those of graphs too) goes wrong on the device: all later calls report it.
  void fault_at(std::int64_t launch, Status status = Status::illegal_address) { fault_at_ = launch, fault_with_ = status; }

  // ---- What there is
  /// Everything that was made and not given back: "2 memory, 1 stream"; empty: nothing.
  std::string live() const;
  /// Allocations of device memory, in order: "weights" cannot be told from "cache" here, sizes can.
  std::vector<std::size_t> allocated() const;
  /// True if the range lies inside one allocation of device memory, or of pinned memory.
  bool is_device_range(std::uint64_t address, std::size_t bytes) const;
  bool is_pinned_range(const void* address, std::size_t bytes) const;
  std::map<std::string, int> function_attributes;  // dynamic shared bytes that were set, by entry
  int most_queued = 0;                             // deferred work that lay in the queue at once

 private:
  friend struct FakeCalls;
  struct Image {
    std::string entry;
    std::vector<std::size_t> parameter_bytes;
  };
  Status enter(bool counts = true);
  Status queue(std::function<void()> work);
  void work_one();
  void run_kernel(const Kernel& kernel);
  Kernel capture(const void* function, const unsigned* grid, const unsigned* block, unsigned shared_bytes, void** parameters) const;

  Driver api_;
  std::int64_t calls_ = 0, fail_at_ = -1, launches_ = 0, fault_at_ = -1;
  Status fail_with_ = Status::success, fault_with_ = Status::success, fault_ = Status::success;
  std::deque<std::function<void()>> queue_;
  std::map<std::uint64_t, std::vector<std::byte>> memory_;
  std::map<void*, std::unique_ptr<std::max_align_t[]>> pinned_;
  std::map<void*, std::size_t> pinned_bytes_;
  std::map<const void*, std::unique_ptr<Image>> modules_;
  std::map<const void*, std::unique_ptr<Graph>> open_graphs_;
  std::map<const void*, std::unique_ptr<Graph>> execs_;
  std::map<const void*, std::unique_ptr<int>> streams_, events_;
  std::map<const void*, std::deque<std::pair<Graph*, std::size_t>>> nodes_;
  int contexts_ = 0;
  bool current_ = false;
};

}  // namespace heddle::testing
