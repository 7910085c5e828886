#include "runtime/cuda/device.h"

#include <algorithm>
#include <chrono>
#include <optional>

#include "ir/base/cuda_card.h"
#include "ir/base/timing.h"
#include "runtime/cuda/generation.h"
#include "runtime/cuda/graph.h"
#include "runtime/cuda/memory.h"
#include "runtime/cuda/measure/timing.h"
#include "runtime/cuda/upload.h"

namespace heddle::runtime::cuda {
namespace {

/// Steps whose inputs may wait in pinned memory until the device fetches them.
constexpr std::size_t input_slots = 16;

struct DeviceRange {
  DevicePointer at = 0;
  std::uint64_t bytes = 0;
};

/// What is ready to run of an entry point.
struct Entry {
  std::vector<Launch> schedule;  // `nodes`, then `sampling`
  std::size_t nodes = 0;         // those without `sampling`
  Graph graph, sampling_graph;
};

class DeviceImpl final : public CudaDevice {
 public:
  DeviceImpl(std::unique_ptr<Gpu> gpu, const CudaOptions& options) : gpu_(std::move(gpu)), options_(options) {}
  ~DeviceImpl() override {
    (void)gpu_->make_current();
    if (stream_.get()) driver().stream_synchronize(stream_.get());  // memory goes only when nothing uses it
  }

  std::string description() const override;
  Result<void> load(std::shared_ptr<const plan::Plan> plan, const Capacity& capacity, const Progress& progress) override;
  Result<void> run(std::size_t entry, std::span<const StepRow> rows) override;
  Result<std::span<const float>> logits(std::size_t entry, std::size_t row) override;

  bool can_generate(std::size_t entry, const SamplingOptions& sampling) const override;
  Result<void> begin_generation(std::size_t entry, std::span<const GenerationRow> rows, std::span<const std::int32_t> end_tokens) override;
  Result<std::span<const Draw>> next_draws() override;
  Result<void> end_generation() override;

  std::size_t kernel_nodes(std::size_t entry, bool sampling) const override;
  Result<void> run_nodes(std::size_t entry, std::span<const StepRow> rows, const std::function<Result<void>(std::size_t)>& after) override;
  Result<std::vector<std::byte>> read(std::size_t entry, const plan::Ref& ref) override;
  Result<std::vector<std::vector<double>>> time_kernels(std::size_t entry, std::span<const StepRow> rows, int samples) override;
  KernelTiming how_kernels_are_timed() const override;
  Result<std::vector<double>> time_step(std::size_t entry, std::span<const StepRow> rows, int samples) override;
  Result<std::vector<NodeSpan>> trace_step(std::size_t entry, std::span<const StepRow> rows) override;
  Result<ReadRate> read_rate() override;
  LoadSeconds load_seconds() const override { return load_seconds_; }

 private:
  const Driver& driver() const { return gpu_->driver(); }

  Result<void> allocate();
  Result<void> zero();
  Result<void> build_entries(const Modules& modules);
  Parameters parameters(std::size_t entry, std::size_t node) const;
  DevicePointer input(std::size_t entry, std::size_t which) const;
  std::vector<DeviceRange> ranges_of(std::size_t entry, const plan::Ref& ref) const;

  Result<void> check_rows(std::size_t entry, std::span<const StepRow> rows) const;
  Result<void> write_inputs(std::size_t entry, std::span<const StepRow> rows);
  Result<void> launch(std::size_t entry, bool sampling);
  Result<void> wait();
  /// What all timing begins with: the inputs of a step are there, the device is idle.
  Result<void> begin_timing(std::size_t entry, std::span<const StepRow> rows);
  /// Refuses if the device is lost; makes its context the thread's own.
  Result<void> ready();
  /// Notes a failure on the device for all later calls. It is of the step that was queued before, if any.
  Error lost(Status status, std::string_view what);

  std::unique_ptr<Gpu> gpu_;  // first: it outlives all below
  CudaOptions options_;
  OwnedStream stream_;
  std::optional<Modules> modules_;
  OwnedMemory weights_, cache_, arena_, scratch_;
  OwnedHostMemory staged_inputs_, host_logits_;
  std::vector<OwnedEvent> inputs_sent_;  // of each slot
  std::vector<Entry> entries_;
  std::optional<Generation> generation_;

  std::shared_ptr<const plan::Plan> plan_;
  Capacity capacity_;
  MemoryLayout layout_;
  LoadSeconds load_seconds_;
  std::size_t most_inputs_ = 1;  // numbers that a step is given
  std::size_t steps_ = 0;
  std::size_t generating_ = 0;  // entry point, while a generation is active
  std::string queued_;          // name of the entry point that was queued last and not waited for
  std::optional<Error> lost_;
};

std::string DeviceImpl::description() const {
  return fmt::format("cuda, {}, sm_{}, driver for CUDA {}", gpu_->name, gpu_->compute_capability, cuda_version_text(gpu_->driver_version));
}

Result<void> DeviceImpl::ready() {
  if (lost_) return *lost_;
  if (const Status status = gpu_->make_current(); status != Status::success) return lost(status, "cuCtxSetCurrent");
  return {};
}

Error DeviceImpl::lost(Status status, std::string_view what) {
  lost_ = failure(driver(), status, fmt::format("cuda: {}", queued_.empty() ? what : queued_));
  return *lost_;
}

// ---- Loading

Result<void> DeviceImpl::load(std::shared_ptr<const plan::Plan> plan, const Capacity& capacity, const Progress& progress) {
  HEDDLE_CHECK(!plan_, "a device loads one plan");
  HEDDLE_TRY(ready());
  auto start = Clock::now();
  HEDDLE_ASSIGN(Modules modules, Modules::load(*gpu_, *plan));
  load_seconds_.modules = seconds_since(start);

  std::size_t free = 0, total = 0;
  HEDDLE_TRY(check(driver(), driver().memory_info(&free, &total), "cuMemGetInfo"));
  HEDDLE_TRY(check_fits(*plan, capacity, free, gpu_->text()));
  plan_ = std::move(plan), capacity_ = capacity, modules_ = std::move(modules);
  layout_ = lay_out(*plan_, capacity_);
  for (const auto& entry : plan_->entries) most_inputs_ = std::max<std::size_t>(most_inputs_, input_numbers(entry));
  HEDDLE_TRY(allocate());
  HEDDLE_TRY(zero());

  start = Clock::now();
  HEDDLE_TRY(upload_weights(*gpu_, stream_.get(), *plan_, layout_, weights_.get(), progress));
  load_seconds_.upload = seconds_since(start);

  start = Clock::now();
  HEDDLE_TRY(build_entries(*modules_));
  HEDDLE_TRY(check(driver(), driver().stream_synchronize(stream_.get()), "load"));
  load_seconds_.graphs = seconds_since(start);
  return {};
}

Result<void> DeviceImpl::allocate() {
  HEDDLE_ASSIGN(stream_, gpu_->make_stream());
  HEDDLE_ASSIGN(weights_, gpu_->allocate(layout_.weight_bytes, "weights"));
  HEDDLE_ASSIGN(cache_, gpu_->allocate(layout_.cache_bytes, "cache"));
  HEDDLE_ASSIGN(arena_, gpu_->allocate(layout_.arena_bytes, "arena"));
  HEDDLE_ASSIGN(scratch_, gpu_->allocate(layout_.scratch_bytes, "scratch"));
  HEDDLE_ASSIGN(staged_inputs_, gpu_->allocate_pinned(input_slots * most_inputs_ * sizeof(std::int32_t), "inputs"));
  HEDDLE_ASSIGN(host_logits_, gpu_->allocate_pinned(plan_->model.vocabulary * sizeof(float), "logits"));
  for (std::size_t i = 0; i < input_slots; ++i) {
    HEDDLE_ASSIGN(OwnedEvent event, gpu_->make_event());
    inputs_sent_.push_back(std::move(event));
  }
  std::size_t sampling_rows = 0;
  for (const auto& entry : plan_->entries)
    if (!entry.sampling.empty()) sampling_rows = std::max<std::size_t>(sampling_rows, entry.rows);
  if (sampling_rows > 0) {
    HEDDLE_ASSIGN(generation_, Generation::make(*gpu_, stream_.get(), sampling_rows));
  }
  return {};
}

Result<void> DeviceImpl::zero() {
  const std::pair<DevicePointer, std::uint64_t> pools[] = {
      {cache_.get(), layout_.cache_bytes}, {arena_.get(), layout_.arena_bytes}, {scratch_.get(), layout_.scratch_bytes}};
  for (const auto& [pointer, bytes] : pools)
    if (bytes > 0) HEDDLE_TRY(check(driver(), driver().memory_set(pointer, 0, bytes, stream_.get()), "cuMemsetD8Async"));
  return {};
}

Result<void> DeviceImpl::build_entries(const Modules& modules) {
  for (std::size_t e = 0; e < plan_->entries.size(); ++e) {
    const plan::EntryPoint& from = plan_->entries[e];
    Entry& entry = entries_.emplace_back();
    entry.nodes = from.nodes.size();
    for (const auto* list : {&from.nodes, &from.sampling})
      for (const auto& node : *list) entry.schedule.push_back({&modules[node.kernel], parameters(e, entry.schedule.size()), node.after});
    if (!options_.graph) continue;
    const std::span<const Launch> all = entry.schedule;
    auto graph = Graph::build(driver(), all.first(entry.nodes), options_.plain_edges, stream_.get());
    if (!graph.ok()) return graph.take_error().at(from.name);
    entry.graph = std::move(*graph);
    if (from.sampling.empty()) continue;
    graph = Graph::build(driver(), all, options_.plain_edges, stream_.get());
    if (!graph.ok()) return graph.take_error().at(from.name + " with sampling");
    entry.sampling_graph = std::move(*graph);
  }
  return {};
}

DevicePointer DeviceImpl::input(std::size_t entry, std::size_t which) const {
  return scratch_.get() + layout_.entries[entry].inputs + which * plan_->entries[entry].rows * sizeof(std::int32_t);
}

Parameters DeviceImpl::parameters(std::size_t e, std::size_t index) const {
  const plan::EntryPoint& entry = plan_->entries[e];
  const EntryMemory& memory = layout_.entries[e];
  const plan::Node& node = index < entry.nodes.size() ? entry.nodes[index] : entry.sampling[index - entry.nodes.size()];
  const plan::Kernel& kernel = plan_->kernels[node.kernel];
  Parameters out;
  for (const auto& ref : node.args) {
    switch (ref.where) {
      case plan::Where::arena:
        out.add(arena_.get() + ref.offset);
        break;
      case plan::Where::weight:
        out.add(weights_.get() + layout_.weights[ref.index]);
        break;
      case plan::Where::input:
        out.add(input(e, ref.index));
        break;
      case plan::Where::output:
        out.add(scratch_.get() + memory.outputs[ref.index]);
        break;
      case plan::Where::state: {
        const std::uint64_t state[] = {cache_.get() + layout_.keys[ref.index], cache_.get() + layout_.values[ref.index],
                                       std::uint64_t(capacity_.context)};
        out.add(state);
        break;
      }
    }
  }
  if (kernel.cuda->scratch_bytes > 0) out.add(scratch_.get() + memory.node_scratch[index]);
  if (kernel.spec.sample()) out.add(scratch_.get() + memory.control);
  return out;
}

// ---- Steps

Result<void> DeviceImpl::check_rows(std::size_t entry, std::span<const StepRow> rows) const {
  HEDDLE_CHECK(plan_ && entry < entries_.size(), "entry point {}", entry);
  const plan::EntryPoint& point = plan_->entries[entry];
  if (rows.size() != point.rows) return error("cuda: {} rows, {} has {}", rows.size(), point.name, point.rows);
  for (const StepRow& row : rows) {
    if (row.slot >= capacity_.slots || (row.slot >= 0 && (row.position < 0 || row.position >= capacity_.context)))
      return error("cuda: row at slot {}, position {} is outside the cache of {} slots, {} positions", row.slot, row.position,
                   capacity_.slots, capacity_.context);
    if (row.token < 0 || std::uint32_t(row.token) >= plan_->model.vocabulary)
      return error("cuda: token {} is outside the vocabulary of {}", row.token, plan_->model.vocabulary);
  }
  return {};
}

Result<void> DeviceImpl::write_inputs(std::size_t entry, std::span<const StepRow> rows) {
  const std::size_t slot = steps_ % input_slots;
  if (steps_ >= input_slots)
    if (const Status status = driver().event_synchronize(inputs_sent_[slot].get()); status != Status::success)
      return lost(status, "inputs");
  auto* staged = static_cast<std::int32_t*>(staged_inputs_.get()) + slot * most_inputs_;
  for (std::size_t i = 0; i < rows.size(); ++i) {
    staged[i] = rows[i].token;
    staged[rows.size() + i] = rows[i].slot;
    staged[2 * rows.size() + i] = rows[i].position;
  }
  const std::size_t count = input_numbers(plan_->entries[entry]);
  if (count > 3 * rows.size()) staged[3 * rows.size()] = last_row(rows);
  ++steps_;
  if (const Status status = driver().copy_to_device(input(entry, 0), staged, count * sizeof(std::int32_t), stream_.get());
      status != Status::success)
    return lost(status, plan_->entries[entry].name);
  if (const Status status = driver().event_record(inputs_sent_[slot].get(), stream_.get()); status != Status::success)
    return lost(status, plan_->entries[entry].name);
  return {};
}

Result<void> DeviceImpl::launch(std::size_t index, bool sampling) {
  const Entry& entry = entries_[index];
  const std::string& name = plan_->entries[index].name;
  if (options_.graph) {
    const Graph& graph = sampling ? entry.sampling_graph : entry.graph;
    if (const Status status = graph.launch(driver(), stream_.get()); status != Status::success) return lost(status, name);
  } else {
    const std::span<const Launch> all = entry.schedule;
    for (const Launch& node : sampling ? all : all.first(entry.nodes))
      if (const Status status = launch_one(driver(), node, stream_.get()); status != Status::success)
        return lost(status, fmt::format("{}: kernel '{}'", name, node.kernel->name));
  }
  queued_ = name;
  return {};
}

Result<void> DeviceImpl::wait() {
  if (const Status status = driver().stream_synchronize(stream_.get()); status != Status::success) return lost(status, "the device");
  queued_.clear();
  return {};
}

Result<void> DeviceImpl::run(std::size_t entry, std::span<const StepRow> rows) {
  HEDDLE_CHECK(!generation_ || !generation_->active(), "a step in the middle of a generation");
  HEDDLE_TRY(ready());
  HEDDLE_TRY(check_rows(entry, rows));
  HEDDLE_TRY(write_inputs(entry, rows));
  return launch(entry, false);
}

Result<std::span<const float>> DeviceImpl::logits(std::size_t entry, std::size_t row) {
  HEDDLE_TRY(ready());
  HEDDLE_CHECK(plan_ && entry < entries_.size(), "entry point {}", entry);
  const plan::EntryPoint& point = plan_->entries[entry];
  if (point.outputs.empty() || row >= std::size_t(point.outputs[0].shape[0])) return error("cuda: {} has no logits of row {}", point.name, row);
  const std::size_t width = std::size_t(point.outputs[0].shape.back()), bytes = width * sizeof(float);
  HEDDLE_CHECK(width <= plan_->model.vocabulary, "{} logits of a vocabulary of {}", width, plan_->model.vocabulary);
  const DevicePointer from = scratch_.get() + layout_.entries[entry].outputs[0] + row * bytes;
  if (const Status status = driver().copy_to_host(host_logits_.get(), from, bytes, stream_.get()); status != Status::success)
    return lost(status, point.name);
  HEDDLE_TRY(wait());
  return std::span(static_cast<const float*>(host_logits_.get()), width);
}

// ---- Drawing tokens on the device

bool DeviceImpl::can_generate(std::size_t entry, const SamplingOptions& sampling) const {
  if (!plan_ || entry >= plan_->entries.size() || plan_->entries[entry].sampling.empty()) return false;
  for (const auto& node : plan_->entries[entry].sampling) {
    const plan::KernelSpec& spec = plan_->kernels[node.kernel].spec;
    if (!spec.sample() || !(sampling.temperature > 0)) continue;
    const std::int32_t most = spec.sample()->max_top_k;
    if (most >= 0 && (sampling.top_k <= 0 || sampling.top_k > most)) return false;
  }
  return true;
}

Result<void> DeviceImpl::begin_generation(std::size_t entry, std::span<const GenerationRow> rows,
                                          std::span<const std::int32_t> end_tokens) {
  HEDDLE_TRY(ready());
  HEDDLE_CHECK(plan_ && entry < entries_.size() && generation_ && !entries_[entry].schedule.empty(), "entry point {}", entry);
  HEDDLE_CHECK(!generation_->active(), "a generation in the middle of a generation");
  std::vector<StepRow> first;
  for (const GenerationRow& row : rows) {
    HEDDLE_CHECK(row.first.slot < 0 || can_generate(entry, row.sampling), "{} cannot draw so", plan_->entries[entry].name);
    first.push_back(row.first);
    if (row.max_tokens <= 0) first.back().slot = -1;
  }
  HEDDLE_TRY(check_rows(entry, first));
  HEDDLE_TRY(wait());
  HEDDLE_TRY(write_inputs(entry, first));
  const EntryMemory& memory = layout_.entries[entry];
  const auto at = [&](std::uint64_t offset) { return scratch_.get() + offset; };
  generating_ = entry;
  return generation_->begin({at(memory.control), at(memory.sample_rows), at(memory.history), at(memory.end_tokens), capacity_.context,
                             options_.ahead, [this] { return launch(generating_, true); }},
                            rows, end_tokens);
}

Result<std::span<const Draw>> DeviceImpl::next_draws() {
  HEDDLE_TRY(ready());
  HEDDLE_CHECK(generation_ && generation_->active(), "no generation");
  auto draws = generation_->next();
  if (draws.ok()) return draws;
  HEDDLE_TRY(end_generation());  // says so if it is the device that failed
  return draws;
}

Result<void> DeviceImpl::end_generation() {
  if (!generation_ || !generation_->active()) return {};
  generation_->end();
  HEDDLE_TRY(ready());
  return wait();
}

// ---- For tools

std::size_t DeviceImpl::kernel_nodes(std::size_t entry, bool sampling) const {
  HEDDLE_CHECK(entry < entries_.size(), "entry point {}", entry);
  return (sampling ? entries_[entry].sampling_graph : entries_[entry].graph).kernel_nodes();
}

Result<void> DeviceImpl::run_nodes(std::size_t entry, std::span<const StepRow> rows,
                                   const std::function<Result<void>(std::size_t)>& after) {
  HEDDLE_TRY(ready());
  HEDDLE_TRY(check_rows(entry, rows));
  HEDDLE_TRY(write_inputs(entry, rows));
  for (std::size_t i = 0; i < entries_[entry].nodes; ++i) {
    const Launch& node = entries_[entry].schedule[i];
    const std::string name = fmt::format("{}: node {} (kernel '{}')", plan_->entries[entry].name, i, node.kernel->name);
    if (const Status status = launch_one(driver(), node, stream_.get()); status != Status::success) return lost(status, name);
    queued_ = name;
    HEDDLE_TRY(wait());
    HEDDLE_TRY(after(i));
  }
  return {};
}

Result<void> DeviceImpl::begin_timing(std::size_t entry, std::span<const StepRow> rows) {
  HEDDLE_CHECK(!generation_ || !generation_->active(), "timing in the middle of a generation");
  HEDDLE_TRY(ready());
  HEDDLE_TRY(check_rows(entry, rows));
  HEDDLE_TRY(write_inputs(entry, rows));
  queued_ = plan_->entries[entry].name;
  return wait();
}

Result<std::vector<std::vector<double>>> DeviceImpl::time_kernels(std::size_t entry, std::span<const StepRow> rows, int samples) {
  HEDDLE_TRY(begin_timing(entry, rows));
  std::vector<std::vector<Launch>> calls(plan_->kernels.size());
  for (std::size_t i = 0; i < entries_[entry].nodes; ++i)
    calls[plan_->entries[entry].nodes[i].kernel].push_back(entries_[entry].schedule[i]);
  std::vector<std::vector<double>> out(plan_->kernels.size());
  for (std::size_t kernel = 0; kernel < calls.size(); ++kernel) {
    if (calls[kernel].empty()) continue;
    HEDDLE_ASSIGN(out[kernel], time_calls(*gpu_, calls[kernel], options_.plain_edges, samples, stream_.get()));
  }
  return out;
}

KernelTiming DeviceImpl::how_kernels_are_timed() const {
  return {fmt::format("between two events, 64 or more calls in a row in one graph with {} edges, the layers' weights in turn",
                      options_.plain_edges ? "plain" : "a step's"),
          false};
}

Result<std::vector<double>> DeviceImpl::time_step(std::size_t entry, std::span<const StepRow> rows, int samples) {
  constexpr int steps = 16;  // between two events
  HEDDLE_TRY(begin_timing(entry, rows));
  HEDDLE_ASSIGN(const EventPair events, EventPair::make(*gpu_));
  std::vector<double> out;
  for (int sample = -1; sample < samples; ++sample) {
    HEDDLE_TRY(events.start(stream_.get()));
    for (int step = 0; step < steps; ++step) HEDDLE_TRY(launch(entry, false));
    HEDDLE_ASSIGN(const double whole, events.stop(stream_.get()));
    if (sample >= 0) out.push_back(whole / steps);
  }
  HEDDLE_TRY(wait());
  return out;
}

Result<std::vector<NodeSpan>> DeviceImpl::trace_step(std::size_t entry, std::span<const StepRow> rows) {
  HEDDLE_TRY(begin_timing(entry, rows));
  const std::span<const Launch> schedule = std::span(entries_[entry].schedule).first(entries_[entry].nodes);
  HEDDLE_ASSIGN([[maybe_unused]] const auto warm_up, trace_launches(*gpu_, schedule, stream_.get()));
  return trace_launches(*gpu_, schedule, stream_.get());
}

Result<ReadRate> DeviceImpl::read_rate() {
  HEDDLE_TRY(ready());
  return cuda::read_rate(*gpu_, stream_.get());
}

std::vector<DeviceRange> DeviceImpl::ranges_of(std::size_t e, const plan::Ref& ref) const {
  const plan::EntryPoint& entry = plan_->entries[e];
  switch (ref.where) {
    case plan::Where::arena:
      return {{arena_.get() + ref.offset, ref.bytes}};
    case plan::Where::input:
      return {{input(e, ref.index), (ref.index < 3 ? entry.rows : 1) * sizeof(std::int32_t)}};
    case plan::Where::output: {
      const plan::Port& port = entry.outputs[ref.index];
      return {{scratch_.get() + layout_.entries[e].outputs[ref.index], bytes_of_shape(port.dtype, port.shape)}};
    }
    case plan::Where::weight:
      return {{weights_.get() + layout_.weights[ref.index], stored_bytes_of(plan_->weights[ref.index])}};
    case plan::Where::state: {
      const plan::State& state = plan_->states[ref.index];
      const std::uint64_t positions = std::uint64_t(capacity_.slots * capacity_.context);
      const std::uint64_t plane = bytes_of_shape(state.dtype, state.shape) / 2 * positions;
      return {{cache_.get() + layout_.keys[ref.index], plane}, {cache_.get() + layout_.values[ref.index], plane}};
    }
  }
  return {};
}

Result<std::vector<std::byte>> DeviceImpl::read(std::size_t entry, const plan::Ref& ref) {
  HEDDLE_TRY(ready());
  HEDDLE_CHECK(plan_ && entry < entries_.size(), "entry point {}", entry);
  std::vector<std::byte> out;
  for (const DeviceRange& range : ranges_of(entry, ref)) {
    const std::size_t begin = out.size();
    out.resize(begin + range.bytes);
    if (const Status status = driver().copy_to_host(out.data() + begin, range.at, range.bytes, stream_.get()); status != Status::success)
      return lost(status, plan_->entries[entry].name);
    HEDDLE_TRY(wait());  // before the bytes move
  }
  return out;
}

}  // namespace
}  // namespace heddle::runtime::cuda

namespace heddle::runtime {

MemoryUse cuda_memory_use(const plan::Plan& plan, const Capacity& capacity) {
  const cuda::MemoryLayout layout = cuda::lay_out(plan, capacity);
  return {layout.weight_bytes, layout.cache_bytes, layout.arena_bytes, layout.scratch_bytes};
}

Result<std::string> cuda_target_here() {
  HEDDLE_ASSIGN(const cuda::Driver* driver, cuda::system_driver("cuda:auto"));
  HEDDLE_ASSIGN(const auto gpu, cuda::Gpu::open(*driver, 0, "cuda:auto"));
  return cuda_target_of(gpu->name, gpu->compute_capability, gpu->multiprocessors);
}

Result<std::unique_ptr<CudaDevice>> make_cuda_device(const CudaOptions& options, const cuda::Driver* driver) {
  if (options.ahead < 1 || options.ahead > cuda::Generation::ring_capacity / 2)
    return error("{} steps ahead, wanted 1 to {}", options.ahead, cuda::Generation::ring_capacity / 2);
  if (!driver) {
    HEDDLE_ASSIGN(driver, cuda::system_driver(options.target));
  }
  HEDDLE_ASSIGN(auto gpu, cuda::Gpu::open(*driver, options.device, options.target));
  return std::unique_ptr<CudaDevice>(std::make_unique<cuda::DeviceImpl>(std::move(gpu), options));
}

}  // namespace heddle::runtime
