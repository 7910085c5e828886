#include "codegen/cuda/formats.h"

#include <numeric>

#include "codegen/cuda/text.h"
#include "runtime/plan/layout.h"

namespace heddle::codegen::cuda {
namespace {

/// Activations in shared memory. As bytes (q8_16): the first and the last 16 of every 32 in planes of their own, with (d, s, d, s) beside
/// them, so that neighbouring lanes read neighbouring 16 bytes. As floats: fours of a piece in planes, for the same reason.
constexpr std::string_view common = R"(
struct Block { int w[8]; float a, b, c, d; };   // element: a (first 16) or b times a byte of w, plus c or d
template <int N> struct Floats { float w[N]; };
struct Bytes { int4 first, last; float4 ds; };  // 32 activations

INLINE u32 x_index(u32 k) { return XPIECE < 4 ? k : (k % XPIECE / 4 * (K / XPIECE) + k / XPIECE) * 4 + k % 4; }
INLINE float4 x_four(const float* x, u32 k) {
  if (XPIECE >= 4) return *(const float4*)(x + x_index(k));
  return make_float4(x[k], x[k + 1], x[k + 2], x[k + 3]);
}

template <bool HALVES, bool OFFSET> INLINE float dot(float sum, const Block& w, const Bytes& x) {
  int s = __dp4a(w.w[0], x.first.x, 0), t = __dp4a(w.w[4], x.last.x, 0);
  s = __dp4a(w.w[1], x.first.y, s), t = __dp4a(w.w[5], x.last.y, t);
  s = __dp4a(w.w[2], x.first.z, s), t = __dp4a(w.w[6], x.last.z, t);
  s = __dp4a(w.w[3], x.first.w, s), t = __dp4a(w.w[7], x.last.w, t);
  if (HALVES) {
    sum += w.a * (x.ds.x * (float)s) + w.b * (x.ds.z * (float)t);
    return OFFSET ? sum + (w.c * x.ds.y + w.d * x.ds.w) : sum;
  }
  sum += w.a * (x.ds.x * (float)s + x.ds.z * (float)t);
  return OFFSET ? sum + w.c * (x.ds.y + x.ds.w) : sum;
}
template <bool HALVES, bool OFFSET> INLINE float element(const Block& w, int i) {
  const float q = (float)(signed char)(w.w[i / 4] >> (i % 4 * 8)), scale = HALVES && i >= 16 ? w.b : w.a;
  return OFFSET ? q * scale + (HALVES && i >= 16 ? w.d : w.c) : q * scale;
}
template <bool HALVES, bool OFFSET> INLINE float dot(float sum, const Block& w, const float* x, u32 k) {
#pragma unroll
  for (int i = 0; i < 32; i += 4) {
    const float4 v = x_four(x, k + i);
    sum += v.x * element<HALVES, OFFSET>(w, i) + v.y * element<HALVES, OFFSET>(w, i + 1);
    sum += v.z * element<HALVES, OFFSET>(w, i + 2) + v.w * element<HALVES, OFFSET>(w, i + 3);
  }
  return sum;
}
template <int N> INLINE float dot(float sum, const Floats<N>& w, const float* x, u32 k) {
  if (N < 4) {
#pragma unroll
    for (int i = 0; i < N; ++i) sum += w.w[i] * x[x_index(k + i)];
    return sum;
  }
#pragma unroll
  for (int i = 0; i + 3 < N; i += 4) {
    const float4 v = x_four(x, k + i);
    sum += v.x * w.w[i] + v.y * w.w[i + 1];
    sum += v.z * w.w[i + 2] + v.w * w.w[i + 3];
  }
  return sum;
}
INLINE void nibbles(int* w, const uint4& q) {
  w[0] = q.x & 0x0f0f0f0f, w[4] = q.x >> 4 & 0x0f0f0f0f;
  w[1] = q.y & 0x0f0f0f0f, w[5] = q.y >> 4 & 0x0f0f0f0f;
  w[2] = q.z & 0x0f0f0f0f, w[6] = q.z >> 4 & 0x0f0f0f0f;
  w[3] = q.w & 0x0f0f0f0f, w[7] = q.w >> 4 & 0x0f0f0f0f;
}
)";

/// f16 factors, one for 32 elements, that `together` lanes copy as one. Single ones are too small for an asynchronous copy.
std::string copy_factors(int together, std::string_view at, std::string_view plane) {
  if (together == 1) return fmt::format("*(u16*)(to + {0} + 2 * lane) = __ldg((const u16*){1} + b);", at, plane);
  return fmt::format("if (lane % {0} == 0) copy{1}(to + {2} + 2 * lane, {3} + 2ll * b);", together, 2 * together, at, plane);
}

constexpr std::string_view q4_0_text = R"(
struct P_q4_0 { uint4 q; u32 d; };
INLINE void copy_q4_0(char* to, int lane, const char* p0, const char* p1, u32 b) {
  copy16(to + 16 * lane, p0 + 16ll * b);
  $factors
}
INLINE P_q4_0 get_q4_0(const char* from, int lane) { return {*(const uint4*)(from + 16 * lane), *(const u16*)(from + 512 + 2 * lane)}; }
INLINE P_q4_0 load_q4_0(const char* p0, const char* p1, u32 b) { return {__ldg((const uint4*)p0 + b), __ldg((const u16*)p1 + b)}; }
INLINE Block unpack_q4_0(const P_q4_0& p, int) {
  Block o;
  nibbles(o.w, p.q);
  o.a = low_f16(p.d), o.c = -8 * o.a;
  return o;
}
)";

/// $together lanes copy their blocks in common, neighbouring lanes neighbouring 16 bytes: where the halves of a sector of 32 bytes are copied
/// apart, or to places apart, the sector is asked for twice. Of every eight lanes four read their last half first, so that they do not meet
/// in a bank.
constexpr std::string_view q8_0_text = R"(
struct P_q8_0 { int4 q, r; u32 d; };
INLINE void copy_q8_0(char* to, int lane, const char* p0, const char* p1, u32 b) {
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const int chunk = lane % $together + i * $together;
    copy16(to + 32 * (lane - lane % $together) + 16 * chunk, p0 + 32ll * (b - lane % $together) + 16 * chunk);
  }
  $factors
}
INLINE P_q8_0 get_q8_0(const char* from, int lane) {
  const bool turned = lane & 4;
  const int4 x = *(const int4*)(from + 32 * lane + (turned ? 16 : 0)), y = *(const int4*)(from + 32 * lane + (turned ? 0 : 16));
  return {turned ? y : x, turned ? x : y, *(const u16*)(from + 1024 + 2 * lane)};
}
INLINE P_q8_0 load_q8_0(const char* p0, const char* p1, u32 b) {
  return {__ldg((const int4*)p0 + 2ll * b), __ldg((const int4*)p0 + 2ll * b + 1), __ldg((const u16*)p1 + b)};
}
INLINE Block unpack_q8_0(const P_q8_0& p, int) {
  Block o;
  o.w[0] = p.q.x, o.w[1] = p.q.y, o.w[2] = p.q.z, o.w[3] = p.q.w;
  o.w[4] = p.r.x, o.w[5] = p.r.y, o.w[6] = p.r.z, o.w[7] = p.r.w;
  o.a = low_f16(p.d);
  return o;
}
)";

constexpr std::string_view k_factors = R"(
INLINE void k_factors(Block& o, const uint4& h, int lane) {
  const int j = lane % 8 * 6;
  const u32 scale = (u32)(((u64)h.z << 32 | h.y) >> j) & 63, min = (u32)(((u64)h.w << 32 | h.z) >> (16 + j)) & 63;
  o.a = low_f16(h.x) * (float)(int)scale, o.c = -(high_f16(h.x) * (float)(int)min);
}
)";

constexpr std::string_view q4_K_text = R"(
struct P_q4_K { uint4 q, h; };
INLINE void copy_q4_K(char* to, int lane, const char* p0, const char* p1, u32 b) {
  copy16(to + 16 * lane, p0 + 16ll * b);
  if (lane % 8 == 0) copy16(to + 512 + 2 * lane, p1 + 2ll * b);
}
INLINE P_q4_K get_q4_K(const char* from, int lane) { return {*(const uint4*)(from + 16 * lane), *(const uint4*)(from + 512 + lane / 8 * 16)}; }
INLINE P_q4_K load_q4_K(const char* p0, const char* p1, u32 b) { return {__ldg((const uint4*)p0 + b), __ldg((const uint4*)p1 + b / 8)}; }
INLINE Block unpack_q4_K(const P_q4_K& p, int lane) {
  Block o;
  nibbles(o.w, p.q);
  k_factors(o, p.h, lane);
  return o;
}
)";

constexpr std::string_view q5_K_text = R"(
struct P_q5_K { uint4 q, h; u32 high; };
INLINE void copy_q5_K(char* to, int lane, const char* p0, const char* p1, const char* p2, u32 b) {
  copy16(to + 16 * lane, p0 + 16ll * b);
  copy4(to + 512 + 4 * lane, p1 + 4ll * b);
  if (lane % 8 == 0) copy16(to + 640 + 2 * lane, p2 + 2ll * b);
}
INLINE P_q5_K get_q5_K(const char* from, int lane) {
  return {*(const uint4*)(from + 16 * lane), *(const uint4*)(from + 640 + lane / 8 * 16), *(const u32*)(from + 512 + 4 * lane)};
}
INLINE P_q5_K load_q5_K(const char* p0, const char* p1, const char* p2, u32 b) {
  return {__ldg((const uint4*)p0 + b), __ldg((const uint4*)p2 + b / 8), __ldg((const u32*)p1 + b)};
}
INLINE Block unpack_q5_K(const P_q5_K& p, int lane) {
  Block o;
  nibbles(o.w, p.q);
#pragma unroll
  for (int i = 0; i < 8; ++i) o.w[i] |= ((p.high >> 4 * i & 15) * 0x00204081 & 0x01010101) << 4;  // four bits, one to a byte
  k_factors(o, p.h, lane);
  return o;
}
)";

constexpr std::string_view q6_K_text = R"(
struct P_q6_K { uint4 q; uint2 high; u32 scales; float d; };
INLINE void copy_q6_K(char* to, int lane, const char* p0, const char* p1, const char* p2, const char* p3, u32 b) {
  copy16(to + 16 * lane, p0 + 16ll * b);
  copy8(to + 512 + 8 * lane, p1 + 8ll * b);
  if (lane % 8 == 0) copy16(to + 768 + 2 * lane, p2 + 2ll * b);
  if (lane % 8 == 1) copy4(to + 832 + lane / 8 * 4, p3 + 4ll * (b / 8));
}
INLINE P_q6_K get_q6_K(const char* from, int lane) {
  return {*(const uint4*)(from + 16 * lane), *(const uint2*)(from + 512 + 8 * lane), *(const u16*)(from + 768 + 2 * lane),
          *(const float*)(from + 832 + lane / 8 * 4)};
}
INLINE P_q6_K load_q6_K(const char* p0, const char* p1, const char* p2, const char* p3, u32 b) {
  return {__ldg((const uint4*)p0 + b), __ldg((const uint2*)p1 + b), __ldg((const u16*)p2 + b), __ldg((const float*)p3 + b / 8)};
}
INLINE Block unpack_q6_K(const P_q6_K& p, int) {
  Block o;
  nibbles(o.w, p.q);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    o.w[i] |= (p.high.x >> 2 * i & 0x03030303) << 4;
    o.w[i + 4] |= (p.high.y >> 2 * i & 0x03030303) << 4;
  }
  o.a = p.d * (float)(signed char)(p.scales & 255), o.b = p.d * (float)(signed char)(p.scales >> 8);
  o.c = -32 * o.a, o.d = -32 * o.b;
  return o;
}
)";

/// Rows as they are in the file: pieces of up to 16 bytes, less where a row is no multiple of that. A single 16-bit element is too small
/// for an asynchronous copy.
constexpr std::string_view floats_text = R"(
struct P_$name { $word q; };
INLINE void copy_$name(char* to, int lane, const char* p0, u32 b) { $copy; }
INLINE P_$name get_$name(const char* from, int lane) { return {*(const $word*)(from + $bytes * lane)}; }
INLINE P_$name load_$name(const char* p0, u32 b) { return {__ldg((const $word*)p0 + b)}; }
INLINE Floats<$elements> unpack_$name(const P_$name& p, int) { return {$unpacked}; }
)";

Format floats(DType type, std::int64_t columns) {
  const int size = info(type).bytes, bytes = int(std::gcd(columns * size, std::int64_t{16})), elements = bytes / size;
  const std::string name(heddle::name(type));
  std::string unpacked;
  const int words = std::max(1, bytes / 4);
  constexpr std::string_view fields[] = {".x", ".y", ".z", ".w"};
  for (int i = 0; i < words; ++i) {
    const std::string word = fmt::format("p.q{}", words == 1 ? std::string_view() : fields[i]);
    if (!unpacked.empty()) unpacked += ", ";
    if (type == DType::f32) unpacked += fmt::format("__uint_as_float({})", word);
    else if (type == DType::bf16) unpacked += fmt::format("__uint_as_float((u32){} << 16)", word);
    else unpacked += fmt::format("low_f16({})", word);
    if (size == 4 || elements == 1) continue;
    unpacked += type == DType::bf16 ? fmt::format(", __uint_as_float({} & 0xffff0000)", word) : fmt::format(", high_f16({})", word);
  }
  const std::string word = bytes == 16 ? "uint4" : bytes == 8 ? "uint2" : bytes == 4 ? "u32" : "u16";
  const std::string copy = bytes >= 4 ? fmt::format("copy{0}(to + {0} * lane, p0 + {0}ll * b)", bytes)
                                      : std::string("*(u16*)(to + 2 * lane) = __ldg((const u16*)p0 + b)");
  Format out{.type = type,
             .name = name,
             .elements = elements,
             .stage_bytes = 32 * bytes,
             .lanes_together = 1,
             .integers = false,
             .planes = {0},
             .text = {}};
  out.text = filled(floats_text, {{"name", name},
                                  {"word", word},
                                  {"copy", copy},
                                  {"bytes", std::to_string(bytes)},
                                  {"elements", std::to_string(elements)},
                                  {"unpacked", unpacked}});
  return out;
}

}  // namespace

std::string Format::planes_of(const std::string& base) const {
  std::string out;
  for (std::int64_t offset : planes) out += fmt::format("{}{} + {}", out.empty() ? "" : ", ", base, offset);
  return out;
}

std::string Format::dot() const { return integers ? fmt::format("dot<{}, {}>", halves, offset) : "dot"; }

Result<Format> format_of(DType type, const std::string& layout, std::int64_t rows, std::int64_t columns) {
  const bool in_planes = !plan::planes_of(type).empty();
  if (layout != (in_planes ? "planes" : "rows"))
    return error("weights in {} are stored as {}, the GPU reads {}", name(type), layout, in_planes ? "planes" : "rows");
  if (type == DType::f32 || type == DType::f16 || type == DType::bf16) return floats(type, columns);
  if (!in_planes) return error("weights in {} cannot be read by the GPU", name(type));

  Format out{.type = type,
             .name = std::string(name(type)),
             .elements = 32,
             .stage_bytes = 0,
             .lanes_together = 8,
             .integers = true,
             .planes = {},
             .text = {}};
  for (std::size_t i = 0; i < plan::planes_of(type).size(); ++i) out.planes.push_back(plan::plane_offset(type, rows, columns, i));
  const int together = int(std::gcd(columns / 32, std::int64_t{8}));
  switch (type) {
    case DType::q4_0:
      out.stage_bytes = 512 + 64, out.lanes_together = together, out.offset = true;
      out.text = filled(q4_0_text, {{"factors", copy_factors(together, "512", "p1")}});
      break;
    case DType::q8_0:
      out.stage_bytes = 1024 + 64, out.lanes_together = together;
      out.text = filled(q8_0_text, {{"factors", copy_factors(together, "1024", "p1")}, {"together", std::to_string(together)}});
      break;
    case DType::q4_K:
      out.stage_bytes = 512 + 64, out.offset = true;
      out.text = q4_K_text;
      break;
    case DType::q5_K:
      out.stage_bytes = 512 + 128 + 64, out.offset = true;
      out.text = q5_K_text;
      break;
    case DType::q6_K:
      out.stage_bytes = 512 + 256 + 64 + 16, out.halves = out.offset = true;
      out.text = q6_K_text;
      break;
    default:
      return error("weights in {} cannot be read by the GPU", name(type));
  }
  return out;
}

std::string format_prelude(std::int64_t k, int x_piece) {
  return fmt::format("constexpr u32 K = {}, XPIECE = {};\n{}{}", k, x_piece, common.substr(1), k_factors.substr(1));
}

}  // namespace heddle::codegen::cuda
