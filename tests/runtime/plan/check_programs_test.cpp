#include "corruption.h"

namespace heddle::plan {
namespace {

const Case program_cases[] = {
    {"loop_index", [](Plan& p) { epilogue(p, 3).inputs[0].index = 1; },
     "kernels[3].spec.parts[0].epilogue.inputs[0]: loop result 1, there are 1"},
    {"loop_of_rowwise", [](Plan& p) { epilogue(p, 4).inputs[0].kind = InputKind::loop; },
     "kernels[4].spec.parts[0].epilogue.inputs[0]: loop result 0, there are 0"},
    {"loop_in_prologue", [](Plan& p) { kernel(p, 3).gemm()->prologue.inputs[0].kind = InputKind::loop; },
     "kernels[3].spec.prologue.inputs[0]: loop result 0, there are 0"},
    {"rows_index", [](Plan& p) { epilogue(p, 3).inputs[1].index = 4; },
     "kernels[3].spec.parts[0].epilogue.inputs[1]: index is argument 4, the kernel has 4"},
    {"rows_role", [](Plan& p) { epilogue(p, 3).inputs[1].index = 1; },
     "kernels[3].spec.parts[0].epilogue.inputs[1]: index is argument 1, a weight, wanted a buffer"},
    {"rows_width",
     [](Plan& p) {
       kernel(p, 3).args[2].shape = {1, 48};
     },
     "kernels[3].spec.parts[0].epilogue.inputs[1]: args[2] has 48 columns, the program has 32"},
    {"vector_matrix", [](Plan& p) { kernel(p, 1).gemm()->prologue.inputs[1].index = 2; },
     "kernels[1].spec.prologue.inputs[1]: args[2] is q8_0[32, 32], wanted a vector of f32, f16 or bf16"},
    {"vector_quantised", [](Plan& p) { kernel(p, 1).args[1].dtype = DType::q8_0; },
     "kernels[1].spec.prologue.inputs[1]: args[1] is q8_0[32], wanted a vector of f32, f16 or bf16"},
    {"row_scalar_index", [](Plan& p) { epilogue(p, 5).inputs[1].index = 2; },
     "kernels[5].spec.parts[0].epilogue.inputs[1]: value 2 of the prologue, it has 2"},
    {"row_scalar_wide", [](Plan& p) { epilogue(p, 5).inputs[1].index = 0; },
     "kernels[5].spec.parts[0].epilogue.inputs[1]: value 0 of the prologue is f32[rows, 32], wanted f32[rows, 1]"},
    {"row_scalar_of_rowwise", [](Plan& p) { epilogue(p, 4).inputs[2].kind = InputKind::row_scalar; },
     "kernels[4].spec.parts[0].epilogue.inputs[2]: kind is row_scalar, there is no prologue before this program"},
    {"constant", [](Plan& p) { epilogue(p, 4).inputs[2].value = -infinity; },
     "kernels[4].spec.parts[0].epilogue.inputs[2]: constant is -inf, wanted a finite number"},
    {"operand_itself",
     [](Plan& p) {
       epilogue(p, 3).instrs[0].operands = {0, 2};
     },
     "kernels[3].spec.parts[0].epilogue.instrs[0]: operand 1 is value 2, only 2 are known here"},
    {"operand_later",
     [](Plan& p) {
       epilogue(p, 4).instrs[1].operands = {6, 0};
     },
     "kernels[4].spec.parts[0].epilogue.instrs[1]: operand 0 is value 6, only 4 are known here"},
    {"arity", [](Plan& p) { epilogue(p, 3).instrs[0].operands = {0}; },
     "kernels[3].spec.parts[0].epilogue.instrs[0]: add has 1 operands, wanted 2"},
    {"arity_none", [](Plan& p) { epilogue(p, 4).instrs[0].operands.clear(); },
     "kernels[4].spec.parts[0].epilogue.instrs[0]: rms_scale has 0 operands, wanted 1"},
    {"arity_rope",
     [](Plan& p) {
       epilogue(p, 1).instrs[0].operands = {0, 0, 0};
     },
     "kernels[1].spec.parts[0].epilogue.instrs[0]: rope has 3 operands, wanted 1 or 2"},
    {"operand_quantised",
     [](Plan& p) {
       kernel(p, 1).gemm()->prologue.instrs.push_back({Elementwise{ScalarOp::neg}, {3}});
     },
     "kernels[1].spec.prologue.instrs[2]: operand 0 is q8_1, neg works on f32"},
    {"operand_width", [](Plan& p) { kernel(p, 4).args[1].shape = {16}; },
     "kernels[4].spec.parts[0].epilogue.instrs[2]: operand 1 of mul has 16 columns, the program has 32"},
    {"norm_of_scalar", [](Plan& p) { epilogue(p, 4).instrs[0].operands = {2}; },
     "kernels[4].spec.parts[0].epilogue.instrs[0]: operand 0 of rms_scale has 1 columns, the program has 32"},
    {"norm_gain", [](Plan& p) { kernel(p, 1).args[1].shape = {24}; },
     "kernels[1].spec.prologue.instrs[0]: gain of rms_norm has 24 elements, wanted a weight vector whose length divides 32"},
    {"norm_gain_no_vector",
     [](Plan& p) {
       kernel(p, 1).gemm()->prologue.instrs[0].operands = {0, 0};
     },
     "kernels[1].spec.prologue.instrs[0]: gain of rms_norm is no weight vector"},
    {"norm_eps", [](Plan& p) { std::get<RmsNorm>(kernel(p, 1).gemm()->prologue.instrs[0].op).eps = -1; },
     "kernels[1].spec.prologue.instrs[0]: eps of rms_norm is -1, wanted a finite number of at least 0"},
    {"scale_of_part_of_a_row", [](Plan& p) { kernel(p, 4).parts[0].granule = 16; },
     "kernels[4].spec.parts[0].epilogue.instrs[0]: rms_scale works on 32 columns together, the granule has 16"},
    {"quantize_format", [](Plan& p) { std::get<Quantize>(kernel(p, 1).gemm()->prologue.instrs[1].op).format = DType::q4_0; },
     "kernels[1].spec.prologue.instrs[1]: format of quantize is q4_0, wanted an 8-bit activation format"},
    {"quantize_blocks", [](Plan& p) { std::get<Quantize>(kernel(p, 1).gemm()->prologue.instrs[1].op).format = DType::q8_K; },
     "kernels[1].spec.prologue.instrs[1]: quantize works on 256 columns together, the granule has 32"},
    {"rope_head_dim", [](Plan& p) { std::get<Rope>(epilogue(p, 1).instrs[0].op).head_dim = 0; },
     "kernels[1].spec.parts[0].epilogue.instrs[0]: head_dim of rope is 0, wanted a divisor of 32"},
    {"rope_granule", [](Plan& p) { kernel(p, 1).parts[0].granule = 8; },
     "kernels[1].spec.parts[0].epilogue.instrs[0]: rope works on 16 columns together, the granule has 8"},
    {"rope_dims", [](Plan& p) { std::get<Rope>(epilogue(p, 1).instrs[0].op).dims = 18; },
     "kernels[1].spec.parts[0].epilogue.instrs[0]: dims of rope is 18, wanted an even number from 2 to 16"},
    {"rope_odd_dims", [](Plan& p) { std::get<Rope>(epilogue(p, 1).instrs[0].op).dims = 7; },
     "kernels[1].spec.parts[0].epilogue.instrs[0]: dims of rope is 7, wanted an even number from 2 to 16"},
    {"rope_theta", [](Plan& p) { std::get<Rope>(epilogue(p, 1).instrs[0].op).theta = 0; },
     "kernels[1].spec.parts[0].epilogue.instrs[0]: theta of rope is 0, wanted a finite number above 0"},
    {"rope_factors",
     [](Plan& p) {
       epilogue(p, 1).instrs[0].operands = {0, 0};
     },
     "kernels[1].spec.parts[0].epilogue.instrs[0]: factors of rope is no weight vector"},
    {"rope_positions", [](Plan& p) { kernel(p, 1).positions_arg = -1; },
     "kernels[1].spec.parts[0].epilogue.instrs[0]: rope needs positions, positions_arg is -1"},
    {"store_value", [](Plan& p) { epilogue(p, 3).stores[0].value = 3; },
     "kernels[3].spec.parts[0].epilogue.stores[0]: value is 3, the program has 3"},
    {"store_index", [](Plan& p) { epilogue(p, 3).stores[0].index = 1000; },
     "kernels[3].spec.parts[0].epilogue.stores[0]: index is argument 1000, the kernel has 4"},
    {"store_to_weight", [](Plan& p) { epilogue(p, 3).stores[0].index = 1; },
     "kernels[3].spec.parts[0].epilogue.stores[0]: index is argument 1, a weight, wanted a buffer"},
    {"store_unmarked", [](Plan& p) { kernel(p, 3).args[3].written = false; },
     "kernels[3].spec.parts[0].epilogue.stores[0]: args[3] is stored to and not marked written"},
    {"store_narrow",
     [](Plan& p) {
       kernel(p, 3).args[3].shape = {1, 16};
     },
     "kernels[3].spec.parts[0].epilogue.stores[0]: value 2 is f32[rows, 32], args[3] is f32[1, 16]"},
    {"store_dtype", [](Plan& p) { kernel(p, 3).args[3].dtype = DType::q8_1; },
     "kernels[3].spec.parts[0].epilogue.stores[0]: value 2 is f32[rows, 32], args[3] is q8_1[1, 32]"},
    {"store_part_of_a_block",
     [](Plan& p) {
       kernel(p, 3).args[2].dtype = kernel(p, 3).args[3].dtype = DType::q8_1;
       epilogue(p, 3).instrs.clear(), epilogue(p, 3).stores[0].value = 1, kernel(p, 3).parts[0].granule = 16;
     },
     "kernels[3].spec.parts[0].epilogue.stores[0]: value 1 has blocks of 32 columns, the granule has 16"},
    {"cache_store_to_buffer", [](Plan& p) { epilogue(p, 1, 2).stores[0].index = 5; },
     "kernels[1].spec.parts[2].epilogue.stores[0]: index is argument 5, a buffer, wanted a state"},
    {"cache_store_size",
     [](Plan& p) {
       kernel(p, 1).args[6].shape = {2, 2, 16};
     },
     "kernels[1].spec.parts[1].epilogue.stores[0]: value 1 is f32[rows, 16], the cache takes f32[rows, 32]"},
    {"cache_store_slots", [](Plan& p) { kernel(p, 1).slots_arg = -1; },
     "kernels[1].spec.parts[1].epilogue.stores[0]: a cache store needs slots and positions, slots_arg is -1, positions_arg is 8"},
};

class CorruptProgram : public ::testing::TestWithParam<Case> {};

TEST_P(CorruptProgram, IsRefusedByName) { EXPECT_EQ(refusal(GetParam()), GetParam().message); }
INSTANTIATE_TEST_SUITE_P(Check, CorruptProgram, ::testing::ValuesIn(program_cases), name_of);

}  // namespace
}  // namespace heddle::plan
