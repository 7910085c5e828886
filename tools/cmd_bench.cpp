#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "tools/commands.h"
#include "tools/console.h"
#include "tools/options.h"

namespace heddle::tools {
namespace {

struct Options {
  std::string model, format = "md";
  std::vector<std::int64_t> prompt{512}, generate{128}, depth{0};
  int repetitions = 5;
  CompileOptions compile;
  DeviceOptions device;
};

struct Row {
  std::string test;
  std::vector<double> rates;  // tokens/s of each repetition
  double median() const {
    std::vector<double> sorted = rates;
    std::ranges::sort(sorted);
    const std::size_t n = sorted.size();
    return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
  }
  double deviation() const {
    double mean = 0, square = 0;
    for (double r : rates) mean += r / double(rates.size());
    for (double r : rates) square += (r - mean) * (r - mean);
    return rates.size() < 2 ? 0 : std::sqrt(square / double(rates.size() - 1));
  }
};

/// Random tokens: speed must not depend on a lucky text.
std::vector<std::int32_t> random_tokens(std::int64_t n, std::uint32_t vocabulary) {
  std::vector<std::int32_t> out;
  std::uint64_t state = 0x9e3779b97f4a7c15;
  for (std::int64_t i = 0; i < n; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    out.push_back(std::int32_t((state >> 33) % vocabulary));
  }
  return out;
}

Result<Row> measure(runtime::Session& session, std::string name, std::int64_t depth, std::int64_t tokens, bool generate, int repetitions) {
  Row row{std::move(name), {}};
  const std::uint32_t vocabulary = session.plan().model->vocabulary;
  const auto context = random_tokens(depth, vocabulary), work = random_tokens(tokens, vocabulary);
  session.rewind(0);
  if (depth > 0) {
    HEDDLE_TRY(session.feed(context));
  }
  for (int r = -1; r < repetitions; ++r) {  // the first is a warm-up
    session.rewind(depth);
    const auto start = std::chrono::steady_clock::now();
    if (generate) {
      for (std::int32_t token : work) HEDDLE_TRY(session.feed({&token, 1}));
    } else {
      HEDDLE_TRY(session.feed(work));
    }
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (r >= 0) row.rates.push_back(double(tokens) / seconds);
    if (interrupted()) return error("interrupted");
  }
  return row;
}

Result<void> run(const Options& options) {
  if (options.format != "md" && options.format != "json") return error("-o {}: known are md, json", options.format);
  HEDDLE_ASSIGN(auto compiled, plan_for(options.model, options.compile));
  const auto largest = [](const std::vector<std::int64_t>& list) { return list.empty() ? 0 : *std::ranges::max_element(list); };
  const std::int64_t context = largest(options.depth) + std::max(largest(options.prompt), largest(options.generate));
  HEDDLE_ASSIGN(auto session, open_session(compiled.plan, std::max<std::int64_t>(context, 1), options.device));
  catch_interrupt();
  std::vector<Row> rows;
  for (std::int64_t depth : options.depth) {
    const std::string at = depth > 0 ? fmt::format(" @ d{}", depth) : "";
    for (std::int64_t n : options.prompt)
      if (n > 0) {
        HEDDLE_ASSIGN(auto row, measure(session, fmt::format("pp{}{}", n, at), depth, n, false, options.repetitions));
        rows.push_back(std::move(row));
      }
    for (std::int64_t n : options.generate)
      if (n > 0) {
        HEDDLE_ASSIGN(auto row, measure(session, fmt::format("tg{}{}", n, at), depth, n, true, options.repetitions));
        rows.push_back(std::move(row));
      }
  }
  const auto& model = *session.plan().model;
  if (options.format == "json") {
    nlohmann::json out = nlohmann::json::array();
    for (const Row& row : rows)
      out.push_back({{"model", model.name}, {"test", row.test}, {"backend", session.device().description()}, {"median_ts", row.median()},
                     {"stddev_ts", row.deviation()}, {"samples_ts", row.rates}});
    fmt::print("{}\n", out.dump(1));
    return {};
  }
  fmt::print("| model | size | params | backend | test | t/s |\n| --- | ---: | ---: | --- | ---: | ---: |\n");
  for (const Row& row : rows)
    fmt::print("| {} {} | {} | {:.2f} M | {} | {} | {:.2f} ± {:.2f} |\n", model.architecture, model.name, human_bytes(model.weight_bytes),
               double(model.parameters) / 1e6, session.device().description(), row.test, row.median(), row.deviation());
  return {};
}

}  // namespace

void add_bench(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("bench", "tokens per second of prompts (pp) and of generation (tg), medians; after a filled context with -d");
  auto options = std::make_shared<Options>();
  command->add_option("model", options->model, "a GGUF file or a plan")->required();
  command->add_option("-p,--prompt", options->prompt, "prompt lengths; 0: none")->capture_default_str()->delimiter(',');
  command->add_option("-n,--generate", options->generate, "tokens to generate; 0: none")->capture_default_str()->delimiter(',');
  command->add_option("-d,--depth", options->depth, "positions already in the cache")->capture_default_str()->delimiter(',');
  command->add_option("-r,--repetitions", options->repetitions, "measured repetitions, after one warm-up")->capture_default_str()->check(CLI::PositiveNumber);
  command->add_option("-o,--output", options->format, "md or json")->capture_default_str();
  add_plan_options(*command, options->compile);
  add_pass_options(*command, options->compile);
  add_device_options(*command, options->device);
  command->callback([options, &exit_code] {
    auto result = run(*options);
    exit_code = result.ok() ? 0 : fail(result.error());
  });
}

}  // namespace heddle::tools
