#include "frontends/safetensors/header.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <unordered_set>

#include "frontends/quoted.h"

namespace heddle::frontends::safetensors {
namespace {

static_assert(std::endian::native == std::endian::little, "values are loaded as they are stored");

constexpr std::uint64_t longest_header = 100'000'000;  // as the format says

constexpr struct {
  std::string_view name;
  DType type;
} supported_types[] = {{"BF16", DType::bf16}, {"F16", DType::f16}, {"F32", DType::f32}};

std::optional<DType> type_named(std::string_view name) {
  for (const auto& row : supported_types) {
    if (row.name == name) return row.type;
  }
  return std::nullopt;
}

/// Takes the header's tokens one by one, so that nothing is built but the table; the first that does not belong there ends it.
class Reader {
 public:
  explicit Reader(std::vector<TensorInfo>& tensors) : tensors_(tensors) {}
  std::string message;  // of the error, with its place in the header

  bool null() { return wrong("null"); }
  bool boolean(bool) { return wrong("a truth value"); }
  bool number_integer(std::int64_t) { return wrong("a negative number"); }
  bool number_float(double, const std::string&) { return wrong("a number with a fraction"); }
  bool binary(std::vector<std::uint8_t>&) { return wrong("bytes"); }

  bool number_unsigned(std::uint64_t value) {
    if (at_ != in_list) return wrong("a number");
    if (field_ == "shape") {
      if (value < 1 || value > std::uint64_t(std::numeric_limits<std::int64_t>::max()))
        return bad(fmt::format("a dimension is {}, wanted at least 1", value));
      if (tensor().shape.size() == 4) return bad("more than 4 dimensions");
      tensor().shape.push_back(std::int64_t(value));
    } else {
      if (offsets_.size() == 2) return bad("more than two data_offsets");
      offsets_.push_back(value);
    }
    return true;
  }

  bool string(std::string& value) {
    if (at_ == in_metadata) return true;
    if (at_ != in_tensor || field_ != "dtype") return wrong("a text");
    const auto type = type_named(value);
    if (!type) return bad(fmt::format("type {} is not supported (supported: BF16, F16, F32)", frontends::quoted(value)));
    tensor().dtype = *type;
    return true;
  }

  bool key(std::string& name) {
    if (at_ == in_header) {
      is_metadata_ = name == "__metadata__";
      if (is_metadata_) return true;
      if (name.empty()) return bad("a name is empty");
      if (!names_.insert(name).second) return bad(fmt::format("tensor {} is there twice", frontends::quoted(name)));
      tensors_.emplace_back().name = name;
      has_type_ = has_shape_ = false;
      offsets_.clear();
    } else if (at_ == in_tensor) {
      bool* seen = name == "dtype" ? &has_type_ : name == "shape" ? &has_shape_ : nullptr;
      if (!seen && name != "data_offsets") return bad(fmt::format("field {} is unknown", frontends::quoted(name)));
      if (seen ? std::exchange(*seen, true) : !offsets_.empty()) return bad(fmt::format("field '{}' is there twice", name));
      field_ = name;
    }
    return true;
  }

  bool start_object(std::size_t) {
    if (at_ == before) return enter(in_header);
    if (at_ == in_header) return enter(is_metadata_ ? in_metadata : in_tensor);
    return wrong("an object");
  }
  bool end_object() {
    if (at_ == in_tensor) {
      for (const auto& [there, name] : {std::pair(has_type_, "dtype"), {has_shape_, "shape"}, {offsets_.size() == 2, "data_offsets"}}) {
        if (!there) return bad(fmt::format("field '{}' is missing or incomplete", name));
      }
      if (!set_bytes()) return false;
    }
    at_ = at_ == in_header ? before : in_header;
    return true;
  }
  bool start_array(std::size_t) {
    if (at_ != in_tensor || field_ == "dtype") return wrong("a list");
    return enter(in_list);
  }
  bool end_array() { return enter(in_tensor); }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception&) {
    message = fmt::format("the header is no JSON at its byte {}", position);
    return false;
  }

 private:
  enum Place { before, in_header, in_metadata, in_tensor, in_list };
  bool enter(Place place) {
    at_ = place;
    return true;
  }
  TensorInfo& tensor() { return tensors_.back(); }

  bool bad(const std::string& what) {
    message = at_ == in_tensor || at_ == in_list ? fmt::format("tensor {}: {}", frontends::quoted(tensor().name), what)
                                                 : fmt::format("header: {}", what);
    return false;
  }
  bool wrong(const char* found) {
    const char* wanted = at_ == in_metadata  ? "a text"
                         : at_ == in_list    ? "a number"
                         : at_ != in_tensor  ? "an object"
                         : field_ == "dtype" ? "a text"
                                             : "a list";
    return bad(fmt::format("found {}, wanted {}", found, wanted));
  }

  /// From shape, type and offsets; keeps the offset relative.
  bool set_bytes() {
    std::uint64_t bytes = std::uint64_t(info(tensor().dtype).bytes);
    if (tensor().shape.empty()) return bad("found 0 dimensions, wanted 1 to 4");
    for (const std::int64_t dim : tensor().shape) {
      if (__builtin_mul_overflow(bytes, std::uint64_t(dim), &bytes) || bytes > std::uint64_t(std::numeric_limits<std::int64_t>::max()))
        return bad(fmt::format("too many elements: the shape is [{}]", fmt::join(tensor().shape, ", ")));
    }
    if (offsets_[1] < offsets_[0] || offsets_[1] - offsets_[0] != bytes)
      return bad(fmt::format("data_offsets are {} to {}, shape [{}] of {} has {} bytes", offsets_[0], offsets_[1],
                             fmt::join(tensor().shape, ", "), name(tensor().dtype), bytes));
    tensor().offset = offsets_[0];
    tensor().bytes = bytes;
    return true;
  }

  std::vector<TensorInfo>& tensors_;
  std::unordered_set<std::string> names_;
  Place at_ = before;
  bool is_metadata_ = false, has_type_ = false, has_shape_ = false;
  std::string field_;
  std::vector<std::uint64_t> offsets_;
};

/// Every tensor begins where another ends, and the last one ends with the file; then makes offsets count from the start of the file.
Result<void> place_tensors(const std::string& path, std::uint64_t file_bytes, Header& header) {
  std::vector<TensorInfo*> by_offset;
  for (TensorInfo& tensor : header.tensors) by_offset.push_back(&tensor);
  std::ranges::sort(by_offset, {}, &TensorInfo::offset);
  std::uint64_t end = 0;
  const TensorInfo* before = nullptr;
  const std::uint64_t room = file_bytes - header.bytes;
  for (TensorInfo* tensor : by_offset) {
    if (tensor->offset < end)
      return error("{}: tensor {} overlaps tensor {}", path, frontends::quoted(tensor->name), frontends::quoted(before->name));
    if (tensor->offset > end) return error("{}: bytes {} to {} behind the header belong to no tensor", path, end, tensor->offset);
    if (tensor->bytes > room - end)
      return error("{}: tensor {}: {} bytes at byte {} behind the header, where the file has {}", path, frontends::quoted(tensor->name),
                   tensor->bytes, tensor->offset, room);
    end += tensor->bytes;
    before = tensor;
    tensor->offset += header.bytes;
  }
  if (end != room) return error("{}: bytes {} to {} behind the header belong to no tensor", path, end, room);
  return {};
}

}  // namespace

Result<Header> parse_header(std::span<const std::byte> bytes, const std::string& path) {
  std::uint64_t length = 0;
  if (bytes.size() < sizeof length) return error("{}: {} bytes are no safetensors file", path, bytes.size());
  std::memcpy(&length, bytes.data(), sizeof length);
  const std::uint64_t room = bytes.size() - sizeof length;
  if (length > longest_header || length > room)
    return error("{}: a header of {} bytes, wanted at most {}", path, length, std::min(longest_header, room));
  Header header;
  header.bytes = sizeof length + length;
  const char* text = reinterpret_cast<const char*>(bytes.data()) + sizeof length;
  Reader reader(header.tensors);
  if (!nlohmann::json::sax_parse(text, text + length, &reader)) return error("{}: {}", path, reader.message);
  HEDDLE_TRY(place_tensors(path, bytes.size(), header));
  return header;
}

}  // namespace heddle::frontends::safetensors
