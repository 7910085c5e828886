#pragma once
#include <string>
#include <vector>

#include "runtime/chat/template.h"
#include "runtime/session/generate.h"
#include "tools/compiler/compile_model.h"
#include "tools/verify/open_session.h"

namespace CLI {
class App;
}

namespace heddle::tools {

/// Options that several subcommands share, declared once.
void add_plan_options(CLI::App& app, CompileOptions& options);     // --target, --activations, --kv, --prefill, --quantize, --cache-dir, --no-cache
void add_pass_options(CLI::App& app, CompileOptions& options);     // --disable, --pipeline, --pass-plugin, --pass-limit
void add_device_options(CLI::App& app, DeviceOptions& options);    // -t, --reference
void add_sampling_options(CLI::App& app, runtime::GenerateOptions& options);  // -n, --temp, --top-k, ..., --seed, --stop, --ignore-eos
void add_template_option(CLI::App& app, std::string& file);         // --template

/// The model's chat template, or the one in `file` if it is not empty. "the model has no chat template: give one with --template FILE".
Result<chat::Template> template_for(const plan::Plan& plan, const std::string& file);

/// "1,2,3" or "1 2 3" -> ids; each must be in [0, vocabulary).
Result<std::vector<std::int32_t>> parse_ids(const std::string& text, std::int64_t vocabulary);

/// "PASS=N".
Result<std::vector<std::pair<std::string, int>>> parse_required(const std::vector<std::string>& texts);

/// Whole file, or standard input for "-".
Result<std::string> read_input(const std::string& path);

}  // namespace heddle::tools
