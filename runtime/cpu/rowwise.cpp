// Programs on whole rows, without a loop.
#include "runtime/cpu/program.h"

namespace heddle::runtime::cpu {
namespace {

class Rowwise : public Kernel {
 public:
  explicit Rowwise(const Binding& binding) : n_(binding.spec.parts[0]->n), program_(*binding.spec.parts[0]->epilogue, n_, n_, binding) {
    scratch_bytes = program_.scratch_bytes();
  }

  void run(const Team& team) const override {
    const Share share = share_of(team.rows, team.member, team.size);
    for (std::int64_t row = share.begin; row < share.end; ++row) program_.run({row, 0, n_, {}, nullptr}, team.scratch);
  }

 private:
  std::int64_t n_;
  Program program_;
};

}  // namespace

std::unique_ptr<Kernel> make_rowwise(const Binding& binding) { return std::make_unique<Rowwise>(binding); }

}  // namespace heddle::runtime::cpu
