#include "tests/support/emulator/cuda_emulator.h"

#include <dlfcn.h>
#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>

#include "codegen/cuda/device/prelude.h"
#include "ir/base/mapped_file.h"
#include "tests/support/emulator/cuda_emulator_core.h"
#include "tests/support/paths.h"

namespace heddle::testing {
namespace {

using codegen::cuda::CudaText;

struct State {
  char *keys, *values;
  long long capacity;
};

/// Memory at a multiple of 256 bytes.
class Memory {
 public:
  explicit Memory(std::size_t bytes, int fill = 0) : data_(bytes + 256) {
    std::memset(data_.data(), fill, data_.size());
    begin_ = reinterpret_cast<char*>((reinterpret_cast<std::uintptr_t>(data_.data()) + 255) / 256 * 256);
  }
  char* begin() const { return begin_; }

 private:
  std::vector<char> data_;
  char* begin_;
};


// ---- Fibers. One launch at a time.

enum class Waits { nothing, block, team, cluster, warp, done };
struct Copy {
  char* to;
  const char* from;
  int bytes;
};
struct Fiber {
  ucontext_t begin;  // of its function
  jmp_buf here;      // where it waits, once it runs
  bool runs = false;
  std::unique_ptr<char[]> stack;          // kept from block to block
  unsigned team = 0;                      // threads of it, at its barrier
  unsigned arrived = 0;                   // times, at the barrier of its cluster
  std::vector<std::vector<Copy>> groups;  // of copies under way; the last one is open
};

struct Scheduler {
  EmulatorCore core{};
  std::vector<Fiber> fibers;   // of a cluster's blocks, one block after the other
  // Of each fiber; apart from them, since all are looked through at every barrier.
  std::vector<Waits> waits;
  std::vector<unsigned> offered, seen;  // of a lane to its warp: now, and when the warp met last
  jmp_buf here;
  Fiber* current = nullptr;
  unsigned index = 0;  // of it
  bool late_copies = false;
  void (*kernel)(void**) = nullptr;
  void** parameters = nullptr;

  // swapcontext keeps the signal mask, two system calls for each switch, and kernels switch at every exchange of a warp: contexts only begin
  // a fiber.
  [[gnu::noinline]] void stop_until(Waits what) {
    waits[index] = what;
    if (_setjmp(current->here) == 0) _longjmp(here, 1);
  }
  [[gnu::noinline]] void go_on(unsigned i) {
    Fiber& fiber = fibers[i];
    current = &fiber, index = i;
    if (_setjmp(here) != 0) return;
    if (fiber.runs) _longjmp(fiber.here, 1);
    fiber.runs = true;
    setcontext(&fiber.begin);
  }
  void run_cluster(unsigned blocks, unsigned threads, bool backwards);
};
Scheduler scheduler;
constexpr std::size_t most_blocks = 2;  // of a cluster
alignas(1024) char dynamic_shared[most_blocks][256 * 1024];

void run_fiber() {
  scheduler.kernel(scheduler.parameters);
  scheduler.stop_until(Waits::done);
}
void barrier() { scheduler.stop_until(Waits::block); }
void team_barrier(unsigned threads) {
  scheduler.current->team = threads;
  scheduler.stop_until(Waits::team);
}
unsigned exchange(unsigned offered, unsigned from) {
  scheduler.offered[scheduler.index] = offered;
  const unsigned warp = scheduler.index / 32 * 32;
  scheduler.stop_until(Waits::warp);
  return scheduler.seen[warp + from];
}
void cluster_arrive() { ++scheduler.current->arrived; }
void await_cluster() { scheduler.stop_until(Waits::cluster); }
const char* of_block(const void* p, int rank) {
  const char* const mine = static_cast<const char*>(p);
  return mine - scheduler.core.shared + dynamic_shared[rank];
}
void stop(const char* why) { HEDDLE_CHECK(false, "emulated kernel: {}", why); }
void copy(char* to, const char* from, int bytes) {
  if (reinterpret_cast<std::uintptr_t>(to) % unsigned(bytes) || reinterpret_cast<std::uintptr_t>(from) % unsigned(bytes)) stop("a copy is not aligned");
  if (scheduler.late_copies) scheduler.current->groups.back().push_back({to, from, bytes});
  else std::memcpy(to, from, std::size_t(bytes));
}
void end_group() { scheduler.current->groups.emplace_back(); }
void groups_left(int most) {
  auto& groups = scheduler.current->groups;
  while (int(groups.size()) - 1 > most) {
    for (const Copy& c : groups.front()) std::memcpy(c.to, c.from, std::size_t(c.bytes));
    groups.erase(groups.begin());
  }
}

void Scheduler::run_cluster(unsigned blocks, unsigned threads_of_block, bool backwards) {
  const unsigned threads = blocks * threads_of_block, first_block = core.block.z;
  if (fibers.size() < threads) fibers.resize(threads);
  waits.assign(fibers.size(), Waits::nothing);
  offered.assign(fibers.size(), 0);
  seen.assign(fibers.size(), 0);
  for (unsigned i = 0; i < threads; ++i) {
    Fiber& f = fibers[i];
    constexpr std::size_t bytes = 64 * 1024;
    if (!f.stack) f.stack = std::make_unique<char[]>(bytes);
    f.arrived = 0;
    f.groups.assign(1, {});
    f.runs = false;
    getcontext(&f.begin);
    f.begin.uc_stack.ss_sp = f.stack.get();
    f.begin.uc_stack.ss_size = bytes;
    f.begin.uc_link = nullptr;
    makecontext(&f.begin, run_fiber, 0);
  }
  const auto all_wait = [&](unsigned begin, unsigned end, Waits what, Waits or_what) {
    return std::all_of(waits.begin() + begin, waits.begin() + end, [&](Waits one) { return one == what || one == or_what; });
  };
  // A warp runs until all its lanes are at a barrier of the block or of a team, or done, far ahead of the others.
  while (!all_wait(0, threads, Waits::done, Waits::done)) {
    for (unsigned n = 0; n < threads / 32; ++n) {
      const unsigned warp = (backwards ? threads / 32 - 1 - n : n) * 32;
      for (bool together = true; together;) {
        for (unsigned l = 0; l < 32; ++l) {
          const unsigned i = warp + (backwards ? 31 - l : l);
          if (waits[i] != Waits::nothing) continue;
          core.thread = {i % threads_of_block, 0, 0};
          core.block.z = first_block + i / threads_of_block;
          core.shared = dynamic_shared[i / threads_of_block];
          go_on(i);
        }
        together = all_wait(warp, warp + 32, Waits::warp, Waits::warp);
        for (unsigned i = warp; together && i < warp + 32; ++i) seen[i] = offered[i], waits[i] = Waits::nothing;
      }
    }
    bool released = false;
    for (unsigned i = 0; i < threads; ++i) {
      if (waits[i] != Waits::team || i % fibers[i].team != 0 || !all_wait(i, i + fibers[i].team, Waits::team, Waits::team)) continue;
      for (unsigned member = i; member < i + fibers[i].team; ++member) waits[member] = Waits::nothing;
      released = true;
    }
    for (unsigned begin = 0; begin < threads; begin += threads_of_block) {
      const unsigned end = begin + threads_of_block;
      if (!all_wait(begin, end, Waits::block, Waits::done)) continue;
      for (unsigned i = begin; i < end; ++i)
        if (waits[i] == Waits::block) waits[i] = Waits::nothing, released = true;
    }
    // Who waits has arrived, and goes on when all have as often.
    for (unsigned i = 0; i < threads; ++i) {
      if (waits[i] != Waits::cluster) continue;
      const auto as_often = [&](const Fiber& f) { return f.arrived >= fibers[i].arrived; };
      if (!std::all_of(fibers.begin(), fibers.begin() + threads, as_often)) continue;
      waits[i] = Waits::nothing, released = true;
    }
    if (!released && !all_wait(0, threads, Waits::done, Waits::done)) stop("its threads wait for each other");
  }
}

}  // namespace

Result<std::unique_ptr<EmulatedKernels>> EmulatedKernels::build(const std::vector<CudaText>& texts,
                                                                const std::vector<const plan::KernelSpec*>& specs) {
  const TempDir folder;
  std::string source = fmt::format("#include \"{}\"\n", source_path("tests/support/emulator/cuda_emulator_prelude.h"));
  for (std::size_t i = 0; i < texts.size(); ++i) {
    const std::string& text = texts[i].text;
    const std::size_t begin = text.find(codegen::cuda::end_of_prelude);
    HEDDLE_CHECK(begin != text.npos, "{} has no prelude", texts[i].entry);
    std::string rest = text.substr(begin);
    for (std::size_t at; (at = rest.find("extern \"C\" ")) != rest.npos;) rest.erase(at, 11);
    source += fmt::format("namespace kernel_{} {{\n{}\n}}\n", i, rest);
    std::vector<std::string> types;
    for (const auto& arg : specs[i]->args)
      types.push_back(arg.role == plan::ArgRole::weight   ? "const char*"
                      : arg.role == plan::ArgRole::buffer ? "char*"
                      : arg.role == plan::ArgRole::state  ? "State"
                                                           : "int*");
    if (texts[i].scratch_bytes > 0) types.push_back("char*");
    if (specs[i]->sample()) types.push_back(fmt::format("const kernel_{}::SampleControl*", i));
    std::string arguments;
    for (std::size_t n = 0; n < types.size(); ++n) arguments += fmt::format("{}*({}*)p[{}]", n == 0 ? "" : ", ", types[n], n);
    source += fmt::format("extern \"C\" void call_{0}(void** p) {{ kernel_{0}::{1}({2}); }}\n", i, texts[i].entry, arguments);
  }
  const std::string file = folder.file("kernels.cpp"), library = folder.file("kernels.so"), log = folder.file("log");
  HEDDLE_TRY(write_file_atomically(file, std::as_bytes(std::span(source))));
#ifdef __x86_64__
  const bool has_f16 = __builtin_cpu_supports("f16c");  // a call of a function for each conversion else
#else
  const bool has_f16 = false;
#endif
  const std::string command = fmt::format("{} -std=c++17 -O1{} -w -shared -fPIC -o {} {} >{} 2>&1", HEDDLE_CXX, has_f16 ? " -mf16c" : "", library, file, log);
  if (std::system(command.c_str()) != 0) {
    auto text = read_text_file(log);
    return error("{}\n{}", command, text.ok() ? *text : text.error().message());
  }
  auto out = std::make_unique<EmulatedKernels>();
  out->handle_ = dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!out->handle_) return error("{}", dlerror());
  out->texts_ = texts;
  return out;
}

EmulatedKernels::~EmulatedKernels() {
  if (handle_) dlclose(handle_);
}

void EmulatedKernels::launch(std::size_t kernel, void** parameters, int mode, int multiprocessors) const {
  const CudaText& text = texts_[kernel];
  EmulatorIndex grid{text.grid[0], text.grid[1], text.grid[2]};
  if (text.grid_per_sm > 0) grid = {text.grid_per_sm * unsigned(multiprocessors), 1, 1};
  scheduler.kernel = reinterpret_cast<void (*)(void**)>(dlsym(handle_, fmt::format("call_{}", kernel).c_str()));
  scheduler.parameters = parameters;
  scheduler.late_copies = mode & copies_late;
  EmulatorCore& core = scheduler.core;
  core = {.thread = {},
          .block = {},
          .threads = {text.block[0], 1, 1},
          .blocks = grid,
          .shared = dynamic_shared[0],
          .barrier = barrier,
          .team_barrier = team_barrier,
          .cluster_arrive = cluster_arrive,
          .await_cluster = await_cluster,
          .of_block = of_block,
          .exchange = exchange,
          .copy = copy,
          .end_group = end_group,
          .groups_left = groups_left,
          .stop = stop};
  *static_cast<EmulatorCore**>(dlsym(handle_, "emulator_core")) = &core;
  HEDDLE_CHECK(text.cluster <= most_blocks && grid.z % text.cluster == 0, "clusters of {} blocks", text.cluster);
  const unsigned clusters = grid.x * grid.y * grid.z / text.cluster;
  for (unsigned n = 0; n < clusters; ++n) {
    const unsigned c = mode & backwards ? clusters - 1 - n : n;
    core.block = {c % grid.x, c / grid.x % grid.y, c / grid.x / grid.y * text.cluster};
    std::memset(dynamic_shared, 0xff, sizeof dynamic_shared[0] * text.cluster);
    scheduler.run_cluster(text.cluster, text.block[0], mode & backwards);
  }
}

Result<std::unique_ptr<EmulatedKernels>> build_emulated(const PreparedCase& prepared) {
  std::vector<CudaText> texts;
  std::vector<const plan::KernelSpec*> specs;
  for (const auto& kernel : prepared.plan.kernels) {
    HEDDLE_ASSIGN(auto text, codegen::cuda::emit(kernel.spec, prepared.module->target));
    texts.push_back(std::move(text));
    specs.push_back(&kernel.spec);
  }
  return EmulatedKernels::build(texts, specs);
}

Result<std::vector<std::vector<float>>> emulate(const KernelCase& test, const PreparedCase& prepared, const EmulatedKernels& kernels,
                                                int mode) {
  const plan::Plan& plan = prepared.plan;
  const plan::EntryPoint& entry = plan.entries.front();
  std::vector<Memory> weights, planes, inputs, outputs, scratch;
  for (std::size_t i = 0; i < plan.weights.size(); ++i) {
    HEDDLE_ASSIGN(const auto bytes, stored_weight(prepared, i));
    std::memcpy(weights.emplace_back(bytes.size()).begin(), bytes.data(), bytes.size());
  }
  std::vector<State> states;
  for (const auto& state : plan.states) {
    const std::size_t bytes =
        std::size_t(test.slots * test.capacity * state.shape[1] * state.shape[2] * info(state.dtype).bytes);
    char* const keys = planes.emplace_back(bytes).begin();
    states.push_back({keys, planes.emplace_back(bytes).begin(), test.capacity});
  }
  const Memory arena(entry.arena_bytes, 0xff);
  for (const auto& port : entry.inputs) inputs.emplace_back(std::size_t(port.shape[0]) * 4);
  for (const auto& port : entry.outputs) outputs.emplace_back(std::size_t(port.shape[0] * port.shape[1]) * 4, 0xff);
  for (const auto& node : entry.nodes) scratch.emplace_back(kernels.text(node.kernel).scratch_bytes);

  std::vector<std::vector<float>> out;
  for (const auto& step : test.steps) {
    for (std::size_t p = 0; p < entry.inputs.size(); ++p) {
      if (entry.inputs[p].name == "last") {
        *reinterpret_cast<std::int32_t*>(inputs[p].begin()) = last_row(step);
        continue;
      }
      for (std::size_t r = 0; r < step.size(); ++r)
        reinterpret_cast<std::int32_t*>(inputs[p].begin())[r] = entry.inputs[p].name == "tokens" ? step[r].token
                                                                : entry.inputs[p].name == "slot" ? step[r].slot
                                                                                                  : step[r].position;
    }
    for (std::size_t n = 0; n < entry.nodes.size(); ++n) {
      const plan::Node& node = entry.nodes[n];
      std::vector<char*> addresses(node.args.size() + 1);
      std::vector<void*> parameters;
      for (std::size_t a = 0; a < node.args.size(); ++a) {
        const plan::Ref& ref = node.args[a];
        switch (ref.where) {
          case plan::Where::arena:
            addresses[a] = arena.begin() + ref.offset;
            break;
          case plan::Where::weight:
            addresses[a] = weights[ref.index].begin();
            break;
          case plan::Where::input:
            addresses[a] = inputs[ref.index].begin();
            break;
          case plan::Where::output:
            addresses[a] = outputs[ref.index].begin();
            break;
          case plan::Where::state:
            break;
        }
        parameters.push_back(ref.where == plan::Where::state ? static_cast<void*>(&states[ref.index]) : static_cast<void*>(&addresses[a]));
      }
      addresses.back() = scratch[n].begin();
      if (kernels.text(node.kernel).scratch_bytes > 0) parameters.push_back(&addresses.back());
      kernels.launch(node.kernel, parameters.data(), mode);
    }
    const auto* first = reinterpret_cast<const float*>(outputs.front().begin());
    out.emplace_back(first, first + entry.outputs.front().shape[0] * entry.outputs.front().shape[1]);
  }
  return out;
}

}  // namespace heddle::testing
