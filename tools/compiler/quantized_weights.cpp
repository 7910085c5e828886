#include "tools/compiler/quantized_weights.h"

#include <algorithm>
#include <chrono>
#include <filesystem>

#include "frontends/quantize/quantize.h"

namespace heddle::tools {

static std::string key_field(const plan::Plan& plan, std::string_view name) {
  const auto field = std::ranges::find_if(plan.key, [&](const auto& entry) { return entry.name == name; });
  return field == plan.key.end() ? std::string() : (*field).value;
}

Result<void> prepare_weights(const plan::Plan& plan, const Listener& listener) {
  const std::string format = key_field(plan, "quantize"), fingerprint = key_field(plan, "model fingerprint");
  if (format.empty()) return {};
  HEDDLE_ASSIGN(const DType type, frontends::quantization_named(format));
  if (plan.files.size() < 2) return error("a plan with quantised weights names {} files", plan.files.size());
  std::vector<plan::ModelFile> sources;
  for (std::size_t i = 0; i + 1 < plan.files.size(); ++i) sources.push_back(plan.files[i]);
  const std::string& path = plan.files.back().path;
  HEDDLE_ASSIGN(const auto from, frontends::quantized_from(sources, fingerprint, type));
  std::string why = "not there yet";
  if (std::filesystem::exists(path)) {
    const auto checked = frontends::check_quantized(path, from);
    if (checked.ok()) return {};
    why = checked.error().message();
  }
  HEDDLE_ASSIGN(const auto model, frontends::open_model(sources.front().path));
  if (model.fingerprint != fingerprint)
    return error("{}: its header has changed: fingerprint {}, the plan was made for {}", sources.front().path, model.fingerprint,
                 fingerprint);
  const auto start = std::chrono::steady_clock::now();
  HEDDLE_TRY(frontends::write_quantized(model, type, path, from, listener.begin("quantising weights")));
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  listener.say(fmt::format("weights quantised to {} in {:.1f} s: {}", format, seconds, why));
  return {};
}

}  // namespace heddle::tools
