#include "codegen/cuda/tuning.h"

#include <algorithm>

#include "codegen/cuda/shipped_tuning.h"
#include "codegen/cuda/target.h"

namespace heddle::codegen::cuda {
namespace {

/// Knobs that emitters know, with the values worth trying: of products the warps of a block and the stages of their rings; of attention the
/// rounds up to which a context is not split.
struct KnobRow {
  std::string_view name;
  bool (*applies)(const plan::Loop& loop);
  std::vector<int> values;
};
template <class Kind>
bool is(const plan::Loop& loop) {
  return std::holds_alternative<Kind>(loop);
}
const std::vector<KnobRow>& knob_rows() {
  static const std::vector<KnobRow> all{{"rounds", is<plan::Attention>, {1, 2, 3, 4}},
                                        {"stages", is<plan::Gemm>, {2, 3, 4}},
                                        {"warps", is<plan::Gemm>, {16, 20, 24, 28, 32}}};
  return all;
}

const std::vector<Tuning>& all_shipped() {
  static const std::vector<Tuning> all = [] {
    std::vector<Tuning> out;
    for (const std::string_view text : shipped_tuning_texts) {
      auto parsed = parse_tuning(text, "shipped tuning", knob_names());
      HEDDLE_CHECK(parsed.ok(), "{}", parsed.error().message());
      out.push_back(std::move(*parsed));
    }
    return out;
  }();
  return all;
}

}  // namespace

std::span<const std::string_view> knob_names() {
  static const std::vector<std::string_view> names = [] {
    std::vector<std::string_view> out;
    for (const KnobRow& row : knob_rows()) out.push_back(row.name);
    return out;
  }();
  return names;
}

const Tuning& shipped_tuning(const ir::Target& target) {
  static const Tuning none;
  const std::string card = card_of(target.name);
  const auto own = std::ranges::find(all_shipped(), card, &Tuning::target);
  if (own != all_shipped().end()) return *own;
  const std::string architecture = architecture_of(target);
  const auto like = std::ranges::find_if(all_shipped(), [&](const Tuning& one) {
    const auto other = target_named(one.target);
    return other.ok() && architecture_of(*other) == architecture;
  });
  return like != all_shipped().end() ? *like : none;
}

std::vector<std::vector<plan::Knob>> candidates(const plan::KernelSpec& spec) {
  std::vector<std::vector<plan::Knob>> out;
  for (const KnobRow& row : knob_rows()) {
    if (!row.applies(spec.loop)) continue;
    for (const int value : row.values) {
      plan::Knob knob;
      knob.name = row.name, knob.value = value;
      out.push_back({knob});
    }
  }
  return out;
}

int knob(const plan::KernelSpec& spec, std::string_view name, int otherwise) {
  for (const auto& one : spec.knobs)
    if (one.name == name) return one.value;
  return otherwise;
}

}  // namespace heddle::codegen::cuda
