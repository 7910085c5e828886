#include "runtime/cuda/driver/driver_api.h"

#include <cuda.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <type_traits>
#include <utility>

/// driver_api.h says the same as cuda.h. What could differ stops the build.
namespace heddle::runtime::cuda {
namespace {

static_assert(int(Status::success) == CUDA_SUCCESS && int(Status::invalid_value) == CUDA_ERROR_INVALID_VALUE);
static_assert(int(Status::out_of_memory) == CUDA_ERROR_OUT_OF_MEMORY && int(Status::stub_library) == CUDA_ERROR_STUB_LIBRARY);
static_assert(int(Status::no_device) == CUDA_ERROR_NO_DEVICE && int(Status::invalid_device) == CUDA_ERROR_INVALID_DEVICE);
static_assert(int(Status::invalid_image) == CUDA_ERROR_INVALID_IMAGE && int(Status::no_binary_for_gpu) == CUDA_ERROR_NO_BINARY_FOR_GPU);
static_assert(int(Status::invalid_ptx) == CUDA_ERROR_INVALID_PTX &&
              int(Status::jit_compiler_not_found) == CUDA_ERROR_JIT_COMPILER_NOT_FOUND);
static_assert(int(Status::unsupported_ptx_version) == CUDA_ERROR_UNSUPPORTED_PTX_VERSION && int(Status::not_found) == CUDA_ERROR_NOT_FOUND);
static_assert(int(Status::not_ready) == CUDA_ERROR_NOT_READY && int(Status::illegal_address) == CUDA_ERROR_ILLEGAL_ADDRESS);
static_assert(int(Status::launch_failed) == CUDA_ERROR_LAUNCH_FAILED);
static_assert(sizeof(Status) == sizeof(CUresult));

static_assert(std::is_same_v<GpuId, CUdevice> && std::is_same_v<DevicePointer, CUdeviceptr>);
static_assert(int(multiprocessor_count) == CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
static_assert(int(l2_cache_size) == CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE);
static_assert(int(compute_capability_major) == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR);
static_assert(int(compute_capability_minor) == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
static_assert(int(max_shared_memory_per_block_optin) == CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
static_assert(int(max_dynamic_shared_size_bytes) == CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES);
static_assert(stream_non_blocking == CU_STREAM_NON_BLOCKING && event_disable_timing == CU_EVENT_DISABLE_TIMING);
static_assert(mem_host_alloc_portable == CU_MEMHOSTALLOC_PORTABLE && mem_host_alloc_device_map == CU_MEMHOSTALLOC_DEVICEMAP);

#define SAME_FIELD(ours, a, theirs, b) \
  static_assert(offsetof(ours, a) == offsetof(theirs, b) && sizeof(std::declval<ours&>().a) == sizeof(std::declval<theirs&>().b))
static_assert(sizeof(EdgeData) == sizeof(CUgraphEdgeData));
SAME_FIELD(EdgeData, from_port, CUgraphEdgeData, from_port);
SAME_FIELD(EdgeData, to_port, CUgraphEdgeData, to_port);
SAME_FIELD(EdgeData, type, CUgraphEdgeData, type);
static_assert(port_programmatic == CU_GRAPH_KERNEL_NODE_PORT_PROGRAMMATIC &&
              dependency_programmatic == CU_GRAPH_DEPENDENCY_TYPE_PROGRAMMATIC);

using TheirKernel = CUDA_KERNEL_NODE_PARAMS_v3;
static_assert(sizeof(KernelNodeParams) == sizeof(TheirKernel));
SAME_FIELD(KernelNodeParams, function, TheirKernel, func);
static_assert(offsetof(KernelNodeParams, grid) == offsetof(TheirKernel, gridDimX) &&
              offsetof(KernelNodeParams, block) == offsetof(TheirKernel, blockDimX));
SAME_FIELD(KernelNodeParams, shared_bytes, TheirKernel, sharedMemBytes);
SAME_FIELD(KernelNodeParams, params, TheirKernel, kernelParams);
SAME_FIELD(KernelNodeParams, extra, TheirKernel, extra);
SAME_FIELD(KernelNodeParams, kernel, TheirKernel, kern);
SAME_FIELD(KernelNodeParams, context, TheirKernel, ctx);
static_assert(sizeof(NodeParams) == sizeof(CUgraphNodeParams) && node_type_kernel == CU_GRAPH_NODE_TYPE_KERNEL);
SAME_FIELD(NodeParams, type, CUgraphNodeParams, type);
SAME_FIELD(NodeParams, kernel, CUgraphNodeParams, kernel);
SAME_FIELD(NodeParams, reserved2, CUgraphNodeParams, reserved2);

/// Two signatures pass the same values: handles, pointers and enums of one size count as alike.
template <class A, class B>
constexpr bool alike = std::is_same_v<A, B> || (sizeof(A) == sizeof(B) && std::is_pointer_v<A> == std::is_pointer_v<B> &&
                                                std::is_floating_point_v<A> == std::is_floating_point_v<B>);
template <class A, class B>
struct SameSignature : std::false_type {};
template <class R, class... A, class S, class... B>
requires(sizeof...(A) == sizeof...(B)) struct SameSignature<R (*)(A...), S (*)(B...)>
    : std::bool_constant<(alike<A, B> && ... && alike<R, S>)> {
};

#define SAME_SIGNATURE(member, symbol, version, ...) \
  static_assert(SameSignature<decltype(Driver::member), decltype(&::symbol)>::value, "signature of " #symbol);
HEDDLE_DRIVER_FUNCTIONS(SAME_SIGNATURE)

TEST(DriverApi, AgreesWithCudaHeader) { EXPECT_GE(CUDA_VERSION, 12030); }

}  // namespace
}  // namespace heddle::runtime::cuda
