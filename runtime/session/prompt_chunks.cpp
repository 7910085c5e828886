#include "runtime/session/prompt_chunks.h"

#include <algorithm>
#include <limits>

#include "runtime/device/factory.h"

namespace heddle::runtime {
namespace {

/// An entry point that reads prompts.
struct Way {
  std::size_t entry = 0, rows = 1;
  double cost = 0;
  double key_cost = 0;  // of a row for each key in front of the step's rows; the plan's microseconds know none but those of its own rows
  bool ends = false;    // it is for the last tokens only: a prompt
};

struct Ways {
  std::vector<Way> all;      // prompts, then the others, each by descending rows: of equal costs the first is taken
  std::size_t widest = 1;    // rows of those that do not end a prompt
  std::size_t cheapest = 0;  // of those, by the cost of a row that is used; index into `all`
};

Ways ways_of(const plan::Plan& plan, bool logits) {
  Ways out;
  bool known = true;
  for (std::size_t i = 0; i < plan.entries.size(); ++i) {
    const plan::EntryPoint& entry = plan.entries[i];
    const bool prompt = entry.kind == EntryKind::prompt, step = entry.kind == EntryKind::decode && entry.rows == 1;
    if (entry.kind != EntryKind::prefill && !step && !(prompt && logits)) continue;
    out.all.push_back({i, entry.rows, entry.microseconds, entry.key_microseconds, prompt});
    known = known && entry.microseconds > 0;
  }
  if (!known) {  // in rows; the last layer and the head of a prompt's one row are less than a row more
    const double weights = device_factory(plan.backend).rows_per_weight_read();
    for (Way& way : out.all) way.cost = double(way.rows) + weights + (way.ends ? 1 : 0), way.key_cost = 0;
  }
  std::ranges::stable_sort(out.all, [](const Way& a, const Way& b) { return a.ends != b.ends ? a.ends : a.rows > b.rows; });
  const auto row_cost = [](const Way& way) { return way.cost / double(way.rows); };
  const auto first = std::ranges::find(out.all, false, &Way::ends);
  out.widest = first->rows;
  out.cheapest = std::size_t(std::min_element(first, out.all.end(), [&](const Way& a, const Way& b) { return row_cost(a) < row_cost(b); }) -
                             out.all.begin());
  return out;
}

}  // namespace

std::vector<Chunk> chunks_of(const plan::Plan& plan, std::size_t count, bool logits) {
  const Ways ways = ways_of(plan, logits);
  std::vector<Chunk> out;
  // Far from the end only the cost of a row counts.
  for (const Way& way = ways.all[ways.cheapest]; count > 2 * ways.widest; count -= way.rows) out.push_back({way.entry, way.rows});

  // What is left is laid out from the end: best[n] is the least cost of the last n tokens, by a step of way taken[n] first.
  std::vector<double> best(count + 1, std::numeric_limits<double>::infinity());
  std::vector<std::size_t> taken(count + 1);
  best[0] = 0;
  const auto tokens_of = [&](const Way& way, std::size_t left) {
    const bool keeps_one = logits && !way.ends && left > 1;  // the last token's logits come out of another step
    return std::min(way.rows, keeps_one ? left - 1 : left);
  };
  for (std::size_t left = 1; left <= count; ++left)
    for (std::size_t i = 0; i < ways.all.size(); ++i) {
      const Way& way = ways.all[i];
      if (way.ends && (way.rows < left || left == 1)) continue;
      if (logits && left == 1 && plan.entries[way.entry].kind != EntryKind::decode) continue;
      const std::size_t tokens = tokens_of(way, left);
      const double cost = way.cost + way.key_cost * double((count - left) * tokens) + best[left - tokens];
      if (cost < best[left]) best[left] = cost, taken[left] = i;
    }
  while (count > 0) {
    const Way& way = ways.all[taken[count]];
    out.push_back({way.entry, tokens_of(way, count)});
    count -= out.back().tokens;
  }
  return out;
}

}  // namespace heddle::runtime
