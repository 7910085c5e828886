#pragma once
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "ir/base/error.h"
#include "runtime/plan/plan.h"

namespace heddle::codegen {

/// Choices that were measured on a card (`heddle compile --tune`) and stand in for the emitter's and the cost model's own. As a file: JSON,
///   {"gpu": "NVIDIA H100 80GB HBM3", "target": "cuda:h100",
///    "kernels": [{"spec": "gemv_q4_K_2048x8192__add", "knobs": {"warps": 24}, "default_us": 452.1, "us": 449.8}],
///    "passes": [{"model": "llama 16 layers of 2048", "pass": "fuse_residual", "with_us": 455.0, "without_us": 452.1}],
///    "entries": [{"model": "llama 16 layers of 2048", "entry": "prefill_512", "us": 3104.0}]}
/// Times are those of a whole decode step of one row, of `entries` those of a step of that entry point. "entries" may be missing.
struct Tuning {
  struct Kernel {
    std::string spec;  // the name of its spec
    std::vector<plan::Knob> knobs;
    double default_us = 0, us = 0;
  };
  /// A pass that made a model's step slower.
  struct Pass {
    std::string model, pass;
    double with_us = 0, without_us = 0;
  };
  /// How long a step of an entry point of a model's plan takes, with the other choices.
  struct Entry {
    std::string model, entry;
    double us = 0;
  };
  std::string gpu, target;  // as the driver calls it; the card, as Backend::card_of names it
  std::vector<Kernel> kernels;
  std::vector<Pass> passes;
  std::vector<Entry> entries;

  const Kernel* kernel(std::string_view spec) const;
  /// 0 where it was not measured.
  double entry_us(std::string_view model, std::string_view entry) const;
  /// Adds the other's choices; where both have one, the other's stands.
  void merge(const Tuning& newer);
};

/// `place` stands in errors: "h100.json: kernels[3]: knob 'warp' is not known (known: rounds, stages, warps)". `knobs`: those that are known.
Result<Tuning> parse_tuning(std::string_view text, std::string_view place, std::span<const std::string_view> knobs);
std::string print_tuning(const Tuning& tuning);

/// Sets the knobs of the plan's kernels that have some.
void apply(const Tuning& tuning, plan::Plan& plan);

}  // namespace heddle::codegen
