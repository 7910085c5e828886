// The experts of every row from a router's logits, with their gates.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "runtime/cpu/kernel.h"

namespace heddle::runtime::cpu {
namespace {

class Route : public Kernel {
 public:
  explicit Route(const Binding& binding)
      : columns_(binding.args[binding.spec.top_experts()->logits].shape[1]),
        chosen_(binding.args[binding.spec.top_experts()->experts].shape[1]),
        normalized_(binding.spec.top_experts()->normalized),
        logits_(reinterpret_cast<const float*>(binding.args[binding.spec.top_experts()->logits].data)),
        experts_(reinterpret_cast<std::int32_t*>(binding.args[binding.spec.top_experts()->experts].data)),
        gates_(reinterpret_cast<float*>(binding.args[binding.spec.top_experts()->gates].data)) {
    scratch_bytes = round_up(std::size_t(columns_) * sizeof(std::int32_t));
  }

  void run(const Team& team) const override {
    const Share share = share_of(team.rows, team.member, team.size);
    auto* const order = reinterpret_cast<std::int32_t*>(team.scratch);
    for (std::int64_t row = share.begin; row < share.end; ++row) {
      const float* const logits = logits_ + row * columns_;
      std::int32_t* const experts = experts_ + row * chosen_;
      std::iota(order, order + columns_, 0);
      std::partial_sort(order, order + chosen_, order + columns_,
                        [&](std::int32_t a, std::int32_t b) { return logits[a] > logits[b] || (logits[a] == logits[b] && a < b); });
      std::copy_n(order, chosen_, experts);
      const double largest = logits[order[0]];
      double sum = 0;
      for (std::int64_t i = 0; i < (normalized_ ? chosen_ : columns_); ++i) sum += std::exp(double(logits[order[i]]) - largest);
      for (std::int64_t j = 0; j < chosen_; ++j) gates_[row * chosen_ + j] = float(std::exp(double(logits[order[j]]) - largest) / sum);
    }
  }

 private:
  std::int64_t columns_, chosen_;
  bool normalized_;
  const float* logits_;    // [rows, columns]
  std::int32_t* experts_;  // [rows, chosen]
  float* gates_;
};

}  // namespace

std::unique_ptr<Kernel> make_top_experts(const Binding& binding) { return std::make_unique<Route>(binding); }

}  // namespace heddle::runtime::cpu
