#pragma once
#include <fmt/ranges.h>

#include <string>
#include <string_view>
#include <vector>

#include "ir/base/dtype.h"
#include "ir/base/error.h"
#include "runtime/plan/plan.h"

/// The pieces of `check`: private to this folder, one file per group of tables.
namespace heddle::plan {

/// Where in the plan the check is: "kernels[3].spec.parts[0]". A chain on the stack; text is made only for an error.
struct Place {
  const Place* parent = nullptr;
  std::string_view name;
  std::int64_t index = -1;
  std::string str() const;
};

template <class... Args>
Error fail(const Place& place, fmt::format_string<Args...> format, Args&&... args) {
  return Error(fmt::format(format, std::forward<Args>(args)...)).at(place.str());
}

/// Calls `visit(item, place)` for every item of a list.
template <class List, class Visit>
Result<void> check_each(const List& list, const Place* parent, std::string_view name, const Visit& visit) {
  for (std::size_t i = 0; i < list.size(); ++i) {
    const Place place{parent, name, std::int64_t(i)};
    HEDDLE_TRY(visit(list[i], place));
  }
  return {};
}

/// Largest number of elements of anything in a plan: products of byte sizes stay far inside 64 bits.
inline constexpr std::int64_t max_elements = std::int64_t(1) << 40;
/// Largest number of rows of an entry point.
inline constexpr std::int64_t max_rows = 4096;
/// Arena offsets are multiples of this, so that any target may use vector loads.
inline constexpr std::uint64_t arena_alignment = 16;

/// f32 or an 8-bit activation format: what a buffer between kernels may hold.
Result<void> check_activation(DType dtype, std::string_view field, const Place& place);
/// A block format that `quantize` may write: 8 bits and a scale, so more than a byte an element.
bool is_activation_format(DType type);
/// Positive dimensions, a bounded product, a last dimension of whole blocks. Returns the number of elements.
Result<std::int64_t> check_shape(const std::vector<std::int64_t>& shape, DType dtype, const Place& place);

/// Key, model, files, weights, states, vocabulary.
Result<void> check_tables(const Plan& plan);
Result<void> check_key(const Plan& plan);
Result<void> check_weights(const Plan& plan);
Result<void> check_states(const Plan& plan);
Result<void> check_vocabulary(const Plan& plan);

/// A kernel for itself: loop, arguments, programs, launch shape.
Result<void> check_kernel(const Kernel& kernel, const Plan& plan, const Place& place);

/// What is known of a program's value: [rows, width] of `dtype`.
struct ProgramValue {
  DType dtype = DType::f32;
  std::int64_t width = 1;  // n of the program, 1, or (an input of kind vector) any other length
  bool vector = false;     // an input of kind vector
};

/// Where a program stands.
struct ProgramFrame {
  const KernelSpec& spec;                              // its arguments are already checked
  std::int64_t n = 0;                                   // columns of the program
  std::int64_t granule = 0;                             // columns it is sure to see together; n: whole rows
  std::size_t accumulators = 0;                         // inputs of kind loop
  const std::vector<ProgramValue>* prologue = nullptr;  // for inputs of kind row_scalar
};
/// The program's values, inputs first.
Result<std::vector<ProgramValue>> check_program(const Program& program, const ProgramFrame& frame, const Place& place);

/// An argument of a kernel by index, of a wanted role.
Result<const Arg*> check_arg(const KernelSpec& spec, std::uint64_t index, ArgRole role, std::string_view field, const Place& place);

/// Ports, nodes, edges, arena ranges of one entry point. Kernels, weights and states are already checked.
Result<void> check_entry(const EntryPoint& entry, const Plan& plan, const Place& place);

}  // namespace heddle::plan
