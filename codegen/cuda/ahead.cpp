#include "codegen/cuda/ahead.h"

#include <algorithm>
#include <deque>

#include "runtime/plan/layout.h"

namespace heddle::codegen::cuda {
namespace {

struct Range {
  std::uint32_t weight;
  std::uint64_t offset, bytes;
};

struct Stored {
  DType type;
  std::int64_t rows, columns;
  std::uint64_t bytes;
};
Stored stored(const plan::WeightT& weight) {
  Stored out{*dtype_named(weight.dtype), 1, weight.shape.back(), 0};
  for (const std::int64_t size : weight.shape) out.rows *= size;
  out.rows /= out.columns;
  const auto bytes = plan::stored_bytes(weight.layout, out.type, out.rows, out.columns);
  HEDDLE_CHECK(bytes.ok(), "weight '{}'", weight.name);
  out.bytes = std::uint64_t(*bytes);
  return out;
}

/// The matrices a product streams.
std::vector<std::uint32_t> streamed(const plan::NodeT& node, const plan::KernelSpecT& spec) {
  std::vector<std::uint32_t> out;
  if (spec.loop != plan::LoopKind::gemm) return out;
  for (const auto& part : spec.parts)
    for (const auto& segment : part->segments) out.push_back(node.args[segment->weight]->index);
  return out;
}

/// The first `most` bytes that are read of the matrices: whole ones, or a beginning of each of their planes.
std::vector<Range> beginnings(const plan::PlanT& plan, const std::vector<std::uint32_t>& weights, std::uint64_t total, std::uint64_t most) {
  std::vector<Range> out;
  for (const std::uint32_t index : weights) {
    const plan::WeightT& weight = *plan.weights[index];
    const Stored s = stored(weight);
    if (total <= most) {
      out.push_back({index, 0, s.bytes / 16 * 16});
      continue;
    }
    const auto part = [&](std::uint64_t bytes) { return std::uint64_t(double(bytes) * double(most) / double(total)) / 256 * 256; };
    if (weight.layout != "planes") {
      out.push_back({index, 0, part(s.bytes)});
      continue;
    }
    const auto planes = plan::planes_of(s.type);
    for (std::size_t p = 0; p < planes.size(); ++p)
      out.push_back({index, std::uint64_t(plan::plane_offset(s.type, s.rows, s.columns, p)),
                     part(std::uint64_t(s.rows * (s.columns / planes[p].per) * planes[p].bytes))});
  }
  return out;
}

}  // namespace

void plan_ahead(plan::PlanT& plan) {
  for (auto& entry : plan.entries) {
    struct Item {
      Range range;
      std::size_t node;      // that reads it
      std::uint64_t before;  // bytes that are streamed from the first node to this range
    };
    std::deque<Item> items;
    std::vector<std::uint64_t> ends, totals;  // of each node: bytes streamed so far, as far as they are asked for; its own
    std::uint64_t end = 0;
    for (std::size_t i = 0; i < entry->nodes.size(); ++i) {
      const auto weights = streamed(*entry->nodes[i], *plan.kernels[entry->nodes[i]->kernel]->spec);
      std::uint64_t total = 0;
      for (const std::uint32_t index : weights) total += stored(*plan.weights[index]).bytes;
      for (const Range& range : beginnings(plan, weights, total, ahead_bytes)) {
        if (range.bytes > 0) items.push_back({range, i, end});
        end += range.bytes;
      }
      ends.push_back(end), totals.push_back(total);
    }
    for (std::size_t i = 0; i < entry->nodes.size(); ++i) {
      plan::NodeT& node = *entry->nodes[i];
      while (!items.empty() && items.front().node <= i) items.pop_front();
      const auto& code = plan.kernels[node.kernel]->cuda;
      if (!code || totals[i] > 2 * ahead_bytes) continue;
      while (node.ahead.size() < code->ahead && !items.empty() && items.front().before < ends[i] + ahead_bytes) {
        auto ref = std::make_unique<plan::RefT>();
        ref->where = plan::Where::weight;
        ref->index = items.front().range.weight, ref->offset = items.front().range.offset, ref->bytes = items.front().range.bytes;
        node.ahead.push_back(std::move(ref));
        items.pop_front();
      }
    }
  }
}

}  // namespace heddle::codegen::cuda
