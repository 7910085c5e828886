#include "codegen/cuda/device/lane_formats.h"

#include <algorithm>
#include <numeric>

#include "codegen/cuda/source_text.h"
#include "ir/base/blocks.h"
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
INLINE u32 spread(u32 bits) { return (bits & 15) * 0x00204081 & 0x01010101; }  // four bits, one to a byte
template <int TO> INLINE void add_bits(int* w, u32 bits) {
#pragma unroll
  for (int i = 0; i < 8; ++i) w[i] |= spread(bits >> 4 * i) << TO;
}
// two words with two bits of every element
INLINE void pairs(int* w, const uint2& q) {
#pragma unroll
  for (int i = 0; i < 4; ++i) w[i] = q.x >> 2 * i & 0x03030303, w[i + 4] = q.y >> 2 * i & 0x03030303;
}
// eight codes of 4 bits: the bytes of `t` that the low ones and the high ones stand for
INLINE void look_up(const uint4& t, u32 q, u32& low, u32& high) {
  const u32 place = q & 0x77777777, second = (q >> 1 & 0x44444444) | 0x32103210;
  const u32 x = __byte_perm(__byte_perm(t.x, t.y, place), __byte_perm(t.z, t.w, place), second);
  const u32 y = __byte_perm(__byte_perm(t.x, t.y, place >> 16), __byte_perm(t.z, t.w, place >> 16), second >> 16);
  low = __byte_perm(x, y, 0x6420), high = __byte_perm(x, y, 0x7531);
}
INLINE void codes(int* w, const uint4& q, const uint4& t) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    u32 low, high;
    look_up(t, word(q, i), low, high);
    w[i] = low, w[i + 4] = high;
  }
}
)";

/// What is particular to a format in planes. `unpack` fills Block o from `p`, a piece with a field for each plane by its name: uint4, uint2
/// or, of 4 bytes and fewer, u32. `lane` % 8 is the piece's place in 256 columns.
struct BlockFormat {
  DType type;
  bool halves, offset, is_signed;  // as in Format
  std::string_view unpack;
};

constexpr BlockFormat block_formats[] = {
    {DType::q4_0, false, true, false, R"(
  nibbles(o.w, p.qs);
  o.a = low_f16(p.d), o.c = -8 * o.a;)"},
    {DType::q4_1, false, true, false, R"(
  nibbles(o.w, p.qs);
  o.a = low_f16(p.dm), o.c = high_f16(p.dm);)"},
    {DType::q5_0, false, true, false, R"(
  nibbles(o.w, p.qs);
  add_bits<4>(o.w, p.qh);
  o.a = low_f16(p.d), o.c = -16 * o.a;)"},
    {DType::q5_1, false, true, false, R"(
  nibbles(o.w, p.qs);
  add_bits<4>(o.w, p.qh);
  o.a = low_f16(p.dm), o.c = high_f16(p.dm);)"},
    {DType::q2_K, true, true, false, R"(
  pairs(o.w, p.qs);
  const float d = low_f16(p.dm), dmin = high_f16(p.dm);
  o.a = d * (float)(int)(p.scales & 15), o.b = d * (float)(int)(p.scales >> 8 & 15);
  o.c = -(dmin * (float)(int)(p.scales >> 4 & 15)), o.d = -(dmin * (float)(int)(p.scales >> 12));)"},
    {DType::q3_K, true, true, false, R"(
  pairs(o.w, p.qs);
  add_bits<2>(o.w, p.qh);
  q3_factors(o, p.header, lane);)"},
    {DType::q4_K, false, true, false, R"(
  nibbles(o.w, p.qs);
  k_factors(o, p.header, lane);)"},
    {DType::q5_K, false, true, false, R"(
  nibbles(o.w, p.qs);
  add_bits<4>(o.w, p.qh);
  k_factors(o, p.header, lane);)"},
    {DType::q6_K, true, true, false, R"(
  nibbles(o.w, p.ql);
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    o.w[i] |= (p.qh.x >> 2 * i & 0x03030303) << 4;
    o.w[i + 4] |= (p.qh.y >> 2 * i & 0x03030303) << 4;
  }
  const float d = __uint_as_float(p.d);
  o.a = d * (float)(signed char)(p.scales & 255), o.b = d * (float)(signed char)(p.scales >> 8);
  o.c = -32 * o.a, o.d = -32 * o.b;)"},
    {DType::iq4_nl, false, false, true, R"(
  codes(o.w, p.qs, iq4_values);
  o.a = low_f16(p.d);)"},
    {DType::iq4_xs, false, false, true, R"(
  codes(o.w, p.qs, iq4_values);
  o.a = iq4_factor(p.header, lane);)"},
    {DType::mxfp4, false, false, true, R"(
  codes(o.w, p.qs, fp4_values);
  o.a = e8m0_half(p.e);)"},
};

/// Factors that both a lane's piece and tiles read.
constexpr std::string_view header_factors = R"(
INLINE void k_factors(Block& o, const uint4& h, int lane) {
  const int j = lane % 8 * 6;
  const u32 scale = (u32)(((u64)h.z << 32 | h.y) >> j) & 63, min = (u32)(((u64)h.w << 32 | h.z) >> (16 + j)) & 63;
  o.a = low_f16(h.x) * (float)(int)scale, o.c = -(high_f16(h.x) * (float)(int)min);
}
INLINE void q3_factors(Block& o, const uint4& h, int lane) {
  const int j = lane % 8;
  const u32 low = (u32)(((u64)h.z << 32 | h.y) >> 8 * j) & 255, high = h.w >> 4 * j;
  const float d = low_f16(h.x);
  o.a = d * (float)((int)(low & 15 | (high & 3) << 4) - 32), o.b = d * (float)((int)(low >> 4 | (high >> 2 & 3) << 4) - 32);
  o.c = -4 * o.a, o.d = -4 * o.b;
}
INLINE float iq4_factor(const uint2& h, int lane) {
  const int j = lane % 8;
  return low_f16(h.x) * (float)((int)(h.y >> 4 * j & 15 | (h.x >> (16 + 2 * j) & 3) << 4) - 32);
}
INLINE float e8m0_half(u32 e) { return __uint_as_float(e < 2 ? 0x00200000u << e : (e - 1) << 23); }
)";

/// "#define name make_uint4(...)": 16 signed bytes.
std::string define_table(std::string_view name, const std::int8_t (&values)[16]) {
  std::uint32_t words[4] = {};
  for (unsigned i = 0; i < 16; ++i) words[i / 4] |= std::uint32_t(std::uint8_t(values[i])) << (i % 4 * 8);
  return fmt::format("#define {} make_uint4({:#x}u, {:#x}u, {:#x}u, {:#x}u)\n", name, words[0], words[1], words[2], words[3]);
}

/// The word in which a lane holds what it has of a plane, and the one that it is in memory.
std::string_view held_word(int bytes) { return bytes == 16 ? "uint4" : bytes == 8 ? "uint2" : "u32"; }
std::string_view stored_word(int bytes) { return bytes == 2 ? "u16" : bytes == 1 ? "unsigned char" : held_word(bytes); }

/// Text of a format whose lanes hold one piece of each plane. Small pieces, and those of 256 elements, are copied by one lane for several;
/// what `together` lanes have is still too small for an asynchronous copy where a row has few common factors with 8.
void add_block_text(const BlockFormat& format, int together, Format& out) {
  const auto planes = plan::planes_of(format.type);
  std::string fields, parameters, copies, gets, loads;
  int at = 0, shared_planes = 0;  // each of 256 elements is another lane's
  for (std::size_t i = 0; i < planes.size(); ++i) {
    const auto& [name, bytes, per] = planes[i];
    const std::string_view comma = i == 0 ? "" : ", ", word = stored_word(bytes);
    fields += fmt::format(" {} {};", held_word(bytes), name);
    parameters += fmt::format("const char* p{}, ", i);
    if (per == 256) {
      // The first lane's place needs no division.
      const bool first = bytes % 8 == 0 && shared_planes == 0;
      const std::string to = first ? fmt::format("{} * lane", bytes / 8) : fmt::format("lane / 8 * {}", bytes);
      const std::string from = first ? fmt::format("{}ll * b", bytes / 8) : fmt::format("{}ll * (b / 8)", bytes);
      copies += fmt::format("  if (lane % 8 == {}) copy{}(to + {} + {}, p{} + {});\n", shared_planes++, bytes, at, to, i, from);
      gets += fmt::format("{}*(const {}*)(from + {} + lane / 8 * {})", comma, word, at, bytes);
      loads += fmt::format("{}__ldg((const {}*)p{} + b / 8)", comma, word, i);
      at += 4 * bytes;
      continue;
    }
    if (bytes >= 4) {
      copies += fmt::format("  copy{}(to + {} + {} * lane, p{} + {}ll * b);\n", bytes, at, bytes, i, bytes);
    } else if (bytes * together < 4) {
      copies += fmt::format("  *({0}*)(to + {1} + {2} * lane) = __ldg((const {0}*)p{3} + b);\n", word, at, bytes, i);
    } else {
      copies += fmt::format("  if (lane % {} == 0) copy{}(to + {} + {} * lane, p{} + {}ll * b);\n", together, bytes * together, at, bytes,
                            i, bytes);
      ++shared_planes;
    }
    gets += fmt::format("{}*(const {}*)(from + {} + {} * lane)", comma, word, at, bytes);
    loads += fmt::format("{}__ldg((const {}*)p{} + b)", comma, word, i);
    at += 32 * bytes;
  }
  constexpr std::string_view text = R"(
struct P_$name {$fields };
INLINE void copy_$name(char* to, int lane, $parameters) {
$copies}
INLINE P_$name get_$name(const char* from, int lane) { return {$gets}; }
INLINE P_$name load_$name($parameters) { return {$loads}; }
INLINE Block unpack_$name(const P_$name& p, int lane) {
  Block o;$unpack
  return o;
}
)";
  const Words words{{"name", out.name}, {"fields", fields}, {"parameters", parameters + "u32 b"},  {"copies", copies},
                    {"gets", gets},     {"loads", loads},   {"unpack", std::string(format.unpack)}};
  out.halves = format.halves, out.offset = format.offset, out.is_signed = format.is_signed;
  out.stage_bytes = at;
  out.text = filled(text, words);
}

/// f16 factors, one for 32 elements, that `together` lanes copy as one. Single ones are too small for an asynchronous copy.
std::string copy_factors(int together, std::string_view at, std::string_view plane) {
  if (together == 1) return fmt::format("*(u16*)(to + {0} + 2 * lane) = __ldg((const u16*){1} + b);", at, plane);
  return fmt::format("if (lane % {0} == 0) copy{1}(to + {2} + 2 * lane, {3} + 2ll * b);", together, 2 * together, at, plane);
}

/// $together lanes copy their blocks in common, neighbouring lanes neighbouring 16 bytes: where the halves of a sector of 32 bytes are
/// copied apart, or to places apart, the sector is asked for twice. Of every eight lanes four read their last half first, so that they do
/// not meet in a bank.
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

Result<Format> format_of(DType type, Layout layout, std::int64_t rows, std::int64_t columns) {
  const bool in_planes = !plan::planes_of(type).empty();
  if (const Layout wanted = in_planes ? Layout::planes : Layout::rows; layout != wanted)
    return error("weights in {} are stored as {}, the GPU reads {}", name(type), layout, wanted);
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
  if (type == DType::q8_0) {
    out.stage_bytes = 1024 + 64, out.lanes_together = together, out.is_signed = true;
    out.text = filled(q8_0_text, {{"factors", copy_factors(together, "1024", "p1")}, {"together", std::to_string(together)}});
    return out;
  }
  const auto* const format = std::ranges::find(block_formats, type, &BlockFormat::type);
  if (format == std::end(block_formats)) return error("weights in {} cannot be read by the GPU", name(type));
  const auto planes = plan::planes_of(type);
  const bool small = std::ranges::any_of(planes, [](const plan::Plane& plane) { return plane.bytes < 4 || plane.per == 256; });
  out.lanes_together = small ? together : 1;
  add_block_text(*format, together, out);
  return out;
}

std::string format_prelude(std::int64_t k, int x_piece) {
  return fmt::format("constexpr u32 K = {}, XPIECE = {};\n{}{}{}", k, x_piece, common.substr(1),
                     define_table("iq4_values", iq4_values) + define_table("fp4_values", fp4_values), header_factors.substr(1));
}

}  // namespace heddle::codegen::cuda
