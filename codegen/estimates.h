#pragma once
#include <span>

#include "runtime/plan/plan.h"

/// Bytes and operations of kernels, counted here for all who ask: plans, the CUDA text's head, the cost of a key, `profile` and its floor.
/// What passes weigh before there is a spec is passes/cost_model's; what both read in part is counted by ir/base/shape.h.
namespace heddle::codegen {

/// The least bytes the kernel must move: weights, caches' new entries, buffers read and written once.
std::int64_t min_bytes(const plan::KernelSpec& spec);

/// Positions of one sequence that rows of it attend to; `at`: where the rows stand. They share what they read.
std::int64_t positions_seen(const plan::Attention& attention, std::span<const std::int64_t> at);

/// Bytes that attention reads besides min_bytes: of the cache, all positions that its rows see. 0 for other kernels.
std::int64_t attended_bytes(const plan::KernelSpec& spec, std::span<const std::int64_t> at);

/// Multiplications and additions of the products, for rows that stand at these positions: of weights and activations, and in attention of
/// each row's queries with the keys and of its weights with the values of the positions it sees.
std::int64_t operations(const plan::KernelSpec& spec, std::span<const std::int64_t> at);

/// Operations of one more key for a row: a dot product and a weighted sum in every head. 0 where no row reads more keys for it.
double operations_per_key(const plan::KernelSpec& spec);

/// Bytes of a weight in the model's files.
std::uint64_t file_bytes(const plan::Weight& weight);
/// Keys and values of one layer at so many positions.
std::uint64_t cache_bytes(const plan::State& state, std::int64_t positions);
/// What a node cannot but stream from memory in a step of one row: its weights, as they are in the files, and the whole cache that its
/// attention reads. Of a table next to nothing.
std::uint64_t streamed_bytes(const plan::Plan& plan, const plan::Node& node, std::int64_t positions);

}  // namespace heddle::codegen
