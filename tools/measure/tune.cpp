#include "tools/measure/tune.h"

#include <algorithm>
#include <chrono>

#include "codegen/cuda/kernel_cache.h"
#include "codegen/backend.h"
#include "codegen/cuda/tuning.h"
#include "ir/base/thread_pool.h"
#include "ir/base/timing.h"
#include "runtime/device/factory.h"
#include "runtime/device/inspectable_device.h"
#include "tools/compiler/measured_choices.h"
#include "tools/compiler/quantized_weights.h"
#include "tools/compiler/targets.h"

namespace heddle::tools {
namespace {

using codegen::Tuning;

constexpr int rounds = 15, steps_a_round = 20, prompts_a_round = 2;
constexpr std::int64_t context = 1024, position = 128, prompt_rows = 512;
constexpr double spreads_to_win = 3;

const plan::EntryPoint& decode_of_one_row(const plan::Plan& plan) {
  for (const auto& entry : plan.entries)
    if (entry.kind == EntryKind::decode && entry.rows == 1) return entry;
  HEDDLE_CHECK(false, "no decode entry point of one row");
}

/// Only the decode step of one row, without its draw.
std::shared_ptr<plan::Plan> decode_only(const plan::Plan& plan) {
  auto out = std::make_shared<plan::Plan>(plan);
  std::erase_if(out->entries, [&](const auto& entry) { return entry.kind != EntryKind::decode || entry.rows != 1; });
  for (plan::EntryPoint& entry : out->entries) entry.sampling.clear();
  return out;
}

/// The entry point that reads prompts, of at most `prompt_rows` rows; null if there is none.
const plan::EntryPoint* prompt_of(const plan::Plan& plan) {
  const plan::EntryPoint* best = nullptr;
  for (const auto& entry : plan.entries)
    if (entry.kind == EntryKind::prefill && entry.rows <= prompt_rows && (!best || entry.rows > best->rows)) best = &entry;
  return best;
}

/// Adds another plan's decode step, which reads the same weights, with kernels of its own; and how it reads prompts, if `prompts`.
void add_entries(plan::Plan& plan, const plan::Plan& other, bool prompts) {
  const std::uint32_t first = std::uint32_t(plan.kernels.size());
  for (const auto& kernel : other.kernels) plan.kernels.push_back(kernel);
  const auto add = [&](const plan::EntryPoint& added) {
    auto& entry = plan.entries.emplace_back(added);
    for (plan::Node& node : entry.nodes) node.kernel += first;
    entry.sampling.clear();
  };
  add(decode_of_one_row(other));
  if (const plan::EntryPoint* prompt = prompts ? prompt_of(other) : nullptr) add(*prompt);
}

bool same_weights(const plan::Plan& a, const plan::Plan& b) {
  return std::ranges::equal(a.weights, b.weights, [](const auto& x, const auto& y) {
    return x.name == y.name && x.layout == y.layout && x.sources.size() == y.sources.size();
  });
}

/// The entry point with one kernel's code exchanged.
void add_variant(plan::Plan& plan, const plan::Plan& base, std::uint32_t kernel, const plan::Kernel& with) {
  auto& entry = plan.entries.emplace_back(base.entries.front());
  for (plan::Node& node : entry.nodes)
    if (node.kernel == kernel) node.kernel = std::uint32_t(plan.kernels.size());
  plan.kernels.push_back(with);
}

/// Microseconds of a step of each entry point in each round; every round runs all of them once, in turn. The first is a decode step.
Result<std::vector<std::vector<double>>> time_entries(std::shared_ptr<const plan::Plan> plan,
                                                      const std::function<void(double)>& progress) {
  HEDDLE_ASSIGN(auto device, runtime::make_device(*plan, {}));
  const std::size_t count = plan->entries.size();
  HEDDLE_TRY(device->load(plan, {1, context}, {}));
  std::vector<std::vector<double>> out(count);
  const auto finish = [&](std::size_t entry) -> Result<void> {  // a prompt has no logits to wait for: a decode step's, behind it
    const bool prompt = plan->entries[entry].outputs.empty();
    if (prompt) HEDDLE_TRY(device->run(0, std::vector<runtime::StepRow>{{1, 0, std::int32_t(position)}}));
    HEDDLE_TRY(device->logits(prompt ? 0 : entry, 0));
    return {};
  };
  for (int r = -1; r < rounds; ++r)
    for (std::size_t e = 0; e < count; ++e) {
      std::vector<runtime::StepRow> rows;
      for (std::uint32_t i = 0; i < plan->entries[e].rows; ++i) rows.push_back({1, 0, std::int32_t(position + i)});
      const int steps = rows.size() > 1 ? prompts_a_round : steps_a_round;
      HEDDLE_TRY(device->run(e, rows));  // not timed: the first step after another graph finds other weights in the cache
      HEDDLE_TRY(finish(e));
      const auto start = std::chrono::steady_clock::now();
      for (int i = 0; i < steps; ++i) HEDDLE_TRY(device->run(e, rows));
      HEDDLE_TRY(finish(e));
      const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
      if (r >= 0) out[e].push_back(seconds / steps * 1e6);
      if (progress) progress(double((r + 1) * int(count) + int(e) + 1) / double((rounds + 1) * int(count)));
    }
  return out;
}

/// Microseconds of a step of every entry point that reads prompts, and of the decode step of one row, all rows in use.
Result<std::vector<Tuning::Entry>> time_prompts(std::shared_ptr<const plan::Plan> plan, const std::function<void(double)>& progress) {
  constexpr int samples = 5;
  HEDDLE_ASSIGN(auto made, runtime::make_device(*plan, {}));
  auto* device = dynamic_cast<runtime::NodeDevice*>(made.get());
  if (!device) return error("{} keeps no time", made->description());
  std::uint32_t most = 1;
  for (const auto& entry : plan->entries) most = std::max(most, entry.rows);
  HEDDLE_TRY(device->load(plan, {1, std::int64_t(most)}, {}));
  std::vector<Tuning::Entry> out;
  for (std::size_t e = 0; e < plan->entries.size(); ++e) {
    const plan::EntryPoint& entry = plan->entries[e];
    if (progress) progress(double(e) / double(plan->entries.size()));
    if (entry.kind == EntryKind::decode && entry.rows > 1) continue;
    std::vector<runtime::StepRow> rows;
    for (std::uint32_t i = 0; i < entry.rows; ++i) rows.push_back({1, 0, std::int32_t(i)});
    HEDDLE_ASSIGN(auto times, device->time_step(e, rows, samples));
    out.push_back({model_name(plan->model), entry.name, median(std::move(times)) * 1e6});
  }
  return out;
}

/// `times` against those of the default in the same rounds.
Trial judged(std::string what, const std::vector<double>& standard, const std::vector<double>& times) {
  std::vector<double> gains, deviations;
  for (std::size_t i = 0; i < times.size(); ++i) gains.push_back(standard[i] - times[i]);
  const double gain = median(gains);
  for (const double one : gains) deviations.push_back(std::abs(one - gain));
  Trial trial{std::move(what), median(standard), median(times), median(deviations), false};
  trial.kept = gain > spreads_to_win * trial.spread_us && gain > 0;
  return trial;
}

std::string text_of(const std::vector<plan::Knob>& knobs) {
  std::string out;
  for (const plan::Knob& knob : knobs) out += fmt::format("{}{} {}", out.empty() ? "" : ", ", knob.name, knob.value);
  return out;
}

/// Every pass that changed something, plug-ins' too, but for those that change what is computed or how weights are stored: without them the
/// step is another one.
std::vector<std::string> passes_that_fired(const passes::Report& report) {
  std::vector<std::string> names;
  for (const auto& pass : report.passes) {
    const passes::Pass* known = passes::Registry::global().find(pass.pass);
    const bool another_step = !known || known->approximates || pass.pass == "choose_layouts";
    if (pass.fired > 0 && !another_step && std::ranges::find(names, pass.pass) == names.end()) names.push_back(pass.pass);
  }
  return names;
}

struct Tuner {
  std::string path;
  CompileOptions options;
  std::string cache;
  ir::Target target;
  TuneResult result;

  Result<void> compile(plan::Plan& plan) const {
    for (plan::Kernel& kernel : plan.kernels) kernel.cuda.reset();
    HEDDLE_TRY(codegen::cuda::compile_kernels(plan, target, cache, usable_processors()));
    return {};
  }

  /// Stage one: each kernel's candidates, one at a time.
  Result<void> kernels(const plan::Plan& base, const std::function<void(double)>& progress) {
    plan::Plan variants;  // one kernel for each candidate
    variants.target = base.target, variants.backend = base.backend;
    struct Candidate {
      std::uint32_t kernel;
      std::vector<plan::Knob> knobs;
    };
    std::vector<Candidate> tried;
    std::vector<bool> used(base.kernels.size());
    for (const auto& node : base.entries.front().nodes) used[node.kernel] = true;
    for (std::uint32_t k = 0; k < base.kernels.size(); ++k)
      for (auto& knobs : used[k] ? codegen::cuda::candidates(base.kernels[k].spec) : std::vector<std::vector<plan::Knob>>()) {
        auto& kernel = variants.kernels.emplace_back(base.kernels[k]);
        kernel.spec.knobs = knobs;
        tried.push_back({k, std::move(knobs)});
      }
    HEDDLE_TRY(compile(variants));
    auto all = std::make_shared<plan::Plan>(base);
    std::vector<std::size_t> of_entry;  // candidate of each entry point after the first
    for (std::size_t i = 0; i < tried.size(); ++i) {
      if (variants.kernels[i].cuda->text == base.kernels[tried[i].kernel].cuda->text) continue;  // what the emitter chose itself
      add_variant(*all, base, tried[i].kernel, variants.kernels[i]);
      of_entry.push_back(i);
    }
    HEDDLE_ASSIGN(const auto times, time_entries(all, progress));
    for (std::size_t e = 0; e < of_entry.size(); ++e) {
      const Candidate& candidate = tried[of_entry[e]];
      const std::string& spec = base.kernels[candidate.kernel].spec.name;
      Trial trial = judged(fmt::format("{}: {}", spec, text_of(candidate.knobs)), times[0], times[e + 1]);
      if (trial.kept) {
        const Tuning::Kernel* best = result.tuning.kernel(spec);
        trial.kept = !best || trial.us < best->us;
        if (trial.kept) {
          for (Trial& other : result.trials) other.kept = other.kept && !other.what.starts_with(spec + ":");  // it was only second best
          result.tuning.merge({.gpu = {}, .target = {}, .kernels = {{spec, candidate.knobs, trial.default_us, trial.us}}, .passes = {}, .entries = {}});
        }
      }
      result.trials.push_back(std::move(trial));
    }
    return {};
  }

  /// Stage two: the step without one of the passes each, all with the kernels of stage one. A pass is in every entry point, so it loses
  /// only where prompts are not slower without it.
  Result<void> passes(const plan::Plan& full, const std::vector<std::string>& optional, const std::function<void(double)>& progress) {
    auto all = std::make_shared<plan::Plan>(full);
    all->entries.clear();
    add_entries(*all, full, true);
    const bool prompts = all->entries.size() > 1;
    std::vector<std::string> tried;
    for (const std::string& pass : optional) {
      CompileOptions without = options;
      without.disabled.push_back(pass);
      without.store = false;
      const auto compiled = compile_model(path, without);
      if (!compiled.ok()) continue;  // a pass that code generation cannot do without
      plan::Plan other = *compiled->plan;
      codegen::apply(result.tuning, other);
      HEDDLE_TRY(compile(other));
      if (!same_weights(full, other)) continue;
      add_entries(*all, other, prompts);
      tried.push_back(pass);
    }
    HEDDLE_ASSIGN(const auto times, time_entries(all, progress));
    const std::size_t each = prompts ? 2 : 1;
    const std::size_t first = result.trials.size();
    for (std::size_t i = 0; i < tried.size(); ++i) {
      Trial trial = judged("without " + tried[i], times[0], times[each * (i + 1)]);
      if (prompts) {
        const Trial prompt = judged("", times[1], times[each * (i + 1) + 1]);
        if (prompt.us > prompt.default_us + prompt.spread_us) {
          trial.what +=
              fmt::format(" (prompts of {} tokens: {:.1f} us, {:.1f} with it)", all->entries[1].rows, prompt.us, prompt.default_us);
          trial.kept = false;
        }
      }
      result.trials.push_back(std::move(trial));
    }
    const Trial* best = nullptr;
    for (std::size_t i = first; i < result.trials.size(); ++i) {
      Trial& trial = result.trials[i];
      if (trial.kept && (!best || trial.us < best->us)) best = &trial;
      trial.kept = false;
    }
    if (!best) return {};
    const std::size_t index = std::size_t(best - &result.trials[first]);
    result.trials[first + index].kept = true;
    result.tuning.passes.push_back({model_name(full.model), tried[index], best->default_us, best->us});
    return {};
  }
};

}  // namespace

Result<TuneResult> tune(const std::string& path, const CompileOptions& asked, const std::function<void(double)>& progress) {
  Tuner tuner;
  tuner.path = path, tuner.options = asked;
  tuner.options.tuning = "none";
  HEDDLE_ASSIGN(tuner.target, target_named(asked.target, asked.activations));
  if (backend_of(tuner.target.name) != BackendKind::cuda) return error("--tune: the target is {}, measured choices are CUDA's", tuner.target.name);
  tuner.cache = kernel_cache_dir(asked);
  tuner.options.store = false;
  HEDDLE_ASSIGN(const Compiled compiled, compile_model(path, tuner.options));
  HEDDLE_TRY(prepare_weights(*compiled.plan, asked.listener));
  const auto base = decode_only(*compiled.plan);
  HEDDLE_ASSIGN(const auto gpu, runtime::make_device(*base, {}));
  tuner.result.tuning.gpu = gpu->description();
  tuner.result.tuning.target = codegen::backend(tuner.target).card_of(base->target);

  const auto part = [&](double begin, double share) {
    return [&progress, begin, share](double done) {
      if (progress) progress(begin + share * done);
    };
  };
  HEDDLE_TRY(tuner.kernels(*base, part(0, 0.6)));
  auto tuned = std::make_shared<plan::Plan>(*base);
  codegen::apply(tuner.result.tuning, *tuned);
  HEDDLE_TRY(tuner.compile(*tuned));
  auto full = std::make_shared<plan::Plan>(*compiled.plan);
  codegen::apply(tuner.result.tuning, *full);
  HEDDLE_TRY(tuner.compile(*full));
  HEDDLE_TRY(tuner.passes(*full, passes_that_fired(compiled.report), part(0.6, 0.3)));

  auto both = std::make_shared<plan::Plan>(*base);
  add_entries(*both, *tuned, false);
  HEDDLE_ASSIGN(const auto times, time_entries(both, part(0.9, 0.05)));
  const Trial together = judged("all kernels together", times[0], times[1]);
  tuner.result.default_us = together.default_us, tuner.result.tuned_us = together.us;
  if (!together.kept) tuner.result.tuning.kernels.clear();  // they won alone and not together

  CompileOptions kept = tuner.options;
  for (const Tuning::Pass& slower : tuner.result.tuning.passes) kept.disabled.push_back(slower.pass);
  HEDDLE_ASSIGN(const Compiled chosen, compile_model(path, kept));
  auto last = std::make_shared<plan::Plan>(*chosen.plan);
  codegen::apply(tuner.result.tuning, *last);
  HEDDLE_TRY(tuner.compile(*last));
  HEDDLE_ASSIGN(tuner.result.tuning.entries, time_prompts(last, part(0.95, 0.05)));
  return std::move(tuner.result);
}

}  // namespace heddle::tools
