// Rows of a table, chosen by token and dequantised, with a program after.
#include <array>

#include "runtime/cpu/rows/program.h"
#include "runtime/plan/panels.h"

namespace heddle::runtime::cpu {
namespace {

class Embed : public Kernel {
 public:
  explicit Embed(const Binding& binding)
      : table_(binding.args[binding.spec.embed()->table]),
        tokens_(reinterpret_cast<const std::int32_t*>(binding.args[binding.spec.embed()->tokens].data)),
        n_(binding.spec.parts[0].n),
        program_(binding.spec.parts[0].epilogue, n_, n_, binding),
        blocks_(round_up(std::size_t(n_) * sizeof(float))),
        program_scratch_(blocks_ + round_up(std::size_t(bytes_of(table_.dtype, n_)))) {
    scratch_bytes = program_scratch_ + program_.scratch_bytes();
  }

  void run(const Team& team) const override {
    const Share share = share_of(team.rows, team.member, team.size);
    auto* const values = reinterpret_cast<float*>(team.scratch);
    const std::array<const float*, 1> loops{values};
    for (std::int64_t row = share.begin; row < share.end; ++row) {
      const std::byte* blocks = table_.data + tokens_[row] * bytes_of(table_.dtype, n_);
      if (table_.panels) {
        plan::row_from_panels(table_.dtype, table_.data, tokens_[row], n_, team.scratch + blocks_);
        blocks = team.scratch + blocks_;
      }
      info(table_.dtype).dequantize(blocks, values, n_ / info(table_.dtype).elements);
      program_.run({row, 0, n_, loops, nullptr}, team.scratch + program_scratch_);
    }
  }

 private:
  Argument table_;
  const std::int32_t* tokens_;
  std::int64_t n_;
  Program program_;
  std::size_t blocks_, program_scratch_;  // offsets in a member's scratch
};

}  // namespace

std::unique_ptr<Kernel> make_embed(const Binding& binding) { return std::make_unique<Embed>(binding); }

}  // namespace heddle::runtime::cpu
