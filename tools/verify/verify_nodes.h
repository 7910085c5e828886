#pragma once
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "runtime/device/inspectable_device.h"
#include "tools/verify/verify_tolerance.h"

/// A device's values against the reference interpreter's, node by node.
namespace heddle::tools {

/// What was found of one value that a node computes: the worst over all steps and rows.
struct ValueCheck {
  std::string name;  // the IR value's: "blk.0.attn_q"
  DType type = DType::f32;
  double tolerance = 0;
  /// Against the group's body in the plan's IR, computed from the device's own inputs: the kernel.
  double kernel = 0;
  /// Against the IR before the passes, computed from the device's own values nearest to it: the kernel and the passes. Absent where there
  /// is no such IR, or no value of this name in it.
  std::optional<double> passes;
  /// Against the interpreter's own run of the whole plan: what has come together up to here. It has no tolerance: one 8-bit step that is
  /// rounded otherwise moves all that follows.
  double accumulated = 0;

  bool good() const { return kernel <= tolerance && passes.value_or(0) <= tolerance; }
};

struct NodeCheck {
  std::size_t node = 0;
  std::string kernel, label;  // of the spec; of the IR group
  std::vector<ValueCheck> values;
};

/// The first thing found wrong in an entry point, in the order in which it ran.
struct Fault {
  std::size_t step = 0, node = 0;
  std::string what;  // "kernel: %y[0, 17] is 0.5, wanted 0.25, error 0.43, tolerance 0.0001"
};

struct EntryCheck {
  std::string entry;
  std::size_t steps = 0;
  std::vector<NodeCheck> nodes;
  std::optional<Fault> fault;
};

struct VerifyOptions {
  std::vector<std::string> entries;       // names; empty: all of the plan
  const ir::Module* reference = nullptr;  // the IR before the passes that must not change a value; null: unknown
};

/// Feeds `ids` through every entry point from position 0 on, in steps of as many rows as it has, spare ones idle. `device` has loaded the
/// plan with room for that many positions in one slot. An error where the check cannot be done, not where it finds something.
Result<std::vector<EntryCheck>> verify_nodes(runtime::NodeDevice& device, const plan::Plan& plan, std::span<const std::int32_t> ids,
                                             std::int64_t context, const VerifyOptions& options);

/// The first entry point in which something is wrong, or null.
const EntryCheck* first_fault(const std::vector<EntryCheck>& checks);

}  // namespace heddle::tools
