#include "codegen/tuning.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <nlohmann/json.hpp>

namespace heddle::codegen {
namespace {

using nlohmann::json;
using Names = std::span<const std::string_view>;

Result<plan::Knob> knob_of(const std::string& name, const json& value, std::string_view place, Names known) {
  if (std::ranges::find(known, name) == known.end())
    return error("{}: knob '{}' is not known (known: {})", place, name, fmt::join(known, ", "));
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

Result<Tuning> parse_tuning(std::string_view text, std::string_view place, Names knobs_known) {
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
      HEDDLE_ASSIGN(auto knob, knob_of(name, value, at, knobs_known));
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

void apply(const Tuning& tuning, plan::Plan& plan) {
  for (plan::Kernel& kernel : plan.kernels) {
    const Tuning::Kernel* chosen = tuning.kernel(kernel.spec.name);
    if (!chosen) continue;
    kernel.spec.knobs.clear();
    for (const plan::Knob& knob : chosen->knobs) kernel.spec.knobs.push_back(knob);
  }
}

}  // namespace heddle::codegen
