// Programs on whole rows, without a loop.
#include <algorithm>

#include "runtime/cpu/rows/program.h"

namespace heddle::runtime::cpu {
namespace {

class Rowwise : public Kernel {
 public:
  explicit Rowwise(const Binding& binding) {
    for (const auto& part : binding.spec.parts) {
      parts_.push_back({part.n, Program(part.epilogue, part.n, part.n, binding)});
      scratch_bytes = std::max(scratch_bytes, parts_.back().program.scratch_bytes());
    }
  }

  void run(const Team& team) const override {
    const Share share = share_of(team.rows, team.member, team.size);
    for (std::int64_t row = share.begin; row < share.end; ++row)
      for (const Part& part : parts_) part.program.run({row, 0, part.n, {}, nullptr}, team.scratch);
  }

 private:
  struct Part {
    std::int64_t n;
    Program program;
  };
  std::vector<Part> parts_;
};

}  // namespace

std::unique_ptr<Kernel> make_rowwise(const Binding& binding) { return std::make_unique<Rowwise>(binding); }

}  // namespace heddle::runtime::cpu
