#pragma once
#include <cstddef>

/// The part of the CUDA driver's ABI that heddle uses, so that it builds where no CUDA toolkit is installed. Names are ours, layouts and
/// values are those of the driver API's documentation (12.3 and later); a test compares them with cuda.h where that is found.
namespace heddle::runtime::cuda {

enum class Status : int {
  success = 0,
  invalid_value = 1,
  out_of_memory = 2,
  stub_library = 34,
  no_device = 100,
  invalid_device = 101,
  invalid_image = 200,
  no_binary_for_gpu = 209,
  invalid_ptx = 218,
  jit_compiler_not_found = 221,
  unsupported_ptx_version = 222,
  not_found = 500,
  not_ready = 600,
  illegal_address = 700,
  launch_failed = 719,
};

using GpuId = int;
using DevicePointer = unsigned long long;
using Context = struct ContextTag*;
using Stream = struct StreamTag*;
using Event = struct EventTag*;
using Module = struct ModuleTag*;
using Function = struct FunctionTag*;
using GraphHandle = struct GraphTag*;
using GraphNode = struct GraphNodeTag*;
using GraphExec = struct GraphExecTag*;

enum GpuAttribute : int {
  multiprocessor_count = 16,
  l2_cache_size = 38,
  compute_capability_major = 75,
  compute_capability_minor = 76,
  max_shared_memory_per_block_optin = 97,
};
enum FunctionAttribute : int { max_dynamic_shared_size_bytes = 8 };

inline constexpr unsigned stream_non_blocking = 1;
inline constexpr unsigned event_disable_timing = 2;
inline constexpr unsigned mem_host_alloc_portable = 1, mem_host_alloc_device_map = 2;

/// An edge of a graph. All zero: the node starts when its predecessor is complete. Programmatic: it may start when all blocks of the
/// predecessor have triggered, and waits by itself.
struct EdgeData {
  unsigned char from_port = 0;
  unsigned char to_port = 0;
  unsigned char type = 0;
  unsigned char reserved[5] = {};
};
inline constexpr unsigned char port_programmatic = 1, dependency_programmatic = 1;
inline constexpr EdgeData plain_edge = {}, programmatic_edge = {port_programmatic, 0, dependency_programmatic, {}};

struct KernelNodeParams {
  Function function;
  unsigned grid[3];
  unsigned block[3];
  unsigned shared_bytes;
  void** params;
  void** extra;
  void* kernel;
  Context context;
};
inline constexpr int node_type_kernel = 0;
struct NodeParams {
  int type;
  int reserved0[3];
  union {
    long long reserved1[29];
    KernelNodeParams kernel;
  };
  long long reserved2;
};

/// Every function that heddle calls: our name, the driver's, the version to ask cuGetProcAddress for, parameters.
/// (A version picks the form of a function: cuGraphAddNode has edge data from 12.3 on, cuMemAlloc takes 64-bit sizes from 3.2 on.)
#define HEDDLE_DRIVER_FUNCTIONS(X)                                                                                                   \
  X(init, cuInit, 12000, unsigned flags)                                                                                             \
  X(driver_version, cuDriverGetVersion, 12000, int* version)                                                                         \
  X(error_name, cuGetErrorName, 12000, Status status, const char** text)                                                             \
  X(error_text, cuGetErrorString, 12000, Status status, const char** text)                                                           \
  X(gpu_count, cuDeviceGetCount, 12000, int* count)                                                                                  \
  X(gpu_get, cuDeviceGet, 12000, GpuId* gpu, int ordinal)                                                                            \
  X(gpu_name, cuDeviceGetName, 12000, char* name, int length, GpuId gpu)                                                             \
  X(gpu_attribute, cuDeviceGetAttribute, 12000, int* value, int attribute, GpuId gpu)                                                \
  X(context_retain, cuDevicePrimaryCtxRetain, 12000, Context* context, GpuId gpu)                                                    \
  X(context_release, cuDevicePrimaryCtxRelease, 12000, GpuId gpu)                                                                    \
  X(context_set, cuCtxSetCurrent, 12000, Context context)                                                                            \
  X(memory_info, cuMemGetInfo, 12000, std::size_t* free, std::size_t* total)                                                         \
  X(memory_alloc, cuMemAlloc, 12000, DevicePointer* pointer, std::size_t bytes)                                                      \
  X(memory_free, cuMemFree, 12000, DevicePointer pointer)                                                                            \
  X(host_alloc, cuMemHostAlloc, 12000, void** pointer, std::size_t bytes, unsigned flags)                                            \
  X(host_free, cuMemFreeHost, 12000, void* pointer)                                                                                  \
  X(host_device_pointer, cuMemHostGetDevicePointer, 12000, DevicePointer* pointer, void* host, unsigned flags)                       \
  X(memory_set, cuMemsetD8Async, 12000, DevicePointer to, unsigned char value, std::size_t bytes, Stream stream)                     \
  X(copy_to_device, cuMemcpyHtoDAsync, 12000, DevicePointer to, const void* from, std::size_t bytes, Stream stream)                  \
  X(copy_to_host, cuMemcpyDtoHAsync, 12000, void* to, DevicePointer from, std::size_t bytes, Stream stream)                          \
  X(stream_create, cuStreamCreate, 12000, Stream* stream, unsigned flags)                                                            \
  X(stream_destroy, cuStreamDestroy, 12000, Stream stream)                                                                           \
  X(stream_synchronize, cuStreamSynchronize, 12000, Stream stream)                                                                   \
  X(stream_query, cuStreamQuery, 12000, Stream stream)                                                                               \
  X(event_create, cuEventCreate, 12000, Event* event, unsigned flags)                                                                \
  X(event_destroy, cuEventDestroy, 12000, Event event)                                                                               \
  X(event_record, cuEventRecord, 12000, Event event, Stream stream)                                                                  \
  X(event_synchronize, cuEventSynchronize, 12000, Event event)                                                                       \
  X(event_elapsed, cuEventElapsedTime, 12000, float* milliseconds, Event start, Event end)                                           \
  X(module_load, cuModuleLoadData, 12000, Module* module, const void* image)                                                         \
  X(module_unload, cuModuleUnload, 12000, Module module)                                                                             \
  X(module_function, cuModuleGetFunction, 12000, Function* function, Module module, const char* name)                                \
  X(function_set, cuFuncSetAttribute, 12000, Function function, int attribute, int value)                                            \
  X(launch_kernel, cuLaunchKernel, 12000, Function function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,    \
    unsigned block_y, unsigned block_z, unsigned shared_bytes, Stream stream, void** params, void** extra)                           \
  X(graph_create, cuGraphCreate, 12000, GraphHandle* graph, unsigned flags)                                                          \
  X(graph_destroy, cuGraphDestroy, 12000, GraphHandle graph)                                                                         \
  X(graph_add_node, cuGraphAddNode, 12030, GraphNode* node, GraphHandle graph, const GraphNode* dependencies, const EdgeData* edges, \
    std::size_t count, NodeParams* params)                                                                                           \
  X(graph_nodes, cuGraphGetNodes, 12000, GraphHandle graph, GraphNode* nodes, std::size_t* count)                                    \
  X(graph_node_type, cuGraphNodeGetType, 12000, GraphNode node, int* type)                                                           \
  X(graph_instantiate, cuGraphInstantiateWithFlags, 12000, GraphExec* exec, GraphHandle graph, unsigned long long flags)             \
  X(graph_exec_destroy, cuGraphExecDestroy, 12000, GraphExec exec)                                                                   \
  X(graph_upload, cuGraphUpload, 12000, GraphExec exec, Stream stream)                                                               \
  X(graph_launch, cuGraphLaunch, 12000, GraphExec exec, Stream stream)

/// The functions, wherever they come from: the system's driver (driver.h) or a stand-in for tests.
struct Driver {
#define HEDDLE_DECLARE_DRIVER_FUNCTION(member, symbol, version, ...) Status (*member)(__VA_ARGS__) = nullptr;
  HEDDLE_DRIVER_FUNCTIONS(HEDDLE_DECLARE_DRIVER_FUNCTION)
#undef HEDDLE_DECLARE_DRIVER_FUNCTION
};

}  // namespace heddle::runtime::cuda
