#pragma once
#include <functional>
#include <memory>

namespace heddle {

/// A fixed team of threads that runs one function at a time on all members. The calling thread is member 0.
class ThreadPool {
 public:
  explicit ThreadPool(int threads);  // at least 1
  ~ThreadPool();
  int size() const;

  /// Calls `work(member)` once on every member and returns when all have finished. Not reentrant.
  void run(const std::function<void(int member)>& work);
  /// Inside `run`: returns when every member has arrived. Orders all memory accesses before it against all after it.
  void barrier();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

/// Processors this process may use.
int usable_processors();

}  // namespace heddle
