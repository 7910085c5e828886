// Matrix products over one activation, with programs before and after.
//   1. prologue: every row's program; its result becomes rows for the integer or the float products. With one row every member does it
//      for itself, which is cheaper than waiting; with more the rows are shared out.
//   2. work items: granules of the parts' columns; a column's result does not depend on the cut. For each the accumulators of all segments
//      and rows (a weight is read from memory once), then the epilogue row by row.
// Weights in panels are multiplied with integers where the activation is q8_1; everything else with floats, those of 16 bits in the
// processor's matrix unit if it has one and the step has rows for it.
// With experts, an item's columns are those of one expert, and its work is the products of every row with each expert that it chose: in the
// order of the experts, so that a weight is read once for all rows that chose it.
#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>

#include "runtime/cpu/dot/dot.h"
#include "runtime/cpu/rows/program.h"
#include "runtime/cpu/dot/amx_tiles.h"
#include "runtime/cpu/work_ranges.h"
#include "runtime/plan/panels.h"

namespace heddle::runtime::cpu {
namespace {

/// Values of the prologue that the epilogues read.
std::vector<unsigned> row_scalars_of(const plan::KernelSpec& spec) {
  std::vector<unsigned> numbers;
  for (const auto& part : spec.parts)
    for (const auto& input : part.epilogue.inputs)
      if (input.kind == plan::InputKind::row_scalar && std::ranges::find(numbers, input.index) == numbers.end())
        numbers.push_back(input.index);
  return numbers;
}

constexpr std::size_t most_segments = 16;  // of a part

class Gemm : public Kernel {
 public:
  explicit Gemm(const Binding& binding)
      : k_(binding.spec.gemm()->k),
        activation_(binding.spec.gemm()->activation),
        dtype_(binding.spec.gemm()->activations),
        chosen_(binding.spec.gemm()->chosen),
        slices_(binding.spec.gemm()->gates >= 0 ? chosen_ : 1),
        row_scalars_(row_scalars_of(binding.spec)),
        prologue_(binding.spec.gemm()->prologue, k_ * slices_, k_ * slices_, binding, kept(), {}) {
    const auto data_of = [&](int arg) { return arg < 0 ? nullptr : binding.args[std::size_t(arg)].data; };
    experts_ = reinterpret_cast<const std::int32_t*>(data_of(binding.spec.gemm()->experts));
    gates_ = reinterpret_cast<const float*>(data_of(binding.spec.gemm()->gates));
    for (const auto& part : binding.spec.parts) add_part(part, binding);
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
    if (experts_) sort_pairs(team);
    for (std::int64_t i; (i = work_.take(team.member, team.step)) >= 0;) {
      const Item& item = items_[std::size_t(i)];
      experts_ ? compute_experts(item, rows, team) : compute(item, rows, team);
    }
  }

 private:
  struct Segment {
    DType dtype;
    const std::byte* data;
    std::int64_t row_bytes;
    bool panels;
    bool integer;  // panels times q8_1
    bool tiles;    // in steps of many rows
  };
  struct Part {
    std::vector<Segment> segments;
    Program epilogue;
    std::int64_t columns;  // of an item
    std::int64_t n = 0;    // of an expert
  };
  struct Item {
    std::size_t part;
    std::int64_t column, columns;
  };
  /// Activation rows made ready: for the integer products, for the float products, for those of the matrix unit, and the values that
  /// epilogues read. A row in slices counts as so many rows of k.
  struct Rows {
    Q8Group* integers;   // [groups, rows * slices]
    float* floats;       // [rows * slices, k]
    std::byte* split;    // see split_row; null in steps of few rows
    float* row_scalars;  // [rows, row_scalars_.size()]
  };
  struct Layout {  // of Rows in memory, in bytes
    std::size_t floats, split, row_scalars, end;
  };

  std::vector<unsigned> kept() const {
    std::vector<unsigned> numbers = row_scalars_;
    numbers.push_back(activation_);
    return numbers;
  }

  void add_part(const plan::Part& part, const Binding& binding) {
    // Enough items to share out evenly, large enough that programs cost little beside the products.
    const std::int64_t items = std::max(8, 4 * binding.threads), n = experts_ && !gates_ ? part.n / chosen_ : part.n;
    const auto takes_tiles = [&](const Argument& weight) { return !experts_ && !weight.panels && has_dot_tiles(weight.dtype, n, k_); };
    const bool tiled = std::ranges::any_of(part.segments, [&](const auto& segment) { return takes_tiles(binding.args[segment.weight]); });
    const std::int64_t most = experts_ ? 64 : 256;  // a sum for each expert
    const std::int64_t wanted = std::max(std::clamp<std::int64_t>(n / items, 16, most), n / (WorkRanges::most_items / 16));
    const bool panels = std::ranges::any_of(part.segments, [&](const auto& segment) { return binding.args[segment.weight].panels; });
    const std::int64_t granule = panels || tiled ? std::lcm(part.granule, plan::panel_rows) : part.granule;
    const std::int64_t columns = std::min(n, (wanted + granule - 1) / granule * granule);
    HEDDLE_CHECK(part.segments.size() <= most_segments, "{} products in a part", part.segments.size());
    Part out{{}, Program(part.epilogue, part.n, columns, binding, {}, row_scalars_), columns};
    for (const auto& segment : part.segments) {
      const Argument& weight = binding.args[segment.weight];
      const bool integer = dtype_ == DType::q8_1 && weight.panels;
      out.segments.push_back({weight.dtype, weight.data, bytes_of(weight.dtype, k_), weight.panels, integer, takes_tiles(weight)});
      if (takes_tiles(weight)) tile_bytes_ = std::max(tile_bytes_, dot_tiles_scratch_bytes(weight.dtype, columns, k_)), wants_tiles_ = true;
      if (weight.panels && !integer) row_blocks_ = std::max(row_blocks_, round_up(std::size_t(bytes_of(weight.dtype, k_))));
      (integer ? wants_integers_ : wants_floats_) = true;
    }
    for (std::int64_t column = 0; column < n; column += columns) items_.push_back({parts_.size(), column, std::min(columns, n - column)});
    if (experts_) {
      HEDDLE_CHECK(n % part.granule == 0 && columns % part.granule == 0, "granules of {} in experts of {} columns", part.granule, n);
      HEDDLE_CHECK(!panels || n % plan::panel_rows == 0, "panels of experts of {} columns", n);
    }
    out.n = n;
    parts_.push_back(std::move(out));
  }

  Layout layout_of(std::int64_t step_rows) const {
    const std::int64_t rows = step_rows * slices_;
    const auto bytes = [&](bool wanted, std::size_t per_row) { return wanted ? round_up(std::size_t(rows) * per_row) : 0; };
    Layout layout;
    layout.floats = wants_integers_ ? round_up(std::size_t(q8_rows(rows) * q8_groups(k_)) * sizeof(Q8Group)) : 0;
    layout.split = layout.floats + bytes(wants_floats_ && !floats_in_place_, std::size_t(k_) * sizeof(float));
    layout.row_scalars = layout.split + (in_tiles(step_rows) ? split_bytes(rows, k_) : 0);
    layout.end = layout.row_scalars + round_up(std::size_t(step_rows) * row_scalars_.size() * sizeof(float));
    return layout;
  }
  Rows rows_at(std::byte* base, std::int64_t rows) const {
    const Layout layout = layout_of(rows);
    float* const floats = floats_in_place_ ? const_cast<float*>(floats_in_place_) : reinterpret_cast<float*>(base + layout.floats);
    return {reinterpret_cast<Q8Group*>(base), floats, in_tiles(rows) ? base + layout.split : nullptr,
            reinterpret_cast<float*>(base + layout.row_scalars)};
  }
  bool in_tiles(std::int64_t step_rows) const { return wants_tiles_ && step_rows >= tiles::least_rows; }
  /// Rows that sums have room for: the matrix unit writes 16 at a time.
  std::int64_t sum_rows(std::int64_t step_rows) const { return in_tiles(step_rows) ? (step_rows + 15) / 16 * 16 : step_rows; }

  void lay_out(std::int64_t rows) {
    if (dtype_ == DType::f32) floats_in_place_ = reinterpret_cast<const float*>(prologue_.buffer_of(activation_));
    shared_bytes = layout_of(rows).end;
    // Scratch of a member: one row, accumulators, programs.
    std::size_t accumulators = 0, program = prologue_.scratch_bytes();
    for (const Part& part : parts_) {
      accumulators =
          std::max(accumulators, part.segments.size() * std::size_t(sum_rows(rows) * chosen_ * padded(part.columns)) * sizeof(float));
      program = std::max(program, part.epilogue.scratch_bytes());
    }
    accumulators_ = layout_of(1).end;
    blocks_ = accumulators_ + round_up(accumulators);
    tiles_ = blocks_ + row_blocks_;
    program_ = tiles_ + (in_tiles(rows) ? tile_bytes_ : 0);
    pairs_ = program_ + round_up(program);
    gathered_ = pairs_ + (experts_ ? round_up(2 * std::size_t(rows * chosen_) * sizeof(std::int32_t)) : 0);
    gathered_floats_ =
        gathered_ + (experts_ && wants_integers_ ? std::size_t(q8_rows(most_gathered) * q8_groups(k_)) * sizeof(Q8Group) : 0);
    scratch_bytes = gathered_floats_ + (experts_ && wants_floats_ ? round_up(std::size_t(most_gathered * k_) * sizeof(float)) : 0);
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

  const std::byte* weights_of(const Segment& segment, std::int64_t row) const {
    if (segment.panels) return segment.data + row / plan::panel_rows * plan::panel_bytes(segment.dtype, k_);
    return segment.data + row * segment.row_bytes;
  }

  void prepare_row(std::int64_t row, const Rows& rows, const Team& team) const {
    std::byte* const scratch = team.scratch + program_;
    const auto split = [&] {
      if (rows.split) split_row(rows.floats + row * k_, k_, row, rows.split);
    };
    if (floats_in_place_ && !prologue_.has_stores() && row_scalars_.empty()) return split();
    prologue_.run({row, 0, k_ * slices_, {}, nullptr}, scratch);
    const std::byte* value = prologue_.value(scratch, activation_);
    for (std::int64_t i = row * slices_; i < (row + 1) * slices_; ++i, value += bytes_of(dtype_, k_)) {
      if (wants_integers_) unpack_q8_1(value, k_, rows.integers + i, q8_rows(team.rows * slices_));
      if (wants_floats_ && !floats_in_place_) info(dtype_).dequantize(value, rows.floats + i * k_, k_ / info(dtype_).elements);
    }
    split();
    for (std::size_t i = 0; i < row_scalars_.size(); ++i)
      std::memcpy(rows.row_scalars + std::size_t(row) * row_scalars_.size() + i, prologue_.value(scratch, row_scalars_[i]), sizeof(float));
  }

  /// Accumulators of a row and segment stand this far apart: whole panels are stored.
  static std::int64_t padded(std::int64_t columns) { return (columns + plan::panel_rows - 1) / plan::panel_rows * plan::panel_rows; }

  /// Weight rows [first, first + columns) with `count` activation rows.
  void multiply(const Segment& segment, std::int64_t first, std::int64_t columns, const Q8Group* integers, std::int64_t integer_stride,
                const float* floats, std::int64_t count, const Team& team, float* out) const {
    const std::int64_t stride = padded(columns);
    const std::byte* const weights = weights_of(segment, first);
    if (segment.integer)
      return dot_panels(segment.dtype, weights, stride / plan::panel_rows, k_, integers, integer_stride, count, out, stride);
    if (!segment.panels) return dot_f32(segment.dtype, weights, columns, k_, floats, k_, count, out, stride);
    // Panels with an activation they were not made for: slow and right.
    for (std::int64_t c = 0; c < columns; ++c) {
      plan::row_from_panels(segment.dtype, segment.data, first + c, k_, team.scratch + blocks_);
      dot_f32(segment.dtype, team.scratch + blocks_, 1, k_, floats, k_, count, out + c, stride);
    }
  }

  void compute(const Item& item, const Rows& rows, const Team& team) const {
    const Part& part = parts_[item.part];
    auto* const accumulators = reinterpret_cast<float*>(team.scratch + accumulators_);
    const std::int64_t stride = padded(item.columns), per_segment = sum_rows(team.rows) * stride;
    for (std::size_t s = 0; s < part.segments.size(); ++s) {
      const Segment& segment = part.segments[s];
      float* const sums = accumulators + std::int64_t(s) * per_segment;
      if (rows.split && segment.tiles)
        dot_tiles(segment.dtype, weights_of(segment, item.column), item.columns, k_, rows.split, team.rows, team.scratch + tiles_, sums,
                  stride);
      else multiply(segment, item.column, item.columns, rows.integers, q8_rows(team.rows), rows.floats, team.rows, team, sums);
    }
    std::array<const float*, most_segments> loops;
    for (std::int64_t row = 0; row < team.rows; ++row) {
      for (std::size_t s = 0; s < part.segments.size(); ++s) loops[s] = accumulators + std::int64_t(s) * per_segment + row * stride;
      const float* const row_scalars = rows.row_scalars + std::size_t(row) * row_scalars_.size();
      part.epilogue.run({row, item.column, item.columns, std::span(loops).first(part.segments.size()), row_scalars},
                        team.scratch + program_);
    }
  }

  // ---- Experts

  /// Pairs of a row and an expert it chose, number row * chosen + place, in the order of the experts.
  std::int32_t* pairs(const Team& team) const { return reinterpret_cast<std::int32_t*>(team.scratch + pairs_); }

  void sort_pairs(const Team& team) const {
    std::int32_t* const begin = pairs(team);
    std::int32_t* const end = begin + team.rows * chosen_;
    std::iota(begin, end, 0);
    std::stable_sort(begin, end, [&](std::int32_t a, std::int32_t b) { return experts_[a] < experts_[b]; });
  }

  /// The activation rows of pairs that chose one expert, side by side.
  struct Gathered {
    Q8Group* integers;
    float* floats;
  };
  Gathered gather(std::span<const std::int32_t> of, const Rows& rows, const Team& team) const {
    const auto row_of = [&](std::int32_t pair) { return gates_ ? pair : pair / std::int32_t(chosen_); };
    const std::int64_t from_stride = q8_rows(team.rows * slices_), to_stride = q8_rows(std::int64_t(of.size()));
    const Gathered to{reinterpret_cast<Q8Group*>(team.scratch + gathered_), reinterpret_cast<float*>(team.scratch + gathered_floats_)};
    for (std::size_t i = 0; i < of.size(); ++i) {
      const std::int64_t row = row_of(of[i]);
      for (std::int64_t g = 0; wants_integers_ && g < q8_groups(k_); ++g)
        to.integers[g * to_stride + std::int64_t(i)] = rows.integers[g * from_stride + row];
      if (wants_floats_) std::memcpy(to.floats + std::int64_t(i) * k_, rows.floats + row * k_, std::size_t(k_) * sizeof(float));
    }
    return to;
  }

  void compute_experts(const Item& item, const Rows& rows, const Team& team) const {
    const Part& part = parts_[item.part];
    auto* const accumulators = reinterpret_cast<float*>(team.scratch + accumulators_);
    const std::int64_t stride = padded(item.columns), count = team.rows * chosen_, per_segment = count * stride;
    const std::int32_t* const all = pairs(team);
    // Sums lie in the order of the pairs.
    for (std::int64_t begin = 0, end; begin < count; begin = end) {
      const std::int32_t expert = experts_[all[begin]];
      for (end = begin + 1; end < count && end - begin < most_gathered && experts_[all[end]] == expert; ++end) {
      }
      const Gathered x = gather({all + begin, std::size_t(end - begin)}, rows, team);
      for (std::size_t s = 0; s < part.segments.size(); ++s)
        multiply(part.segments[s], expert * part.n + item.column, item.columns, x.integers, q8_rows(end - begin), x.floats, end - begin,
                 team, accumulators + std::int64_t(s) * per_segment + begin * stride);
    }
    gates_ ? finish_mixed(part, item, rows, team) : finish_apart(part, item, rows, team);
  }

  /// Every expert's columns have a place of their own.
  void finish_apart(const Part& part, const Item& item, const Rows& rows, const Team& team) const {
    const auto* const accumulators = reinterpret_cast<const float*>(team.scratch + accumulators_);
    const std::int64_t stride = padded(item.columns), count = team.rows * chosen_;
    std::array<const float*, most_segments> loops;
    for (std::int64_t i = 0; i < count; ++i) {
      const std::int64_t pair = pairs(team)[i], row = pair / chosen_;
      for (std::size_t s = 0; s < part.segments.size(); ++s) loops[s] = accumulators + (std::int64_t(s) * count + i) * stride;
      part.epilogue.run({row, pair % chosen_ * part.n + item.column, item.columns, std::span(loops).first(part.segments.size()),
                         rows.row_scalars + std::size_t(row) * row_scalars_.size()},
                        team.scratch + program_);
    }
  }

  /// The experts' columns are added, in the order in which a row chose them.
  void finish_mixed(const Part& part, const Item& item, const Rows& rows, const Team& team) const {
    auto* const accumulators = reinterpret_cast<float*>(team.scratch + accumulators_);
    const std::int64_t stride = padded(item.columns), count = team.rows * chosen_;
    std::int32_t* const place = pairs(team) + count;  // of a pair among the sums
    for (std::int64_t i = 0; i < count; ++i) place[pairs(team)[i]] = std::int32_t(i);
    std::array<const float*, most_segments> loops;
    for (std::int64_t row = 0; row < team.rows; ++row) {
      for (std::size_t s = 0; s < part.segments.size(); ++s) {
        const auto sum_of = [&](std::int64_t j) { return accumulators + (std::int64_t(s) * count + place[row * chosen_ + j]) * stride; };
        float* const sum = sum_of(0);
        for (std::int64_t c = 0; c < item.columns; ++c) sum[c] *= gates_[row * chosen_];
        for (std::int64_t j = 1; j < chosen_; ++j)
          for (std::int64_t c = 0; c < item.columns; ++c) sum[c] += gates_[row * chosen_ + j] * sum_of(j)[c];
        loops[s] = sum;
      }
      part.epilogue.run({row, item.column, item.columns, std::span(loops).first(part.segments.size()),
                         rows.row_scalars + std::size_t(row) * row_scalars_.size()},
                        team.scratch + program_);
    }
  }

  static constexpr std::int64_t most_gathered = 16;

  std::int64_t k_;
  unsigned activation_;
  DType dtype_;
  std::int64_t chosen_, slices_;           // experts of a row; slices of its activation, one for each, or 1
  const std::int32_t* experts_ = nullptr;  // [rows, chosen], or null
  const float* gates_ = nullptr;           // [rows, chosen], or null
  std::vector<unsigned> row_scalars_;
  Program prologue_;
  std::vector<Part> parts_;
  std::vector<Item> items_;
  std::vector<std::int64_t> starts_;  // of every member's items, and the end
  WorkRanges work_;
  bool wants_integers_ = false, wants_floats_ = false, wants_tiles_ = false;
  const float* floats_in_place_ = nullptr;
  std::size_t row_blocks_ = 0, tile_bytes_ = 0;  // bytes of a row taken out of panels, of an item's weights in tiles
  std::size_t accumulators_ = 0, blocks_ = 0, tiles_ = 0, program_ = 0, pairs_ = 0, gathered_ = 0,
              gathered_floats_ = 0;  // offsets in a member's scratch
};

}  // namespace

std::unique_ptr<Kernel> make_gemm(const Binding& binding) { return std::make_unique<Gemm>(binding); }

}  // namespace heddle::runtime::cpu
