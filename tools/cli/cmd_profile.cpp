#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "ir/base/mapped_file.h"
#include "tools/cli/commands.h"
#include "tools/cli/console.h"
#include "tools/measure/matrix_peak.h"
#include "tools/cli/options.h"
#include "tools/measure/profile.h"

namespace heddle::tools {
namespace {

struct Options {
  std::string model, entry = "decode_1", trace;
  std::int64_t depth = 128;
  int samples = 25;
  bool json = false;
  CompileOptions compile;
  DeviceOptions device;
};

/// Random tokens: what is in the cache should not be the same everywhere.
std::vector<std::int32_t> random_tokens(std::int64_t n, std::uint32_t vocabulary) {
  std::vector<std::int32_t> out;
  std::uint64_t state = 0x9e3779b97f4a7c15;
  for (std::int64_t i = 0; i < n; ++i) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    out.push_back(std::int32_t((state >> 33) % vocabulary));
  }
  return out;
}

/// "486.213", in 10^12 a second, and as "61.1%" of the matrix units' peak; empty where there is none.
std::string teraflops(double rate) { return rate > 0 ? fmt::format("{:.3f}", rate / 1e12) : ""; }
std::string of_peak(const Profile& profile, double rate) {
  const auto share = profile.share_of_peak(rate);
  return share ? fmt::format("{:.1f}%", 100 * *share) : "";
}

void print(const Profile& profile) {
  const double read = profile.read_rate.bytes_per_second;
  fmt::print("{}: {} at position {}, kernels timed {}\n", profile.device, profile.entry, profile.depth, profile.how);
  fmt::print("memory read at {:.1f} GB/s ({} buffer{})\n", read / 1e9, human_bytes(profile.read_rate.buffer_bytes),
             profile.read_rate.cache_bytes > 0 ? fmt::format(", last cache {}", human_bytes(profile.read_rate.cache_bytes)) : "");
  const bool peak = profile.matrix_peak > 0;
  if (peak) fmt::print("matrix units multiply at {:.1f} TFLOP/s (f16, sums in f32)\n", profile.matrix_peak / 1e12);
  if (!profile.no_matrix_peak.empty()) fmt::print("how fast the matrix units multiply is not known: {}\n", profile.no_matrix_peak);
  fmt::print("\n  calls   median us  total us  of step       bytes     GB/s  of read   TFLOP/s  {}kernel\n", peak ? "of peak  " : "");
  bool flattered = false;
  for (const KernelProfile& kernel : profile.kernels) {
    const bool cached = kernel.rotated > 0 && kernel.rotated < profile.read_rate.cache_bytes;
    flattered |= cached;
    fmt::print("  {:>5}  {:>10.2f}  {:>8.1f}  {:>6.1f}%  {:>10}  {:>7.1f}  {:>6.1f}%{} {:>8}  {}{}\n", kernel.calls, kernel.seconds * 1e6,
               kernel.total() * 1e6, 100 * kernel.total() / profile.step, human_bytes(std::uint64_t(kernel.bytes)), kernel.rate() / 1e9,
               100 * kernel.rate() / read, cached ? "*" : " ", teraflops(kernel.operation_rate()),
               peak ? fmt::format("{:>7}  ", of_peak(profile, kernel.operation_rate())) : "", kernel.kernel);
  }
  fmt::print("\n  kernels  {:>9.1f} us, {:.1f}% of the step\n", profile.kernel_sum * 1e6, 100 * profile.kernel_sum / profile.step);
  fmt::print("  step     {:>9.1f} us, {:.1f} a second, {}: {:.1f} GB/s, {:.1f}% of read, {:.3f} TFLOP/s{}\n", profile.step * 1e6,
             1 / profile.step, human_bytes(std::uint64_t(profile.bytes)), double(profile.bytes) / profile.step / 1e9,
             100 * double(profile.bytes) / profile.step / read, profile.operation_rate() / 1e12,
             peak ? fmt::format(", {} of peak", of_peak(profile, profile.operation_rate())) : "");
  if (flattered) fmt::print("  * what was read between two equal calls fits the last cache, which answers faster than the memory\n");
}

nlohmann::json json_of(const Profile& profile) {
  nlohmann::json out = {{"device", profile.device},
                        {"entry", profile.entry},
                        {"depth", profile.depth},
                        {"how", profile.how},
                        {"step_seconds", profile.step},
                        {"kernel_sum_seconds", profile.kernel_sum},
                        {"bytes", profile.bytes},
                        {"operations", profile.operations},
                        {"read_bytes_per_second", profile.read_rate.bytes_per_second},
                        {"read_buffer_bytes", profile.read_rate.buffer_bytes},
                        {"cache_bytes", profile.read_rate.cache_bytes}};
  if (profile.matrix_peak > 0) out["matrix_operations_per_second"] = profile.matrix_peak;
  for (const KernelProfile& kernel : profile.kernels) {
    out["kernels"].push_back({{"kernel", kernel.kernel},
                              {"group", kernel.group},
                              {"calls", kernel.calls},
                              {"median_seconds", kernel.seconds},
                              {"bytes", kernel.bytes},
                              {"bytes_per_second", kernel.rate()},
                              {"operations", kernel.operations},
                              {"operations_per_second", kernel.operation_rate()},
                              {"rotated_weight_bytes", kernel.rotated}});
    if (const auto share = profile.share_of_peak(kernel.operation_rate())) out["kernels"].back()["share_of_peak"] = *share;
  }
  return out;
}

Result<void> run(const Options& options) {
  HEDDLE_ASSIGN(auto compiled, plan_for(options.model, options.compile));
  const plan::Plan& plan = *compiled.plan;
  const auto found = std::ranges::find_if(plan.entries, [&](const auto& entry) { return entry.name == options.entry; });
  if (found == plan.entries.end()) return error("--entry: the plan has no entry point '{}'", options.entry);
  const auto entry = std::size_t(found - plan.entries.begin());
  HEDDLE_ASSIGN(auto session, open_session(compiled.plan, options.depth + (*found).rows, options.device));
  auto* device = dynamic_cast<runtime::NodeDevice*>(&session.device());
  if (!device) return error("{} keeps no time", session.device().description());
  if (options.depth > 0) HEDDLE_TRY(session.feed(random_tokens(options.depth, plan.model.vocabulary)));
  HEDDLE_ASSIGN(Profile profile, profile_step(*device, plan, entry, options.depth, options.samples));
  // A plan runs where no compiler is; the kernel that measures needs one.
  if (const auto peak = matrix_peak(plan, kernel_cache_dir(options.compile)); !peak.ok()) profile.no_matrix_peak = peak.error().message();
  else profile.matrix_peak = peak->value_or(0);
  if (options.json) fmt::print("{}\n", json_of(profile).dump(1, ' ', false, nlohmann::json::error_handler_t::replace));
  else print(profile);
  if (options.trace.empty()) return {};
  const std::string text = trace_json(profile);
  return write_file_atomically(options.trace, std::as_bytes(std::span(text)));
}

}  // namespace

void add_profile(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("profile", "time, least bytes and rate of every kernel of a step");
  command->footer(
      "  bytes    what the plan says a call must move at least: weights, inputs, outputs, the cache up to the position\n"
      "  of read  the call's rate against the rate at which this device reads a large buffer, measured in the same run\n"
      "  TFLOP/s  multiplications and additions of a call's products, in 10^12 a second: of weights with rows, of attention\n"
      "  of peak  on CUDA: that rate against what the matrix units reach on halves in a kernel that only multiplies, in the same run\n\n"
      "Calls of one kernel in different layers take turns, so that no weight stays in a cache unless all of them do (marked *). On CUDA a\n"
      "call is timed as one of 64 or more in a row between two events, in a graph with the step's kind of edges: where those let the\n"
      "next kernel start early, so it does here, and the sum can be compared with the step. On the CPU every node of whole steps is timed "
      "by\n"
      "the clock with all threads waiting for each other around it, which a step does only where it must.");
  auto options = std::make_shared<Options>();
  command->add_option("model", options->model, "a GGUF file, a Hugging Face folder or a plan")->required();
  command->add_option("--entry", options->entry, "which entry point")->capture_default_str();
  command->add_option("-d,--depth", options->depth, "positions already in the cache")
      ->capture_default_str()
      ->check(CLI::Range(std::int64_t(0), std::int64_t(1) << 30));
  command->add_option("-r,--repetitions", options->samples, "measured repetitions, after one warm-up")
      ->capture_default_str()
      ->check(CLI::PositiveNumber);
  command->add_option("--trace", options->trace, "write the timeline of one step, kernel after kernel, for Perfetto or Chrome")
      ->type_name("FILE");
  command->add_flag("--json", options->json, "as JSON");
  add_plan_options(*command, options->compile);
  add_pass_options(*command, options->compile);
  add_device_options(*command, options->device);
  command->callback([options, &exit_code] {
    auto result = run(*options);
    exit_code = result.ok() ? 0 : fail(result.error());
  });
}

}  // namespace heddle::tools
