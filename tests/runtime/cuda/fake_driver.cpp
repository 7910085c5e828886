#include "fake_driver.h"

#include <gtest/gtest.h>

#include <cstring>
#include <sstream>

namespace heddle::testing {
namespace {

FakeDriver* fake = nullptr;

template <class Map, class Handle>
auto* find(Map& map, Handle handle) {
  const auto found = map.find(reinterpret_cast<const void*>(handle));
  HEDDLE_CHECK(found != map.end(), "a handle that was never made or was given back");
  return found->second.get();
}
template <class T, class Map, class Handle>
void make(Map& map, Handle* handle) {
  auto owned = std::make_unique<T>();
  *handle = reinterpret_cast<Handle>(owned.get());
  map[owned.get()] = std::move(owned);
}
template <class Map, class Handle>
Status give_back(Map& map, Handle handle) {
  HEDDLE_CHECK(map.erase(reinterpret_cast<const void*>(handle)) == 1, "given back twice");
  return Status::success;
}

}  // namespace

/// The driver's functions over the one fake.
struct FakeCalls {
#define ENTER(...) \
  if (const Status entered = fake->enter(__VA_ARGS__); entered != Status::success) return entered

  static Status init(unsigned) {
    if (fake->gpus == 0) return Status::no_device;
    ENTER();
    return Status::success;
  }
  static Status driver_version(int* version) {
    *version = fake->version;
    return Status::success;
  }
  static Status error_name(Status status, const char** text) {
    switch (status) {
      case Status::out_of_memory:
        *text = "CUDA_ERROR_OUT_OF_MEMORY";
        break;
      case Status::no_device:
        *text = "CUDA_ERROR_NO_DEVICE";
        break;
      case Status::illegal_address:
        *text = "CUDA_ERROR_ILLEGAL_ADDRESS";
        break;
      case Status::launch_failed:
        *text = "CUDA_ERROR_LAUNCH_FAILED";
        break;
      case Status::no_binary_for_gpu:
        *text = "CUDA_ERROR_NO_BINARY_FOR_GPU";
        break;
      default:
        return Status::invalid_value;
    }
    return Status::success;
  }
  static Status error_text(Status status, const char** text) {
    switch (status) {
      case Status::out_of_memory:
        *text = "out of memory";
        break;
      case Status::no_device:
        *text = "no CUDA-capable device is detected";
        break;
      case Status::illegal_address:
        *text = "an illegal memory access was encountered";
        break;
      case Status::launch_failed:
        *text = "unspecified launch failure";
        break;
      case Status::no_binary_for_gpu:
        *text = "no kernel image is available for execution on the device";
        break;
      default:
        return Status::invalid_value;
    }
    return Status::success;
  }
  static Status gpu_count(int* count) {
    ENTER();
    *count = fake->gpus;
    return Status::success;
  }
  static Status gpu_get(GpuId* gpu, int ordinal) {
    ENTER();
    *gpu = ordinal;
    return Status::success;
  }
  static Status gpu_name(char* name, int length, GpuId) {
    ENTER();
    fake->gpu_name.copy(name, std::size_t(length));
    return Status::success;
  }
  static Status gpu_attribute(int* value, int attribute, GpuId) {
    ENTER();
    switch (attribute) {
      case compute_capability_major:
        *value = fake->compute_capability / 10;
        break;
      case compute_capability_minor:
        *value = fake->compute_capability % 10;
        break;
      case multiprocessor_count:
        *value = fake->multiprocessors;
        break;
      case l2_cache_size:
        *value = 50 << 20;
        break;
      case max_shared_memory_per_block_optin:
        *value = fake->most_shared_bytes;
        break;
      default:
        return Status::invalid_value;
    }
    return Status::success;
  }
  static Status context_retain(Context* context, GpuId) {
    ENTER();
    ++fake->contexts_;
    *context = reinterpret_cast<Context>(fake);
    return Status::success;
  }
  static Status context_release(GpuId) {
    --fake->contexts_;
    return Status::success;
  }
  static Status context_set(Context context) {
    ENTER();
    HEDDLE_CHECK(context == reinterpret_cast<Context>(fake));
    fake->current_ = true;
    return Status::success;
  }
  static Status memory_info(std::size_t* free, std::size_t* total) {
    ENTER();
    *free = fake->free_bytes, *total = 2 * fake->free_bytes;
    return Status::success;
  }
  static Status memory_alloc(DevicePointer* pointer, std::size_t bytes) {
    ENTER();
    HEDDLE_CHECK(bytes > 0);
    // As from the device: at multiples of 512, full of whatever was there.
    std::vector<std::byte> memory(bytes + 512, std::byte(0xcd));
    const auto address = (std::uint64_t(reinterpret_cast<std::uintptr_t>(memory.data())) + 511) / 512 * 512;
    fake->memory_[address] = std::move(memory);
    *pointer = address;
    return Status::success;
  }
  static Status memory_free(DevicePointer pointer) {
    HEDDLE_CHECK(fake->memory_.erase(pointer) == 1, "freed twice");
    return Status::success;
  }
  static Status host_alloc(void** pointer, std::size_t bytes, unsigned) {
    ENTER();
    auto memory = std::make_unique<std::max_align_t[]>(bytes / sizeof(std::max_align_t) + 1);
    *pointer = memory.get();
    fake->pinned_bytes_[memory.get()] = bytes;
    fake->pinned_[memory.get()] = std::move(memory);
    return Status::success;
  }
  static Status host_free(void* pointer) {
    while (!fake->queue_.empty()) fake->work_one();  // as the driver: it waits
    HEDDLE_CHECK(fake->pinned_.erase(pointer) == 1, "freed twice");
    fake->pinned_bytes_.erase(pointer);
    return Status::success;
  }
  static Status host_device_pointer(DevicePointer* pointer, void* host, unsigned) {
    ENTER();
    HEDDLE_CHECK(fake->is_pinned_range(host, 1));
    *pointer = DevicePointer(reinterpret_cast<std::uintptr_t>(host));
    return Status::success;
  }
  static Status memory_set(DevicePointer to, unsigned char value, std::size_t bytes, Stream stream) {
    ENTER();
    find(fake->streams_, stream);
    EXPECT_TRUE(fake->is_device_range(to, bytes));
    return fake->queue([=] { std::memset(reinterpret_cast<void*>(to), value, bytes); });
  }
  static Status copy_to_device(DevicePointer to, const void* from, std::size_t bytes, Stream stream) {
    ENTER();
    find(fake->streams_, stream);
    EXPECT_TRUE(fake->is_device_range(to, bytes));
    if (fake->is_pinned_range(from, bytes)) return fake->queue([=] { std::memcpy(reinterpret_cast<void*>(to), from, bytes); });
    const auto* data = static_cast<const std::byte*>(from);  // pageable memory is read before the call returns
    return fake->queue(
        [to, copy = std::vector(data, data + bytes)] { std::memcpy(reinterpret_cast<void*>(to), copy.data(), copy.size()); });
  }
  static Status copy_to_host(void* to, DevicePointer from, std::size_t bytes, Stream stream) {
    ENTER();
    find(fake->streams_, stream);
    EXPECT_TRUE(fake->is_device_range(from, bytes));
    return fake->queue([=] { std::memcpy(to, reinterpret_cast<const void*>(from), bytes); });
  }
  static Status stream_create(Stream* stream, unsigned) {
    ENTER();
    make<int>(fake->streams_, stream);
    return Status::success;
  }
  static Status stream_destroy(Stream stream) { return give_back(fake->streams_, stream); }
  static Status stream_synchronize(Stream stream) {
    ENTER();
    find(fake->streams_, stream);
    while (!fake->queue_.empty()) fake->work_one();
    return fake->fault_;
  }
  static Status stream_query(Stream stream) {
    ENTER();
    find(fake->streams_, stream);
    if (fake->queue_.empty()) return Status::success;
    fake->work_one();
    return fake->fault_ != Status::success ? fake->fault_ : Status::not_ready;
  }
  static Status event_create(Event* event, unsigned) {
    ENTER();
    make<int>(fake->events_, event);
    return Status::success;
  }
  static Status event_destroy(Event event) { return give_back(fake->events_, event); }
  static Status event_record(Event event, Stream) {
    ENTER();
    int* at = find(fake->events_, event);
    ++*at;
    return fake->queue([at] { --*at; });
  }
  static Status event_synchronize(Event event) {
    ENTER();
    const int* at = find(fake->events_, event);
    while (*at > 0) fake->work_one();
    return fake->fault_;
  }
  static Status event_elapsed(float* milliseconds, Event, Event) {
    ENTER();
    *milliseconds = 1;
    return Status::success;
  }
  static Status module_load(Module* module, const void* image) {
    ENTER();
    std::istringstream text(static_cast<const char*>(image));
    std::string kind, number, entry;
    text >> kind >> number >> entry;
    if (kind == "cubin") {
      const int architecture = std::stoi(number);
      if (architecture / 10 != fake->compute_capability / 10 || architecture > fake->compute_capability) return Status::no_binary_for_gpu;
    } else if (kind == ".version") {
      if (number > fake->newest_ptx) return Status::unsupported_ptx_version;
    } else {
      return Status::invalid_image;
    }
    make<FakeDriver::Image>(fake->modules_, module);
    auto& made = *find(fake->modules_, *module);
    if (const std::string_view whole = static_cast<const char*>(image); whole.find(".visible .entry ") != whole.npos) {  // real PTX
      const std::size_t begin = whole.find(".visible .entry ") + 16, open = whole.find('(', begin), close = whole.find(')', open);
      made.entry = whole.substr(begin, open - begin);
      for (std::size_t at = open; (at = whole.find(".param .u64", at)) < close; ++at) made.parameter_bytes.push_back(8);
      return Status::success;
    }
    made.entry = entry.substr(0, entry.find(':'));
    for (std::size_t at = entry.find(':'); at != entry.npos; at = entry.find(',', at + 1))
      made.parameter_bytes.push_back(std::stoul(entry.substr(at + 1)));
    return Status::success;
  }
  static Status module_unload(Module module) { return give_back(fake->modules_, module); }
  static Status module_function(Function* function, Module module, const char* name) {
    ENTER();
    if (find(fake->modules_, module)->entry != name) return Status::not_found;
    *function = reinterpret_cast<Function>(module);  // a module has one
    return Status::success;
  }
  static Status function_set(Function function, int attribute, int value) {
    ENTER();
    HEDDLE_CHECK(attribute == max_dynamic_shared_size_bytes);
    fake->function_attributes[find(fake->modules_, function)->entry] = value;
    return Status::success;
  }
  static Status launch_kernel(Function function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                              unsigned shared, Stream stream, void** params, void**) {
    ENTER();
    find(fake->streams_, stream);
    const unsigned grid[] = {gx, gy, gz}, block[] = {bx, by, bz};
    return fake->queue([kernel = fake->capture(function, grid, block, shared, params)] { fake->run_kernel(kernel); });
  }
  static Status graph_create(GraphHandle* graph, unsigned) {
    ENTER();
    make<FakeDriver::Graph>(fake->open_graphs_, graph);
    return Status::success;
  }
  static Status graph_destroy(GraphHandle graph) {
    fake->nodes_.erase(graph);
    return give_back(fake->open_graphs_, graph);
  }
  static Status graph_add_node(GraphNode* node, GraphHandle handle, const GraphNode* from, const EdgeData* edges, std::size_t count,
                               NodeParams* params) {
    ENTER();
    FakeDriver::Graph* graph = find(fake->open_graphs_, handle);
    EXPECT_EQ(params->type, node_type_kernel);
    const KernelNodeParams& kernel = params->kernel;
    FakeDriver::Graph::Node made;
    made.kernel = fake->capture(kernel.function, kernel.grid, kernel.block, kernel.shared_bytes, kernel.params);
    for (std::size_t i = 0; i < count; ++i) {
      const auto* predecessor = reinterpret_cast<const std::pair<FakeDriver::Graph*, std::size_t>*>(from[i]);
      HEDDLE_CHECK(predecessor->first == graph);
      made.edges.emplace_back(predecessor->second, edges[i]);
    }
    auto& nodes = fake->nodes_[handle];
    nodes.emplace_back(graph, graph->nodes.size());
    graph->nodes.push_back(std::move(made));
    *node = reinterpret_cast<GraphNode>(&nodes.back());
    return Status::success;
  }
  static Status graph_nodes(GraphHandle graph, GraphNode* nodes, std::size_t* count) {
    ENTER();
    auto& all = fake->nodes_[graph];
    *count = all.size();
    for (std::size_t i = 0; nodes && i < all.size(); ++i) nodes[i] = reinterpret_cast<GraphNode>(&all[i]);
    return Status::success;
  }
  static Status graph_node_type(GraphNode, int* type) {
    ENTER();
    *type = node_type_kernel;
    return Status::success;
  }
  static Status graph_instantiate(GraphExec* exec, GraphHandle graph, unsigned long long) {
    ENTER();
    make<FakeDriver::Graph>(fake->execs_, exec);
    *find(fake->execs_, *exec) = *find(fake->open_graphs_, graph);
    fake->graphs.push_back(*find(fake->open_graphs_, graph));
    return Status::success;
  }
  static Status graph_exec_destroy(GraphExec exec) { return give_back(fake->execs_, exec); }
  static Status graph_upload(GraphExec exec, Stream stream) {
    ENTER();
    find(fake->execs_, exec), find(fake->streams_, stream);
    return Status::success;
  }
  static Status graph_launch(GraphExec exec, Stream stream) {
    ENTER();
    find(fake->streams_, stream);
    ++fake->graph_launches;
    return fake->queue([graph = *find(fake->execs_, exec)] {
      for (const auto& node : graph.nodes) fake->run_kernel(node.kernel);
    });
  }
#undef ENTER
};

FakeDriver::FakeDriver() {
  HEDDLE_CHECK(!fake);
  fake = this;
#define HEDDLE_FAKE(member, ...) api_.member = &FakeCalls::member;
  HEDDLE_DRIVER_FUNCTIONS(HEDDLE_FAKE)
#undef HEDDLE_FAKE
}

FakeDriver::~FakeDriver() { fake = nullptr; }

GetProcAddress FakeDriver::get_proc_address() {
  return [](const char* symbol, void** function, int version, unsigned long long, int* found) {
    const auto missing = fake->missing.find(symbol);
    *found = missing != fake->missing.end() && missing->second <= version ? 2 : 0;
    *function = nullptr;
    if (*found != 0) return Status::success;
#define HEDDLE_FETCH(member, name, ...) \
  if (std::string_view(symbol) == #name) *function = reinterpret_cast<void*>(&FakeCalls::member);
    HEDDLE_DRIVER_FUNCTIONS(HEDDLE_FETCH)
#undef HEDDLE_FETCH
    return *function ? Status::success : Status::not_found;
  };
}

Status FakeDriver::enter(bool counts) {
  if (counts && calls_++ == fail_at_) return fail_with_;
  return fault_;
}

Status FakeDriver::queue(std::function<void()> work) {
  queue_.push_back(std::move(work));
  most_queued = std::max(most_queued, int(queue_.size()));
  while (!deferred && !queue_.empty()) work_one();
  return Status::success;
}

void FakeDriver::work_one() {
  HEDDLE_CHECK(!queue_.empty(), "a wait for what nobody does");
  auto work = std::move(queue_.front());
  queue_.pop_front();
  if (fault_ == Status::success) work();
}

void FakeDriver::run_kernel(const Kernel& kernel) {
  if (launches_++ == fault_at_) fault_ = fault_with_;
  if (fault_ != Status::success) return;
  ran.push_back(kernel);
  if (const auto found = kernels.find(kernel.entry); found != kernels.end()) found->second(kernel);
}

FakeDriver::Kernel FakeDriver::capture(const void* function, const unsigned* grid, const unsigned* block, unsigned shared_bytes,
                                       void** parameters) const {
  const Image* image = find(modules_, function);
  Kernel kernel;
  kernel.entry = image->entry;
  std::copy_n(grid, 3, kernel.grid), std::copy_n(block, 3, kernel.block);
  kernel.shared_bytes = shared_bytes;
  for (std::size_t i = 0; i < image->parameter_bytes.size(); ++i) {
    const auto* at = static_cast<const std::byte*>(parameters[i]);
    kernel.parameters.emplace_back(at, at + image->parameter_bytes[i]);
  }
  return kernel;
}

std::string FakeDriver::live() const {
  std::string text;
  const auto add = [&](std::size_t count, std::string_view what) {
    if (count > 0) text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, what);
  };
  add(memory_.size(), "memory"), add(pinned_.size(), "pinned"), add(modules_.size(), "module"), add(open_graphs_.size(), "graph");
  add(execs_.size(), "exec"), add(streams_.size(), "stream"), add(events_.size(), "event"), add(std::size_t(contexts_), "context");
  return text;
}

std::vector<std::size_t> FakeDriver::allocated() const {
  std::vector<std::size_t> sizes;
  for (const auto& [address, memory] : memory_) sizes.push_back(memory.size() - 512);
  return sizes;
}

bool FakeDriver::is_device_range(std::uint64_t address, std::size_t bytes) const {
  auto found = memory_.upper_bound(address);
  if (found == memory_.begin()) return false;
  --found;
  return address - found->first + bytes <= found->second.size() - 512;
}

bool FakeDriver::is_pinned_range(const void* address, std::size_t bytes) const {
  auto found = pinned_bytes_.upper_bound(const_cast<void*>(address));
  if (found == pinned_bytes_.begin()) return false;
  --found;
  const auto offset = std::size_t(static_cast<const std::byte*>(address) - static_cast<const std::byte*>(found->first));
  return offset + bytes <= found->second;
}

}  // namespace heddle::testing
