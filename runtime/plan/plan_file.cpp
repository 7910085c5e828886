#include "runtime/plan/plan_file.h"

#include <flatbuffers/minireflect.h>

#include <cstring>

#include "ir/base/hash.h"
#include "ir/base/mapped_file.h"
#include "runtime/plan/wire.h"

namespace heddle::plan {
namespace {

constexpr std::size_t header_bytes = 64;
constexpr std::string_view magic{"heddle-plan\0", 12};
constexpr std::size_t version_at = 12, length_at = 16, hash_at = 24, reserved_at = 40;

// FlatBuffers' offsets are 31 bits.
constexpr std::uint64_t max_body = FLATBUFFERS_MAX_BUFFER_SIZE - 1;

template <class T>
void put(std::string& header, std::size_t at, T value) {
  for (std::size_t i = 0; i < sizeof(T); ++i) header[at + i] = char(value >> (8 * i));
}

template <class T>
T get(std::span<const std::byte> header, std::size_t at) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) value |= T(header[at + i]) << (8 * i);
  return value;
}

/// The body of a plan file whose header fits it and whose checksum matches.
Result<std::span<const std::byte>> checked_body(std::span<const std::byte> file) {
  if (file.size() < magic.size() || std::memcmp(file.data(), magic.data(), magic.size()) != 0)
    return error("not a plan: it does not begin with 'heddle-plan'");
  if (file.size() < header_bytes) return error("{} bytes, a plan's header has {}", file.size(), header_bytes);
  if (const auto version = get<std::uint32_t>(file, version_at); version != plan_version)
    return error("plan version {}, this program reads {}", version, plan_version);
  const auto length = get<std::uint64_t>(file, length_at);
  if (length > max_body) return error("the header says {} bytes of body, at most {} are possible", length, max_body);
  if (file.size() - header_bytes != length) return error("{} bytes, the header needs {}", file.size(), header_bytes + length);
  for (std::size_t i = reserved_at; i < header_bytes; ++i)
    if (file[i] != std::byte(0)) return error("byte {} of the header is not zero: the file is damaged", i);
  const auto body = file.subspan(header_bytes);
  if (hash128(body) != Hash128{get<std::uint64_t>(file, hash_at), get<std::uint64_t>(file, hash_at + 8)})
    return error("checksum does not match: the file is damaged");
  return body;
}

/// What FlatBuffers' verifier leaves open. Tables, vectors and strings may be shared, so that a small file could unpack to terabytes
/// (heddle's own writer shares none); vectors of 64-bit numbers may lie anywhere.
class Walk {
 public:
  explicit Walk(std::uint64_t limit) : limit_(limit) {}
  std::uint64_t bytes = 0;  // that unpacking will copy; the walk ends when they are more than the limit
  bool aligned = true;

  void table(const std::uint8_t* object, const flatbuffers::TypeTable* type) {
    const auto* table = reinterpret_cast<const flatbuffers::Table*>(object);
    bytes += sizeof(flatbuffers::soffset_t);
    for (std::size_t i = 0; i < type->num_elems && bytes <= limit_; ++i)
      if (const auto* at = table->GetAddressOf(flatbuffers::FieldIndexToOffset(flatbuffers::voffset_t(i))))
        field(at, type, type->type_codes[i]);
  }

 private:
  static const std::uint8_t* target(const std::uint8_t* offset) { return offset + flatbuffers::ReadScalar<flatbuffers::uoffset_t>(offset); }

  void field(const std::uint8_t* at, const flatbuffers::TypeTable* type, flatbuffers::TypeCode code) {
    const auto kind = flatbuffers::ElementaryType(code.base_type);
    const flatbuffers::TypeTable* child = code.sequence_ref >= 0 ? type->type_refs[code.sequence_ref]() : nullptr;
    if (!code.is_repeating) return element(at, kind, child);
    const auto* vector = reinterpret_cast<const flatbuffers::Vector<std::uint8_t>*>(target(at));
    const std::size_t size = flatbuffers::InlineSize(kind, child);
    bytes += std::uint64_t(vector->size()) * size;
    if (reinterpret_cast<std::uintptr_t>(vector->Data()) % size != 0) aligned = false;
    if (kind != flatbuffers::ET_STRING && kind != flatbuffers::ET_SEQUENCE) return;
    for (std::size_t i = 0; i < vector->size() && bytes <= limit_; ++i) element(vector->Data() + i * size, kind, child);
  }

  void element(const std::uint8_t* at, flatbuffers::ElementaryType kind, const flatbuffers::TypeTable* child) {
    if (kind == flatbuffers::ET_STRING) bytes += reinterpret_cast<const flatbuffers::String*>(target(at))->size();
    if (kind == flatbuffers::ET_SEQUENCE && child->st == flatbuffers::ST_TABLE) table(target(at), child);
  }

  std::uint64_t limit_;
};

/// The root of a body whose structure is sound. `aligned` keeps a copy where the bytes do not lie as FlatBuffers needs them.
Result<const wire::Plan*> checked_root(std::span<const std::byte> body, std::vector<std::uint64_t>& aligned) {
  const auto* data = reinterpret_cast<const std::uint8_t*>(body.data());
  if (reinterpret_cast<std::uintptr_t>(data) % alignof(std::uint64_t) != 0) {
    aligned.resize(body.size() / sizeof(std::uint64_t) + 1);
    std::memcpy(aligned.data(), body.data(), body.size());
    data = reinterpret_cast<const std::uint8_t*>(aligned.data());
  }
  flatbuffers::Verifier::Options options;
  options.max_tables = flatbuffers::uoffset_t(body.size() / sizeof(flatbuffers::soffset_t));  // no table is smaller
  flatbuffers::Verifier verifier(data, body.size(), options);
  if (!wire::VerifyPlanBuffer(verifier)) return error("the body is not a well-formed FlatBuffer");
  const wire::Plan* root = wire::GetPlan(data);
  Walk walk(body.size());
  walk.table(reinterpret_cast<const std::uint8_t*>(root), wire::PlanTypeTable());
  if (!walk.aligned) return error("the body is not a well-formed FlatBuffer");
  if (walk.bytes > body.size()) return error("the body holds the same bytes more than once");
  return root;
}

}  // namespace

std::string serialize(const Plan& plan) { return serialize(to_wire(plan)); }

std::string serialize(const wire::PlanT& tables) {
  flatbuffers::FlatBufferBuilder builder;
  builder.Finish(wire::Plan::Pack(builder, &tables));
  std::string file(header_bytes, '\0');
  file.replace(0, magic.size(), magic);
  const Hash128 hash = hash128(std::as_bytes(std::span(builder.GetBufferPointer(), builder.GetSize())));
  put<std::uint32_t>(file, version_at, plan_version);
  put<std::uint64_t>(file, length_at, builder.GetSize());
  put<std::uint64_t>(file, hash_at, hash.low);
  put<std::uint64_t>(file, hash_at + 8, hash.high);
  file.append(reinterpret_cast<const char*>(builder.GetBufferPointer()), builder.GetSize());
  return file;
}

std::string serialize(const CudaCode& code) {
  flatbuffers::FlatBufferBuilder builder;
  const wire::CudaCodeT table = to_wire(code);
  builder.Finish(wire::CudaCode::Pack(builder, &table));
  return std::string(reinterpret_cast<const char*>(builder.GetBufferPointer()), builder.GetSize());
}

std::optional<CudaCode> parse_code(std::span<const std::byte> bytes) {
  std::vector<std::uint64_t> aligned((bytes.size() + 7) / 8);
  std::memcpy(aligned.data(), bytes.data(), bytes.size());
  const auto* data = reinterpret_cast<const std::uint8_t*>(aligned.data());
  flatbuffers::Verifier verifier(data, bytes.size());
  if (!verifier.VerifyBuffer<wire::CudaCode>(nullptr)) return std::nullopt;
  wire::CudaCodeT table;
  flatbuffers::GetRoot<wire::CudaCode>(data)->UnPackTo(&table);
  return from_wire(std::move(table));
}

Result<std::unique_ptr<Plan>> parse_plan(std::span<const std::byte> file, const std::string& path) {
  auto parse = [&]() -> Result<std::unique_ptr<Plan>> {
    HEDDLE_ASSIGN(const auto body, checked_body(file));
    std::vector<std::uint64_t> aligned;
    HEDDLE_ASSIGN(const wire::Plan* root, checked_root(body, aligned));
    HEDDLE_ASSIGN(auto plan, from_wire(std::move(*std::unique_ptr<wire::PlanT>(root->UnPack()))));
    HEDDLE_TRY(check(*plan));
    return plan;
  };
  auto plan = parse();
  if (!plan.ok()) return plan.take_error().at(path);
  return plan;
}

Result<std::unique_ptr<Plan>> read_plan(const std::string& path) {
  HEDDLE_ASSIGN(const MappedFile file, MappedFile::open(path));
  return parse_plan(file.bytes(), path);
}

Result<PlanSummary> summarize_plan(const std::string& path) {
  HEDDLE_ASSIGN(const MappedFile file, MappedFile::open(path));
  auto summarize = [&]() -> Result<PlanSummary> {
    HEDDLE_ASSIGN(const auto body, checked_body(file.bytes()));
    std::vector<std::uint64_t> aligned;
    HEDDLE_ASSIGN(const wire::Plan* root, checked_root(body, aligned));
    PlanSummary summary;
    if (root->target()) summary.target = root->target()->str();
    if (root->files() && root->files()->size() > 0 && root->files()->Get(0)->path()) summary.model = root->files()->Get(0)->path()->str();
    return summary;
  };
  auto summary = summarize();
  if (!summary.ok()) return summary.take_error().at(path);
  return summary;
}

Result<void> write_plan(const std::string& path, const Plan& plan) {
  const std::string file = serialize(plan);
  return write_file_atomically(path, std::as_bytes(std::span(file)));
}

}  // namespace heddle::plan
