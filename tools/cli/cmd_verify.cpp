#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/text/tokenizer.h"
#include "tools/cli/commands.h"
#include "tools/cli/console.h"
#include "tools/cli/options.h"
#include "tools/verify/verify_model.h"
#include "tools/verify/verify_replay.h"

namespace heddle::tools {
namespace {

struct Options {
  std::string model, prompt, ids;
  std::vector<std::string> entries;
  std::int64_t tokens = 200;
  bool bisect = false, quiet = false, json = false;
  CompileOptions compile;
  DeviceOptions device;
};

Result<std::vector<std::int32_t>> ids_of(const Options& options, const plan::Plan& plan) {
  if (!options.ids.empty()) {
    HEDDLE_ASSIGN(auto ids, parse_ids(options.ids, plan.model.vocabulary));
    if (ids.empty()) return error("--ids: at least one id is wanted");
    return ids;
  }
  std::vector<std::int32_t> ids;
  auto tokenizer = text::Tokenizer::create(plan.vocabulary);
  if (!options.prompt.empty()) {
    if (!tokenizer.ok()) return tokenizer.take_error().at("-p");
    ids = (*tokenizer)->encode(options.prompt, {.bos = true, .special = true});
    if (ids.empty()) return error("-p: the prompt has no tokens");
  } else if (tokenizer.ok()) {
    ids = (*tokenizer)->encode("Once upon a time there was a", {.bos = true});
  }
  for (std::uint32_t i = 1; ids.size() < 8; ++i) ids.push_back(std::int32_t(i * 40503u % plan.model.vocabulary));  // any will do
  return ids;
}

Result<std::unique_ptr<runtime::NodeDevice>> make_node_device(const plan::Plan& plan, DeviceOptions options) {
  options.no_graph = true;
  HEDDLE_ASSIGN(auto device, make_device(plan, options));
  auto* nodes = dynamic_cast<runtime::NodeDevice*>(device.get());
  if (!nodes) return error("{} cannot run a plan node by node", device->description());
  (void)device.release();
  return std::unique_ptr<runtime::NodeDevice>(nodes);
}

std::string text_of(double error) { return error == 0 ? "0" : fmt::format("{:.1e}", error); }

void print(const EntryCheck& check) {
  fmt::print("\n{}: {} nodes, {} step{}\n", check.entry, check.nodes.size(), check.steps, check.steps == 1 ? "" : "s");
  std::size_t width = 5;
  for (const NodeCheck& node : check.nodes)
    for (const ValueCheck& value : node.values) width = std::max(width, value.name.size());
  fmt::print("  node  {:<{}}  {:<5}  {:>8}  {:>8}  {:>11}  {:>9}  kernel\n", "value", width, "type", "kernel", "passes", "accumulated",
             "tolerance");
  for (const NodeCheck& node : check.nodes)
    for (std::size_t i = 0; i < node.values.size(); ++i) {
      const ValueCheck& value = node.values[i];
      fmt::print("  {:>4}  {:<{}}  {:<5}  {:>8}  {:>8}  {:>11}  {:>9}  {}{}\n", i == 0 ? std::to_string(node.node) : "", value.name, width,
                 name(value.type), text_of(value.kernel), value.passes ? text_of(*value.passes) : "-", text_of(value.accumulated),
                 text_of(value.tolerance), i == 0 ? node.kernel : "", value.good() ? "" : "  <-- OUT OF TOLERANCE");
    }
}

/// The largest local error in its share of the tolerance.
std::string worst_of(const std::vector<EntryCheck>& checks) {
  double most = -1;
  std::string text;
  for (const EntryCheck& check : checks)
    for (const NodeCheck& node : check.nodes)
      for (const ValueCheck& value : node.values) {
        const double error = std::max(value.kernel, value.passes.value_or(0));
        if (error / value.tolerance <= most) continue;
        most = error / value.tolerance;
        text = fmt::format("{} of {} ({}, %{})", text_of(error), text_of(value.tolerance), check.entry, value.name);
      }
  return text;
}

nlohmann::json json_of(const EntryCheck& check) {
  nlohmann::json out = {{"entry", check.entry}, {"steps", check.steps}, {"nodes", nlohmann::json::array()}};
  for (const NodeCheck& node : check.nodes) {
    nlohmann::json values = nlohmann::json::array();
    for (const ValueCheck& value : node.values) {
      values.push_back({{"name", value.name},
                        {"type", std::string(name(value.type))},
                        {"tolerance", value.tolerance},
                        {"kernel_error", value.kernel},
                        {"accumulated_error", value.accumulated},
                        {"good", value.good()}});
      if (value.passes) values.back()["passes_error"] = *value.passes;
    }
    out["nodes"].push_back({{"node", node.node}, {"kernel", node.kernel}, {"group", node.label}, {"values", values}});
  }
  if (check.fault) out["fault"] = {{"step", check.fault->step}, {"node", check.fault->node}, {"what", check.fault->what}};
  return out;
}

constexpr const char* outcome_names[] = {"mends", "no help", "cannot be left out"};

/// Whether all is well.
Result<bool> run(const Options& options) {
  HEDDLE_ASSIGN(auto compiled, plan_for(options.model, options.compile));
  const plan::Plan& plan = *compiled.plan;
  VerifyRequest request{
      options.model, options.compile, {}, options.entries, [&](const plan::Plan& any) { return make_node_device(any, options.device); }};
  HEDDLE_ASSIGN(request.ids, ids_of(options, plan));
  HEDDLE_ASSIGN(const Verified verified, verify_model(request, compiled));
  nlohmann::json json;
  const bool text = !options.json;

  std::size_t nodes = 0;
  if (text) fmt::print("{}; {} tokens through every entry point\n", verified.device, request.ids.size());
  for (const EntryCheck& check : verified.checks) {
    nodes += check.nodes.size();
    if (text && !options.quiet) print(check);
    if (!text) json["entries"].push_back(json_of(check));
  }
  if (text && !options.quiet) fmt::print("\n");
  if (text && !verified.passes_not_judged.empty()) fmt::print("the passes are not judged: {}\n", verified.passes_not_judged);
  const EntryCheck* bad = first_fault(verified.checks);
  if (text && bad) fmt::print("first out of tolerance: {}\n", text_of(*bad, *bad->fault));
  if (text && !bad) fmt::print("{} nodes are within tolerance; the worst error is {}\n", nodes, worst_of(verified.checks));
  bool good = !bad;

  if (plan.backend == BackendKind::cuda && !options.device.reference && options.tokens > 0) {
    HEDDLE_ASSIGN(const auto replays, verify_replay(compiled.plan, request.ids, options.tokens, cuda_ways(plan)));
    for (const ReplayCheck& replay : replays) {
      good &= !replay.fault;
      if (text)
        fmt::print("{} against kernel by kernel, {} tokens: {}\n", replay.way, replay.tokens, replay.fault.value_or("equal bit for bit"));
      else json["replays"].push_back({{"way", replay.way}, {"tokens", replay.tokens}, {"equal", !replay.fault}});
      if (!text && replay.fault) json["replays"].back()["fault"] = *replay.fault;
    }
  }

  if (options.bisect && bad) {
    request.entries = {bad->entry};
    if (text) fmt::print("\n{} without one pass after another:\n", bad->entry);
    HEDDLE_ASSIGN(
        const auto suspects, bisect(request, compiled, [&](const Suspect& suspect) {
          if (text) fmt::print("  {:<24} {:<18}  {}\n", suspect.pass, outcome_names[suspect.outcome], suspect.detail);
          else json["bisect"].push_back({{"pass", suspect.pass}, {"outcome", outcome_names[suspect.outcome]}, {"detail", suspect.detail}});
        }));
    std::vector<std::string> mending;
    for (const Suspect& suspect : suspects)
      if (suspect.outcome == Suspect::mends) mending.push_back(suspect.pass);
    if (text) fmt::print("{}\n", mending.empty() ? "no single pass mends it" : fmt::format("mended without: {}", fmt::join(mending, ", ")));
    else json["mended_without"] = mending;
  }
  if (!text) {
    json["good"] = good, json["device"] = verified.device, json["ids"] = request.ids;
    fmt::print("{}\n", json.dump(1, ' ', false, nlohmann::json::error_handler_t::replace));
  }
  return good;
}

/// What --help says below the options.
std::string explanation() {
  std::string out =
      "  kernel       the node's group, computed by the interpreter from the device's own inputs\n"
      "  passes       the same value of the IR before the passes, from the device's values nearest to it\n"
      "  accumulated  the interpreter's own run from the start; it has no tolerance: one 8-bit step rounded otherwise moves all behind "
      "it\n\n"
      "Errors are in parts of an element's magnitude plus the mean magnitude of its row; of values in blocks in parts of the block's "
      "largest.\n"
      "Where 8-bit rounding inside a kernel is too close to call, both ways are allowed. Tolerances:\n";
  for (const Tolerance& row : tolerances()) out += fmt::format("  {:<8} {:<8} {}\n", name(row.type), row.limit, row.reason);
  out += fmt::format("  and {} on top where a kernel multiplies halves: matrix units round weights, activations or keys to 11 bits\n",
                     halves_tolerance);
  out +=
      "\nOn CUDA the graph, the graph with plain edges and the graph that draws its tokens are then run against kernel by kernel: every "
      "bit\n"
      "of the logits must be the same. Exit code 1 if anything is out of tolerance.";
  return out;
}

}  // namespace

void add_verify(CLI::App& app, int& exit_code) {
  auto* command = app.add_subcommand("verify", "compare every value of every node with the reference interpreter");
  command->footer(explanation());
  auto options = std::make_shared<Options>();
  command->add_option("model", options->model, "a GGUF file, a Hugging Face folder or a plan")->required();
  auto* prompt = command->add_option("-p,--prompt", options->prompt, "the text to feed (default: a few words)");
  command->add_option("--ids", options->ids, "the tokens to feed: 1,2,3")->excludes(prompt);
  command->add_option("--entry", options->entries, "only this entry point (again for more)")->take_all()->type_name("NAME");
  command->add_option("-n,--tokens", options->tokens, "CUDA: tokens to replay; 0: none")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber);
  command->add_flag("--bisect", options->bisect, "after a fault: compile without each pass in turn and say whose absence mends it");
  command->add_flag("-q,--quiet", options->quiet, "no line per value");
  command->add_flag("--json", options->json, "as JSON");
  add_plan_options(*command, options->compile);
  add_pass_options(*command, options->compile);
  add_device_options(*command, options->device);
  command->callback([options, &exit_code] {
    auto good = run(*options);
    exit_code = !good.ok() ? fail(good.error()) : *good ? 0 : 1;
  });
}

}  // namespace heddle::tools
