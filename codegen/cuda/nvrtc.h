#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "ir/base/error.h"

namespace heddle::codegen::cuda {

/// What the compiler made of one kernel.
struct Compiled {
  std::vector<std::uint8_t> cubin;                       // for the architecture asked for
  std::string ptx;                                       // for that one and newer ones
  int registers = 0, shared_bytes = 0, spill_bytes = 0;  // of a thread; static, of a block; stored to local memory by a thread
  std::string log;
};

/// NVIDIA's run-time compiler, opened when first needed. Needs no GPU. Safe to use from several threads.
class Nvrtc {
 public:
  /// The library by the loader's search, then where toolkits and heddle's set-up script put it.
  ///   libnvrtc.so cannot be opened (libnvrtc.so.13: cannot open shared object file: ...): it is needed for --target cuda
  static Result<std::shared_ptr<const Nvrtc>> open();
  /// The same with the places to look in, in order; the first that opens is taken.
  static Result<std::shared_ptr<const Nvrtc>> open(const std::vector<std::string>& candidates);
  ~Nvrtc();

  std::string version() const;  // "13.0"
  /// Whether this version can compile for "sm_120".
  bool supports(const std::string& architecture) const;

  /// Compiles `text` for an architecture ("sm_90"); `name` stands in messages. The error is the compiler's log.
  Result<Compiled> compile(const std::string& name, const std::string& text, const std::string& architecture) const;

 private:
  struct Library;
  explicit Nvrtc(std::unique_ptr<Library> library);
  std::unique_ptr<Library> library_;
};

}  // namespace heddle::codegen::cuda
