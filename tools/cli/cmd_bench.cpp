#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>

#include "runtime/cuda/device.h"
#include "tools/cli/commands.h"
#include "tools/cli/console.h"
#include "tools/measure/floor.h"
#include "tools/measure/matrix_peak.h"
#include "tools/cli/options.h"

namespace heddle::tools {
namespace {

struct Options {
  std::string model, format = "md";
  std::vector<std::int64_t> prompt{512}, generate{128}, depth{0};
  std::vector<std::size_t> sequences{1};
  int repetitions = 5;
  bool floor = false;
  CompileOptions compile;
  DeviceOptions device;
};

struct Row {
  std::string test;
  std::int64_t depth = 0, sequences = 0;  // sequences: of a generation; 0: a prompt
  std::vector<double> rates;              // tokens/s of each repetition
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

/// What is repeated, on sessions rewound to the depth.
using Work = std::function<Result<void>(std::span<runtime::Session>)>;

/// Repeats `work`, which makes or reads `tokens` in all, behind a context of `depth` tokens that is filled once.
Result<Row> measure(std::span<runtime::Session> sessions, std::string name, std::int64_t depth, std::int64_t tokens, bool generates,
                    int repetitions, const Work& work) {
  Row row{std::move(name), depth, generates ? std::int64_t(sessions.size()) : 0, {}};
  const auto context = random_tokens(depth, sessions[0].plan().model.vocabulary);
  for (runtime::Session& session : sessions) {
    session.rewind(0);
    if (depth > 0) {
      HEDDLE_TRY(session.feed(context));
    }
  }
  for (int r = -1; r < repetitions; ++r) {  // the first is a warm-up
    for (runtime::Session& session : sessions) session.rewind(depth);
    const auto start = std::chrono::steady_clock::now();
    HEDDLE_TRY(work(sessions));
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    if (r >= 0) row.rates.push_back(double(tokens) / seconds);
    if (interrupted()) return error("interrupted");
  }
  return row;
}

/// A prompt of `tokens` for one sequence.
Work read_prompt(std::vector<std::int32_t> tokens) {
  return [tokens = std::move(tokens)](std::span<runtime::Session> sessions) -> Result<void> {
    HEDDLE_TRY(sessions[0].feed(tokens));
    return {};
  };
}

/// `tokens` drawn greedily for every sequence, each from a token of its own.
Work generate(std::int64_t tokens, std::size_t sequences, std::uint32_t vocabulary) {
  std::vector<std::vector<std::int32_t>> starts;
  for (const std::int32_t token : random_tokens(std::int64_t(sequences), vocabulary)) starts.push_back({token});
  return [tokens, starts = std::move(starts)](std::span<runtime::Session> sessions) -> Result<void> {
    runtime::SamplingOptions greedy;
    greedy.temperature = 0;
    HEDDLE_TRY(runtime::Session::draw_together(sessions, starts, greedy, tokens));
    return {};
  };
}

/// Each generation beside its floors: tokens a second if a step took only as long as reading what it must read. For prompts, what the
/// matrix units reach.
Result<void> print_floors(runtime::Session& session, const std::vector<Row>& rows, const std::string& cache_dir, bool json,
                          nlohmann::json& out) {
  auto* device = dynamic_cast<runtime::NodeDevice*>(&session.device());
  if (!device) return error("--floor: {} does not measure how fast its memory is read", session.device().description());
  HEDDLE_ASSIGN(const runtime::ReadRate rate, device->read_rate());
  const double bandwidth = rate.bytes_per_second * 1e-9;
  HEDDLE_ASSIGN(const auto peak, matrix_peak(session.plan(), cache_dir));
  const double teraflops = peak.value_or(0) * 1e-12;
  std::int64_t deepest = 0, most = 1;
  for (const Row& row : rows) deepest = std::max(deepest, row.depth), most = std::max(most, row.sequences);
  HEDDLE_ASSIGN(const FloorBench bench, FloorBench::open(session.plan(), deepest, most, cache_dir));
  if (!json)
    fmt::print("\nread bandwidth {:.0f} GB/s, matrix peak {:.0f} TFLOP/s\n\n"
               "| test | t/s | floor t/s | share | plan floor t/s |\n| --- | ---: | ---: | ---: | ---: |\n",
               bandwidth, teraflops);
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Row& row = rows[i];
    if (json) out[i]["matrix_tflops"] = teraflops;
    if (row.sequences == 0) continue;
    HEDDLE_ASSIGN(const auto floor, bench.at(row.depth, row.sequences));
    const double fixed = double(row.sequences) * 1e3 / floor.fixed, own = double(row.sequences) * 1e3 / floor.plan;
    if (json)
      out[i].update({{"read_gbps", bandwidth}, {"floor_ts", fixed}, {"share_of_floor", row.median() / fixed}, {"plan_floor_ts", own}});
    else fmt::print("| {} | {:.1f} | {:.1f} | {:.3f} | {:.1f} |\n", row.test, row.median(), fixed, row.median() / fixed, own);
  }
  return {};
}

/// Kernels of a decode step of one row with its draw: what the plan lists, and what the driver counts in the graph (0 without graphs).
struct Launches {
  std::size_t plan = 0, graph = 0;
};
Launches launches_of(runtime::Session& session) {
  Launches out;
  const auto* cuda = dynamic_cast<const runtime::CudaDevice*>(&session.device());
  for (std::size_t e = 0; e < session.plan().entries.size(); ++e) {
    const plan::EntryPoint& entry = session.plan().entries[e];
    if (entry.kind != EntryKind::decode || entry.rows != 1) continue;
    out.plan = entry.nodes.size() + entry.sampling.size();
    if (cuda) out.graph = cuda->kernel_nodes(e, !entry.sampling.empty());
  }
  return out;
}

Result<void> run(const Options& options) {
  if (options.format != "md" && options.format != "json") return error("-o {}: known are md, json", options.format);
  const auto largest = [](const std::vector<std::int64_t>& list) { return list.empty() ? 0 : *std::ranges::max_element(list); };
  const std::int64_t context = largest(options.depth) + std::max(largest(options.prompt), largest(options.generate));
  CompileOptions compile = options.compile;
  compile.context = context;
  HEDDLE_ASSIGN(auto compiled, plan_for(options.model, compile));
  if (options.floor && compiled.plan->backend != BackendKind::cuda)
    return error("--floor: the plan is for target {}, a floor is measured on cuda only", compiled.plan->target);
  const std::size_t most = options.sequences.empty() ? 1 : *std::ranges::max_element(options.sequences);
  HEDDLE_ASSIGN(auto sessions, open_sessions(compiled.plan, most, std::max<std::int64_t>(context, 1), options.device));
  runtime::Session& session = sessions.front();
  const std::uint32_t vocabulary = session.plan().model.vocabulary;
  catch_interrupt();
  std::vector<Row> rows;
  for (std::int64_t depth : options.depth) {
    const std::string at = depth > 0 ? fmt::format(" @ d{}", depth) : "";
    for (std::int64_t n : options.prompt)
      if (n > 0) {
        HEDDLE_ASSIGN(auto row, measure({&session, 1}, fmt::format("pp{}{}", n, at), depth, n, false, options.repetitions,
                                        read_prompt(random_tokens(n, vocabulary))));
        rows.push_back(std::move(row));
      }
    for (std::int64_t n : options.generate)
      for (const std::size_t count : options.sequences)
        if (n > 0) {
          const std::string together = count > 1 ? fmt::format(" x {}", count) : "";
          HEDDLE_ASSIGN(auto row, measure(std::span(sessions).first(count), fmt::format("tg{}{}{}", n, together, at), depth,
                                          n * std::int64_t(count), true, options.repetitions, generate(n, count, vocabulary)));
          rows.push_back(std::move(row));
        }
  }
  const auto& model = session.plan().model;
  const Launches launches = launches_of(session);
  const std::string floor_cache = kernel_cache_dir(options.compile);
  if (options.format == "json") {
    nlohmann::json out = nlohmann::json::array();
    for (const Row& row : rows)
      out.push_back({{"model", model.name},
                     {"test", row.test},
                     {"backend", session.device().description()},
                     {"median_ts", row.median()},
                     {"stddev_ts", row.deviation()},
                     {"samples_ts", row.rates},
                     {"plan_kernels", launches.plan},
                     {"graph_kernels", launches.graph}});
    if (options.floor) HEDDLE_TRY(print_floors(session, rows, floor_cache, true, out));
    fmt::print("{}\n", out.dump(1));
    return {};
  }
  fmt::print("| model | size | params | backend | test | t/s |\n| --- | ---: | ---: | --- | ---: | ---: |\n");
  for (const Row& row : rows)
    fmt::print("| {} {} | {} | {:.2f} M | {} | {} | {:.2f} ± {:.2f} |\n", model.architecture, model.name, human_bytes(model.weight_bytes),
               double(model.parameters) / 1e6, session.device().description(), row.test, row.median(), row.deviation());
  fmt::print("\na decode step: {} kernels in the plan", launches.plan);
  if (launches.graph > 0) fmt::print(", {} in the graph as the driver counts them", launches.graph);
  fmt::print("\n");
  if (options.floor) {
    nlohmann::json unused;
    HEDDLE_TRY(print_floors(session, rows, floor_cache, false, unused));
  }
  return {};
}

}  // namespace

void add_bench(CLI::App& app, int& exit_code) {
  auto* command =
      app.add_subcommand("bench", "tokens per second of prompts (pp) and of generation (tg), medians; after a filled context with -d");
  auto options = std::make_shared<Options>();
  command->add_option("model", options->model, "a GGUF file, a Hugging Face folder or a plan")->required();
  command->add_option("-p,--prompt", options->prompt, "prompt lengths; 0: none")->capture_default_str()->delimiter(',');
  command->add_option("-n,--generate", options->generate, "tokens to generate; 0: none")->capture_default_str()->delimiter(',');
  command->add_option("-s,--sequences", options->sequences, "sequences that generate together; their tokens count together")
      ->capture_default_str()
      ->delimiter(',')
      ->check(CLI::Range(1, 64));
  command->add_option("-d,--depth", options->depth, "positions already in the cache")->capture_default_str()->delimiter(',');
  command->add_flag("--floor", options->floor,
                    "CUDA: beside each generation what only reading its bytes takes, and how fast the matrix units are; measured in the same "
                    "run");
  command->add_option("-r,--repetitions", options->repetitions, "measured repetitions, after one warm-up")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
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
