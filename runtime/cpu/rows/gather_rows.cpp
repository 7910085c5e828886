// Rows chosen among those of a step, copied.
#include <cstring>

#include "runtime/cpu/kernel.h"

namespace heddle::runtime::cpu {
namespace {

class Select : public Kernel {
 public:
  explicit Select(const Binding& binding)
      : index_(reinterpret_cast<const std::int32_t*>(binding.args[binding.spec.gather_rows()->index].data)) {
    for (const auto& pair : binding.spec.gather_rows()->pairs) {
      const Argument& to = binding.args[pair.to];
      const std::int64_t columns = to.shape.size() == 1 ? 1 : to.shape[1];
      copies_.push_back({binding.args[pair.from].data, to.data, std::size_t(bytes_of(to.dtype, columns))});
    }
  }

  void run(const Team& team) const override {
    const auto count = std::int64_t(copies_.size());
    const Share share = share_of(team.rows * count, team.member, team.size);
    for (std::int64_t piece = share.begin; piece < share.end; ++piece) {
      const Copy& copy = copies_[std::size_t(piece % count)];
      const std::int64_t row = piece / count;
      std::memcpy(copy.to + std::size_t(row) * copy.bytes, copy.from + std::size_t(index_[row]) * copy.bytes, copy.bytes);
    }
  }

 private:
  struct Copy {
    const std::byte* from;
    std::byte* to;
    std::size_t bytes;  // of a row
  };
  const std::int32_t* index_;  // [rows], each a row of the step
  std::vector<Copy> copies_;
};

}  // namespace

std::unique_ptr<Kernel> make_gather_rows(const Binding& binding) { return std::make_unique<Select>(binding); }

}  // namespace heddle::runtime::cpu
