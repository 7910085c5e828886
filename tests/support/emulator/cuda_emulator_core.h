#pragma once

/// What emulated kernels and the program that runs them know of each other. No includes: every kernel's compilation reads this.
namespace heddle::testing {

struct EmulatorIndex {
  unsigned x, y, z;
};

struct EmulatorCore {
  EmulatorIndex thread, block, threads, blocks;  // of the running thread: threadIdx, blockIdx, blockDim, gridDim
  char* shared;                                  // dynamic shared memory
  void (*barrier)();
  void (*team_barrier)(unsigned threads);  // of so many threads of the block, counted from a multiple of it
  void (*cluster_arrive)();
  void (*await_cluster)();
  const char* (*of_block)(const void* p, int rank);  // the same place in the shared memory of another block of the cluster
  /// Meets the other lanes of the warp and returns what lane `from` offered.
  unsigned (*exchange)(unsigned offered, unsigned from);
  void (*copy)(char* to, const char* from, int bytes);
  void (*end_group)();
  void (*groups_left)(int most);
  void (*stop)(const char* why);
};

}  // namespace heddle::testing
