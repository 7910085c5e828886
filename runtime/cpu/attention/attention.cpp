// Attention over the cache, in one of two ways by the rows of the step.
//   A few rows: single rows. Work is shared out by row and key head; while that gives too few pieces for the team, as in a decode step,
//   also by passes over the context, whose sums are joined after a barrier. Joining is in the order of the context either way.
//   Many rows, as in a prompt: tiles of neighbouring rows of one slot, which read every key and value together.
#include "runtime/cpu/attention/attention_run.h"

#include <algorithm>
#include <array>

#include "runtime/cpu/rows/program.h"

namespace heddle::runtime::cpu {
namespace {

class Attention : public Kernel {
 public:
  explicit Attention(const Binding& binding)
      : loop_(*binding.spec.attention()),
        group_(loop_.heads / loop_.kv_heads),
        rows_(binding.spec.rows),
        queries_(reinterpret_cast<const float*>(binding.args[loop_.q].data)),
        slots_(reinterpret_cast<const std::int32_t*>(binding.args[std::size_t(binding.spec.slots_arg)].data)),
        positions_(reinterpret_cast<const std::int32_t*>(binding.args[std::size_t(binding.spec.positions_arg)].data)),
        dtype_(binding.args[loop_.kv].dtype),
        keys_(binding.args[loop_.kv].data),
        values_(keys_ + binding.plane_bytes(binding.args[loop_.kv])),
        capacity_(binding.capacity),
        passes_((binding.capacity + attention_pass - 1) / attention_pass),
        epilogue_(binding.spec.parts[0].epilogue, binding.spec.parts[0].n, loop_.head_dim, binding) {
    // A pass's working memory, sums of two passes, the program.
    sums_ = round_up(std::size_t(attention_scratch_floats(group_)) * sizeof(float));
    program_ = sums_ + 2 * round_up(std::size_t(group_ * sum_floats()) * sizeof(float));
    scratch_bytes = program_ + round_up(epilogue_.scratch_bytes());
    if (tiled()) {
      sums_ = round_up(std::size_t(attention_tile_scratch_floats(loop_.head_dim)) * sizeof(float));
      program_ = sums_ + round_up(std::size_t(attention_lanes * loop_.head_dim) * sizeof(float));
      scratch_bytes = program_ + round_up(epilogue_.scratch_bytes());
      return;
    }
    // Rows that can be few enough to split their context.
    const std::int64_t rows = std::min(binding.spec.rows, (pieces_wanted(binding.threads) - 1) / loop_.kv_heads);
    if (binding.threads > 1 && passes_ > 1)
      shared_bytes = round_up(std::size_t(rows * loop_.heads * passes_ * sum_floats()) * sizeof(float));
  }

  void run(const Team& team) const override {
    if (tiled()) return run_tiles(team);
    std::int64_t passes = 0;  // of the longest row
    for (std::int64_t row = 0; row < team.rows; ++row) passes = std::max(passes, range_of(row).passes());
    const std::int64_t pieces = team.rows * loop_.kv_heads;
    if (passes <= 1 || pieces % team.size == 0 || pieces >= pieces_wanted(team.size)) {
      run_whole(team);
    } else {
      run_split(team, passes);
    }
  }

 private:
  struct Range {
    std::int64_t begin, end;  // positions that a row attends to
    std::int64_t passes() const { return (end - begin + attention_pass - 1) / attention_pass; }
  };
  static std::int64_t pieces_wanted(int threads) { return 4 * std::int64_t(threads); }
  /// head_dim values, then what PartialSum holds beside them.
  std::int64_t sum_floats() const { return loop_.head_dim + 2; }

  Range range_of(std::int64_t row) const {
    if (slots_[row] < 0) return {0, 0};
    const std::int64_t end = std::int64_t(positions_[row]) + 1;
    return {loop_.window > 0 ? std::max<std::int64_t>(0, end - loop_.window) : 0, end};
  }

  /// Pass `index` of the query heads of key head `kv_head`. The sums' values must have their places.
  void run_pass(std::int64_t row, std::int64_t kv_head, std::int64_t index, const Team& team, PartialSum* sums) const {
    const Range range = range_of(row);
    const std::int64_t first = ((slots_[row] * loop_.kv_heads + kv_head) * capacity_) * loop_.head_dim * info(dtype_).bytes;
    const std::int64_t begin = range.begin + index * attention_pass;
    const AttentionPass pass{queries_ + (row * loop_.heads + kv_head * group_) * loop_.head_dim,
                             keys_ + first,
                             values_ + first,
                             dtype_,
                             group_,
                             loop_.head_dim,
                             begin,
                             std::min(begin + attention_pass, range.end),
                             float(loop_.scale),
                             float(loop_.softcap)};
    run_attention_pass(pass, reinterpret_cast<float*>(team.scratch), sums);
  }

  /// Divides by the weights and runs the epilogue of one head.
  void finish(std::int64_t row, std::int64_t head, const PartialSum& sum, const Team& team) const {
    const float factor = sum.weight == 0 ? 0 : 1 / sum.weight;  // zero: an idle row
    for (std::int64_t i = 0; i < loop_.head_dim; ++i) sum.values[i] *= factor;
    const std::array<const float*, 1> loops{sum.values};
    epilogue_.run({row, head * loop_.head_dim, loop_.head_dim, loops, nullptr}, team.scratch + program_);
  }

  void run_whole(const Team& team) const {
    std::vector<PartialSum> sums(group_), more(group_);
    auto* const values = reinterpret_cast<float*>(team.scratch + sums_);
    for (std::int64_t h = 0; h < group_; ++h) {
      sums[h].values = values + h * loop_.head_dim;
      more[h].values = values + (group_ + h) * loop_.head_dim;
    }
    const Share share = share_of(team.rows * loop_.kv_heads, team.member, team.size);
    for (std::int64_t piece = share.begin; piece < share.end; ++piece) {
      const std::int64_t row = piece % team.rows, kv_head = piece / team.rows, passes = range_of(row).passes();
      if (passes == 0) {
        for (PartialSum& sum : sums) sum.weight = 0, std::fill_n(sum.values, loop_.head_dim, 0.0f);
      } else {
        run_pass(row, kv_head, 0, team, sums.data());
      }
      for (std::int64_t index = 1; index < passes; ++index) {
        run_pass(row, kv_head, index, team, more.data());
        for (std::int64_t h = 0; h < group_; ++h) join(sums[h], more[h], loop_.head_dim);
      }
      for (std::int64_t h = 0; h < group_; ++h) finish(row, kv_head * group_ + h, sums[h], team);
    }
  }

  /// By the step's kind, not by the rows of this one that are in use.
  bool tiled() const { return rows_ >= 8 && group_ <= attention_lanes; }

  /// Tiles of up to attention_lanes / group_ rows; a tile ends where the slot changes.
  void run_tiles(const Team& team) const {
    auto* const values = reinterpret_cast<float*>(team.scratch + sums_);
    const std::int64_t most = attention_lanes / group_;
    std::int64_t piece = 0;
    for (std::int64_t row = 0, count; row < team.rows; row += count) {
      for (count = 1; count < most && row + count < team.rows && slots_[row + count] == slots_[row];) ++count;
      for (std::int64_t kv_head = 0; kv_head < loop_.kv_heads; ++kv_head, ++piece)
        if (piece % team.size == team.member) run_tile(row, count, kv_head, team, values);  // later tiles are longer: deal them out
    }
  }

  void run_tile(std::int64_t row, std::int64_t rows, std::int64_t kv_head, const Team& team, float* values) const {
    const std::int64_t lanes = rows * group_, head_dim = loop_.head_dim;
    if (slots_[row] < 0) {
      std::fill_n(values, lanes * head_dim, 0.0f);
    } else {
      const std::int64_t first = ((slots_[row] * loop_.kv_heads + kv_head) * capacity_) * head_dim * info(dtype_).bytes;
      AttentionTile tile{{}, {}, {}, lanes, keys_ + first, values_ + first, dtype_, head_dim, float(loop_.scale), float(loop_.softcap)};
      for (std::int64_t lane = 0; lane < lanes; ++lane) {
        const std::int64_t r = row + lane / group_, head = kv_head * group_ + lane % group_;
        tile.queries[lane] = queries_ + (r * loop_.heads + head) * head_dim;
        tile.begin[lane] = std::int32_t(range_of(r).begin), tile.end[lane] = std::int32_t(range_of(r).end);
      }
      run_attention_tile(tile, reinterpret_cast<float*>(team.scratch), values);
    }
    for (std::int64_t lane = 0; lane < lanes; ++lane) {
      const std::array<const float*, 1> loops{values + lane * head_dim};
      const std::int64_t head = kv_head * group_ + lane % group_;
      epilogue_.run({row + lane / group_, head * head_dim, head_dim, loops, nullptr}, team.scratch + program_);
    }
  }

  /// Sums of passes lie in shared memory: [row, pass, head], head_dim values with largest and weight behind them.
  void run_split(const Team& team, std::int64_t passes) const {
    auto* const shared = reinterpret_cast<float*>(team.shared);
    const auto place = [&](std::int64_t row, std::int64_t index, std::int64_t head) {
      return shared + ((row * passes + index) * loop_.heads + head) * sum_floats();
    };
    std::vector<PartialSum> sums(group_);
    const Share share = share_of(team.rows * loop_.kv_heads * passes, team.member, team.size);
    for (std::int64_t piece = share.begin; piece < share.end; ++piece) {
      const std::int64_t index = piece % passes, kv_head = piece / passes % loop_.kv_heads, row = piece / passes / loop_.kv_heads;
      if (index >= range_of(row).passes()) continue;
      for (std::int64_t h = 0; h < group_; ++h) sums[h].values = place(row, index, kv_head * group_ + h);
      run_pass(row, kv_head, index, team, sums.data());
      for (const PartialSum& sum : sums) sum.values[loop_.head_dim] = sum.largest, sum.values[loop_.head_dim + 1] = sum.weight;
    }
    team.pool.barrier();
    const Share heads = share_of(team.rows * loop_.heads, team.member, team.size);
    for (std::int64_t piece = heads.begin; piece < heads.end; ++piece) {
      const std::int64_t row = piece / loop_.heads, head = piece % loop_.heads, count = range_of(row).passes();
      const auto sum_at = [&](std::int64_t index) {
        float* const values = place(row, index, head);
        return PartialSum{values, values[loop_.head_dim], values[loop_.head_dim + 1]};
      };
      PartialSum sum;
      if (count == 0) {
        sum = {place(row, 0, head), 0, 0};
        std::fill_n(sum.values, loop_.head_dim, 0.0f);
      } else {
        sum = sum_at(0);
      }
      for (std::int64_t index = 1; index < count; ++index) join(sum, sum_at(index), loop_.head_dim);
      finish(row, head, sum, team);
    }
  }

  plan::Attention loop_;
  std::int64_t group_;  // query heads that read one key head
  std::int64_t rows_;   // of a full step
  const float* queries_;
  const std::int32_t* slots_;
  const std::int32_t* positions_;
  DType dtype_;
  const std::byte* keys_;
  const std::byte* values_;
  std::int64_t capacity_;
  std::int64_t passes_;  // over a full cache
  Program epilogue_;
  std::size_t sums_, program_;  // offsets in a member's scratch
};

}  // namespace

std::unique_ptr<Kernel> make_attention(const Binding& binding) { return std::make_unique<Attention>(binding); }

}  // namespace heddle::runtime::cpu
