#include "runtime/cuda/upload.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <deque>

#include "ir/base/mapped_file.h"
#include "ir/base/shape.h"
#include "ir/base/thread_pool.h"
#include "runtime/plan/layout.h"
#include "runtime/plan/vectors.h"

namespace heddle::runtime::cuda {
namespace {

constexpr std::uint64_t buffer_bytes = 16 << 20;
constexpr std::size_t buffers = 3;
constexpr int most_threads = 16;                    // beyond, the memory bus is full
constexpr std::int64_t bytes_per_task = 128 << 10;  // what one thread takes at a time

/// Consecutive rows of a weight, all from one source. Weights in their own order are cut anywhere: their rows are bytes.
struct Piece {
  const plan::Weight* weight = nullptr;
  DType dtype = DType::f32;
  const std::byte* from = nullptr;
  std::int64_t row_begin = 0, rows = 0, columns = 0, total_rows = 0;  // of the weight
  std::int64_t row_bytes = 0;                                         // in the file
  DevicePointer to = 0;                                               // the weight's first byte
  std::uint64_t staged_bytes = 0;
  std::uint64_t staged_at = 0;  // in its buffer

  bool planes() const { return weight->layout == Layout::planes; }
  std::int64_t file_bytes() const { return rows * row_bytes; }
};

Piece with_rows(Piece piece, std::int64_t begin, std::int64_t rows) {
  piece.from += begin * piece.row_bytes;
  piece.row_begin += begin;
  piece.rows = rows;
  piece.staged_bytes =
      std::uint64_t(piece.planes() ? *plan::stored_bytes(Layout::planes, piece.dtype, rows, piece.columns) : rows * piece.row_bytes);
  return piece;
}

/// Cuts a source into pieces that fit a buffer.
void cut(const Piece& source, std::vector<Piece>& pieces) {
  const std::uint64_t plane_gaps = 4 * 256;
  const std::int64_t most_rows = std::int64_t((buffer_bytes - plane_gaps) / std::uint64_t(source.row_bytes + source.columns / 64 + 1));
  HEDDLE_CHECK(most_rows > 0, "weight '{}': a row of {} bytes", source.weight->name, source.row_bytes);
  for (std::int64_t begin = 0; begin < source.rows; begin += most_rows)
    pieces.push_back(with_rows(source, begin, std::min(most_rows, source.rows - begin)));
}

/// `made`: takes the vectors whose bytes are in no file.
std::vector<Piece> pieces_of(const plan::Plan& plan, const MemoryLayout& layout, std::span<const MappedFile> files, DevicePointer base,
                             std::deque<std::vector<float>>& made) {
  std::vector<Piece> pieces;
  for (std::size_t i = 0; i < plan.weights.size(); ++i) {
    Piece piece;
    piece.weight = &plan.weights[i];
    piece.dtype = piece.weight->dtype;
    piece.to = base + layout.weights[i];
    const std::int64_t elements = elements_of(piece.weight->shape);
    std::int64_t row_begin = 0;
    for (const auto& source : piece.weight->sources) {
      if (plan::is_made(source)) {
        const std::byte* const file = source.values.empty() ? files[source.file].bytes().data() : nullptr;
        piece.from = reinterpret_cast<const std::byte*>(made.emplace_back(plan::floats_of(source, piece.dtype, file)).data());
      } else {
        piece.from = files[source.file].bytes().data() + source.offset;
      }
      if (piece.planes()) {
        piece.columns = piece.weight->shape.back();
        piece.row_bytes = bytes_of(piece.dtype, piece.columns);
      } else {  // blocks are the rows
        piece.columns = info(piece.dtype).elements;
        piece.row_bytes = info(piece.dtype).bytes;
      }
      piece.total_rows = elements / piece.columns;
      piece.row_begin = row_begin;
      piece.rows = source.rows * source.columns / piece.columns;
      row_begin += piece.rows;
      cut(piece, pieces);
    }
  }
  return pieces;
}

/// Puts `task_rows` of a piece into the buffer.
struct Task {
  const Piece* piece;
  std::int64_t row_begin, rows;  // of the piece

  void run(std::byte* buffer) const {
    std::byte* to = buffer + piece->staged_at;
    const std::byte* from = piece->from + row_begin * piece->row_bytes;
    if (piece->planes()) plan::to_planes(piece->dtype, from, row_begin, rows, piece->columns, piece->rows, to);
    else std::memcpy(to + row_begin * piece->row_bytes, from, std::size_t(rows * piece->row_bytes));
  }
};

void fill(ThreadPool& pool, std::span<const Piece> batch, std::byte* buffer) {
  std::vector<Task> tasks;
  for (const Piece& piece : batch) {
    const std::int64_t step = std::max<std::int64_t>(1, bytes_per_task / piece.row_bytes);
    for (std::int64_t begin = 0; begin < piece.rows; begin += step) tasks.push_back({&piece, begin, std::min(step, piece.rows - begin)});
  }
  std::atomic<std::size_t> next = 0;
  pool.run([&](int) {
    for (std::size_t i = next++; i < tasks.size(); i = next++) tasks[i].run(buffer);
  });
}

/// Queues the copies of a piece: one, or one per plane.
Result<void> send(const Driver& driver, Stream stream, const Piece& piece, const std::byte* buffer) {
  const std::byte* from = buffer + piece.staged_at;
  const auto copy = [&](std::int64_t to, std::int64_t from_offset, std::int64_t bytes) {
    return check(driver, driver.copy_to_device(piece.to + std::uint64_t(to), from + from_offset, std::size_t(bytes), stream),
                 fmt::format("upload of weight '{}'", piece.weight->name));
  };
  if (!piece.planes()) return copy(piece.row_begin * piece.row_bytes, 0, piece.file_bytes());
  const auto planes = plan::planes_of(piece.dtype);
  for (std::size_t p = 0; p < planes.size(); ++p) {
    const std::int64_t bytes_per_row = piece.columns / planes[p].per * planes[p].bytes;
    HEDDLE_TRY(copy(plan::plane_offset(piece.dtype, piece.total_rows, piece.columns, p) + piece.row_begin * bytes_per_row,
                    plan::plane_offset(piece.dtype, piece.rows, piece.columns, p), piece.rows * bytes_per_row));
  }
  return {};
}

/// As many of the next pieces as a buffer holds, each at a multiple of 256.
std::span<Piece> take_batch(std::span<Piece> pieces) {
  std::size_t count = 0;
  for (std::uint64_t end = 0; count < pieces.size(); ++count) {
    const std::uint64_t at = (end + 255) / 256 * 256;
    if (at + pieces[count].staged_bytes > buffer_bytes) break;
    pieces[count].staged_at = at;
    end = at + pieces[count].staged_bytes;
  }
  HEDDLE_CHECK(count > 0, "a piece of {} bytes", pieces[0].staged_bytes);
  return pieces.first(count);
}

struct Buffer {
  OwnedHostMemory memory;
  OwnedEvent sent;  // its last copy is done
  std::byte* data() const { return static_cast<std::byte*>(memory.get()); }
};

}  // namespace

Result<void> upload_weights(const Gpu& gpu, Stream stream, const plan::Plan& plan, const MemoryLayout& layout, DevicePointer base,
                            const Progress& progress) {
  std::vector<MappedFile> files;
  for (const auto& file : plan.files) {
    HEDDLE_ASSIGN(MappedFile mapped, MappedFile::open(file.path));
    if (mapped.bytes().size() != file.bytes)
      return error("{}: has {} bytes, the plan was made for {}", file.path, mapped.bytes().size(), file.bytes);
    files.push_back(std::move(mapped));
  }
  std::deque<std::vector<float>> made;
  std::vector<Piece> pieces = pieces_of(plan, layout, files, base, made);
  std::int64_t total = 0, done = 0;
  for (const Piece& piece : pieces) total += piece.file_bytes();

  const Driver& driver = gpu.driver();
  std::vector<Buffer> ring(std::min(buffers, std::max<std::size_t>(1, std::size_t(total) / buffer_bytes + 1)));
  for (Buffer& buffer : ring) {
    HEDDLE_ASSIGN(buffer.memory, gpu.allocate_pinned(buffer_bytes, "the upload"));
    HEDDLE_ASSIGN(buffer.sent, gpu.make_event());
  }
  ThreadPool pool(std::clamp(usable_processors(), 1, most_threads));
  std::size_t round = 0;
  for (std::span<Piece> left = pieces; !left.empty(); ++round) {
    Buffer& buffer = ring[round % ring.size()];
    if (round >= ring.size()) HEDDLE_TRY(check(driver, driver.event_synchronize(buffer.sent.get()), "upload"));
    const std::span<Piece> batch = take_batch(left);
    fill(pool, batch, buffer.data());
    for (const Piece& piece : batch) {
      HEDDLE_TRY(send(driver, stream, piece, buffer.data()));
      done += piece.file_bytes();
    }
    HEDDLE_TRY(check(driver, driver.event_record(buffer.sent.get(), stream), "cuEventRecord"));
    if (progress) progress(double(done) / double(total));
    left = left.subspan(batch.size());
  }
  return check(driver, driver.stream_synchronize(stream), "upload");
}

}  // namespace heddle::runtime::cuda
