#include "frontends/gguf/file.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <unordered_set>

#include "frontends/quoted.h"

namespace heddle::frontends::gguf {
namespace {

static_assert(std::endian::native == std::endian::little, "values are loaded as they are stored");

/// Reads from front to back; every error begins with the file and `place`, the part of it that is being read.
class Cursor {
 public:
  Cursor(std::span<const std::byte> bytes, const std::string& path) : bytes_(bytes), path_(path) {}
  std::string place;

  std::uint64_t position() const { return position_; }
  std::uint64_t left() const { return bytes_.size() - position_; }
  Error bad(std::string_view message) const { return error("{}: {}: {}", path_, place, message); }

  Result<std::span<const std::byte>> take(std::uint64_t count) {
    if (count > left()) return bad(fmt::format("the file ends at byte {}, wanted {} bytes at byte {}", bytes_.size(), count, position_));
    const auto taken = bytes_.subspan(position_, count);
    position_ += count;
    return taken;
  }
  template <class T>
  Result<T> read() {
    HEDDLE_ASSIGN(const auto taken, take(sizeof(T)));
    T value;
    std::memcpy(&value, taken.data(), sizeof value);
    return value;
  }
  /// u64 length, then that many bytes.
  Result<std::span<const std::byte>> string() {
    HEDDLE_ASSIGN(const auto length, read<std::uint64_t>());
    if (length > left()) return bad(fmt::format("a string of {} bytes, but {} are left in the file", length, left()));
    return take(length);
  }
  Result<std::string_view> text() {
    HEDDLE_ASSIGN(const auto taken, string());
    return std::string_view(reinterpret_cast<const char*>(taken.data()), taken.size());
  }

 private:
  std::span<const std::byte> bytes_;
  const std::string& path_;
  std::uint64_t position_ = 0;
};

struct Header {
  std::uint64_t tensors = 0, keys = 0;
};

// What an entry takes at least: an absurd count is seen before anything is made for it.
constexpr std::uint64_t least_key_bytes = 8 + 4 + 1, least_tensor_bytes = 8 + 4 + 8 + 4 + 8;

Result<Header> read_header(Cursor& in, const std::string& path) {
  in.place = "header";
  HEDDLE_ASSIGN(const auto magic, in.take(4));
  if (std::memcmp(magic.data(), "GGUF", 4) != 0) {
    return error("{}: first bytes are {}, a GGUF file begins with 'GGUF'", path,
                 quoted({reinterpret_cast<const char*>(magic.data()), magic.size()}));
  }
  HEDDLE_ASSIGN(const auto version, in.read<std::uint32_t>());
  if ((version & 0xffff) == 0 && version != 0) return error("{}: a big-endian GGUF file, only little-endian ones are supported", path);
  if (version != 2 && version != 3) return error("{}: GGUF version {} is not supported (supported: 2, 3)", path, version);
  Header header;
  HEDDLE_ASSIGN(header.tensors, in.read<std::uint64_t>());
  HEDDLE_ASSIGN(header.keys, in.read<std::uint64_t>());
  if (header.keys > in.left() / least_key_bytes) {
    return in.bad(fmt::format("{} metadata keys do not fit in the {} bytes that follow", header.keys, in.left()));
  }
  if (header.tensors > in.left() / least_tensor_bytes) {
    return in.bad(fmt::format("{} tensors do not fit in the {} bytes that follow", header.tensors, in.left()));
  }
  return header;
}

Result<ValueType> read_type(Cursor& in) {
  HEDDLE_ASSIGN(const auto id, in.read<std::uint32_t>());
  if (id >= value_type_count) return in.bad(fmt::format("value type {} is unknown", id));
  return ValueType(id);
}

Result<void> check_bools(Cursor& in, std::span<const std::byte> bytes) {
  for (const std::byte b : bytes) {
    if (std::to_integer<unsigned>(b) > 1) return in.bad(fmt::format("found {}, a bool is 0 or 1", std::to_integer<unsigned>(b)));
  }
  return {};
}

Result<Value> read_value(Cursor& in) {
  Value value;
  HEDDLE_ASSIGN(value.type, read_type(in));
  if (value.type == ValueType::string) {
    HEDDLE_ASSIGN(value.bytes, in.string());
    return value;
  }
  if (value.type != ValueType::array) {
    HEDDLE_ASSIGN(value.bytes, in.take(size_of(value.type)));
    if (value.type == ValueType::boolean) HEDDLE_TRY(check_bools(in, value.bytes));
    return value;
  }
  HEDDLE_ASSIGN(value.element, read_type(in));
  if (value.element == ValueType::array) return in.bad("arrays of arrays are not supported");
  HEDDLE_ASSIGN(value.count, in.read<std::uint64_t>());
  const std::uint64_t least = value.element == ValueType::string ? sizeof(std::uint64_t) : size_of(value.element);
  if (value.count > in.left() / least) {
    return in.bad(fmt::format("{} entries do not fit in the {} bytes that are left in the file", value.count, in.left()));
  }
  if (value.element != ValueType::string) {
    HEDDLE_ASSIGN(value.bytes, in.take(value.count * least));
    if (value.element == ValueType::boolean) HEDDLE_TRY(check_bools(in, value.bytes));
    return value;
  }
  Cursor ahead = in;
  for (std::uint64_t i = 0; i < value.count; ++i) HEDDLE_TRY(ahead.text());
  HEDDLE_ASSIGN(value.bytes, in.take(ahead.position() - in.position()));
  return value;
}

Result<void> read_metadata(Cursor& in, std::uint64_t keys, Metadata& metadata) {
  for (std::uint64_t i = 0; i < keys; ++i) {
    in.place = fmt::format("metadata entry {} of {}", i + 1, keys);
    HEDDLE_ASSIGN(const auto key, in.text());
    if (key.empty()) return in.bad("the key is empty");
    in.place = fmt::format("key {}", quoted(key));
    HEDDLE_ASSIGN(const auto value, read_value(in));
    if (!metadata.add(key, value)) return in.bad("is there twice");
  }
  return {};
}

struct ForeignType {
  std::uint32_t id;
  std::string_view name;
};
// Tensor types that heddle does not read (source: enum ggml_type in ggml.h, with those that it has given up).
constexpr ForeignType foreign_types[] = {
    {4, "q4_2"},        {5, "q4_3"},        {9, "q8_1"},        {15, "q8_K"},     {16, "iq2_xxs"},  {17, "iq2_xs"}, {18, "iq3_xxs"},
    {19, "iq1_s"},      {21, "iq3_s"},      {22, "iq2_s"},      {24, "i8"},       {25, "i16"},      {26, "i32"},    {27, "i64"},
    {28, "f64"},        {29, "iq1_m"},      {31, "q4_0_4_4"},   {32, "q4_0_4_8"}, {33, "q4_0_8_8"}, {34, "tq1_0"},  {35, "tq2_0"},
    {36, "iq4_nl_4_4"}, {37, "iq4_nl_4_8"}, {38, "iq4_nl_8_8"}, {40, "nvfp4"},    {41, "q1_0"},
};

// Formats for activations and indices have ids too, but are no weights.
bool is_weight_type(DType type) { return type != DType::q8_1 && type != DType::q8_K && type != DType::i32; }

Result<DType> read_tensor_type(Cursor& in) {
  HEDDLE_ASSIGN(const auto id, in.read<std::uint32_t>());
  const auto type = id <= 0x7fffffff ? dtype_of_ggml(int(id)) : std::nullopt;
  if (type && is_weight_type(*type)) return *type;
  std::string supported;
  for (const DTypeInfo& row : all_dtypes()) {
    if (row.ggml >= 0 && is_weight_type(*dtype_of_ggml(row.ggml)))
      supported += fmt::format("{}{}", supported.empty() ? "" : ", ", row.name);
  }
  const auto* const foreign = std::ranges::find(foreign_types, id, &ForeignType::id);
  if (foreign == std::end(foreign_types)) return in.bad(fmt::format("tensor type {} is unknown (supported: {})", id, supported));
  return in.bad(fmt::format("tensor type {} ({}) is not supported (supported: {})", foreign->name, id, supported));
}

/// `dims` innermost first. Sets shape and bytes.
Result<void> set_shape(Cursor& in, std::span<const std::uint64_t> dims, TensorInfo& tensor) {
  std::uint64_t elements = 1;
  for (const std::uint64_t dim : dims) {
    if (dim == 0) return in.bad("a dimension is 0");
    if (__builtin_mul_overflow(elements, dim, &elements) || elements > std::uint64_t(std::numeric_limits<std::int64_t>::max() / 16)) {
      return in.bad(fmt::format("too many elements: dimensions are {}", fmt::join(dims, " x ")));
    }
    tensor.shape.insert(tensor.shape.begin(), std::int64_t(dim));
  }
  const DTypeInfo& type = info(tensor.dtype);
  if (dims[0] % std::uint64_t(type.elements) != 0) {
    return in.bad(fmt::format("rows of {} elements do not divide into the {}-element blocks of {}", dims[0], type.elements, type.name));
  }
  tensor.bytes = elements / std::uint64_t(type.elements) * std::uint64_t(type.bytes);
  return {};
}

Result<std::vector<TensorInfo>> read_tensors(Cursor& in, std::uint64_t count, std::uint64_t alignment) {
  std::vector<TensorInfo> tensors;
  std::unordered_set<std::string_view> names;
  for (std::uint64_t i = 0; i < count; ++i) {
    in.place = fmt::format("tensor {} of {}", i + 1, count);
    HEDDLE_ASSIGN(const auto name, in.text());
    if (name.empty()) return in.bad("the name is empty");
    in.place = fmt::format("tensor {}", quoted(name));
    if (!names.insert(name).second) return in.bad("is there twice");
    TensorInfo& tensor = tensors.emplace_back();
    tensor.name = name;
    HEDDLE_ASSIGN(const auto rank, in.read<std::uint32_t>());
    if (rank < 1 || rank > 4) return in.bad(fmt::format("found {} dimensions, wanted 1 to 4", rank));
    std::uint64_t dims[4];
    for (std::uint32_t d = 0; d < rank; ++d) {
      HEDDLE_ASSIGN(dims[d], in.read<std::uint64_t>());
    }
    HEDDLE_ASSIGN(tensor.dtype, read_tensor_type(in));
    HEDDLE_TRY(set_shape(in, std::span(dims, rank), tensor));
    HEDDLE_ASSIGN(tensor.offset, in.read<std::uint64_t>());
    if (tensor.offset % alignment != 0)
      return in.bad(fmt::format("offset {} is not a multiple of the alignment {}", tensor.offset, alignment));
  }
  return tensors;
}

/// Makes offsets count from the start of the file; every tensor lies inside it and none overlaps another.
Result<void> place_tensors(const std::string& path, std::uint64_t file_bytes, File& file) {
  for (TensorInfo& tensor : file.tensors) {
    const std::uint64_t room = file_bytes > file.data_begin ? file_bytes - file.data_begin : 0;
    if (tensor.offset > room || tensor.bytes > room - tensor.offset) {
      return error("{}: tensor {}: {} bytes at offset {} of the data section, which has {}", path, quoted(tensor.name), tensor.bytes,
                   tensor.offset, room);
    }
    tensor.offset += file.data_begin;
  }
  std::vector<const TensorInfo*> by_offset;
  for (const TensorInfo& tensor : file.tensors) by_offset.push_back(&tensor);
  std::stable_sort(by_offset.begin(), by_offset.end(), [](const TensorInfo* a, const TensorInfo* b) { return a->offset < b->offset; });
  for (std::size_t i = 1; i < by_offset.size(); ++i) {
    const TensorInfo &before = *by_offset[i - 1], &tensor = *by_offset[i];
    if (tensor.offset < before.offset + before.bytes) {
      return error("{}: tensor {} overlaps tensor {}", path, quoted(tensor.name), quoted(before.name));
    }
  }
  return {};
}

}  // namespace

Result<File> parse(std::span<const std::byte> bytes, const std::string& path) {
  File file{.metadata = Metadata(path), .tensors = {}};
  Cursor in(bytes, path);
  HEDDLE_ASSIGN(const auto header, read_header(in, path));
  HEDDLE_TRY(read_metadata(in, header.keys, file.metadata));
  HEDDLE_ASSIGN(const auto alignment, file.metadata.integer_or("general.alignment", 32));
  if (alignment < 1 || alignment > (std::int64_t(1) << 30) || !std::has_single_bit(std::uint64_t(alignment))) {
    return file.metadata.bad("general.alignment", fmt::format("found {}, wanted a power of two", alignment));
  }
  HEDDLE_ASSIGN(file.tensors, read_tensors(in, header.tensors, std::uint64_t(alignment)));
  file.data_begin = (in.position() + std::uint64_t(alignment) - 1) / std::uint64_t(alignment) * std::uint64_t(alignment);
  HEDDLE_TRY(place_tensors(path, bytes.size(), file));
  return file;
}

}  // namespace heddle::frontends::gguf
