#include "tools/compiler/compile_model.h"

#include <sys/stat.h>
#include <xxhash.h>

#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>

#include "codegen/cuda/kernel_cache.h"
#include "codegen/cuda/nvrtc.h"
#include "codegen/cuda/questions.h"
#include "codegen/cuda/kernels/sample/sampler.h"
#include "codegen/cuda/target.h"
#include "codegen/cuda/tuning.h"
#include "codegen/spec.h"
#include "codegen/write_plan.h"
#include "frontends/quantize/quantize.h"
#include "ir/base/build_id.h"
#include "ir/base/cache_path.h"
#include "ir/base/mapped_file.h"
#include "ir/base/thread_pool.h"
#include "ir/text/text.h"
#include "ir/verify.h"
#include "passes/cost_model.h"
#include "runtime/cuda/device.h"

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

bool is_cuda(const ir::Target& target) { return target.name.starts_with("cuda:"); }

/// A prompt for every number of rows that a prefill has: the chunk that ends a prompt gives its logits. A single row does as a decode.
void add_prompts(std::vector<frontends::EntryRequest>& entries) {
  for (const auto& entry : std::vector(entries))
    if (entry.kind == EntryKind::prefill && entry.rows > 1) entries.push_back({EntryKind::prompt, entry.rows});
}

/// The entry points a target gets. Many rows of logits serve perplexity; prompts go through steps without a head. A GPU's matrix units want
/// many rows; their kernels are the same for all numbers of rows from 128 on. With activations in f32 they are not used. On the
/// CPU wide ones too: weights are read and unpacked once a step.
std::vector<frontends::EntryRequest> default_entries(const ir::Target& target) {
  if (!is_cuda(target)) return {{EntryKind::decode, 1}, {EntryKind::decode, 8}, {EntryKind::prefill, 32}, {EntryKind::prefill, 128}};
  if (target.activations == DType::f32) return {{EntryKind::decode, 1}, {EntryKind::decode, 8}, {EntryKind::prefill, 8}};
  std::vector<frontends::EntryRequest> out;
  for (const int rows : {1, 8, 16, 32, 64}) out.push_back({EntryKind::decode, rows});
  for (const int rows : {8, 16, 32, 64, 128, 256, 512, 1024, 2048}) out.push_back({EntryKind::prefill, rows});
  return out;
}

Result<std::vector<frontends::EntryRequest>> entries_for(const ir::Target& target, const CompileOptions& options) {
  auto entries = default_entries(target);
  if (options.prefill.empty()) {
    add_prompts(entries);
    return entries;
  }
  std::erase_if(entries, [](const auto& entry) { return entry.kind == EntryKind::prefill; });
  for (const int rows : options.prefill) {
    if (rows < 0 || rows > 8192) return error("--prefill: found {}, wanted 1 to 8192 rows, or 0 for none", rows);
    if (std::ranges::count(options.prefill, rows) > 1) return error("--prefill: found {} twice", rows);
    if (rows > 0) entries.push_back({EntryKind::prefill, rows});
  }
  add_prompts(entries);
  return entries;
}

/// The version of the compiler of kernels; empty for a target that has none.
Result<std::string> nvrtc_version(const ir::Target& target) {
  if (!is_cuda(target)) return std::string();
  HEDDLE_ASSIGN(const auto nvrtc, codegen::cuda::Nvrtc::open());
  return nvrtc->version();
}

std::string absolute(const std::string& path) {
  std::error_code ignored;
  const fs::path full = fs::canonical(path, ignored);
  return full.empty() ? path : full.string();
}

struct Plugins {
  std::string hash;
};

Result<Plugins> load_plugins(const CompileOptions& options) {
  Plugins out;
  for (const std::string& path : options.plugins) {
    HEDDLE_ASSIGN(auto plugin, passes::load_pass_plugin(path));
    out.hash += (out.hash.empty() ? "" : ",") + plugin.hash;
  }
  return out;
}

/// The cache's type by name: what is asked for, or what the target is best with. A cache in f16 halves what attention reads at depth.
std::string kv_name(const CompileOptions& options, const ir::Target& target) {
  if (options.kv != "auto") return options.kv;
  return is_cuda(target) && target.activations != DType::f32 ? "f16" : "f32";
}

plan::Key key_for(const frontends::Model& model, const ir::Target& target, const CompileOptions& options, const std::string& plugins,
                  const std::vector<passes::Step>& steps, const std::string& nvrtc, const std::string& tuning) {
  return {
      {"model fingerprint", model.fingerprint},
      {"target", target.name},
      {"activations", std::string(name(target.activations))},
      {"kv", kv_name(options, target)},
      {"rope", model.config.original_context == 0                          ? ""
               : frontends::wants_long_rope(model.config, options.context) ? "long"
                                                                           : "short"},
      {"quantize", options.quantize},
      {"pipeline", passes::print_pipeline(steps)},
      {"prefill rows", fmt::format("{}", fmt::join(options.prefill, ","))},
      {"disabled passes", fmt::format("{}", fmt::join(options.disabled, ","))},
      {"tuning", tuning},
      {"pass limit", options.pass_limit < 0 ? std::string() : std::to_string(options.pass_limit)},
      {"plug-ins", plugins},
      {"nvrtc", nvrtc},
      {"program build", build_id()},
  };
}

void fill_model(const frontends::Model& model, plan::Plan& plan) {
  plan::ModelInfo& info = plan.model;
  info.name = model.config.name;
  info.architecture = model.config.architecture;
  info.vocabulary = std::uint32_t(model.config.vocabulary);
  info.trained_context = std::uint32_t(model.config.trained_context);
  info.layers = std::uint32_t(model.config.layers);
  for (const auto& tensor : model.tensors) {
    std::uint64_t elements = 1;
    for (auto d : tensor.shape) elements *= std::uint64_t(d);
    info.parameters += elements;
    info.weight_bytes += tensor.bytes;
  }
  for (const auto& file : model.files) {
    plan.files.push_back(file);
    plan.files.back().path = absolute(file.path);
  }
  plan.vocabulary = model.vocabulary;
  plan.chat_template = model.chat_template;
}

/// `--print-after` and `--dump-ir`.
std::function<void(const passes::Step&, const ir::Module&)> observer(const CompileOptions& options) {
  if (options.print_after.empty() && options.dump_dir.empty()) return {};
  return [&options, number = 0](const passes::Step& step, const ir::Module& module) mutable {
    ++number;
    if (options.print_after == step.pass || options.print_after == "all")
      fmt::print(stderr, "# after {}\n{}\n", step.pass, ir::print(module));
    if (!options.dump_dir.empty())
      std::ofstream(fmt::format("{}/{:02}-{}.ir", options.dump_dir, number, step.pass)) << ir::print(module);
  };
}

}  // namespace

Result<std::vector<passes::Step>> steps_for(const ir::Target& target, const CompileOptions& options) {
  if (options.pipeline.empty()) return passes::default_pipeline(target);
  return passes::parse_pipeline(options.pipeline, passes::Registry::global());
}

std::string model_name(const plan::ModelInfo& model) {
  return fmt::format("{}, {} layers, {} parameters, vocabulary {}, {} bytes", model.architecture, model.layers, model.parameters, model.vocabulary,
                     model.weight_bytes);
}

Result<codegen::cuda::Tuning> read_tuning(const std::string& path, const ir::Target& target) {
  HEDDLE_ASSIGN(const std::string text, read_text_file(path));
  HEDDLE_ASSIGN(auto found, codegen::cuda::parse_tuning(text, path));
  if (found.target != target.name) return error("{}: it was measured for {}, the target is {}", path, found.target, target.name);
  return found;
}

std::string kernel_cache_dir(const CompileOptions& options) {
  if (!options.use_cache) return "";
  return options.cache_dir.empty() ? default_cache_dir() : options.cache_dir;
}

std::string tuning_path(const ir::Target& target, const CompileOptions& options) {
  if (!options.tuning.empty()) return options.tuning;
  const std::string dir = options.cache_dir.empty() ? default_cache_dir() : options.cache_dir;
  return fmt::format("{}/tuning-{}.json", dir, target.name.substr(target.name.find(':') + 1));
}

std::unique_ptr<codegen::Questions> questions_for(const ir::Target& target) {
  if (is_cuda(target)) return std::make_unique<codegen::cuda::CudaQuestions>(target);
  return std::make_unique<codegen::SpecQuestions>(target.activations);
}

Result<ir::Target> target_named(const std::string& name, const std::string& activations) {
  ir::Target target;
  std::vector<std::string> known = codegen::cuda::target_names();
  if (activations != "q8" && activations != "f32") return error("activations '{}' are not known (known: q8, f32)", activations);
  if (name == "cuda:auto") {
    HEDDLE_ASSIGN(const std::string here, runtime::cuda_target_here());
    return codegen::cuda::target_named(here, activations == "q8" ? DType::q8_16 : DType::f32);
  }
  if (std::ranges::find(known, name) != known.end()) return codegen::cuda::target_named(name, activations == "q8" ? DType::q8_16 : DType::f32);
  if (name == "auto") {  // the GPU, where there is one and kernels can be compiled for it
    if (const auto here = runtime::cuda_target_here(); here.ok() && codegen::cuda::Nvrtc::open().ok())
      return codegen::cuda::target_named(*here, activations == "q8" ? DType::q8_16 : DType::f32);
  } else if (name != "cpu") {
    return error("target '{}' is not known (known: auto, cpu, cuda:auto, {})", name, fmt::join(known, ", "));
  }
  target.name = "cpu";
  target.activations = activations == "q8" ? DType::q8_1 : DType::f32;
  // Round numbers for a small server: an operator boundary is a barrier among a few threads.
  target.workers = 4;
  target.launch_us = 2;
  target.memory_gbps = 25;
  target.worker_gflops = 10;
  return target;
}

Result<frontends::Model> open_model(const std::string& path, const CompileOptions& options) {
  HEDDLE_ASSIGN(auto model, frontends::open_model(path));
  if (options.quantize.empty()) return model;
  HEDDLE_ASSIGN(const DType type, frontends::quantization_named(options.quantize));
  if (!options.use_cache) return error("--quantize keeps what it makes in the cache, which --no-cache forbids");
  const plan::PlanCache cache(options.cache_dir.empty() ? default_cache_dir() : options.cache_dir);
  return frontends::quantized(std::move(model), type, cache.weights_path(absolute(path), options.quantize));
}

Result<std::unique_ptr<ir::Module>> lower(const frontends::Model& model, const CompileOptions& options) {
  frontends::BuildOptions build;
  HEDDLE_ASSIGN(build.target, target_named(options.target, options.activations));
  HEDDLE_ASSIGN(build.entries, entries_for(build.target, options));
  const auto kv = dtype_named(kv_name(options, build.target));
  if (kv != DType::f32 && kv != DType::f16) return error("cache type '{}' is not known (known: auto, f16, f32)", options.kv);
  build.kv = *kv;
  build.context = options.context;
  HEDDLE_ASSIGN(auto module, frontends::build_ir(model, build));
  HEDDLE_TRY(ir::verify(*module));
  return module;
}

namespace {

/// The model and everything that decides on its plan.
struct Inputs {
  frontends::Model model;
  ir::Target target;
  std::vector<passes::Step> steps;
  plan::Key key;
  codegen::cuda::Tuning tuning;
};

/// How long steps take: measured where that is known of all that read prompts, since an estimate beside a measurement decides wrongly.
void set_times(plan::Plan& plan, const ir::Module& module, const codegen::Questions* questions, const codegen::cuda::Tuning& tuning) {
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

std::string hash_of(const std::string& text) { return fmt::format("{:016x}", XXH3_64bits(text.data(), text.size())); }

/// Measured choices for a target, as the options want them.
Result<codegen::cuda::Tuning> tuning_for(const ir::Target& target, const CompileOptions& options) {
  if (!is_cuda(target) || options.tuning == "none") return codegen::cuda::Tuning();
  codegen::cuda::Tuning out = codegen::cuda::shipped_tuning(target);
  const std::string path = tuning_path(target, options);
  if (options.tuning.empty() && !fs::exists(path)) return out;
  HEDDLE_ASSIGN(const auto here, read_tuning(path, target));
  out.merge(here);
  return out;
}

Result<Inputs> inputs_of(const std::string& path, const CompileOptions& options) {
  Inputs out;
  passes::register_builtin_passes(passes::Registry::global());
  HEDDLE_ASSIGN(auto plugins, load_plugins(options));
  HEDDLE_ASSIGN(out.model, open_model(path, options));
  HEDDLE_ASSIGN(out.target, target_named(options.target, options.activations));
  HEDDLE_ASSIGN(out.steps, steps_for(out.target, options));
  HEDDLE_ASSIGN(const std::string nvrtc, nvrtc_version(out.target));
  HEDDLE_ASSIGN(out.tuning, tuning_for(out.target, options));
  const bool any = !out.tuning.kernels.empty() || !out.tuning.passes.empty();
  const std::string tuning = any ? hash_of(codegen::cuda::print_tuning(out.tuning)) : std::string();
  out.key = key_for(out.model, out.target, options, plugins.hash, out.steps, nvrtc, tuning);
  return out;
}

}  // namespace

Result<std::string> explain_cached(const std::string& path, const CompileOptions& options) {
  HEDDLE_ASSIGN(const auto inputs, inputs_of(path, options));
  const plan::PlanCache cache(options.cache_dir.empty() ? default_cache_dir() : options.cache_dir);
  const plan::Lookup found = cache.find(absolute(path), inputs.key);
  std::string out = found.plan ? "up to date: " + found.path : fmt::format("to be built: {}\n{}", found.why, found.path);
  for (const auto& [name, value] : inputs.key) out += fmt::format("\n  {:<18} {}", name, value);
  return out;
}

Result<Compiled> compile_model(const std::string& path, const CompileOptions& options) {
  Compiled out;
  Stopwatch watch(out.stages);
  HEDDLE_ASSIGN(const auto inputs, inputs_of(path, options));
  const auto& [model, target, steps, key, tuning] = inputs;
  watch.lap("read model");

  const plan::PlanCache cache(options.cache_dir.empty() ? default_cache_dir() : options.cache_dir);
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

  const auto questions = questions_for(target);
  passes::RunOptions run;
  run.disabled = options.disabled;
  auto plan = std::make_shared<plan::Plan>();
  fill_model(model, *plan);
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
  if (is_cuda(target)) {
    codegen::cuda::add_sampling(*plan);
    codegen::cuda::apply(tuning, *plan);
    const std::string kernels = kernel_cache_dir(options);
    HEDDLE_ASSIGN(const auto report, codegen::cuda::compile_kernels(*plan, target, kernels, usable_processors()));
    watch.lap(fmt::format("{} of {} kernels", report.compiled, report.kernels));
  }
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

bool is_plan_file(const std::string& path) {
  char magic[12] = {};
  std::ifstream(path, std::ios::binary).read(magic, 11);
  return std::string_view(magic) == "heddle-plan";
}

Result<std::shared_ptr<const plan::Plan>> load_plan(const std::string& path) {
  HEDDLE_ASSIGN(auto plan, plan::read_plan(path));
  const auto is_quantized = [](const auto& field) { return field.name == "quantize" && !field.value.empty(); };
  const bool quantized = std::ranges::any_of(plan->key, is_quantized);
  for (const auto& file : plan->files) {
    if (quantized && &file == &plan->files.back()) continue;  // prepare_weights sees to it
    struct stat info = {};
    if (stat(file.path.c_str(), &info) != 0) return error("{}: its model file {} is not there", path, file.path);
    if (std::uint64_t(info.st_size) != file.bytes)
      return error("{}: its model file {} has {} bytes, the plan was made for {}", path, file.path, info.st_size, file.bytes);
  }
  if (!plan->files.empty()) {
    HEDDLE_ASSIGN(auto model, frontends::open_model(plan->files.front().path));
    for (const auto& field : plan->key)
      if (field.name == "model fingerprint" && field.value != model.fingerprint)
        return error("{}: the header of its model file {} has changed: fingerprint {}, the plan was made for {}", path, plan->files.front().path,
                     model.fingerprint, field.value);
  }
  return std::shared_ptr<const plan::Plan>(std::move(plan));
}

bool depends_on_context(const plan::Plan& plan) {
  return std::ranges::any_of(plan.key, [](const auto& field) { return field.name == "rope" && !field.value.empty(); });
}

Result<Compiled> plan_for(const std::string& model_or_plan, const CompileOptions& options) {
  if (!is_plan_file(model_or_plan)) return compile_model(model_or_plan, options);
  Compiled out;
  HEDDLE_ASSIGN(out.plan, load_plan(model_or_plan));
  out.path = model_or_plan;
  return out;
}

}  // namespace heddle::tools
