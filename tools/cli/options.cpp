#include "tools/cli/options.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <iostream>
#include <iterator>

#include "ir/base/mapped_file.h"
#include "tools/cli/console.h"

namespace heddle::tools {

void add_plan_options(CLI::App& app, CompileOptions& options) {
  options.listener = console_listener();
  app.add_option("--target", options.target, "cpu, a GPU (cuda:h200, cuda:sm_90 and the like), cuda:auto (the GPU here), or auto: the best one here")->capture_default_str();
  app.add_option("--activations", options.activations, "what quantised weights are multiplied with: q8 (8-bit blocks, faster) or f32 (exact)")
      ->capture_default_str();
  app.add_option("--kv", options.kv, "type of the key/value cache: f32, f16, or auto: f16 on a GPU with 8-bit activations, else f32")->capture_default_str();
  app.add_option("--prefill", options.prefill, "rows of the entry points that read prompts: 16,512; 0: none (default: the target's)")
      ->delimiter(',')
      ->type_name("ROWS");
  app.add_option("--quantize", options.quantize, "turn float matrices into q8_0, q4_0 or q4_K when weights are loaded; the result is kept in the cache")
      ->type_name("FORMAT");
  app.add_option("--cache-dir", options.cache_dir, "where plans are kept (default: $XDG_CACHE_HOME/heddle, else ~/.cache/heddle)");
  app.add_flag("--no-cache{false}", options.use_cache, "neither read nor write the plan cache");
}

void add_pass_options(CLI::App& app, CompileOptions& options) {
  app.add_option("--disable", options.disabled, "leave a pass out (again for more)")->take_all()->type_name("PASS");
  app.add_option("--pipeline", options.pipeline, "these passes instead of the target's list: a,b{option=value},c")->type_name("PASSES");
  app.add_option("--pass-plugin", options.plugins, "a shared library with passes of your own (again for more)")->take_all()->type_name("LIB");
  app.add_option("--pass-limit", options.pass_limit, "stop changing the IR after N changes: bisect a wrong result")->type_name("N");
}

void add_device_options(CLI::App& app, DeviceOptions& options) {
  options.listener = console_listener();
  options.stop_when = interrupted;
  app.add_option("-t,--threads", options.threads, "CPU threads (default: all processors)")->check(CLI::Range(0, 1024));
  app.add_flag("--no-graph", options.no_graph, "CUDA: launch kernel by kernel instead of one graph a step");
  app.add_flag("--plain-edges", options.plain_edges, "CUDA: no kernel starts before its predecessors are complete");
  app.add_flag("--reference", options.reference, "run on the reference interpreter: slow, exact sums");
}

void add_sampling_options(CLI::App& app, runtime::GenerateOptions& options) {
  auto& sampling = options.sampling;
  app.add_option("-n,--tokens", options.max_tokens, "tokens to generate (default: until the text ends or the context is full)");
  app.add_option("--temp", sampling.temperature, "0 takes the likeliest token")->capture_default_str()->check(CLI::NonNegativeNumber);
  app.add_option("--top-k", sampling.top_k, "draw from the K likeliest; 0: from all")->capture_default_str();
  app.add_option("--top-p", sampling.top_p, "draw from the likeliest that make up this probability")->capture_default_str()->check(CLI::Range(0.0, 1.0));
  app.add_option("--min-p", sampling.min_p, "leave out tokens less likely than this share of the likeliest")->capture_default_str()->check(CLI::Range(0.0, 1.0));
  app.add_option("--repeat-penalty", sampling.repeat_penalty, "divide the logits of the last tokens; 1: off")->capture_default_str()->check(CLI::PositiveNumber);
  app.add_option("--seed", sampling.seed, "the same seed draws the same text")->capture_default_str();
  app.add_option("--stop", options.stop, "end the output before this text (again for more)")->take_all()->type_name("TEXT");
  app.add_flag("--ignore-eos", options.ignore_end, "go on after an end token");
}

void add_template_option(CLI::App& app, std::string& file) {
  app.add_option("--template", file, "a Jinja chat template instead of the model's own")->type_name("FILE");
}

Result<chat::Template> template_for(const plan::Plan& plan, const std::string& file) {
  std::string source = plan.chat_template;
  if (!file.empty()) {
    HEDDLE_ASSIGN(source, read_text_file(file));
  }
  if (source.empty()) return error("the model has no chat template: give one with --template FILE");
  auto parsed = chat::Template::parse(source);
  if (!parsed.ok() && !file.empty()) return parsed.take_error().at(file);
  return parsed;
}

Result<std::vector<std::int32_t>> parse_ids(const std::string& text, std::int64_t vocabulary) {
  std::vector<std::int32_t> ids;
  const char* at = text.data();
  const char* end = at + text.size();
  while (at != end) {
    if (*at == ' ' || *at == ',' || *at == '\n' || *at == '\t') {
      ++at;
      continue;
    }
    std::int32_t id = 0;
    const auto [next, ec] = std::from_chars(at, end, id);
    if (ec != std::errc() || (next != end && !std::strchr(" ,\n\t", *next)))
      return error("ids: '{}' is not a number", std::string(at, std::find_first_of(at, end, " ,", std::next(" ,", 2))));
    if (id < 0 || id >= vocabulary) return error("ids: {} is outside the vocabulary of {} tokens", id, vocabulary);
    ids.push_back(id);
    at = next;
  }
  return ids;
}

Result<std::vector<std::pair<std::string, int>>> parse_required(const std::vector<std::string>& texts) {
  std::vector<std::pair<std::string, int>> out;
  for (const std::string& text : texts) {
    const auto equals = text.find('=');
    int n = 0;
    const char* end = text.data() + text.size();
    if (equals == std::string::npos || std::from_chars(text.data() + equals + 1, end, n).ptr != end || equals + 1 == text.size())
      return error("--require: '{}' is not PASS=N", text);
    out.emplace_back(text.substr(0, equals), n);
  }
  return out;
}

Result<std::string> read_input(const std::string& path) {
  if (path == "-") return std::string(std::istreambuf_iterator<char>(std::cin), {});
  return read_text_file(path);
}

}  // namespace heddle::tools
