#include <algorithm>
#include <set>

#include "ir/base/cuda_card.h"
#include "runtime/plan/check_parts.h"
#include "runtime/plan/plan_file.h"

namespace heddle::plan {

std::string Place::str() const {
  std::string text = parent ? parent->str() + "." : std::string();
  text += name;
  if (index >= 0) text += fmt::format("[{}]", index);
  return text;
}

bool is_activation_format(DType type) {
  const DTypeInfo& row = info(type);
  return row.elements > 1 && row.bytes > row.elements && row.quantize != nullptr;
}

Result<void> check_activation(DType dtype, std::string_view field, const Place& place) {
  if (dtype == DType::f32 || is_activation_format(dtype)) return {};
  return fail(place, "{} is {}, wanted f32 or an 8-bit activation format", field, heddle::name(dtype));
}

Result<std::int64_t> check_shape(const std::vector<std::int64_t>& shape, DType dtype, const Place& place) {
  if (shape.empty()) return fail(place, "shape is empty");
  std::int64_t elements = 1;
  for (const std::int64_t size : shape) {
    if (size <= 0) return fail(place, "shape is [{}], every dimension must be positive", fmt::join(shape, ", "));
    if (size > max_elements / elements) return fail(place, "shape is [{}], more than {} elements", fmt::join(shape, ", "), max_elements);
    elements *= size;
  }
  const int block = info(dtype).elements;
  if (shape.back() % block != 0)
    return fail(place, "shape is [{}], {} needs a multiple of {} columns", fmt::join(shape, ", "), heddle::name(dtype), block);
  return elements;
}

namespace {

/// The CPU, or a GPU of which the architecture is known: "cuda:sm_" and digits, or a card.
bool is_target(std::string_view target) {
  const auto backend = backend_of(target);
  if (backend == BackendKind::cuda) return cuda_architecture(target).has_value();
  return backend && target == heddle::name(*backend);
}

}  // namespace

Result<void> check(const Plan& plan) {
  if (!is_target(plan.target)) return fail(Place{nullptr, "target"}, "is '{}', wanted cpu or cuda:sm_NN", plan.target);
  HEDDLE_TRY(check_tables(plan));
  HEDDLE_TRY(check_each(plan.kernels, nullptr, "kernels",
                        [&](const Kernel& kernel, const Place& place) { return check_kernel(kernel, plan, place); }));
  if (plan.entries.empty()) return fail(Place{nullptr, "entries"}, "there is none, at least one is needed");
  std::set<std::string_view> names;
  return check_each(plan.entries, nullptr, "entries", [&](const EntryPoint& entry, const Place& place) -> Result<void> {
    if (!names.insert(entry.name).second) return fail(place, "name '{}' is used twice", entry.name);
    return check_entry(entry, plan, place);
  });
}

}  // namespace heddle::plan
