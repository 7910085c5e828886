// Matrix products over one activation, with programs before and after.
//   1. prologue: every row's program; its result becomes rows for the integer or the float products. With one row every member does it
//      for itself, which is cheaper than waiting; with more the rows are shared out.
//   2. work items: granules of the parts' columns; a column's result does not depend on the cut. For each the accumulators of all segments
//   and rows
//      (a weight is read from memory once), then the epilogue row by row.
// Weights in panels are multiplied with integers where the activation is q8_1; everything else with floats.
#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>

#include "runtime/cpu/dot.h"
#include "runtime/cpu/program.h"
#include "runtime/cpu/work_ranges.h"
#include "runtime/plan/panels.h"

namespace heddle::runtime::cpu {
namespace {

/// Values of the prologue that the epilogues read.
std::vector<unsigned> row_scalars_of(const plan::KernelSpecT& spec) {
  std::vector<unsigned> numbers;
  for (const auto& part : spec.parts)
    for (const auto& input : part->epilogue->inputs)
      if (input->kind == plan::InputKind::row_scalar && std::ranges::find(numbers, input->index) == numbers.end())
        numbers.push_back(input->index);
  return numbers;
}

constexpr std::size_t most_segments = 16;  // of a part

class Gemm : public Kernel {
 public:
  explicit Gemm(const Binding& binding)
      : k_(binding.spec.gemm->k),
        activation_(binding.spec.gemm->activation),
        dtype_(*dtype_named(binding.spec.gemm->activations)),
        row_scalars_(row_scalars_of(binding.spec)),
        prologue_(*binding.spec.prologue, k_, k_, binding, kept(), {}) {
    for (const auto& part : binding.spec.parts) add_part(*part, binding);
    lay_out(binding.spec.rows);
    share_out(binding.threads);
  }

  void run(const Team& team) const override {
    if (team.rows == 0) return;
    // The row made ready by this member alone lies in its scratch.
    const bool alone = team.rows == 1 && !prologue_.has_stores();
    const Rows rows = rows_at(alone ? team.scratch : team.shared, team.rows);
    const Share share = alone ? Share{0, 1} : share_of(team.rows, team.member, team.size);
    for (std::int64_t row = share.begin; row < share.end; ++row) prepare_row(row, rows, team);
    if (!alone) team.pool.barrier();
    work_.begin(team.member, team.step);
    for (std::int64_t i; (i = work_.take(team.member, team.step)) >= 0;) compute(items_[std::size_t(i)], rows, team);
  }

 private:
  struct Segment {
    DType dtype;
    const std::byte* data;
    std::int64_t row_bytes;
    bool panels;
    bool integer;  // panels times q8_1
  };
  struct Part {
    std::vector<Segment> segments;
    Program epilogue;
    std::int64_t columns;  // of an item
  };
  struct Item {
    std::size_t part;
    std::int64_t column, columns;
  };
  /// Activation rows made ready: for the integer products, for the float products, and the values that epilogues read.
  struct Rows {
    Q8Group* integers;   // [groups, rows]
    float* floats;       // [rows, k]
    float* row_scalars;  // [rows, row_scalars_.size()]
  };
  struct Layout {  // of Rows in memory, in bytes
    std::size_t floats, row_scalars, end;
  };

  std::vector<unsigned> kept() const {
    std::vector<unsigned> numbers = row_scalars_;
    numbers.push_back(activation_);
    return numbers;
  }

  void add_part(const plan::PartT& part, const Binding& binding) {
    // Enough items to share out evenly, large enough that programs cost little beside the products.
    const std::int64_t items = std::max(8, 4 * binding.threads);
    const std::int64_t wanted = std::max(std::clamp<std::int64_t>(part.n / items, 16, 256), part.n / (WorkRanges::most_items / 16));
    const bool panels = std::ranges::any_of(part.segments, [&](const auto& segment) { return binding.args[segment->weight].panels; });
    const std::int64_t granule = panels ? std::lcm(part.granule, plan::panel_rows) : part.granule;
    const std::int64_t columns = std::min(part.n, (wanted + granule - 1) / granule * granule);
    HEDDLE_CHECK(part.segments.size() <= most_segments, "{} products in a part", part.segments.size());
    Part out{{}, Program(*part.epilogue, part.n, columns, binding, {}, row_scalars_), columns};
    for (const auto& segment : part.segments) {
      const Argument& weight = binding.args[segment->weight];
      const bool integer = dtype_ == DType::q8_1 && weight.panels;
      out.segments.push_back({weight.dtype, weight.data, bytes_of(weight.dtype, k_), weight.panels, integer});
      if (weight.panels && !integer) row_blocks_ = std::max(row_blocks_, round_up(std::size_t(bytes_of(weight.dtype, k_))));
      (integer ? wants_integers_ : wants_floats_) = true;
    }
    for (std::int64_t column = 0; column < part.n; column += columns)
      items_.push_back({parts_.size(), column, std::min(columns, part.n - column)});
    parts_.push_back(std::move(out));
  }

  Layout layout_of(std::int64_t rows) const {
    const auto bytes = [&](bool wanted, std::size_t per_row) { return wanted ? round_up(std::size_t(rows) * per_row) : 0; };
    Layout layout;
    layout.floats = wants_integers_ ? round_up(std::size_t(q8_rows(rows) * q8_groups(k_)) * sizeof(Q8Group)) : 0;
    layout.row_scalars = layout.floats + bytes(wants_floats_ && !floats_in_place_, std::size_t(k_) * sizeof(float));
    layout.end = layout.row_scalars + bytes(true, row_scalars_.size() * sizeof(float));
    return layout;
  }
  Rows rows_at(std::byte* base, std::int64_t rows) const {
    const Layout layout = layout_of(rows);
    float* const floats = floats_in_place_ ? const_cast<float*>(floats_in_place_) : reinterpret_cast<float*>(base + layout.floats);
    return {reinterpret_cast<Q8Group*>(base), floats, reinterpret_cast<float*>(base + layout.row_scalars)};
  }

  void lay_out(std::int64_t rows) {
    if (dtype_ == DType::f32) floats_in_place_ = reinterpret_cast<const float*>(prologue_.buffer_of(activation_));
    shared_bytes = layout_of(rows).end;
    // Scratch of a member: one row, accumulators, programs.
    std::size_t accumulators = 0, program = prologue_.scratch_bytes();
    for (const Part& part : parts_) {
      accumulators = std::max(accumulators, part.segments.size() * std::size_t(rows * padded(part.columns)) * sizeof(float));
      program = std::max(program, part.epilogue.scratch_bytes());
    }
    accumulators_ = layout_of(1).end;
    blocks_ = accumulators_ + round_up(accumulators);
    program_ = blocks_ + row_blocks_;
    scratch_bytes = program_ + round_up(program);
  }

  /// Contiguous runs of items of about equal weight bytes.
  void share_out(int threads) {
    std::vector<std::int64_t> cost{0};
    for (const Item& item : items_) {
      std::int64_t bytes = 0;
      for (const Segment& segment : parts_[item.part].segments) bytes += segment.row_bytes * item.columns;
      cost.push_back(cost.back() + bytes);
    }
    for (int member = 0; member <= threads; ++member) {
      const std::int64_t until = cost.back() / threads * member + cost.back() % threads * member / threads;
      starts_.push_back(std::ranges::lower_bound(cost, until) - cost.begin());
    }
    work_ = WorkRanges(starts_);
  }

  const std::byte* weights_of(const Segment& segment, const Item& item) const {
    if (segment.panels) return segment.data + item.column / plan::panel_rows * plan::panel_bytes(segment.dtype, k_);
    return segment.data + item.column * segment.row_bytes;
  }

  void prepare_row(std::int64_t row, const Rows& rows, const Team& team) const {
    std::byte* const scratch = team.scratch + program_;
    if (floats_in_place_ && !prologue_.has_stores() && row_scalars_.empty()) return;
    prologue_.run({row, 0, k_, {}, nullptr}, scratch);
    const std::byte* const value = prologue_.value(scratch, activation_);
    if (wants_integers_) unpack_q8_1(value, k_, rows.integers + row, q8_rows(team.rows));
    if (wants_floats_ && !floats_in_place_) info(dtype_).dequantize(value, rows.floats + row * k_, k_ / info(dtype_).elements);
    for (std::size_t i = 0; i < row_scalars_.size(); ++i)
      std::memcpy(rows.row_scalars + std::size_t(row) * row_scalars_.size() + i, prologue_.value(scratch, row_scalars_[i]), sizeof(float));
  }

  /// Accumulators of a row and segment stand this far apart: whole panels are stored.
  static std::int64_t padded(std::int64_t columns) { return (columns + plan::panel_rows - 1) / plan::panel_rows * plan::panel_rows; }

  void multiply(const Segment& segment, const Item& item, const Rows& rows, const Team& team, float* out) const {
    const std::int64_t stride = padded(item.columns);
    const std::byte* const weights = weights_of(segment, item);
    if (segment.integer)
      return dot_panels(segment.dtype, weights, stride / plan::panel_rows, k_, rows.integers, q8_rows(team.rows), team.rows, out, stride);
    if (!segment.panels) return dot_f32(segment.dtype, weights, item.columns, k_, rows.floats, k_, team.rows, out, stride);
    // Panels with an activation they were not made for: slow and right.
    for (std::int64_t c = 0; c < item.columns; ++c) {
      plan::row_from_panels(segment.dtype, segment.data, item.column + c, k_, team.scratch + blocks_);
      dot_f32(segment.dtype, team.scratch + blocks_, 1, k_, rows.floats, k_, team.rows, out + c, stride);
    }
  }

  void compute(const Item& item, const Rows& rows, const Team& team) const {
    const Part& part = parts_[item.part];
    auto* const accumulators = reinterpret_cast<float*>(team.scratch + accumulators_);
    const std::int64_t stride = padded(item.columns), per_segment = team.rows * stride;
    for (std::size_t s = 0; s < part.segments.size(); ++s)
      multiply(part.segments[s], item, rows, team, accumulators + std::int64_t(s) * per_segment);
    std::array<const float*, most_segments> loops;
    for (std::int64_t row = 0; row < team.rows; ++row) {
      for (std::size_t s = 0; s < part.segments.size(); ++s) loops[s] = accumulators + std::int64_t(s) * per_segment + row * stride;
      const float* const row_scalars = rows.row_scalars + std::size_t(row) * row_scalars_.size();
      part.epilogue.run({row, item.column, item.columns, std::span(loops).first(part.segments.size()), row_scalars},
                        team.scratch + program_);
    }
  }

  std::int64_t k_;
  unsigned activation_;
  DType dtype_;
  std::vector<unsigned> row_scalars_;
  Program prologue_;
  std::vector<Part> parts_;
  std::vector<Item> items_;
  std::vector<std::int64_t> starts_;  // of every member's items, and the end
  WorkRanges work_;
  bool wants_integers_ = false, wants_floats_ = false;
  const float* floats_in_place_ = nullptr;
  std::size_t row_blocks_ = 0;                               // bytes of a row taken out of panels
  std::size_t accumulators_ = 0, blocks_ = 0, program_ = 0;  // offsets in a member's scratch
};

}  // namespace

std::unique_ptr<Kernel> make_gemm(const Binding& binding) { return std::make_unique<Gemm>(binding); }

}  // namespace heddle::runtime::cpu
