#include "tools/verify/verify_tolerance.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace heddle::tools {
namespace {

constexpr Tolerance table[] = {
    {DType::f32, 1e-4, "sums in float32 in another order than the interpreter's, which are in double; functions to some 1e-6"},
    {DType::f16, 1.1e-3, "one unit in the last place, 2^-10, where float32's error turns the rounding"},
    {DType::bf16, 8.8e-3, "one unit in the last place, 2^-7, likewise"},
    {DType::q8_1, 8.8e-3, "one step of 127, and the rounding of the scale to f16"},
    {DType::q8_0, 8.8e-3, "likewise"},
    {DType::q8_K, 8.8e-3, "one step of 127"},
    {DType::q8_16, 8.8e-3, "one step of 127"},
    {DType::f16_128, 1.1e-3, "as f16"},
};

double difference(float a, float b) {
  if (a == b || (std::isnan(a) && std::isnan(b))) return 0;
  const double out = std::abs(double(a) - b);
  return std::isfinite(out) ? out : std::numeric_limits<double>::infinity();
}

double ratio(double difference, double scale) {
  if (difference <= 0) return 0;
  return scale > 0 && std::isfinite(scale) ? difference / scale : std::numeric_limits<double>::infinity();
}

}  // namespace

std::span<const Tolerance> tolerances() { return table; }

double tolerance_of(DType type, bool halves) {
  const auto* found = std::ranges::find(table, type, &Tolerance::type);
  return found == std::end(table) ? 0 : found->limit + (halves ? halves_tolerance : 0);
}

Worst compare(DType type, std::int64_t width, std::span<const float> got, const Wanted& wanted, const std::vector<bool>& live) {
  Worst worst;
  // A block of an 8-bit type is its own row.
  const std::int64_t piece = is_block_type(type) ? info(type).elements : width;
  for (std::int64_t begin = 0; begin < std::int64_t(got.size()); begin += piece) {
    if (!live[std::size_t(begin / width)]) continue;
    double sum = 0, largest = 0;
    for (std::int64_t i = begin; i < begin + piece; ++i) {
      const double magnitude = std::abs(wanted.value[i]);
      if (!std::isfinite(magnitude)) continue;
      sum += magnitude;
      largest = std::max(largest, magnitude);
    }
    for (std::int64_t i = begin; i < begin + piece; ++i) {
      const float want = wanted.value[i];
      double off = difference(got[i], want);
      if (!wanted.slack.empty()) off -= wanted.slack[i];
      const double scale = is_block_type(type) ? largest : std::abs(double(want)) + sum / double(piece);
      if (std::isnan(off)) off = std::numeric_limits<double>::infinity();
      if (const double error = ratio(off, scale); error > worst.error) worst = {error, i / width, i % width, got[i], want};
    }
  }
  return worst;
}

}  // namespace heddle::tools
