#include "frontends/quantize/quantize.h"

#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <system_error>

#include "frontends/quantize/quantize_q4_0.h"
#include "frontends/quantize/quantize_q4_K.h"
#include "frontends/quoted.h"
#include "ir/base/hash.h"
#include "ir/base/mapped_file.h"
#include "ir/base/new_file.h"
#include "ir/base/shape.h"
#include "ir/base/thread_pool.h"

namespace heddle::frontends {
namespace {

struct FileHeader {
  char magic[16];
  std::uint32_t version, zero;
  std::uint64_t bytes;
  Hash128 from, data;
};
static_assert(sizeof(FileHeader) == 64);

constexpr char magic[16] = "heddle-weights";
constexpr std::uint32_t version = 1;  // of the layout and of the roundings: a better quantiser makes old files stale
constexpr std::uint64_t alignment = 64, chunk_bytes = 16 << 20;

constexpr struct {
  DType type;
  void (*quantize)(const float* in, std::byte* out, std::int64_t blocks);  // null: the format's reference rounding
} formats[] = {{DType::q8_0, nullptr}, {DType::q4_0, quantize_q4_0}, {DType::q4_K, quantize_q4_K}};

bool is_quantized(const TensorInfo& tensor, DType type) {
  const bool plain = tensor.dtype == DType::f32 || tensor.dtype == DType::f16 || tensor.dtype == DType::bf16;
  const bool router = tensor.name.find(".ffn_gate_inp.") != tensor.name.npos;  // small, and a slip of it takes the wrong expert
  return plain && !router && tensor.shape.size() >= 2 && tensor.shape.back() % info(type).elements == 0;
}

/// Of all bytes, chunk by chunk on all threads, then of the chunks' hashes.
Hash128 hash_of_data(std::span<const std::byte> data, ThreadPool& pool) {
  std::vector<Hash128> chunks((data.size() + chunk_bytes - 1) / chunk_bytes);
  std::atomic<std::size_t> next{0};
  pool.run([&](int) {
    for (std::size_t i; (i = next++) < chunks.size();) {
      const auto chunk = data.subspan(i * chunk_bytes, std::min<std::size_t>(chunk_bytes, data.size() - i * chunk_bytes));
      chunks[i] = hash128(chunk);
    }
  });
  return hash128(std::as_bytes(std::span(chunks)));
}

/// Rows of one tensor that a thread quantises at a time.
struct Piece {
  const TensorInfo* from;
  const TensorInfo* to;
  std::int64_t element, count;  // multiples of the block
};

std::vector<Piece> pieces_of(const Model& model, const Model& quantized, DType type) {
  constexpr std::int64_t most = 1 << 16;  // elements: stays in a core's cache
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < model.tensors.size(); ++i) {
    if (!is_quantized(model.tensors[i], type)) continue;
    const std::int64_t elements = elements_of(model.tensors[i].shape);
    for (std::int64_t at = 0; at < elements; at += most)
      pieces.push_back({&model.tensors[i], &quantized.tensors[i], at, std::min(most, elements - at)});
  }
  return pieces;
}

}  // namespace

Result<DType> quantization_named(const std::string& name) {
  std::string known;
  for (const auto& format : formats) {
    if (heddle::name(format.type) == name) return format.type;
    known += fmt::format("{}{}", known.empty() ? "" : ", ", heddle::name(format.type));
  }
  return error("format {} cannot be quantised to (known: {})", frontends::quoted(name), known);
}

Model quantized(Model model, DType type, const std::string& path) {
  std::uint64_t end = sizeof(FileHeader);
  for (TensorInfo& tensor : model.tensors) {
    if (!is_quantized(tensor, type)) continue;
    tensor.dtype = type;
    tensor.file = std::uint32_t(model.files.size());
    tensor.offset = (end + alignment - 1) / alignment * alignment;
    tensor.bytes = std::uint64_t(bytes_of(type, elements_of(tensor.shape)));
    end = tensor.offset + tensor.bytes;
  }
  plan::ModelFile& file = model.files.emplace_back();
  file.path = path;
  file.bytes = end;
  return model;
}

Result<std::string> quantized_from(std::span<const plan::ModelFile> files, const std::string& fingerprint, DType type) {
  std::string out = fmt::format("{} {}", heddle::name(type), fingerprint);
  for (const auto& file : files) {
    struct stat info;
    if (::stat(file.path.c_str(), &info) != 0) return error("{}: cannot open: {}", file.path, std::generic_category().message(errno));
    out += fmt::format("\n{} {}.{:09} {}", info.st_size, info.st_mtim.tv_sec, info.st_mtim.tv_nsec, file.path);
  }
  return out;
}

Result<void> write_quantized(const Model& model, DType type, const std::string& path, const std::string& from,
                             const std::function<void(double)>& progress) {
  const Model to = quantized(model, type, path);
  std::vector<MappedFile> sources;
  for (const auto& file : model.files) {
    HEDDLE_ASSIGN(auto source, MappedFile::open(file.path));
    if (source.bytes().size() != file.bytes) return error("{}: {} bytes, there were {}", file.path, source.bytes().size(), file.bytes);
    sources.push_back(std::move(source));
  }
  HEDDLE_ASSIGN(auto file, NewFile::create(path));
  HEDDLE_ASSIGN(const auto out, file.map(to.files.back().bytes));

  const auto* format = std::ranges::find(formats, type, [](const auto& row) { return row.type; });
  HEDDLE_CHECK(format != std::end(formats), "{}", heddle::name(type));
  const auto quantize = format->quantize ? format->quantize : info(type).quantize;
  const std::vector<Piece> pieces = pieces_of(model, to, type);
  ThreadPool pool(usable_processors());
  std::atomic<std::size_t> next{0};
  pool.run([&](int member) {
    std::vector<float> values;
    for (std::size_t i; (i = next++) < pieces.size();) {
      const Piece& piece = pieces[i];
      const DTypeInfo& source = info(piece.from->dtype);
      values.resize(std::size_t(piece.count));
      const std::byte* in = sources[piece.from->file].bytes().data() + piece.from->offset + std::uint64_t(piece.element * source.bytes);
      source.dequantize(in, values.data(), piece.count);
      quantize(values.data(), out.data() + piece.to->offset + bytes_of(type, piece.element), piece.count / info(type).elements);
      if (member == 0 && progress) progress(double(i) / double(pieces.size()));
    }
  });
  FileHeader header{};
  std::memcpy(header.magic, magic, sizeof magic);
  header.version = version;
  header.bytes = out.size();
  header.from = hash128(from);
  header.data = hash_of_data(out.subspan(sizeof header), pool);
  std::memcpy(out.data(), &header, sizeof header);
  if (progress) progress(1);
  return file.commit();
}

Result<void> check_quantized(const std::string& path, const std::string& from) {
  HEDDLE_ASSIGN(const auto file, MappedFile::open(path));
  const auto bytes = file.bytes();
  FileHeader header;
  if (bytes.size() < sizeof header || std::memcmp(bytes.data(), magic, sizeof magic) != 0)
    return error("{}: no file of quantised weights", path);
  std::memcpy(&header, bytes.data(), sizeof header);
  if (header.version != version) return error("{}: version {}, wanted {}", path, header.version, version);
  if (header.bytes != bytes.size()) return error("{}: {} bytes, wanted {}", path, bytes.size(), header.bytes);
  if (header.from != hash128(from)) return error("{}: it was made from other weights", path);
  ThreadPool pool(usable_processors());
  if (header.data != hash_of_data(bytes.subspan(sizeof header), pool)) return error("{}: its checksum is wrong", path);
  return {};
}

}  // namespace heddle::frontends
