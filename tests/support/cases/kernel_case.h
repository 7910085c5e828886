#pragma once
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "ir/graph.h"
#include "ir/interp/interpreter.h"
#include "runtime/plan/plan.h"

/// Small functions whose groups are kernels, with what it takes to run them on the interpreter and on a GPU (or what stands in for one) and
/// to compare. The first returned value is compared, of every step.
namespace heddle::testing {

struct CaseRow {
  std::int32_t token = 0, slot = 0, position = 0;
};

struct KernelCase {
  std::string name;
  std::string text;                         // a module with one function (%tokens, %slot, %pos, of a prompt %last, states)
  std::vector<std::vector<CaseRow>> steps;  // one after the other on the same caches
  std::int64_t slots = 1, capacity = 64;
  double tolerance = 2e-5;        // of the largest magnitude of a step's result
  bool compiled_for_all = false;  // one of those that are compiled for every architecture
  bool slow = false;              // on the emulator
};

/// The last row of a step that is not idle, which a prompt goes on with.
std::int32_t last_row(const std::vector<CaseRow>& step);

/// Cases of every loop kind: formats, row counts, odd sizes, programs before and after.
std::vector<KernelCase> kernel_cases();
/// Of all; of the slow or the quick ones.
std::vector<std::string> case_names();
std::vector<std::string> case_names(bool slow);

/// A case made ready: placed, as a plan without compiled code, with random weights in their file's order.
struct PreparedCase {
  std::unique_ptr<ir::Module> module;
  plan::Plan plan;
  std::vector<std::vector<std::byte>> weights;  // of plan.weights
};
/// Random elements in the type's own blocks, made from the symbol's name; of a symbol with values of its own, those.
std::vector<std::byte> random_weight(const ir::Value& weight);
Result<PreparedCase> prepare(const KernelCase& test, const std::string& target);

/// The first returned value of every step, by the interpreter.
Result<std::vector<std::vector<float>>> interpret(const KernelCase& test, const PreparedCase& prepared);

/// Empty where `found` is within the tolerance of `wanted` in every step; otherwise the worst place.
std::string difference(const KernelCase& test, const std::vector<std::vector<float>>& wanted, const std::vector<std::vector<float>>& found);

/// Bytes of weight `index` as its layout stores them.
Result<std::vector<std::byte>> stored_weight(const PreparedCase& prepared, std::size_t index);

}  // namespace heddle::testing
