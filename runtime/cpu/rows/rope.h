#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace heddle::runtime::cpu {

/// Cosines and sines of one rotary embedding, position by position. Angles are computed in double: at position 2000 a float angle is
/// wrong by 1e-4.
class RopeTable {
 public:
  RopeTable(double theta, std::int64_t dims, std::span<const float> factors);
  bool is_for(double theta, std::int64_t dims, std::span<const float> factors) const;
  std::int64_t dims() const { return 2 * std::int64_t(frequencies_.size()); }

  /// Makes `row` valid for positions below `positions`. Moves the rows: not while anything runs.
  void grow(std::int64_t positions);
  /// dims / 2 cosines, then dims / 2 sines.
  const float* row(std::int64_t position) const { return values_.data() + position * dims(); }

 private:
  double theta_;
  std::vector<float> factors_;       // empty: ones
  std::vector<double> frequencies_;  // [dims / 2], angle per position
  std::vector<float> values_;
  std::int64_t positions_ = 0;
};

/// The tables of a plan: one for each distinct theta, dims and factors.
class RopeTables {
 public:
  const RopeTable* get(double theta, std::int64_t dims, std::span<const float> factors);
  void grow(std::int64_t positions);

 private:
  std::vector<std::unique_ptr<RopeTable>> tables_;
};

}  // namespace heddle::runtime::cpu
