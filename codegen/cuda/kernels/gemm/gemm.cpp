// Products of many activation rows on the matrix units, see gemm.h for the structure.
#include "codegen/cuda/kernels/gemm/gemm.h"

#include <algorithm>
#include <set>

#include "codegen/cuda/device/matrix_units.h"
#include "codegen/cuda/device/prelude.h"
#include "codegen/cuda/kernels/rows/tile_epilogue.h"
#include "codegen/spec_text.h"

namespace heddle::codegen::cuda {
namespace {

/// A format as the loop reads it: `Piece` is what a lane holds of 32 neighbouring elements of a row, as they lie in memory, `Ready` what is
/// common to the steps of one; step s makes halves of elements 4 * s + {0, 2} and + {1, 3}. Pieces of 4 to 6 bits are loaded a block of
/// columns ahead. Larger ones would not fit into the registers twice: each word is loaded anew as soon as its steps are done (`reload`,
/// behind step s; `piece` is the present one, `ahead` the next).
constexpr std::string_view block_format = R"(
struct F_$name {
  typedef P_$name Piece;
  struct Ready {
    Block block;
    u32 scale[$factors], offset[$factors];
  };
  static constexpr bool IN_PLACE = false;
  INLINE Piece load(const char* p, const u32 (&more)[3], u32 piece) { return load_$name($planes, piece); }
  INLINE void reload(Piece&, const char*, const u32 (&)[3], u32, u32, int) {}
  INLINE void prepare(Ready& r, const Piece& piece, u32 number) {
    r.block = unpack_$name(piece, number % 8);
    r.scale[0] = pack_f16(r.block.a, r.block.a);
    if ($factors > 1) r.scale[$factors - 1] = pack_f16(r.block.b, r.block.b);
    if ($offset) r.offset[0] = pack_f16(r.block.c, r.block.c);
    if ($offset && $factors > 1) r.offset[$factors - 1] = pack_f16(r.block.d, r.block.d);
  }
  INLINE void halves(u32& even, u32& odd, const Ready& r, const Piece&, int s) {
    // 1024 + b is the half 0x6400 + b; bytes with a sign are moved by 128
    const u32 bytes = r.block.w[s]$moved, zero = $zero;
    const u32 scale = r.scale[s / 4 % $factors];
    even = add_f16x2(__byte_perm(bytes, 0x64646464, 0x4240), zero), odd = add_f16x2(__byte_perm(bytes, 0x64646464, 0x4341), zero);
    if ($offset) even = fma_f16x2(even, scale, r.offset[s / 4 % $factors]), odd = fma_f16x2(odd, scale, r.offset[s / 4 % $factors]);
    else even = multiply_f16x2(even, scale), odd = multiply_f16x2(odd, scale);
  }
};
)";

/// q8_0: two words of 16 bytes.
constexpr std::string_view byte_format = R"(
struct F_$name {
  struct Piece { uint4 q[2]; u32 d; };
  struct Ready { u32 scale; };
  static constexpr bool IN_PLACE = true;
  INLINE u32 factor(const char* p, const u32 (&more)[3], u32 piece) { return __ldg((const u16*)($plane) + piece); }
  INLINE Piece load(const char* p, const u32 (&more)[3], u32 piece) {
    return {{__ldg((const uint4*)p + 2ull * piece), __ldg((const uint4*)p + 2ull * piece + 1)}, factor(p, more, piece)};
  }
  INLINE void reload(Piece& held, const char* p, const u32 (&more)[3], u32, u32 ahead, int s) {
    if (s == 0) held.d = factor(p, more, ahead);
    if (s % 4 == 3) held.q[s / 4] = __ldg((const uint4*)p + 2ull * ahead + s / 4);
  }
  INLINE void prepare(Ready& r, const Piece& held, u32) { r.scale = held.d | held.d << 16; }
  INLINE void halves(u32& even, u32& odd, const Ready& r, const Piece& held, int s) {
    const uint4& q = held.q[s / 4];
    // 1024 + b is the half 0x6400 + b; bytes with a sign are moved by 128
    const u32 bytes = (s % 4 == 0 ? q.x : s % 4 == 1 ? q.y : s % 4 == 2 ? q.z : q.w) ^ 0x80808080;
    even = multiply_f16x2(add_f16x2(__byte_perm(bytes, 0x64646464, 0x4240), 0xe480e480), r.scale);
    odd = multiply_f16x2(add_f16x2(__byte_perm(bytes, 0x64646464, 0x4341), 0xe480e480), r.scale);
  }
};
)";

/// 16-bit floats: four words of 8 elements, of which two are held.
constexpr std::string_view half_format = R"(
struct F_$name {
  struct Piece { uint4 q[2]; };
  struct Ready {};
  static constexpr bool IN_PLACE = true;
  INLINE uint4 word(const char* p, u32 piece, int i) { return __ldg((const uint4*)p + 4ull * piece + i); }
  INLINE Piece load(const char* p, const u32 (&)[3], u32 piece) { return {{word(p, piece, 0), word(p, piece, 1)}}; }
  INLINE void reload(Piece& held, const char* p, const u32 (&)[3], u32 piece, u32 ahead, int s) {
    if (s % 2) held.q[s / 2 % 2] = s < 4 ? word(p, piece, s / 2 + 2) : word(p, ahead, s / 2 - 2);
  }
  INLINE void prepare(Ready&, const Piece&, u32) {}
  INLINE void halves(u32& even, u32& odd, const Ready&, const Piece& held, int s) {
    const uint4& q = held.q[s / 2 % 2];
    const u32 x = s % 2 ? q.z : q.x, y = s % 2 ? q.w : q.y;
    $convert
  }
};
)";
constexpr std::string_view from_f16 = "even = __byte_perm(x, y, 0x5410), odd = __byte_perm(x, y, 0x7632);";
constexpr std::string_view from_bf16 =
    "even = pack_f16(__uint_as_float(x << 16), __uint_as_float(y << 16));\n"
    "    odd = pack_f16(__uint_as_float(x & 0xffff0000), __uint_as_float(y & 0xffff0000));";

/// The loop. Rows of activations in a stage: two halves of 64 columns, each TOKENS rows of 128 bytes whose pieces of 16 are exchanged by
/// the row's number. A slot is written anew only when its products are done: with warpgroups they end one block of columns later.
constexpr std::string_view loop = R"(
template <class F>
INLINE void products(float (&sums)[TOKENS / 2], const char* p, const u32 (&more)[3], u32 low, u32 high, const char* x, char* ring, int team) {
  const int lane = threadIdx.x % 32, thread = threadIdx.x % THREADS;
  const int part = SPLITS == 1 ? team : blockIdx.z * TEAMS + team;  // of PARTS teams which take blocks of 128 columns in turn
  F format;
  auto fetch = [&](int block) {
    if (block < BLOCKS) {
      char* const to = ring + (block - part) / PARTS % STAGES * STAGE;
#pragma unroll
      for (int i = 0; i < (TOKENS * 16 + THREADS - 1) / THREADS; ++i) {
        const int row = thread / 16 + i * (THREADS / 16), piece = thread % 16;
        if (TOKENS * 16 % THREADS == 0 || row < TOKENS) copy16(to + piece / 8 * (TOKENS * 128) + row * 128 + (piece % 8 ^ row % 8) * 16, x + row * (K * 2) + block * 256 + piece * 16);
      }
    }
    end_group();
  };
  for (int i = 0; i < STAGES - LAG; ++i) fetch(part + i * PARTS);
  const u32 first_piece[2] = {low * (K / 32) + lane % 4, high * (K / 32) + lane % 4};
  typename F::Piece held[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) held[r] = format.load(p, more, first_piece[r] + min(part, BLOCKS - 1) * 4);
#pragma unroll 1
  for (int block = part; block < BLOCKS; block += PARTS) {
    groups_left<STAGES - LAG - 1>();
    $fence
    team_barrier<THREADS>(team);
    fetch(block + (STAGES - LAG) * PARTS);
    const u32 ahead = min(block + PARTS, BLOCKS - 1) * 4;
    typename F::Ready ready[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      format.prepare(ready[r], held[r], first_piece[r] + block * 4);
      if (!F::IN_PLACE) held[r] = format.load(p, more, first_piece[r] + ahead);
    }
    const char* const stage = ring + (block - part) / PARTS % STAGES * STAGE;
    $steps
  }
  $last
  groups_left<0>();
}
)";

constexpr std::string_view warpgroup_steps = R"(u32 a[2][4];
#pragma unroll
    for (int s = 0; s < 8; ++s) {  // halves are made while the products of the step before are under way
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        format.halves(a[s % 2][r], a[s % 2][2 + r], ready[r], held[r], s);
        format.reload(held[r], p, more, first_piece[r] + block * 4, first_piece[r] + ahead, s);
      }
      begin_multiply();
      multiply_rows(sums, a[s % 2], stage + s / 4 * (TOKENS * 128) + s % 4 * 32);
      end_multiply();
      multiplies_left<1>();
    })";

constexpr std::string_view warp_steps = R"(#pragma unroll
    for (int s = 0; s < 8; ++s) {
      u32 a[4];
#pragma unroll
      for (int r = 0; r < 2; ++r) {
        format.halves(a[r], a[2 + r], ready[r], held[r], s);
        format.reload(held[r], p, more, first_piece[r] + block * 4, first_piece[r] + ahead, s);
      }
#pragma unroll
      for (int i = 0; i < TOKENS; i += 16) {
        const int row = i + lane / 16 * 8 + lane % 8, piece = s % 4 * 2 + lane / 8 % 2;
        u32 b[4];
        load_matrices(b, stage + s / 4 * (TOKENS * 128) + row * 128 + (piece ^ row % 8) * 16);
        multiply_16x8x16(sums + i / 2, a, b[0], b[1]);
        multiply_16x8x16(sums + i / 2 + 4, a, b[2], b[3]);
      }
    })";

/// Sums of all teams meet in shared memory, tokens outside.
constexpr std::string_view meeting = R"(
__syncthreads();
float* results = (float*)shared;  // [TOKENS][PITCH]
#pragma unroll 1
for (int t = 0; t < TEAMS; ++t) {
  if (team == t) {
#pragma unroll
    for (int i = 0; i < TOKENS / 2; ++i) {
      float* const to = results + (i / 4 * 8 + lane % 4 * 2 + i % 2) * PITCH + warp % WARPS * 16 + lane / 4 + i / 2 % 2 * 8;
      *to = t == 0 ? sums[i] : *to + sums[i];
    }
  }
  __syncthreads();
}
)";

/// Each block of a cluster adds up the sums of its share of the tokens: the first block's first, whichever block adds. None may leave before
/// all have read.
constexpr std::string_view cluster_meeting = R"(
cluster_arrive();
await_cluster();
constexpr int MINE = TOKENS / SPLITS;  // tokens
const int rank = blockIdx.z;
results += rank * MINE * PITCH;
#pragma unroll 4
for (int i = thread * 4; i < MINE * PITCH; i += TEAMS * THREADS * 4) {
  float4 sum = load_from_block(results + i, 0);
#pragma unroll
  for (int b = 1; b < SPLITS; ++b) {
    const float4 x = load_from_block(results + i, b);
    sum.x += x.x, sum.y += x.y, sum.z += x.z, sum.w += x.w;
  }
  *(float4*)(results + i) = sum;
}
cluster_arrive();
__syncthreads();
)";

class Kernel {
 public:
  Kernel(const plan::KernelSpec& spec, const TilePlan& plan, const ir::Target& target) : spec_(spec), plan_(plan), target_(target) {}

  CudaText print() {
    Text out;
    out.put(spec_text(spec_));
    out.line("// tiles of {} rows of weights by {} activation rows, of which there are as many as the grid says", plan_.warps * 16,
             plan_.tokens);
    out.put(prelude(target_, matrix_prelude(plan_.warpgroups ? plan_.tokens : 0)));
    out.put(format_prelude(plan_.k, 32));
    out.line("constexpr int TOKENS = {}, TEAMS = {}, WARPS = {}, THREADS = {}, SPLITS = {}, PARTS = TEAMS * SPLITS;", plan_.tokens,
             plan_.teams, plan_.warps, plan_.warps * 32, plan_.splits);
    out.line("constexpr int STAGES = {}, STAGE = {}, LAG = {}, BLOCKS = {}, PITCH = {};", plan_.stages, plan_.tokens * 256,
             plan_.warpgroups ? 2 : 1, plan_.k / 128, plan_.pitch());
    for (const TilePart& part : plan_.parts) print_format(out, part.formats.front());
    out.put(loop, {{"fence", plan_.warpgroups ? "fence_shared();" : ""},
                   {"steps", std::string(plan_.warpgroups ? warpgroup_steps : warp_steps)},
                   {"last", plan_.warpgroups ? "multiplies_left<0>();" : ""}});
    out.put(program_prelude);
    const auto programs = programs_of(spec_);
    print_ops(out, programs);
    print_rope_tables(out, programs);
    print_kernel(out, plan_.teams * plan_.warps * 32);
    return {plan_.launch, spec_.name, out.str()};
  }

 private:
  void print_format(Text& out, const Format& format) {
    if (!formats_.insert(format.name).second) return;
    if (!format.integers) {
      out.put(half_format, {{"name", format.name}, {"convert", std::string(format.type == DType::bf16 ? from_bf16 : from_f16)}});
      return;
    }
    const auto plane = [&](std::size_t i) {
      return equal_planes(format) ? fmt::format("p + {}", format.planes[i]) : fmt::format("p + more[{}]", i - 1);
    };
    if (format.type == DType::q8_0) {
      out.put(byte_format, {{"name", format.name}, {"plane", plane(1)}});
      return;
    }
    std::string planes;
    for (std::size_t i = 0; i < format.planes.size(); ++i) planes += i == 0 ? "p" : ", " + plane(i);
    out.put(format.text);
    out.put(block_format, {{"name", format.name},
                           {"factors", format.halves ? "2" : "1"},
                           {"planes", planes},
                           {"offset", format.offset ? "true" : "false"},
                           {"moved", format.is_signed ? " ^ 0x80808080" : ""},
                           {"zero", format.is_signed ? "0xe480e480" : "0xe400e400"}});
  }

  void print_kernel(Text& out, int threads) {
    print_signature(out, spec_, threads, plan_.per_sm, false, plan_.splits);
    out.line("MATRIX_SHARED;");
    out.line("wait();");
    out.line("trigger();");
    out.line("float sums[TOKENS / 2];");
    out.line("#pragma unroll");
    out.line("for (int i = 0; i < TOKENS / 2; ++i) sums[i] = 0;");
    int inputs = plan_.shared_bytes;
    for (const auto& [name, arg] : {std::pair("positions", spec_.positions_arg), std::pair("slots", spec_.slots_arg)}) {
      if (arg < 0) continue;
      out.line("int* const {} = (int*)(shared + {});  // of this block's tokens", name, inputs);
      inputs += plan_.tokens * 4;
    }
    out.open("{{");
    out.line("const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, team = warp / WARPS;");
    out.line("const int tile = blockIdx.y, first_row = blockIdx.x * TOKENS;");
    for (const auto& [name, arg] : {std::pair("positions", spec_.positions_arg), std::pair("slots", spec_.slots_arg)})
      if (arg >= 0)
        out.line("if (threadIdx.x < TOKENS / SPLITS) {}[threadIdx.x] = __ldcg(a{} + first_row + {}threadIdx.x);", name, arg,
                 plan_.splits > 1 ? "blockIdx.z * (TOKENS / SPLITS) + " : "");
    out.line("const char* p;  // the first plane; where the others are behind it");
    out.line("u32 more[3];");
    out.line("int n, format;   // columns and format of the tile's part");
    out.line("int weight_row;  // of this lane");
    for_each_part(out, [&](const TilePart& part) { print_place(out, part); });
    out.line("const u32 low = min(weight_row, n - 1), high = min(weight_row + 8, n - 1);");
    out.line("const char* const x = a{} + (long long)first_row * (K * 2);", plan_.x);
    out.line("char* const ring = shared + team * {};", plan_.ring_bytes);
    const std::vector<std::string> names(formats_.begin(), formats_.end());
    for (std::size_t i = 0; i < names.size(); ++i)
      out.line("{}{}products<F_{}>(sums, p, more, low, high, x, ring, team);", i == 0 ? "" : "else ",
               i + 1 < names.size() ? fmt::format("if (format == {}) ", i) : std::string(), names[i]);
    out.close();
    out.line("const int thread = thread_again(), lane = thread % 32, warp = thread / 32, team = warp / WARPS;");
    out.line("const int2 block = block_again();");
    const bool split = plan_.splits > 1;
    out.line("const int tile = block.y, first_row = block.x * TOKENS{};", split ? " + blockIdx.z * (TOKENS / SPLITS)" : "");
    out.put(meeting);
    if (split) out.put(cluster_meeting);
    for_each_part(out, [&](const TilePart& part) {
      print_first(out, part);
      print_tile_epilogue(out, spec_, part.epilogue,
                          {plan_.tokens / plan_.splits, plan_.teams * plan_.warps, plan_.pitch(), part.share, part.columns,
                           part.spec->n, true});
    });
    if (split) out.line("await_cluster();");
    out.close();
  }

  void for_each_part(Text& out, auto&& print) {
    for (std::size_t i = 0; i < plan_.parts.size(); ++i) {
      const TilePart& part = plan_.parts[i];
      if (plan_.parts.size() == 1) out.open("{{");
      else if (i + 1 < plan_.parts.size()) out.open("{}if (tile < {}) {{", i == 0 ? "" : "else ", part.end);
      else out.open("else {{");
      print(part);
      out.close();
    }
  }

  /// Whether all weights of this type have their planes at the same offsets, which need no registers then.
  bool equal_planes(const Format& format) const {
    return std::ranges::all_of(plan_.parts, [&](const TilePart& part) {
      return part.formats.front().type != format.type || part.formats.front().planes == format.planes;
    });
  }

  void print_first(Text& out, const TilePart& part) {
    out.line("const int first = (tile - {}) * {};  // column of the tile", part.begin, part.columns);
  }

  void print_place(Text& out, const TilePart& part) {
    const auto name = formats_.find(part.formats.front().name);
    print_first(out, part);
    out.line("n = {}, format = {};", part.spec->n, std::distance(formats_.begin(), name));
    const std::size_t segments = part.formats.size();
    if (segments == 1) out.line("weight_row = first + warp % WARPS * 16 + lane / 4;");
    else out.line("weight_row = first + warp % {} * 16 + lane / 4;", part.share / 16);
    std::string address;
    for (std::size_t s = 0; s < segments; ++s) {
      const std::string plane = fmt::format("a{}", part.spec->segments[s].weight);
      address += s + 1 < segments ? fmt::format("warp % WARPS < {} ? {} : ", (s + 1) * std::size_t(part.share / 16), plane) : plane;
    }
    out.line("p = {};", address);
    // Segments of a part have equal shapes, and so equal offsets.
    const Format& format = part.formats.front();
    for (std::size_t i = 1; i < format.planes.size() && !equal_planes(format); ++i) out.line("more[{}] = {};", i - 1, format.planes[i]);
  }

  const plan::KernelSpec& spec_;
  const TilePlan& plan_;
  const ir::Target& target_;
  std::set<std::string> formats_;
};

}  // namespace

CudaText print_tiles(const plan::KernelSpec& spec, const TilePlan& plan, const ir::Target& target) {
  const plan::KernelSpec one = of_one_tile(spec, plan.tokens, "tile_");
  return Kernel(one, plan, target).print();
}

}  // namespace heddle::codegen::cuda
