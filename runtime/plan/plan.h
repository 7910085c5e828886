#pragma once
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ir/base/entry_kind.h"
#include "ir/base/format_by_name.h"
#include "ir/base/target_name.h"
#include "runtime/plan/kernel_spec.h"
#include "runtime/plan/vocabulary.h"

/// A plan: everything a runner needs except the weights' bytes. plan_file.h reads and writes it.
namespace heddle::plan {

/// What a GPU needs beside the spec.
struct CudaCode {
  std::string entry, text, ptx;
  std::vector<std::uint8_t> cubin;
  std::int32_t registers = 0, shared_bytes = 0, spill_bytes = 0;
  std::vector<std::uint32_t> grid, block;
  std::uint32_t dynamic_shared_bytes = 0;
  std::uint32_t grid_per_sm = 0;    // above 0: the grid is {grid_per_sm * multiprocessors of the device, 1, 1}, and `grid` stands for one of them
  std::uint64_t scratch_bytes = 0;  // for each node: one more parameter, zero at load; a kernel leaves its counters there at zero
  bool programmatic = false;        // waits on every path before it reads anything but weights: edges into it may be programmatic
  bool even_start = false;          // they are plain all the same: its blocks must be spread over idle multiprocessors (graph.h)
};

struct Kernel {
  KernelSpec spec;
  std::int64_t min_bytes = 0;
  std::optional<CudaCode> cuda;  // none on the CPU target
};

// ---- Memory and schedule

/// A destination in device memory; rows of the sources one after the other, stored as `layout` says. `offset` and `bytes` are those of the
/// source's own rows in the file; `row_begin` only says which rows of the tensor they are. Sources are whole rows: column_begin is 0.
/// A vector in f32 may come from a tensor of another float type `dtype` (none: the weight's) with `plus` added to every element, or be
/// `values` of the compiler's, which are in no file.
struct WeightSource {
  std::uint32_t file = 0;
  std::uint64_t offset = 0, bytes = 0;
  std::int64_t row_begin = 0, rows = 0, column_begin = 0, columns = 0;
  std::string tensor;
  std::optional<DType> dtype;
  float plus = 0;
  std::vector<float> values;
};

struct Weight {
  std::string name;
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;
  Layout layout = Layout::rows;
  std::vector<WeightSource> sources;
  std::uint32_t device = 0;
};

/// A key/value cache: `shape` is [2, kv_heads, head_dim] for one position; slots and capacity are chosen at run time.
struct State {
  std::string name;
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;
};

enum class Where : std::uint8_t { arena, weight, state, input, output };
std::string_view name(Where where);

/// arena: bytes [offset, offset + bytes), offset a multiple of 16, bytes what dtype and shape need. weight, state: index into the plan's list.
/// input, output: index into the entry point's list.
struct Ref {
  Where where = Where::arena;
  std::uint32_t index = 0;
  std::uint64_t offset = 0, bytes = 0;
};

struct Node {
  std::uint32_t kernel = 0;
  std::vector<Ref> args;
  std::vector<std::uint32_t> after;  // nodes that must finish first, reduced
  std::vector<std::string> value_names;
};

struct Port {
  std::string name;
  DType dtype = DType::f32;
  std::vector<std::int64_t> shape;
};

/// A step of so many rows.
struct EntryPoint {
  std::string name;
  EntryKind kind = EntryKind::decode;
  std::uint32_t rows = 0, bucket = 0;
  std::vector<Port> inputs;   // i32 [rows] each: "tokens", "slot", "pos"; of a prompt also "last": i32 [1], below rows
  std::vector<Port> outputs;  // "logits": f32 [rows, vocabulary], of a prompt [1, vocabulary]; none of a prefill
  std::uint64_t arena_bytes = 0;
  std::vector<Node> nodes;     // in a valid order
  std::vector<Node> sampling;  // behind `nodes` where the device draws the tokens itself; edges count nodes first, then these
  float microseconds = 0;      // about those of a step whose rows are all in use, by which a session cuts prompts; 0: unknown
  bool measured = false;       // they are, on a device of the target; else estimated by the compiler
  float key_microseconds = 0;  // about what one more key in the cache costs every row beside them; 0: nothing, or unknown
};

// ---- The rest

struct KeyField {
  std::string name, value;
};
struct ModelFile {
  std::string path;
  std::uint64_t bytes = 0;
};
struct ModelInfo {
  std::string name, architecture;
  std::uint32_t vocabulary = 0, trained_context = 0, layers = 0;
  std::uint64_t parameters = 0, weight_bytes = 0;
};

struct Plan {
  std::vector<KeyField> key;
  std::string target;                      // "cpu", "cuda:h200", "cuda:sm_90"
  BackendKind backend = BackendKind::cpu;  // what `target` is one of
  ModelInfo model;
  std::vector<ModelFile> files;
  std::vector<Weight> weights;
  std::vector<State> states;
  std::vector<Kernel> kernels;
  std::vector<EntryPoint> entries;
  Vocabulary vocabulary;
  std::string chat_template;
  std::vector<std::string> remarks;
  std::string ir;  // the final IR's text, for tools
};

}  // namespace heddle::plan

HEDDLE_FORMAT_BY_NAME(heddle::plan::Where)
