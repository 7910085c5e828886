#include "runtime/cpu/device.h"

#include <algorithm>
#include <chrono>

#include "ir/base/timing.h"
#include "runtime/cpu/kernel.h"
#include "runtime/cpu/memory.h"
#include "runtime/cpu/rows/program.h"
#include "runtime/cpu/read_rate.h"

namespace heddle::runtime {
namespace cpu {

std::unique_ptr<Kernel> make_kernel(const Binding& binding) {
  const struct {
    const Binding& binding;
    std::unique_ptr<Kernel> operator()(const plan::Gemm&) const { return make_gemm(binding); }
    std::unique_ptr<Kernel> operator()(const plan::Rowwise&) const { return make_rowwise(binding); }
    std::unique_ptr<Kernel> operator()(const plan::Attention&) const { return make_attention(binding); }
    std::unique_ptr<Kernel> operator()(const plan::Embed&) const { return make_embed(binding); }
    std::unique_ptr<Kernel> operator()(const plan::TopExperts&) const { return make_top_experts(binding); }
    std::unique_ptr<Kernel> operator()(const plan::GatherRows&) const { return make_gather_rows(binding); }
    std::unique_ptr<Kernel> operator()(const plan::Sample&) const {
      HEDDLE_CHECK(false, "a loop that draws tokens");  // refused by load; the host draws them
      return nullptr;
    }
  } make{binding};
  return std::visit(make, binding.spec.loop);
}

namespace {

/// Bytes of device memory that a node touches.
struct Access {
  plan::Where where;
  std::uint32_t index;
  std::uint64_t begin, end;  // arena only
  bool written;
};

bool conflict(const Access& a, const Access& b) {
  if (a.where != b.where || (!a.written && !b.written)) return false;
  return a.where == plan::Where::arena ? a.begin < b.end && b.begin < a.end : a.index == b.index;
}

struct Node {
  std::unique_ptr<Kernel> kernel;
  std::int64_t rows = 0;  // of the kernel: the step's, or behind the select of a prompt one
  std::vector<Access> accesses;
  bool wait = false;  // for all members to have finished the nodes before
  std::size_t shared_offset = 0;
};

struct Entry {
  std::size_t rows = 0;
  std::vector<std::int32_t> inputs[4];      // tokens, slots, positions; the last row, of a prompt
  std::vector<std::vector<float>> outputs;  // [rows, columns]
  std::vector<Node> nodes;
};

class CpuDevice : public NodeDevice {
 public:
  explicit CpuDevice(int threads) : pool_(threads) {}

  std::string description() const override {
    return fmt::format("cpu, {} thread{}, {}", pool_.size(), pool_.size() == 1 ? "" : "s", instruction_set());
  }

  Result<void> load(std::shared_ptr<const plan::Plan> plan, const Capacity& capacity, const Progress& progress) override {
    HEDDLE_CHECK(capacity.slots > 0 && capacity.context > 0, "{} slots of {}", capacity.slots, capacity.context);
    HEDDLE_TRY(check_loops(*plan));
    HEDDLE_TRY(check_memory(*plan, capacity, available_memory()));
    entries_.clear();
    ropes_ = {};
    plan_ = std::move(plan);
    capacity_ = capacity;
    HEDDLE_ASSIGN(weights_, Weights::open(*plan_, pool_, progress));
    HEDDLE_ASSIGN(arena_, Region::make(memory_use(*plan_, capacity).arena));
    states_.clear();
    for (const auto& state : plan_->states) {
      const std::int64_t elements = state.shape[0] * state.shape[1] * state.shape[2] * capacity.slots * capacity.context;
      HEDDLE_ASSIGN(Region region, Region::make(std::size_t(bytes_of(state.dtype, elements))));
      states_.push_back(std::move(region));
    }
    std::size_t scratch = 0, shared = 0;
    for (const auto& entry : plan_->entries) {
      entries_.push_back(make_entry(entry));
      for (const Node& node : entries_.back().nodes) {
        scratch = std::max(scratch, node.kernel->scratch_bytes);
        shared = std::max(shared, node.shared_offset + node.kernel->shared_bytes);
      }
    }
    scratch_bytes_ = round_up(scratch, 4096);  // members write to pages of their own
    HEDDLE_ASSIGN(scratch_, Region::make(scratch_bytes_ * std::size_t(pool_.size())));
    HEDDLE_ASSIGN(shared_, Region::make(shared));
    return {};
  }

  Result<void> run(std::size_t index, std::span<const StepRow> rows) override {
    HEDDLE_ASSIGN(const std::int64_t used, write_inputs(index, rows));
    pool_.run([&](int member) {
      for (const Node& node : entries_[index].nodes) {
        if (node.wait) pool_.barrier();
        run_node(node, member, used);
      }
    });
    return {};
  }

  Result<std::span<const float>> logits(std::size_t index, std::size_t row) override {
    HEDDLE_CHECK(index < entries_.size(), "entry {} of {}", index, entries_.size());
    const Entry& entry = entries_[index];
    const plan::EntryPoint& from = plan_->entries[index];
    if (entry.outputs.empty()) return error("entry '{}' has no logits", from.name);
    const std::size_t rows = std::size_t(from.outputs[0].shape[0]), columns = std::size_t(from.outputs[0].shape[1]);
    HEDDLE_CHECK(row < rows, "row {} of the {} of entry {}", row, rows, index);
    return std::span<const float>(entry.outputs[0]).subspan(row * columns, columns);
  }

  // ---- For tools

  Result<void> run_nodes(std::size_t index, std::span<const StepRow> rows,
                         const std::function<Result<void>(std::size_t)>& after) override {
    HEDDLE_ASSIGN(const std::int64_t used, write_inputs(index, rows));
    const std::vector<Node>& nodes = entries_[index].nodes;
    for (std::size_t i = 0; i < nodes.size(); ++i) {
      pool_.run([&](int member) { run_node(nodes[i], member, used); });
      HEDDLE_TRY(after(i));
    }
    return {};
  }

  Result<std::vector<std::byte>> read(std::size_t index, const plan::Ref& ref) override {
    HEDDLE_CHECK(index < entries_.size(), "entry {} of {}", index, entries_.size());
    const std::byte* from = address_of(ref, entries_[index]);
    return std::vector<std::byte>(from, from + bytes_of_ref(index, ref));
  }

  KernelTiming how_kernels_are_timed() const override {
    return {"every call of a step by the clock, all threads waiting for each other before and after it", true};
  }

  Result<std::vector<std::vector<double>>> time_kernels(std::size_t index, std::span<const StepRow> rows, int samples) override {
    std::vector<std::vector<double>> out(plan_->kernels.size());
    for (int sample = -1; sample < samples; ++sample) {  // the first is a warm-up
      HEDDLE_ASSIGN(const std::vector<NodeSpan> spans, trace_step(index, rows));
      for (std::size_t i = 0; i < spans.size() && sample >= 0; ++i)
        out[plan_->entries[index].nodes[i].kernel].push_back(spans[i].end - spans[i].begin);
    }
    return out;
  }

  Result<std::vector<double>> time_step(std::size_t index, std::span<const StepRow> rows, int samples) override {
    std::vector<double> out;
    for (int sample = -1; sample < samples; ++sample) {
      const auto start = Clock::now();
      HEDDLE_TRY(run(index, rows));
      if (sample >= 0) out.push_back(seconds_since(start));
    }
    return out;
  }

  Result<std::vector<NodeSpan>> trace_step(std::size_t index, std::span<const StepRow> rows) override {
    HEDDLE_ASSIGN(const std::int64_t used, write_inputs(index, rows));
    const std::vector<Node>& nodes = entries_[index].nodes;
    std::vector<NodeSpan> spans(nodes.size());
    const auto start = Clock::now();
    pool_.run([&](int member) {
      for (std::size_t i = 0; i < nodes.size(); ++i) {
        pool_.barrier();
        if (member == 0) spans[i].begin = seconds_since(start);
        run_node(nodes[i], member, used);
        pool_.barrier();
        if (member == 0) spans[i].end = seconds_since(start);
      }
    });
    return spans;
  }

  Result<ReadRate> read_rate() override { return cpu::read_rate(pool_); }

 private:
  /// Puts the rows of a step where the nodes of entry `index` read them; returns how many are computed, those up to the last that is not
  /// idle.
  Result<std::int64_t> write_inputs(std::size_t index, std::span<const StepRow> rows) {
    HEDDLE_CHECK(index < entries_.size(), "entry {} of {}", index, entries_.size());
    Entry& entry = entries_[index];
    HEDDLE_CHECK(rows.size() == entry.rows, "{} rows, entry {} has {}", rows.size(), index, entry.rows);
    HEDDLE_TRY(check_rows(rows));
    std::int64_t used = 0, positions = 1;
    for (std::size_t r = 0; r < rows.size(); ++r) {
      const bool idle = rows[r].slot < 0;
      entry.inputs[0][r] = idle ? 0 : rows[r].token;
      entry.inputs[1][r] = idle ? -1 : rows[r].slot;
      entry.inputs[2][r] = idle ? 0 : rows[r].position;
      if (idle) continue;
      used = std::int64_t(r) + 1;
      positions = std::max(positions, std::int64_t(rows[r].position) + 1);
    }
    if (!entry.inputs[3].empty()) entry.inputs[3][0] = last_row(rows);
    ropes_.grow(std::min(capacity_.context, (positions + 255) / 256 * 256));
    if (++step_ == 0) step_ = 1;
    return used;
  }

  /// The share of team member `member` in a node.
  void run_node(const Node& node, int member, std::int64_t used) {
    node.kernel->run({pool_, member, pool_.size(), std::min(used, node.rows), scratch_.data() + scratch_bytes_ * std::size_t(member),
                      shared_.data() + node.shared_offset, step_});
  }

  std::size_t bytes_of_ref(std::size_t index, const plan::Ref& ref) const {
    switch (ref.where) {
      case plan::Where::arena:
        return ref.bytes;
      case plan::Where::weight:
        return weights_.bytes(ref.index);
      case plan::Where::state: {
        const plan::State& state = plan_->states[ref.index];
        return std::size_t(bytes_of(state.dtype, 2 * state.shape[1] * state.shape[2] * capacity_.slots * capacity_.context));
      }
      case plan::Where::input:
        return entries_[index].inputs[ref.index].size() * sizeof(std::int32_t);
      case plan::Where::output:
        return entries_[index].outputs[ref.index].size() * sizeof(float);
    }
    return 0;
  }

  static Result<void> check_loops(const plan::Plan& plan) {
    for (const auto& entry : plan.entries)
      for (const auto& node : entry.nodes)
        if (const plan::KernelSpec& spec = plan.kernels[node.kernel].spec; spec.sample())
          return error("entry '{}': kernel '{}' draws tokens, which the cpu leaves to the host", entry.name, spec.name);
    return {};
  }

  Result<void> check_rows(std::span<const StepRow> rows) const {
    for (std::size_t r = 0; r < rows.size(); ++r) {
      const StepRow& row = rows[r];
      if (row.slot < 0) continue;
      if (row.slot >= capacity_.slots) return error("row {}: slot is {}, there are {}", r, row.slot, capacity_.slots);
      if (row.position < 0 || row.position >= capacity_.context)
        return error("row {}: position is {}, the context has {}", r, row.position, capacity_.context);
      if (row.token < 0 || std::uint32_t(row.token) >= plan_->model.vocabulary)
        return error("row {}: token is {}, the vocabulary has {}", r, row.token, plan_->model.vocabulary);
    }
    return {};
  }

  Entry make_entry(const plan::EntryPoint& from) {
    Entry entry;
    entry.rows = from.rows;
    for (std::size_t i = 0; i < from.inputs.size(); ++i) entry.inputs[i].resize(std::size_t(from.inputs[i].shape[0]));
    for (const auto& output : from.outputs) entry.outputs.emplace_back(std::size_t(output.shape[0] * output.shape[1]));
    std::size_t since = 0;  // first node after the last wait
    for (const auto& node : from.nodes) {
      Node made = make_node(node, entry);
      const auto waits_for = [&](std::size_t before) {
        if (std::ranges::find(node.after, before) != node.after.end()) return true;
        for (const Access& a : made.accesses)
          for (const Access& b : entry.nodes[before].accesses)
            if (conflict(a, b)) return true;
        return false;
      };
      for (std::size_t before = since; before < entry.nodes.size() && !made.wait; ++before) made.wait = waits_for(before);
      if (made.wait) since = entry.nodes.size();
      // Nodes that may run at the same time have shared memory of their own.
      if (!made.wait && !entry.nodes.empty())
        made.shared_offset = entry.nodes.back().shared_offset + entry.nodes.back().kernel->shared_bytes;
      entry.nodes.push_back(std::move(made));
    }
    return entry;
  }

  Node make_node(const plan::Node& from, Entry& entry) {
    const plan::KernelSpec& spec = plan_->kernels[from.kernel].spec;
    Node node;
    std::vector<Argument> args;
    for (std::size_t i = 0; i < spec.args.size(); ++i) {
      const plan::Arg& arg = spec.args[i];
      const plan::Ref& ref = from.args[i];
      args.push_back({arg.role, arg.dtype, arg.shape, address_of(ref, entry)});
      if (arg.role == plan::ArgRole::weight && arg.shape.size() == 1) args.back().dtype = DType::f32;
      args.back().panels = ref.where == plan::Where::weight && plan_->weights[ref.index].layout == Layout::panels;
      node.accesses.push_back({ref.where, ref.index, ref.offset, ref.offset + ref.bytes, arg.written});
    }
    node.rows = spec.rows;
    node.kernel = make_kernel({spec, args, capacity_.slots, capacity_.context, pool_.size(), &ropes_});
    return node;
  }

  std::byte* address_of(const plan::Ref& ref, Entry& entry) {
    switch (ref.where) {
      case plan::Where::arena:
        return arena_.data() + ref.offset;
      case plan::Where::weight:
        return const_cast<std::byte*>(weights_.data(ref.index));
      case plan::Where::state:
        return states_[ref.index].data();
      case plan::Where::input:
        return reinterpret_cast<std::byte*>(entry.inputs[ref.index].data());
      case plan::Where::output:
        return reinterpret_cast<std::byte*>(entry.outputs[ref.index].data());
    }
    return nullptr;
  }

  ThreadPool pool_;
  std::shared_ptr<const plan::Plan> plan_;
  Capacity capacity_;
  Weights weights_;
  RopeTables ropes_;
  Region arena_, scratch_, shared_;
  std::size_t scratch_bytes_ = 0;  // of a member
  std::uint32_t step_ = 0;
  std::vector<Region> states_;
  std::vector<Entry> entries_;
};

}  // namespace
}  // namespace cpu

std::unique_ptr<NodeDevice> make_cpu_device(int threads) {
  return std::make_unique<cpu::CpuDevice>(threads > 0 ? threads : usable_processors());
}

}  // namespace heddle::runtime
