// One token for each row from its logits, by runtime/sampling/sampling.h's definition. Tokens are compared by one number, the logit's order above
// and the complement of the id below, so that larger is better and no two are equal. Some blocks for each row look at all logits, each warp
// at a run of ids; the last of them to finish draws. With top_k up to 512 it gathers the best, out of the runs whose best one is good
// enough, and puts them in order in shared memory; otherwise the cuts are found by bisection over that number.
#include "codegen/cuda/kernels/sample/sampler.h"

#include "codegen/cuda/expression.h"
#include "codegen/cuda/device/prelude.h"
#include "codegen/spec.h"
#include "codegen/spec_text.h"

namespace heddle::codegen::cuda {
namespace {

constexpr std::string_view device_functions = R"(
constexpr int THREADS = 1024, WARPS = 32, LIST = 1024, MOST_LISTED = 512;
struct SampleRow {
  float temperature;
  int top_k;
  float top_p, min_p, repeat_penalty;
  int repeat_last_n;
  u64 seed, sequence;
  int history_count, remaining;
};
struct RingEntry { u64 sequence; int token, status; };
struct SampleControl {
  SampleRow* rows;
  int* history;
  RingEntry* ring;
  const int* end_tokens;
  int history_capacity, ring_capacity, end_token_count, row_count;
};

INLINE u64 rank_of(float logit, int id) {
  const u32 bits = __float_as_uint(logit + 0.0f);  // -0 equals 0
  return (u64)(bits >> 31 ? ~bits : bits | 0x80000000u) << 32 | (u32)~id;
}
INLINE float logit_of(u64 rank) {
  const u32 order = (u32)(rank >> 32);
  return __uint_as_float(order >> 31 ? order & 0x7fffffff : ~order);
}
INLINE int id_of(u64 rank) { return (int)~(u32)rank; }
INLINE u64 weight_of(float logit, float best, double temperature) {
  const double x = ((double)logit - (double)best) / temperature;
  return x < -29 ? 0 : (u64)(exp(x) * 1099511627776.0 + 0.5);
}
INLINE u64 shuffle(u64 x, int with) {
  const u32 low = __shfl_xor_sync(~0u, (u32)x, with), high = __shfl_xor_sync(~0u, (u32)(x >> 32), with);
  return (u64)high << 32 | low;
}
INLINE u64 greater(u64 x, u64 y) { return x > y ? x : y; }
// the same on every thread; `at` is [32]
INLINE u64 sum_of_all(u64 x, u64* at) {
  for (int i = 16; i > 0; i /= 2) x += shuffle(x, i);
  __syncthreads();
  if (threadIdx.x % 32 == 0) at[threadIdx.x / 32] = x;
  __syncthreads();
  x = at[threadIdx.x % 32];
  for (int i = 16; i > 0; i /= 2) x += shuffle(x, i);
  return x;
}
INLINE u64 best_of_all(u64 x, u64* at) {
  for (int i = 16; i > 0; i /= 2) x = greater(x, shuffle(x, i));
  __syncthreads();
  if (threadIdx.x % 32 == 0) at[threadIdx.x / 32] = x;
  __syncthreads();
  x = at[threadIdx.x % 32];
  for (int i = 16; i > 0; i /= 2) x = greater(x, shuffle(x, i));
  return x;
}
INLINE void sums_of_all(u64& a, u64& b, u64& c, u64* at) {
  for (int i = 16; i > 0; i /= 2) a += shuffle(a, i), b += shuffle(b, i), c += shuffle(c, i);
  __syncthreads();
  if (threadIdx.x < 3) at[threadIdx.x] = 0;
  __syncthreads();
  if (threadIdx.x % 32 == 0) atomicAdd(at, a), atomicAdd(at + 1, b), atomicAdd(at + 2, c);
  __syncthreads();
  a = at[0], b = at[1], c = at[2];
}
// largest first; LIST numbers
INLINE void sort_list(u64* list) {
  const int i = threadIdx.x;
  for (int size = 2; size <= LIST; size *= 2)
    for (int apart = size / 2; apart > 0; apart /= 2) {
      __syncthreads();
      const int j = i ^ apart;
      if (j > i) {
        const u64 x = list[i], y = list[j];
        if ((x < y) == ((i & size) == 0)) list[i] = y, list[j] = x;
      }
    }
  __syncthreads();
}
INLINE u32 random_24_bits(u64 seed, u64 position) {
  u32 c0 = (u32)position, c1 = (u32)(position >> 32), c2 = 0, c3 = 0, k0 = (u32)seed, k1 = (u32)(seed >> 32);
  for (int round = 0; round < 10; ++round) {  // Philox4x32-10
    const u64 a = (u64)0xD2511F53u * c0, b = (u64)0xCD9E8D57u * c2;
    c0 = (u32)(b >> 32) ^ c1 ^ k0, c1 = (u32)b, c2 = (u32)(a >> 32) ^ c3 ^ k1, c3 = (u32)a;
    k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
  }
  return c0 >> 8;
}
// sum * u / 2^24
INLINE u64 share_of(u64 sum, u32 u) { return __umul64hi(sum, u) << 40 | sum * u >> 24; }

// What of a row's tokens is left: those of at least `cut` in rank and, for min-p, of at least `least` in weight.
struct Row {
  const float* logits;
  u64* at;  // shared, [32]
  float best;

  // The largest rank whose tokens, with all better ones, have together at least `wanted`: each counts 1, or its weight at temperature 1.
  template <bool WEIGHTS> __device__ u64 cut_at(u64 wanted, u64 from) const {
    u64 low = from, high = rank_of(best, 0) + 1;  // all of at least `low` suffice, all of at least `high` do not
    while (high - low > 1) {
      const u64 quarter = (high - low) / 4;
      const u64 a = low + (quarter > 0 ? quarter : 1), b = quarter > 0 ? a + quarter : a, c = quarter > 0 ? b + quarter : a;
      u64 of_a = 0, of_b = 0, of_c = 0;
      for (int i = threadIdx.x; i < V; i += THREADS) {
        const u64 rank = rank_of(logits[i], i);
        if (rank < a) continue;
        const u64 counts = WEIGHTS ? weight_of(logits[i], best, 1) : 1;
        of_a += counts;
        if (rank >= b) of_b += counts;
        if (rank >= c) of_c += counts;
      }
      sums_of_all(of_a, of_b, of_c, at);
      if (of_c >= wanted) low = c;
      else if (of_b >= wanted) low = b, high = c;
      else if (of_a >= wanted) low = a, high = b;
      else high = a;
    }
    return low;
  }
  __device__ u64 weight(int i, u64 cut, double least, double temperature) const {
    const float logit = logits[i];
    if (rank_of(logit, i) < cut || (least > 0 && (double)weight_of(logit, best, 1) < least)) return 0;
    return weight_of(logit, best, temperature);
  }
  __device__ u64 sum_at_1(u64 cut) const {
    u64 sum = 0;
    for (int i = threadIdx.x; i < V; i += THREADS) sum += weight(i, cut, 0, 1);
    return sum_of_all(sum, at);
  }
  // Each warp has a run of ids of its own; the one that the target falls into looks for it.
  __device__ int draw(u64 cut, double least, double temperature, u32 u, u64* sums, int* drawn) const {
    constexpr int RUN = (V + WARPS * 32 - 1) / (WARPS * 32) * 32;
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, begin = warp * RUN, end = min(begin + RUN, V);
    u64 mine = 0;
    for (int i = begin + lane; i < end; i += 32) mine += weight(i, cut, least, temperature);
    for (int i = 16; i > 0; i /= 2) mine += shuffle(mine, i);
    __syncthreads();
    if (lane == 0) sums[warp] = mine;
    __syncthreads();
    u64 all = 0, before = 0;
    for (int w = 0; w < WARPS; ++w) {
      if (w == warp) before = all;
      all += sums[w];
    }
    const u64 target = share_of(all, u);
    if (before <= target && target < before + mine) {
      for (int first = begin; first < end; first += 32) {
        const u64 x = first + lane < end ? weight(first + lane, cut, least, temperature) : 0;
        u64 total = x;
        for (int i = 16; i > 0; i /= 2) total += shuffle(total, i);
        if (target < before + total) {
          // a running sum over the lanes
          u64 upto = 0;
          for (int i = 0; i < 32; ++i) {
            const u64 of_lane = (u64)__shfl_sync(~0u, (u32)(x >> 32), i) << 32 | __shfl_sync(~0u, (u32)x, i);
            if (i <= lane) upto += of_lane;
          }
          if (before + upto - x <= target && target < before + upto) *drawn = first + lane;
          break;
        }
        before += total;
      }
    }
    __syncthreads();
    return *drawn;
  }
};
)";

constexpr std::string_view body = R"(
const int row = blockIdx.y, t = threadIdx.x;
__shared__ u64 at[32], sums[32], list[LIST], weights[MOST_LISTED];
__shared__ int listed, drawn;
wait();
trigger();
if (__ldcg(a$slots + row) < 0) return;
const float* const given = (const float*)a$logits + (long long)row * V;
u64* const bests = (u64*)(scratch + COUNTERS) + (long long)row * LIST;  // of the runs
int* const bads = (int*)(scratch + COUNTERS + ROWS * LIST * 8) + row * BLOCKS;
float* const changed = (float*)(scratch + COUNTERS + ROWS * LIST * 8 + ROWS * BLOCKS * 4) + (long long)row * V;

// each warp of the grid has runs of ids of its own: their best tokens; a logit that is not finite stops the row
const int lane = t % 32;
int bad = V;
u64 best = 0;
for (int of = 0; of < LIST / (BLOCKS * WARPS); ++of) {
  const int run = (blockIdx.x * WARPS + t / 32) * (LIST / (BLOCKS * WARPS)) + of;
  best = 0;
#pragma unroll 4
  for (int n = lane; n < RUN; n += 32) {
    const int i = run * RUN + n;
    if (i >= V) break;
    const float x = __ldcg(given + i);
    if ((__float_as_uint(x) & 0x7f800000) == 0x7f800000 && i < bad) bad = i;
    best = greater(best, rank_of(x, i));
  }
  for (int i = 16; i > 0; i /= 2) best = greater(best, shuffle(best, i));
  if (lane == 0) bests[run] = best;
}
bad = V - (int)best_of_all((u64)(V - bad), at);
if (t == 0) bads[blockIdx.x] = bad;

// the last block does the rest
__shared__ bool last;
__threadfence();
__syncthreads();
int* const counter = (int*)scratch + row;
if (t == 0) last = atomicAdd(counter, 1) == BLOCKS - 1;
__syncthreads();
if (!last) return;
__threadfence();
if (t == 0) *counter = 0;
SampleRow* const knobs = control->rows + row;
const float temperature = knobs->temperature, top_p = knobs->top_p, min_p = knobs->min_p, penalty = knobs->repeat_penalty;
const int top_k = knobs->top_k, last_n = knobs->repeat_last_n, history_count = knobs->history_count;
int* const history = control->history + (long long)row * control->history_capacity;
const bool penalises = penalty != 1 && last_n != 0;
const int position = __ldcg(a$positions + row) + 1;
best = __ldcg(bests + t);
bad = t < BLOCKS ? __ldcg(bads + t) : V;
bad = V - (int)best_of_all((u64)(V - bad), at);
int token = bad, status = 0;
if (bad < V) {
  const u32 bits = __float_as_uint(__ldcg(given + bad));
  status = bits & 0x007fffff ? 3 : bits >> 31 ? 5 : 4;
} else {
  if (penalises) {
    for (int i = t; i < V; i += THREADS) changed[i] = __ldcg(given + i);
    __syncthreads();
    const int first = last_n > 0 && last_n < history_count ? history_count - last_n : 0;
    for (int i = first + t; i < history_count; i += THREADS) {
      const int id = history[i];
      if (id < 0 || id >= V) continue;
      const float x = __ldcg(given + id), y = x > 0 ? x / penalty : x * penalty, largest = 3.402823466e+38f;
      changed[id] = y < -largest ? -largest : y > largest ? largest : y;
    }
    __syncthreads();
    // thread t's run again: its best token may have changed
    best = 0;
    for (int warp_run = t / 32 * 32; warp_run < t / 32 * 32 + 32; ++warp_run) {
      u64 of_run = 0;
      for (int n = lane; n < RUN; n += 32)
        if (const int i = warp_run * RUN + n; i < V) of_run = greater(of_run, rank_of(changed[i], i));
      for (int i = 16; i > 0; i /= 2) of_run = greater(of_run, shuffle(of_run, i));
      if (warp_run == t) best = of_run;
    }
  }
  const float* const logits = penalises ? changed : given;
  const u64 mine = best;
  best = best_of_all(best, at);
  const Row all{logits, at, logit_of(best)};
  const int k = top_k <= 0 || top_k > V ? V : top_k;
  if (!(temperature > 0)) {
    token = id_of(best);
  } else {
    const u32 u = random_24_bits(knobs->seed, position);
    const double share = top_p > 0 ? top_p : 0, least = min_p > 0 ? (min_p < 1 ? (double)min_p : 1.0) * 1099511627776.0 : 0;
    bool in_list = k <= MOST_LISTED;
    if (in_list) {
      // At least k tokens are no worse than the k-th of the runs' best ones, and they lie in k runs.
      list[t] = mine;
      if (t == 0) listed = 0;
      sort_list(list);
      const u64 bound = list[k - 1];
      __syncthreads();
      list[t] = 0;
      __syncthreads();
      for (int of = 0; of < 32; ++of) {
        if (!__shfl_sync(~0u, (int)(mine >= bound && mine != 0), of)) continue;
        for (int n = lane; n < RUN; n += 32) {
          const int i = (t / 32 * 32 + of) * RUN + n;
          if (i >= V) break;
          const u64 rank = rank_of(logits[i], i);
          if (rank < bound) continue;
          const int place = atomicAdd(&listed, 1);
          if (place < LIST) list[place] = rank;
        }
      }
      __syncthreads();
      in_list = listed <= LIST;
    }
    if (in_list) {
      sort_list(list);
      int count = k;
      if (top_p < 1 || min_p > 0) {
        if (t < k) weights[t] = weight_of(logit_of(list[t]), all.best, 1);
        __syncthreads();
        u64 upto = 0, sum = 0;
        for (int i = 0; i < k; ++i) {
          if (i <= t) upto += weights[i];
          sum += weights[i];
        }
        if (top_p < 1) {
          // the first that reaches the share is the last that stays
          const bool short_of = t < k && upto < (u64)ceil(share * (double)sum);
          count = min(k, 1 + (int)sum_of_all(short_of, at));
        }
        const u64 weight = t < k ? weights[t] : 0;
        if (min_p > 0) count = min(count, (int)sum_of_all(t < k && (double)weight >= least, at));
      }
      // in the order of ids
      __syncthreads();
      if (t < count) weights[t] = weight_of(logit_of(list[t]), all.best, temperature);
      __syncthreads();
      if (t < count) {
        u64 before = 0, sum = 0;
        for (int i = 0; i < count; ++i) {
          if (id_of(list[i]) < id_of(list[t])) before += weights[i];
          sum += weights[i];
        }
        const u64 target = share_of(sum, u);
        if (before <= target && target < before + weights[t]) drawn = id_of(list[t]);
      }
      __syncthreads();
      token = drawn;
    } else {
      u64 cut = 0;
      if (k < V) cut = all.cut_at<false>(k, 0);
      if (top_p < 1) {
        const u64 wanted = (u64)ceil(share * (double)all.sum_at_1(cut));
        cut = all.cut_at<true>(wanted > 0 ? wanted : 1, cut);
      }
      token = all.draw(cut, least, temperature, u, sums, &drawn);
    }
  }
}
if (t != 0) return;
if (status == 0) {
  if (history_count < control->history_capacity) history[history_count] = token;
  knobs->history_count = history_count + 1;
  const int remaining = knobs->remaining - 1;
  knobs->remaining = remaining;
  if (remaining <= 0) status = 2;
  for (int i = 0; i < control->end_token_count; ++i)
    if (control->end_tokens[i] == token) status = 1;
}
if (status == 0) a$tokens[row] = token, a$positions[row] = position;
else a$slots[row] = -1;
const u64 sequence = knobs->sequence + 1;
knobs->sequence = sequence;
RingEntry* const entry = control->ring + (long long)row * control->ring_capacity + sequence % (u64)control->ring_capacity;
*(volatile int*)&entry->token = token;
*(volatile int*)&entry->status = status;
fence_system();
*(volatile u64*)&entry->sequence = sequence;
)";

}  // namespace

// As many runs as the list has places; one for each warp of a large vocabulary's blocks.
static constexpr std::int64_t runs = 1024;

std::variant<SamplerPlan, Refusal> plan_sampler(const plan::KernelSpec& spec, const ir::Target& target) {
  const std::int64_t vocabulary = spec.args[spec.sample()->logits].shape.back(), rows = spec.rows;
  SamplerPlan plan{.vocabulary = vocabulary,
                   .blocks = vocabulary >= 32768 ? runs / 32 : vocabulary >= 8192 ? 8 : 1,
                   .counters = (rows * 4 + 255) / 256 * 256,
                   .launch = {}};
  plan.launch.grid = {std::uint32_t(plan.blocks), std::uint32_t(rows), 1};
  plan.launch.block = {1024, 1, 1};
  plan.launch.scratch_bytes = std::uint64_t(plan.counters + rows * (runs * 8 + plan.blocks * 4 + vocabulary * 4));
  plan.launch.programmatic = target.has("programmatic_launch");
  return plan;
}

CudaText print_sampler(const plan::KernelSpec& spec, const SamplerPlan& plan, const ir::Target& target) {
  const plan::Sample& loop = *spec.sample();
  Text out;
  out.put(spec_text(spec));
  out.put(prelude(target));
  out.line("constexpr int V = {}, ROWS = {}, BLOCKS = {}, RUN = {}, COUNTERS = {};", plan.vocabulary, spec.rows,
           plan.blocks, (plan.vocabulary + runs - 1) / runs, plan.counters);
  out.put(device_functions);
  print_signature(out, spec, 1024, 1, true);
  out.put(body, {{"logits", std::to_string(loop.logits)},
                 {"tokens", std::to_string(loop.tokens)},
                 {"slots", std::to_string(loop.slots)},
                 {"positions", std::to_string(loop.positions)}});
  out.close();
  return {plan.launch, spec.name, out.str()};
}

plan::KernelSpec sample_spec(std::int64_t rows, std::int64_t vocabulary) {
  plan::KernelSpec spec;
  plan::Sample& loop = spec.loop.emplace<plan::Sample>();
  spec.rows = rows;
  const auto add = [&](plan::ArgRole role, DType dtype, std::vector<std::int64_t> shape) {
    auto& arg = spec.args.emplace_back();
    arg.role = role, arg.dtype = dtype, arg.shape = std::move(shape), arg.layout = Layout::rows;
    arg.written = role != plan::ArgRole::buffer;
    arg.name = fmt::format("{}{}", plan::name(role), spec.args.size() - 1);
    return std::uint32_t(spec.args.size() - 1);
  };
  loop.logits = add(plan::ArgRole::buffer, DType::f32, {rows, vocabulary});
  loop.tokens = add(plan::ArgRole::tokens, DType::i32, {rows});
  loop.slots = add(plan::ArgRole::slots, DType::i32, {rows});
  loop.positions = add(plan::ArgRole::positions, DType::i32, {rows});
  loop.max_top_k = -1;
  spec.name = name_of(spec);
  return spec;
}

void add_sampling(plan::Plan& plan) {
  for (auto& entry : plan.entries) {
    if (entry.kind != EntryKind::decode || entry.outputs.empty() || !entry.sampling.empty()) continue;
    plan::Kernel kernel;
    kernel.spec = sample_spec(entry.rows, entry.outputs.front().shape.back());
    kernel.min_bytes = min_bytes(kernel.spec);
    plan::Node node;
    node.kernel = std::uint32_t(plan.kernels.size());
    node.value_names = {"token"};
    std::vector<bool> waited_for(entry.nodes.size());
    for (const auto& other : entry.nodes)
      for (std::uint32_t first : other.after) waited_for[first] = true;
    for (std::uint32_t i = 0; i < entry.nodes.size(); ++i)
      if (!waited_for[i]) node.after.push_back(i);
    for (const auto& arg : kernel.spec.args) {
      auto& ref = node.args.emplace_back();
      ref.where = arg.role == plan::ArgRole::buffer ? plan::Where::output : plan::Where::input;
      const std::string_view port = arg.role == plan::ArgRole::tokens ? "tokens" : arg.role == plan::ArgRole::slots ? "slot" : "pos";
      for (std::uint32_t i = 0; ref.where == plan::Where::input && i < entry.inputs.size(); ++i)
        if (entry.inputs[i].name == port) ref.index = i;
    }
    plan.kernels.push_back(std::move(kernel));
    entry.sampling.push_back(std::move(node));
  }
}

}  // namespace heddle::codegen::cuda
