#include "tools/compiler/measured_choices.h"

#include <algorithm>
#include <filesystem>

#include "codegen/backend.h"
#include "ir/base/mapped_file.h"
#include "passes/cost_model.h"

namespace heddle::tools {

std::string model_name(const plan::ModelInfo& model) {
  return fmt::format("{}, {} layers, {} parameters, vocabulary {}, {} bytes", model.architecture, model.layers, model.parameters, model.vocabulary,
                     model.weight_bytes);
}

std::string tuning_path(const ir::Target& target, const CompileOptions& options) {
  if (!options.tuning.empty()) return options.tuning;
  const std::string card = codegen::backend(target).card_of(target.name);
  return fmt::format("{}/tuning-{}.json", cache_dir_of(options), card.substr(card.find(':') + 1));
}

Result<codegen::Tuning> read_tuning(const std::string& path, const ir::Target& target) {
  const codegen::Backend& backend = codegen::backend(target);
  HEDDLE_ASSIGN(const std::string text, read_text_file(path));
  HEDDLE_ASSIGN(auto found, codegen::parse_tuning(text, path, backend.knobs()));
  if (backend.card_of(found.target) != backend.card_of(target.name))
    return error("{}: it was measured for {}, the target is {}", path, found.target, target.name);
  return found;
}

Result<MeasuredChoices> choices_for(const ir::Target& target, const CompileOptions& options) {
  const codegen::Backend& backend = codegen::backend(target);
  MeasuredChoices out;
  if (backend.knobs().empty() || options.tuning == "none") return out;
  out.tuning = backend.shipped_tuning(target);
  if (const std::string card = backend.card_of(target.name); !out.tuning.target.empty() && out.tuning.target != card)
    out.remark = fmt::format("no measured choices are shipped for {}: those of {} are taken", card, out.tuning.target);
  const std::string path = tuning_path(target, options);
  if (options.tuning.empty() && !std::filesystem::exists(path)) return out;
  HEDDLE_ASSIGN(const auto here, read_tuning(path, target));
  out.tuning.merge(here);
  return out;
}

void set_times(plan::Plan& plan, const ir::Module& module, const codegen::Questions* questions, const codegen::Tuning& tuning) {
  const std::string model = model_name(plan.model);
  const bool measured = std::ranges::all_of(plan.entries, [&](const auto& entry) {
    return (entry.kind == EntryKind::decode && entry.rows > 1) || tuning.entry_us(model, entry.name) > 0;
  });
  for (std::size_t i = 0; i < plan.entries.size(); ++i) {
    plan::EntryPoint& entry = plan.entries[i];
    const double us = measured ? tuning.entry_us(model, entry.name) : 0;
    entry.measured = us > 0;
    entry.microseconds = float(us > 0 ? us : passes::step_us(*module.functions()[i], questions, module.target));
    entry.key_microseconds = float(questions ? passes::key_us(*module.functions()[i], entry.rows, *questions) : 0);
  }
}

}  // namespace heddle::tools
