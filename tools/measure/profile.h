#pragma once
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "runtime/device/inspectable_device.h"

/// Where the time of a step goes, and how near each kernel is to reading as fast as the memory allows.
namespace heddle::tools {

/// Least bytes that a node moves: weights, inputs, outputs, what it adds to a state, and of a state that it attends to all positions that
/// the rows of the step see.
std::int64_t least_bytes(const plan::Plan& plan, const plan::Node& node, std::span<const runtime::StepRow> rows);

/// Multiplications and additions of a node's products, for the rows of the step that are not idle: of weights and activations, and in
/// attention of each row's queries with the keys and of its weights with the values of the positions it sees.
std::int64_t operations(const plan::Plan& plan, const plan::Node& node, std::span<const runtime::StepRow> rows);

struct KernelProfile {
  std::string kernel;         // the spec's name
  std::string group;          // label of the IR's groups
  int calls = 0;              // a step
  double seconds = 0;           // median of one call
  std::int64_t bytes = 0;       // least, of one call
  std::int64_t operations = 0;  // of one call
  std::uint64_t rotated = 0;    // bytes that were read before the same ones were read again: a last cache that holds so many flatters
  double total() const { return seconds * calls; }
  double rate() const { return seconds > 0 ? double(bytes) / seconds : 0; }
  double operation_rate() const { return seconds > 0 ? double(operations) / seconds : 0; }
};

struct Profile {
  std::string device, entry, how;
  std::int64_t depth = 0;
  std::vector<KernelProfile> kernels;  // the largest share of the step first
  double step = 0;                     // median of the whole step
  double kernel_sum = 0;
  std::int64_t bytes = 0;       // least, of the step
  std::int64_t operations = 0;  // of the step
  runtime::ReadRate read_rate;
  double matrix_peak = 0;      // operations a second of the device's matrix units with nothing else to do; 0: not measured
  std::string no_matrix_peak;  // why it could not be
  /// What part of it a rate of operations is; none where it was not measured or there is nothing to compare.
  std::optional<double> share_of_peak(double operation_rate) const {
    return matrix_peak > 0 && operation_rate > 0 ? std::optional(operation_rate / matrix_peak) : std::nullopt;
  }
  double operation_rate() const { return step > 0 ? double(operations) / step : 0; }
  std::vector<runtime::NodeSpan> trace;  // of one step, by node
  std::vector<std::string> trace_names;
};

/// Profiles steps of entry point `entry` whose rows stand at the positions from `depth` on of slot 0. `device` has loaded the plan and
/// holds the positions before. The matrix units are not measured.
Result<Profile> profile_step(runtime::NodeDevice& device, const plan::Plan& plan, std::size_t entry, std::int64_t depth, int samples);

/// The trace as Chrome's and Perfetto's JSON: a complete event for each node, microseconds.
std::string trace_json(const Profile& profile);

}  // namespace heddle::tools
