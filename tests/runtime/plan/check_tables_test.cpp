#include "corruption.h"

namespace heddle::plan {
namespace {

const Case table_cases[] = {
    {"target_without_number", [](Plan& p) { p.target = "cuda:sm_"; }, "target: is 'cuda:sm_', wanted cpu or cuda:sm_NN"},
    {"key_name", [](Plan& p) { p.key[2].name.clear(); }, "key[2]: name is empty"},
    {"no_vocabulary_size", [](Plan& p) { p.model.vocabulary = 0; }, "model: vocabulary is 0, wanted 1 to 2147483647"},
    {"no_path", [](Plan& p) { p.files[0].path.clear(); }, "files[0]: path is empty"},
    {"weight_name", [](Plan& p) { p.weights[1].name.clear(); }, "weights[1]: name is empty"},
    {"weight_i32", [](Plan& p) { p.weights[2].dtype = DType::i32; }, "weights[2]: dtype is i32, a weight is float or quantised"},
    {"weight_shape_empty", [](Plan& p) { p.weights[2].shape.clear(); }, "weights[2]: shape is empty"},
    {"weight_shape_zero",
     [](Plan& p) {
       p.weights[2].shape = {0, 32};
     },
     "weights[2]: shape is [0, 32], every dimension must be positive"},
    {"weight_shape_negative",
     [](Plan& p) {
       p.weights[2].shape = {-32, -32};
     },
     "weights[2]: shape is [-32, -32], every dimension must be positive"},
    {"weight_shape_overflow",
     [](Plan& p) {
       p.weights[2].shape = {INT64_MAX, 4, 32};
     },
     "weights[2]: shape is [9223372036854775807, 4, 32], more than 1099511627776 elements"},
    {"weight_blocks",
     [](Plan& p) {
       p.weights[2].shape = {64, 16};
     },
     "weights[2]: shape is [64, 16], q8_0 needs a multiple of 32 columns"},
    {"values_of_a_matrix", [](Plan& p) { p.weights[2].sources[0].values = {1}; },
     "weights[2].sources[0]: 1 values for [32, 32] of q8_0, wanted a row of a vector in f32"},
    {"plus_on_a_matrix", [](Plan& p) { p.weights[2].sources[0].plus = 1; },
     "weights[2].sources[0]: type q8_0 plus 1 into q8_0, only a vector in f32 is made from others"},
    {"weight_planes_on_cpu", [](Plan& p) { p.weights[2].layout = Layout::planes; }, "weights[2]: layout is 'planes', wanted 'rows'"},
    {"weight_planes_of_f16", [](Plan& p) { as_cuda(p), p.weights[5].layout = Layout::planes; },
     "weights[5]: layout 'planes' is not defined for f16"},
    {"weight_planes_of_vector", [](Plan& p) { as_cuda(p), p.weights[1].layout = Layout::planes; },
     "weights[1]: layout is 'planes', wanted 'rows'"},
    {"weight_device", [](Plan& p) { p.weights[2].device = 1; }, "weights[2]: device is 1, there is one"},
    {"source_file", [](Plan& p) { p.weights[0].sources[0].file = 1; }, "weights[0].sources[0]: file is 1, there are 1 files"},
    {"source_rows", [](Plan& p) { p.weights[0].sources[0].rows = -1; }, "weights[0].sources[0]: -1 rows of 32 columns"},
    {"source_rows_overflow", [](Plan& p) { p.weights[0].sources[0].rows = INT64_MAX; },
     "weights[0].sources[0]: 9223372036854775807 rows of 32 columns"},
    {"source_row_begin", [](Plan& p) { p.weights[0].sources[0].row_begin = -5; }, "weights[0].sources[0]: row_begin is -5"},
    {"source_column_begin", [](Plan& p) { p.weights[0].sources[0].column_begin = 32; },
     "weights[0].sources[0]: column_begin is 32, only whole rows can be loaded"},
    {"source_columns", [](Plan& p) { p.weights[0].sources[0].columns = 64; },
     "weights[0].sources[0]: 64 columns, the shape [48, 32] has 32"},
    {"source_bytes", [](Plan& p) { p.weights[0].sources[0].bytes = 1631; },
     "weights[0].sources[0]: 1631 bytes, 48 rows of 32 columns of q8_0 are 1632"},
    {"source_past_the_end", [](Plan& p) { p.weights[7].sources[0].offset += 1; },
     "weights[7].sources[0]: bytes 6369 to 6369 + 6144, the file has 12512"},
    {"source_offset_overflow", [](Plan& p) { p.weights[7].sources[0].offset = UINT64_MAX - 100; },
     "weights[7].sources[0]: bytes 18446744073709551515 to 18446744073709551515 + 6144, the file has 12512"},
    {"file_shrunk", [](Plan& p) { p.files[0].bytes = 1000; }, "weights[0].sources[0]: bytes 256 to 256 + 1632, the file has 1000"},
    {"source_missing", [](Plan& p) { p.weights[4].sources.pop_back(); },
     "weights[4]: the sources have 256 elements, the shape [16, 32] has 512"},
    {"source_twice", [](Plan& p) { p.weights[1].sources.push_back(p.weights[1].sources[0]); },
     "weights[1].sources[1]: the sources have more than the 32 elements of shape [32]"},
    {"state_dtype", [](Plan& p) { p.states[0].dtype = DType::q8_0; }, "states[0]: dtype is q8_0, wanted f32 or f16"},
    {"state_planes",
     [](Plan& p) {
       p.states[0].shape = {3, 1, 16};
     },
     "states[0]: shape is [3, 1, 16], wanted [2, kv_heads, head_dim]"},
    {"state_rank",
     [](Plan& p) {
       p.states[0].shape = {2, 16};
     },
     "states[0]: shape is [2, 16], wanted [2, kv_heads, head_dim]"},
    {"state_size",
     [](Plan& p) {
       p.states[0].shape = {2, 1, -16};
     },
     "states[0]: shape is [2, 1, -16], every dimension must be positive"},
    {"vocabulary_kind", [](Plan& p) { p.vocabulary.kind = "wordpiece"; }, "vocabulary: kind is 'wordpiece', wanted spm, bpe or none"},
    {"vocabulary_short", [](Plan& p) { p.vocabulary.tokens.pop_back(); }, "vocabulary: kind 'spm' with 47 tokens, the model has 48"},
    {"vocabulary_none", [](Plan& p) { p.vocabulary.kind = "none"; }, "vocabulary: kind 'none' with 48 tokens, the model has 48"},
    {"token_type", [](Plan& p) { p.vocabulary.tokens[7].type = 9; }, "vocabulary.tokens[7]: type is 9, wanted 0 to 6"},
    {"token_score", [](Plan& p) { p.vocabulary.tokens[7].score = float(nan); }, "vocabulary.tokens[7]: score is not a number"},
    {"bos", [](Plan& p) { p.vocabulary.bos = 48; }, "vocabulary: bos is 48, the vocabulary has 48 tokens"},
    {"eos", [](Plan& p) { p.vocabulary.eos = -2; }, "vocabulary: eos is -2, the vocabulary has 48 tokens"},
    {"unknown", [](Plan& p) { p.vocabulary.unknown = INT32_MIN; }, "vocabulary: unknown is -2147483648, the vocabulary has 48 tokens"},
    {"end_token", [](Plan& p) { p.vocabulary.end_tokens.push_back(-1); },
     "vocabulary: end_tokens[1] is -1, the vocabulary has 48 tokens"},
};

class CorruptTable : public ::testing::TestWithParam<Case> {};

TEST_P(CorruptTable, IsRefusedByName) { EXPECT_EQ(refusal(GetParam()), GetParam().message); }
INSTANTIATE_TEST_SUITE_P(Check, CorruptTable, ::testing::ValuesIn(table_cases), name_of);

}  // namespace
}  // namespace heddle::plan
