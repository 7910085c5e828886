#include "corruption.h"

namespace heddle::plan {
namespace {

const Case kernel_cases[] = {
    {"rows_zero", [](Plan& p) { kernel(p, 3).rows = 0; }, "kernels[3].spec: rows is 0, wanted 1 to 4096"},
    {"rows_absurd", [](Plan& p) { kernel(p, 3).rows = INT64_MAX; }, "kernels[3].spec: rows is 9223372036854775807, wanted 1 to 4096"},
    {"gates_without_experts", [](Plan& p) { kernel(p, 3).gemm()->gates = 0; },
     "kernels[3].spec.gemm: gates is 0, chosen is 1, there are no experts"},
    {"experts_dtype", [](Plan& p) { kernel(p, 3).gemm()->experts = 0; },
     "kernels[3].spec.gemm: experts is f32[1, 32], wanted i32[1, 1]"},
    {"no_parts", [](Plan& p) { kernel(p, 3).parts.clear(); }, "kernels[3].spec: parts: there is none, at least one is needed"},
    {"two_parts", [](Plan& p) { kernel(p, 2).parts.push_back(kernel(p, 2).parts[0]); },
     "kernels[2].spec: 2 parts, a loop of kind attention has one"},
    {"arg_layout", [](Plan& p) { kernel(p, 3).args[0].layout = Layout::planes; }, "kernels[3].spec.args[0]: layout is 'planes', wanted 'rows'"},
    {"arg_buffer_dtype", [](Plan& p) { kernel(p, 3).args[0].dtype = DType::f16; },
     "kernels[3].spec.args[0]: dtype is f16, wanted f32 or an 8-bit activation format"},
    {"arg_buffer_rows",
     [](Plan& p) {
       kernel(p, 3).args[0].shape = {2, 32};
     },
     "kernels[3].spec.args[0]: buffer is f32[2, 32], wanted [1, n]"},
    {"arg_buffer_rank", [](Plan& p) { kernel(p, 3).args[0].shape = {32}; }, "kernels[3].spec.args[0]: buffer is f32[32], wanted [1, n]"},
    {"arg_state_rank",
     [](Plan& p) {
       kernel(p, 2).args[1].shape = {2, 16};
     },
     "kernels[2].spec.args[1]: state is f32[2, 16], wanted [2, kv_heads, head_dim]"},
    {"arg_tokens", [](Plan& p) { kernel(p, 0).args[1].dtype = DType::f32; }, "kernels[0].spec.args[1]: tokens is f32[1], wanted i32[1]"},
    {"arg_positions", [](Plan& p) { kernel(p, 2).args[3].shape = {7}; }, "kernels[2].spec.args[3]: positions is i32[7], wanted i32[1]"},
    {"arg_never_stored", [](Plan& p) { kernel(p, 3).args[2].written = true; },
     "kernels[3].spec.args[2]: is marked written and never stored to"},
    {"slots_arg", [](Plan& p) { kernel(p, 2).slots_arg = 5; }, "kernels[2].spec: slots_arg is argument 5, the kernel has 5"},
    {"slots_arg_negative", [](Plan& p) { kernel(p, 2).slots_arg = -7; }, "kernels[2].spec: slots_arg is -7, wanted -1 or an argument"},
    {"positions_arg_role", [](Plan& p) { kernel(p, 2).positions_arg = 0; },
     "kernels[2].spec: positions_arg is argument 0, a buffer, wanted a positions"},
    {"part_n", [](Plan& p) { kernel(p, 3).parts[0].n = 0; }, "kernels[3].spec.parts[0]: n is 0, wanted 1 to 1099511627776"},
    {"part_granule_zero", [](Plan& p) { kernel(p, 3).parts[0].granule = 0; },
     "kernels[3].spec.parts[0]: granule is 0, wanted a divisor of 32"},
    {"part_granule", [](Plan& p) { kernel(p, 3).parts[0].granule = 5; },
     "kernels[3].spec.parts[0]: granule is 5, wanted a divisor of 32"},
    {"part_no_segment", [](Plan& p) { kernel(p, 3).parts[0].segments.clear(); },
     "kernels[3].spec.parts[0]: segments: there is none, at least one is needed"},
    {"part_segment_of_embed", [](Plan& p) { kernel(p, 0).parts[0].segments.emplace_back(); },
     "kernels[0].spec.parts[0]: 1 segments, a loop of kind embed has none"},
    {"segment_index", [](Plan& p) { kernel(p, 3).parts[0].segments[0].weight = 4; },
     "kernels[3].spec.parts[0].segments[0]: weight is argument 4, the kernel has 4"},
    {"segment_role", [](Plan& p) { kernel(p, 3).parts[0].segments[0].weight = 0; },
     "kernels[3].spec.parts[0].segments[0]: weight is argument 0, a buffer, wanted a weight"},
    {"segment_shape",
     [](Plan& p) {
       kernel(p, 3).args[1].shape = {32, 64};
     },
     "kernels[3].spec.parts[0].segments[0]: weight is [32, 64], wanted [32, 32]"},
    {"segment_wide_part", [](Plan& p) { kernel(p, 3).parts[0].n = 64; },
     "kernels[3].spec.parts[0].segments[0]: weight is [32, 32], wanted [64, 32]"},
    {"no_store", [](Plan& p) { epilogue(p, 3).stores.clear(); }, "kernels[3].spec.parts[0]: the epilogue stores nothing"},
    {"gemm_k_zero", [](Plan& p) { kernel(p, 3).gemm()->k = 0; }, "kernels[3].spec.gemm: k is 0, wanted 1 to 1099511627776"},
    {"gemm_k_wide", [](Plan& p) { kernel(p, 3).gemm()->k = 64; },
     "kernels[3].spec.prologue.inputs[0]: args[0] has 32 columns, the program has 64"},
    {"gemm_activations", [](Plan& p) { kernel(p, 3).gemm()->activations = DType::q4_K; },
     "kernels[3].spec.gemm: activations is q4_K, wanted f32 or an 8-bit activation format"},
    {"gemm_k_blocks", [](Plan& p) { kernel(p, 1).gemm()->activations = DType::q8_K; },
     "kernels[1].spec.gemm: k is 32, q8_K needs a multiple of 256"},
    {"gemm_activation_index", [](Plan& p) { kernel(p, 1).gemm()->activation = 4; },
     "kernels[1].spec.gemm: activation is value 4 of the prologue, it has 4"},
    {"gemm_activation_dtype", [](Plan& p) { kernel(p, 1).gemm()->activation = 2; },
     "kernels[1].spec.gemm: activation is f32[rows, 32], wanted q8_1[rows, 32]"},
    {"gemm_activation_scalar", [](Plan& p) { kernel(p, 5).gemm()->activation = 1; },
     "kernels[5].spec.gemm: activation is f32[rows, 1], wanted f32[rows, 32]"},
    {"attention_no_heads", [](Plan& p) { kernel(p, 2).attention()->heads = 0; }, "kernels[2].spec.attention: 0 heads of 16 on 1 kv_heads"},
    {"attention_no_kv_heads", [](Plan& p) { kernel(p, 2).attention()->kv_heads = 0; },
     "kernels[2].spec.attention: 2 heads of 16 on 0 kv_heads"},
    {"attention_head_dim", [](Plan& p) { kernel(p, 2).attention()->head_dim = 0; }, "kernels[2].spec.attention: 2 heads of 0 on 1 kv_heads"},
    {"attention_grouping", [](Plan& p) { kernel(p, 2).attention()->heads = 3, kernel(p, 2).attention()->kv_heads = 2; },
     "kernels[2].spec.attention: 3 heads of 16 on 2 kv_heads"},
    {"attention_overflow", [](Plan& p) { kernel(p, 2).attention()->heads = INT64_MAX; },
     "kernels[2].spec.attention: 9223372036854775807 heads of 16 on 1 kv_heads"},
    {"attention_more_heads", [](Plan& p) { kernel(p, 2).attention()->heads = 4; },
     "kernels[2].spec.attention: q is f32[1, 32], wanted f32[1, 64]"},
    {"attention_q", [](Plan& p) { kernel(p, 2).attention()->q = 1; },
     "kernels[2].spec.attention: q is argument 1, a state, wanted a buffer"},
    {"attention_kv", [](Plan& p) { kernel(p, 2).attention()->kv = 99; }, "kernels[2].spec.attention: kv is argument 99, the kernel has 5"},
    {"attention_kv_shape",
     [](Plan& p) {
       kernel(p, 2).args[1].shape = {2, 2, 16};
     },
     "kernels[2].spec.attention: kv is [2, 2, 16], wanted [2, 1, 16]"},
    {"attention_scale", [](Plan& p) { kernel(p, 2).attention()->scale = infinity; },
     "kernels[2].spec.attention: scale is inf, wanted a finite number"},
    {"attention_window", [](Plan& p) { kernel(p, 2).attention()->window = -1; },
     "kernels[2].spec.attention: window is -1, wanted at least 0"},
    {"attention_softcap", [](Plan& p) { kernel(p, 2).attention()->softcap = nan; },
     "kernels[2].spec.attention: softcap is nan, wanted a finite number of at least 0"},
    {"attention_no_slots", [](Plan& p) { kernel(p, 2).slots_arg = -1; },
     "kernels[2].spec.attention: needs slots and positions, slots_arg is -1, positions_arg is 3"},
    {"attention_granule", [](Plan& p) { kernel(p, 2).parts[0].granule = 8; },
     "kernels[2].spec.attention: the part has 32 columns in granules of 8, wanted 32 in granules of 16"},
    {"embed_table", [](Plan& p) { kernel(p, 0).embed()->table = 2; },
     "kernels[0].spec.embed: table is argument 2, a buffer, wanted a weight"},
    {"embed_tokens", [](Plan& p) { kernel(p, 0).embed()->tokens = 0; },
     "kernels[0].spec.embed: tokens is argument 0, a weight, wanted a tokens"},
    {"embed_short_table",
     [](Plan& p) {
       kernel(p, 0).args[0].shape = {47, 32};
     },
     "kernels[0].spec.embed: table is [47, 32], wanted [48, 32]"},
    {"cuda_on_cpu", [](Plan& p) { p.kernels[1].cuda.emplace(); }, "kernels[1]: cuda is there, the target is cpu"},
    {"cuda_missing", [](Plan& p) { p.target = "cuda:sm_90", p.backend = BackendKind::cuda; }, "kernels[0]: cuda is missing, the target is cuda:sm_90"},
    {"cuda_entry", [](Plan& p) { as_cuda(p).entry.clear(); }, "kernels[2].cuda: entry is empty"},
    {"cuda_code", [](Plan& p) { as_cuda(p).ptx.clear(); }, "kernels[2].cuda: neither ptx nor cubin is there"},
    {"cuda_grid",
     [](Plan& p) {
       as_cuda(p).grid = {1, 70000, 1};
     },
     "kernels[2].cuda: grid is [1, 70000, 1], wanted three numbers from 1 to [2147483647, 65535, 65535]"},
    {"cuda_block_rank", [](Plan& p) { as_cuda(p).block = {256}; },
     "kernels[2].cuda: block is [256], wanted three numbers from 1 to [1024, 1024, 64]"},
    {"cuda_block",
     [](Plan& p) {
       as_cuda(p).block = {64, 32, 1};
     },
     "kernels[2].cuda: block has 2048 threads, at most 1024 are possible"},
    {"cuda_shared", [](Plan& p) { as_cuda(p).dynamic_shared_bytes = 300000; },
     "kernels[2].cuda: dynamic_shared_bytes is 300000, at most 232448 are possible"},
    {"cuda_grid_per_sm", [](Plan& p) { as_cuda(p).grid_per_sm = 65537; },
     "kernels[2].cuda: grid_per_sm is 65537, at most 65536 are possible"},
    {"cuda_scratch", [](Plan& p) { as_cuda(p).scratch_bytes = UINT64_MAX; },
     "kernels[2].cuda: scratch_bytes is 18446744073709551615, at most 4294967296 are possible"},
    {"sample_on_cpu",
     [](Plan& p) {
       with_sampling(p), p.target = "cpu", p.backend = BackendKind::cpu;
       for (auto& kernel : p.kernels) kernel.cuda.reset();
     },
     "kernels[14].spec.sample: the target is cpu, which draws no tokens in kernels"},
    {"sample_parts", [](Plan& p) { with_sampling(p).parts.emplace_back(); },
     "kernels[14].spec: 1 parts, a loop of kind sample has none"},
    {"sample_logits",
     [](Plan& p) {
       with_sampling(p).args[0].shape = {1, 47};
     },
     "kernels[14].spec.sample: logits is f32[1, 47], wanted f32[1, 48]"},
    {"sample_logits_role", [](Plan& p) { with_sampling(p).sample()->logits = 1; },
     "kernels[14].spec.sample: logits is argument 1, a tokens, wanted a buffer"},
    {"sample_slots", [](Plan& p) { with_sampling(p).sample()->slots = 4; },
     "kernels[14].spec.sample: slots is argument 4, the kernel has 4"},
    {"sample_unmarked", [](Plan& p) { with_sampling(p).args[3].written = false; },
     "kernels[14].spec.sample: positions is argument 3, which is not marked written"},
    {"sample_top_k", [](Plan& p) { with_sampling(p).sample()->max_top_k = -2; },
     "kernels[14].spec.sample: max_top_k is -2, wanted at least -1"},
    {"embed_writes_tokens", [](Plan& p) { kernel(p, 0).args[1].written = true; },
     "kernels[0].spec.args[1]: is marked written and never stored to"},
};

/// Kernel 16 of the plan with a prompt, a select.
KernelSpec& select(Plan& p) {
  p = testing::tiny_plan_with_prompt();
  return p.kernels[16].spec;
}

const Case select_cases[] = {
    {"none", [](Plan& p) { select(p); }, "accepted"},
    {"parts", [](Plan& p) { select(p).parts.emplace_back(); },
     "kernels[16].spec: 1 parts, a loop of kind select has none"},
    {"rows_zero", [](Plan& p) { select(p).gather_rows()->rows = 0; }, "kernels[16].spec.args[1]: buffer is f32[4, 32], wanted [1, n]"},
    {"rows_absurd",
     [](Plan& p) {
       KernelSpec& spec = select(p);
       spec.gather_rows()->rows = 5000;
       for (const std::size_t i : {1u, 3u, 5u, 7u}) spec.args[i].shape[0] = 5000;
     },
     "kernels[16].spec.select: rows is 5000, wanted 1 to 4096"},
    {"index_role", [](Plan& p) { select(p).gather_rows()->index = 5; }, "kernels[16].spec.select: index is argument 5, a slots, wanted a last"},
    {"index_outside", [](Plan& p) { select(p).gather_rows()->index = 9; }, "kernels[16].spec.select: index is argument 9, the kernel has 9"},
    {"index_of_every_row", [](Plan& p) { select(p).args[0].shape = {4}; }, "kernels[16].spec.select: index is i32[4], wanted i32[1]"},
    {"no_pairs", [](Plan& p) { select(p).gather_rows()->pairs.clear(); }, "kernels[16].spec.select: pairs: there is none, at least one is needed"},
    {"from_outside", [](Plan& p) { select(p).gather_rows()->pairs[1].from = 9; },
     "kernels[16].spec.select.pairs[1]: from is argument 9, the kernel has 9"},
    {"to_outside", [](Plan& p) { select(p).gather_rows()->pairs[1].to = 77; },
     "kernels[16].spec.select.pairs[1]: to is argument 77, the kernel has 9"},
    {"from_index", [](Plan& p) { select(p).gather_rows()->pairs[0].from = 0; },
     "kernels[16].spec.select.pairs[0]: from is argument 0, a last, wanted a buffer, slots or positions"},
    {"from_one_row", [](Plan& p) { select(p).args[1].shape = {1, 32}; }, "kernels[16].spec.select.pairs[0]: from has 1 rows, wanted 4"},
    {"to_narrower", [](Plan& p) { select(p).args[2].shape = {1, 16}; },
     "kernels[16].spec.select.pairs[0]: to is a buffer f32[1, 16], wanted a buffer f32[1, 32]"},
    {"to_type",
     [](Plan& p) { select(p).args[2].dtype = DType::i32; },
     "kernels[16].spec.select.pairs[0]: to is a buffer i32[1, 32], wanted a buffer f32[1, 32]"},
    {"to_role",
     [](Plan& p) {
       auto& pairs = select(p).gather_rows()->pairs;
       std::swap(pairs[2].to, pairs[3].to);
     },
     "kernels[16].spec.select.pairs[2]: to is a positions i32[1], wanted a slots i32[1]"},
    {"to_unmarked", [](Plan& p) { select(p).args[6].written = false; },
     "kernels[16].spec.select.pairs[2]: to is argument 6, which is not marked written"},
    {"from_marked", [](Plan& p) { select(p).args[1].written = true; }, "kernels[16].spec.args[1]: is marked written and never stored to"},
};

class CorruptSelect : public ::testing::TestWithParam<Case> {};

TEST_P(CorruptSelect, IsRefusedByName) { EXPECT_EQ(refusal(GetParam()), GetParam().message); }
INSTANTIATE_TEST_SUITE_P(Check, CorruptSelect, ::testing::ValuesIn(select_cases), name_of);

class CorruptKernel : public ::testing::TestWithParam<Case> {};

TEST_P(CorruptKernel, IsRefusedByName) { EXPECT_EQ(refusal(GetParam()), GetParam().message); }
INSTANTIATE_TEST_SUITE_P(Check, CorruptKernel, ::testing::ValuesIn(kernel_cases), name_of);

}  // namespace
}  // namespace heddle::plan
