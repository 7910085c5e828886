#include "codegen/cuda/tuning.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>

#include "codegen/cuda/shipped_tuning.h"

namespace heddle::codegen::cuda {
namespace {

using nlohmann::json;

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

std::vector<std::string_view> knob_names() {
  std::vector<std::string_view> names;
  for (const KnobRow& row : knob_rows()) names.push_back(row.name);
  return names;
}

Result<plan::Knob> knob_of(const std::string& name, const json& value, std::string_view place) {
  if (std::ranges::find(knob_rows(), name, &KnobRow::name) == knob_rows().end())
    return error("{}: knob '{}' is not known (known: {})", place, name, fmt::join(knob_names(), ", "));
  if (!value.is_number_integer()) return error("{}: knob '{}' is {}, wanted an integer", place, name, value.dump());
  plan::Knob knob;
  knob.name = name, knob.value = value.get<int>();
  return knob;
}

Result<const json*> member(const json& object, const char* key, json::value_t type, std::string_view place) {
  const auto found = object.is_object() ? object.find(key) : object.end();
  if (found == object.end()) return error("{}: '{}' is missing", place, key);
  const bool number = type == json::value_t::number_float && found->is_number();
  if (!number && found->type() != type) return error("{}: '{}' is {}", place, key, found->dump());
  return &*found;
}
Result<std::string> text_of(const json& object, const char* key, std::string_view place) {
  HEDDLE_ASSIGN(const json* value, member(object, key, json::value_t::string, place));
  return value->get<std::string>();
}
Result<double> number_of(const json& object, const char* key, std::string_view place) {
  HEDDLE_ASSIGN(const json* value, member(object, key, json::value_t::number_float, place));
  return value->get<double>();
}

}  // namespace

const Tuning::Kernel* Tuning::kernel(std::string_view spec) const {
  const auto found = std::ranges::find(kernels, spec, &Kernel::spec);
  return found == kernels.end() ? nullptr : &*found;
}

double Tuning::entry_us(std::string_view model, std::string_view entry) const {
  const auto found = std::ranges::find_if(entries, [&](const Entry& one) { return one.model == model && one.entry == entry; });
  return found == entries.end() ? 0 : found->us;
}

void Tuning::merge(const Tuning& newer) {
  std::erase_if(kernels, [&](const Kernel& mine) { return newer.kernel(mine.spec) != nullptr; });
  std::erase_if(passes, [&](const Pass& mine) {
    return std::ranges::any_of(newer.passes, [&](const Pass& other) { return other.model == mine.model && other.pass == mine.pass; });
  });
  std::erase_if(entries, [&](const Entry& mine) { return newer.entry_us(mine.model, mine.entry) > 0; });
  entries.insert(entries.end(), newer.entries.begin(), newer.entries.end());
  kernels.insert(kernels.end(), newer.kernels.begin(), newer.kernels.end());
  passes.insert(passes.end(), newer.passes.begin(), newer.passes.end());
  if (!newer.gpu.empty()) gpu = newer.gpu;
  if (!newer.target.empty()) target = newer.target;
}

Result<Tuning> parse_tuning(std::string_view text, std::string_view place) {
  const json all = json::parse(text, nullptr, false);
  if (all.is_discarded()) return error("{}: is no JSON", place);
  Tuning out;
  HEDDLE_ASSIGN(out.gpu, text_of(all, "gpu", place));
  HEDDLE_ASSIGN(out.target, text_of(all, "target", place));
  HEDDLE_ASSIGN(const json* kernels, member(all, "kernels", json::value_t::array, place));
  for (std::size_t i = 0; i < kernels->size(); ++i) {
    const json& one = (*kernels)[i];
    const std::string at = fmt::format("{}: kernels[{}]", place, i);
    Tuning::Kernel& kernel = out.kernels.emplace_back();
    HEDDLE_ASSIGN(kernel.spec, text_of(one, "spec", at));
    HEDDLE_ASSIGN(kernel.default_us, number_of(one, "default_us", at));
    HEDDLE_ASSIGN(kernel.us, number_of(one, "us", at));
    HEDDLE_ASSIGN(const json* knobs, member(one, "knobs", json::value_t::object, at));
    for (const auto& [name, value] : knobs->items()) {
      HEDDLE_ASSIGN(auto knob, knob_of(name, value, at));
      kernel.knobs.push_back(std::move(knob));
    }
  }
  HEDDLE_ASSIGN(const json* passes, member(all, "passes", json::value_t::array, place));
  for (std::size_t i = 0; i < passes->size(); ++i) {
    const json& one = (*passes)[i];
    const std::string at = fmt::format("{}: passes[{}]", place, i);
    Tuning::Pass& pass = out.passes.emplace_back();
    HEDDLE_ASSIGN(pass.model, text_of(one, "model", at));
    HEDDLE_ASSIGN(pass.pass, text_of(one, "pass", at));
    HEDDLE_ASSIGN(pass.with_us, number_of(one, "with_us", at));
    HEDDLE_ASSIGN(pass.without_us, number_of(one, "without_us", at));
  }
  if (!all.contains("entries")) return out;
  HEDDLE_ASSIGN(const json* entries, member(all, "entries", json::value_t::array, place));
  for (std::size_t i = 0; i < entries->size(); ++i) {
    const json& one = (*entries)[i];
    const std::string at = fmt::format("{}: entries[{}]", place, i);
    Tuning::Entry& entry = out.entries.emplace_back();
    HEDDLE_ASSIGN(entry.model, text_of(one, "model", at));
    HEDDLE_ASSIGN(entry.entry, text_of(one, "entry", at));
    HEDDLE_ASSIGN(entry.us, number_of(one, "us", at));
    if (!(entry.us > 0)) return error("{}: 'us' is {}, wanted a number above 0", at, entry.us);
  }
  return out;
}

std::string print_tuning(const Tuning& tuning) {
  json all = {{"gpu", tuning.gpu}, {"target", tuning.target}, {"kernels", json::array()}, {"passes", json::array()}};
  for (const Tuning::Kernel& kernel : tuning.kernels) {
    json knobs = json::object();
    for (const plan::Knob& knob : kernel.knobs) knobs[knob.name] = knob.value;
    all["kernels"].push_back({{"spec", kernel.spec}, {"knobs", knobs}, {"default_us", kernel.default_us}, {"us", kernel.us}});
  }
  for (const Tuning::Pass& pass : tuning.passes)
    all["passes"].push_back({{"model", pass.model}, {"pass", pass.pass}, {"with_us", pass.with_us}, {"without_us", pass.without_us}});
  for (const Tuning::Entry& entry : tuning.entries) all["entries"].push_back({{"model", entry.model}, {"entry", entry.entry}, {"us", entry.us}});
  return all.dump(1) + "\n";
}

const Tuning& shipped_tuning(const ir::Target& target) {
  static const std::vector<Tuning> all = [] {
    std::vector<Tuning> out;
    for (const std::string_view text : shipped_tuning_texts) {
      auto parsed = parse_tuning(text, "shipped tuning");
      HEDDLE_CHECK(parsed.ok(), "{}", parsed.error().message());
      out.push_back(std::move(*parsed));
    }
    return out;
  }();
  static const Tuning none;
  const auto found = std::ranges::find(all, target.name, &Tuning::target);
  return found == all.end() ? none : *found;
}

void apply(const Tuning& tuning, plan::Plan& plan) {
  for (plan::Kernel& kernel : plan.kernels) {
    const Tuning::Kernel* chosen = tuning.kernel(kernel.spec.name);
    if (!chosen) continue;
    kernel.spec.knobs.clear();
    for (const plan::Knob& knob : chosen->knobs) kernel.spec.knobs.push_back(knob);
  }
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
