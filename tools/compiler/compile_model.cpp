#include "tools/compiler/compile_model.h"

#include <chrono>
#include <filesystem>
#include <fstream>

#include "codegen/backend.h"
#include "codegen/write_plan.h"
#include "ir/base/thread_pool.h"
#include "ir/text/text.h"
#include "runtime/plan/plan_file.h"
#include "tools/compiler/plan_inputs.h"

namespace heddle::tools {
namespace {
namespace fs = std::filesystem;

class Stopwatch {
 public:
  explicit Stopwatch(std::vector<Stage>& stages) : stages_(stages) {}
  void lap(std::string name) {
    const auto now = std::chrono::steady_clock::now();
    stages_.push_back({std::move(name), std::chrono::duration<double, std::milli>(now - last_).count()});
    last_ = now;
  }

 private:
  std::vector<Stage>& stages_;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

/// `--print-after` and `--dump-ir`.
std::function<void(const passes::Step&, const ir::Module&)> observer(const CompileOptions& options) {
  if (options.print_after.empty() && options.dump_dir.empty()) return {};
  return [&options, number = 0](const passes::Step& step, const ir::Module& module) mutable {
    ++number;
    if (options.print_after == step.pass || options.print_after == "all")
      options.listener.say(fmt::format("# after {}\n{}", step.pass, ir::print(module)));
    if (!options.dump_dir.empty())
      std::ofstream(fmt::format("{}/{:02}-{}.ir", options.dump_dir, number, step.pass)) << ir::print(module);
  };
}

}  // namespace

Result<std::string> explain_cached(const std::string& path, const CompileOptions& options) {
  HEDDLE_ASSIGN(const auto inputs, inputs_of(path, options));
  const plan::PlanCache cache(cache_dir_of(options));
  const plan::Lookup found = cache.find(absolute(path), inputs.key);
  std::string out = found.plan ? "up to date: " + found.path : fmt::format("to be built: {}\n{}", found.why, found.path);
  for (const auto& [name, value] : inputs.key) out += fmt::format("\n  {:<18} {}", name, value);
  return out;
}

Result<Compiled> compile_model(const std::string& path, const CompileOptions& options) {
  Compiled out;
  Stopwatch watch(out.stages);
  HEDDLE_ASSIGN(const auto inputs, inputs_of(path, options));
  const auto& [model, target, steps, choices, key, remarks] = inputs;
  const codegen::Backend& backend = codegen::backend(target);
  const codegen::Tuning& tuning = choices.tuning;
  watch.lap("read model");

  const plan::PlanCache cache(cache_dir_of(options));
  if (!options.store) {
    out.why = "asked for";
  } else if (options.use_cache && options.output.empty()) {
    plan::Lookup found = cache.find(absolute(path), key);
    out.path = found.path;
    if (found.plan && !options.force) {
      out.plan = std::move(found.plan);
      return out;
    }
    out.why = found.plan ? "--force" : found.why;
  } else {
    out.path = options.output;
    out.why = options.output.empty() ? "--no-cache" : "asked for";
  }
  out.built = true;

  HEDDLE_ASSIGN(auto module, lower(model, options));
  if (!options.dump_dir.empty()) {
    std::error_code ec;
    fs::create_directories(options.dump_dir, ec);
    if (ec) return error("{}: cannot make the folder: {}", options.dump_dir, ec.message());
    std::ofstream(options.dump_dir + "/00-lowered.ir") << ir::print(*module);
  }
  watch.lap("build IR");

  const auto questions = backend.questions(target);
  passes::RunOptions run;
  run.disabled = options.disabled;
  auto plan = std::make_shared<plan::Plan>();
  fill_model(model, *plan);
  plan->remarks = out.remarks = remarks;
  for (const auto& slower : tuning.passes) {
    if (slower.model != model_name(plan->model)) continue;
    run.disabled.push_back(slower.pass);
    plan->remarks.push_back(fmt::format("{}: declined by measurement: a step takes {:.1f} us with it, {:.1f} us without", slower.pass, slower.with_us, slower.without_us));
  }
  run.pass_limit = options.pass_limit;
  run.reproducer = (options.dump_dir.empty() ? fs::temp_directory_path().string() : options.dump_dir) + "/heddle-reproducer.ir";
  run.after = observer(options);
  HEDDLE_ASSIGN(out.report, passes::run_pipeline(*module, steps, questions.get(), run));
  HEDDLE_TRY(passes::check_required(out.report, options.required));
  watch.lap("passes");

  for (const auto& [name, value] : key) plan->key.push_back({name, value});
  for (const auto& remark : out.report.remarks) plan->remarks.push_back(remark.str());
  auto places = [&](const std::string& name) -> std::optional<codegen::TensorPlace> {
    const auto* tensor = model.tensor(name);
    if (!tensor) return std::nullopt;
    const std::int64_t columns = tensor->shape.back();
    std::int64_t rows = 1;
    for (auto d : tensor->shape) rows *= d;
    return codegen::TensorPlace{tensor->file, tensor->offset, tensor->bytes, rows / columns, columns};
  };
  HEDDLE_TRY(codegen::write_plan(*module, places, *plan));
  set_times(*plan, *module, questions.get(), tuning);
  watch.lap("code and plan");
  HEDDLE_ASSIGN(const auto finished, backend.finish(*plan, target, tuning, {kernel_cache_dir(options), usable_processors()}));
  if (finished.kernels > 0) watch.lap(fmt::format("{} of {} kernels", finished.compiled, finished.kernels));
  HEDDLE_TRY(plan::check(*plan));

  if (!out.path.empty()) {
    auto written = plan::write_plan(out.path, *plan);
    if (!written.ok()) {
      if (!options.output.empty()) return written.take_error();
      out.why += fmt::format("; not stored: {}", written.error().message());  // a cache that cannot be written costs time, not the run
      out.path.clear();
    }
    watch.lap("store plan");
  }
  out.plan = std::move(plan);
  return out;
}

Result<Compiled> plan_for(const std::string& model_or_plan, const CompileOptions& options) {
  if (!is_plan_file(model_or_plan)) return compile_model(model_or_plan, options);
  Compiled out;
  HEDDLE_ASSIGN(out.plan, load_plan(model_or_plan));
  out.path = model_or_plan;
  return out;
}

}  // namespace heddle::tools
