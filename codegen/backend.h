#pragma once
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "codegen/questions.h"
#include "codegen/tuning.h"
#include "ir/base/entry_kind.h"
#include "ir/base/target_name.h"
#include "ir/target.h"
#include "runtime/plan/plan.h"

namespace heddle::codegen {

/// An entry point that a target's plans get.
struct EntryShape {
  EntryKind kind = EntryKind::decode;
  std::int64_t rows = 1;
};

/// Where `Backend::finish` keeps compiled kernels ("": nowhere), and how many it compiles at once.
struct FinishOptions {
  std::string cache_dir;
  int threads = 1;
};
/// Distinct kernels, and those of them that had to be compiled; 0 of a backend whose kernels are specs.
struct FinishReport {
  int kernels = 0, compiled = 0;
};

/// What compiles plans for one kind of machine; what runs them is a runtime::DeviceFactory. A backend is asked for by its kind (`backend`
/// below), never by a name's beginning.
class Backend {
 public:
  virtual ~Backend() = default;

  // ---- Machines

  /// Names that `target_named` takes, as messages list them: "cpu", "cuda:h200", "cuda:sm_90".
  virtual std::vector<std::string> target_names() const = 0;
  /// The machine that a name stands for, with its figures. `activations`: f32, or what `eight_bit_activations` says.
  ///   target 'cuda:sm_70' is not known (known: cuda:a100, ...)
  virtual Result<ir::Target> target_named(std::string_view name, DType activations) const = 0;
  /// The format that "q8" means here.
  virtual DType eight_bit_activations() const = 0;
  /// The machine whose figures and measured choices a target's name stands for: "cuda:h100" for "cuda:sm_90".
  virtual std::string card_of(std::string_view target) const { return std::string(target); }
  /// What to tell people about where a target's figures come from.
  virtual std::vector<std::string> remarks(const ir::Target& /*target*/) const { return {}; }

  // ---- What a plan is made of

  /// What passes ask about a target.
  virtual std::unique_ptr<Questions> questions(const ir::Target& target) const = 0;
  /// Passes beside those that every target's pipeline has.
  virtual std::vector<ExtraPass> extra_passes() const { return {}; }
  virtual std::vector<EntryShape> default_entries(const ir::Target& target) const = 0;
  /// The type of the key/value cache where nobody asks for one.
  virtual DType cache_type(const ir::Target& target) const = 0;

  // ---- Kernels

  /// The version of the compiler of kernels, which decides on a plan's contents; empty for a backend that has none. An error where one is
  /// needed and is not there.
  virtual Result<std::string> kernel_compiler() const { return std::string(); }
  /// The knobs that measured choices may set; empty where nothing is measured.
  virtual std::span<const std::string_view> knobs() const { return {}; }
  /// Measured choices that heddle ships for a target: its card's, or those of another one that Tuning::target names.
  virtual const Tuning& shipped_tuning(const ir::Target& target) const;
  /// Makes a written plan one that runs: adds kernels that draw tokens, applies `tuning`, fills in what is compiled. The error is that of the
  /// first kernel in the plan's order.
  virtual Result<FinishReport> finish(plan::Plan& plan, const ir::Target& target, const Tuning& tuning, const FinishOptions& options) const = 0;
  /// Whether the kernel of a spec rounds what it multiplies to halves that the IR has in float32: `verify` allows it more.
  virtual bool multiplies_halves(const plan::KernelSpec& /*spec*/) const { return false; }
};

/// The registry.
const Backend& backend(BackendKind kind);

/// The backend of a target. IR text may name a machine that nobody knows: the CPU's then, whose kernels are specs.
const Backend& backend(const ir::Target& target);

/// Names of all backends' targets: "cpu", "cuda:h200", ...
std::vector<std::string> known_targets();

}  // namespace heddle::codegen
