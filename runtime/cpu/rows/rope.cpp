#include "runtime/cpu/rows/rope.h"

#include <algorithm>
#include <cmath>

namespace heddle::runtime::cpu {

RopeTable::RopeTable(double theta, std::int64_t dims, std::span<const float> factors)
    : theta_(theta), factors_(factors.begin(), factors.end()), frequencies_(std::size_t(dims / 2)) {
  for (std::size_t i = 0; i < frequencies_.size(); ++i) {
    frequencies_[i] = std::pow(theta, -2.0 * double(i) / double(dims));
    if (!factors_.empty()) frequencies_[i] /= double(factors_[i]);
  }
}

bool RopeTable::is_for(double theta, std::int64_t dims, std::span<const float> factors) const {
  return theta_ == theta && this->dims() == dims && std::ranges::equal(factors_, factors);
}

void RopeTable::grow(std::int64_t positions) {
  if (positions <= positions_) return;
  const std::size_t half = frequencies_.size();
  values_.resize(std::size_t(positions) * 2 * half);
  for (; positions_ < positions; ++positions_) {
    float* row = values_.data() + std::size_t(positions_) * 2 * half;
    for (std::size_t i = 0; i < half; ++i) {
      const double angle = double(positions_) * frequencies_[i];
      row[i] = float(std::cos(angle));
      row[half + i] = float(std::sin(angle));
    }
  }
}

const RopeTable* RopeTables::get(double theta, std::int64_t dims, std::span<const float> factors) {
  for (const auto& table : tables_)
    if (table->is_for(theta, dims, factors)) return table.get();
  return tables_.emplace_back(std::make_unique<RopeTable>(theta, dims, factors)).get();
}

void RopeTables::grow(std::int64_t positions) {
  for (const auto& table : tables_) table->grow(positions);
}

}  // namespace heddle::runtime::cpu
