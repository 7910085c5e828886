#include "corruption.h"

namespace heddle::plan {
namespace {

const Case entry_cases[] = {
    {"no_entries", [](Plan& p) { p.entries.clear(); }, "entries: there is none, at least one is needed"},
    {"entry_name", [](Plan& p) { decode(p).name.clear(); }, "entries[0]: name is empty"},
    {"entry_name_twice", [](Plan& p) { p.entries[1].name = "decode_1"; }, "entries[1]: name 'decode_1' is used twice"},
    {"entry_rows_zero", [](Plan& p) { decode(p).rows = 0; }, "entries[0]: rows is 0, wanted 1 to 4096"},
    {"entry_rows", [](Plan& p) { decode(p).rows = 4294967295u; }, "entries[0]: rows is 4294967295, wanted 1 to 4096"},
    {"microseconds", [](Plan& p) { decode(p).microseconds = -1; }, "entries[0]: microseconds is -1, wanted a finite number of at least 0"},
    {"key_microseconds", [](Plan& p) { decode(p).key_microseconds = -2; },
     "entries[0]: key_microseconds is -2, wanted a finite number of at least 0"},
    {"microseconds_nan", [](Plan& p) { decode(p).microseconds = float(nan); },
     "entries[0]: microseconds is nan, wanted a finite number of at least 0"},
    {"arena_absurd", [](Plan& p) { decode(p).arena_bytes = UINT64_MAX; },
     "entries[0]: arena_bytes is 18446744073709551615, at most 1099511627776 are possible"},
    {"inputs_missing", [](Plan& p) { decode(p).inputs.pop_back(); }, "entries[0]: 2 inputs, wanted tokens, slot, pos"},
    {"inputs_order", [](Plan& p) { std::swap(decode(p).inputs[0], decode(p).inputs[1]); },
     "entries[0].inputs[0]: is slot i32[1], wanted tokens i32[1]"},
    {"input_shape", [](Plan& p) { decode(p).inputs[2].shape = {2}; }, "entries[0].inputs[2]: is pos i32[2], wanted pos i32[1]"},
    {"outputs_missing", [](Plan& p) { decode(p).outputs.clear(); }, "entries[0]: 0 outputs, kind 'decode' has 1"},
    {"output_shape",
     [](Plan& p) {
       decode(p).outputs[0].shape = {1, 47};
     },
     "entries[0].outputs[0]: is f32[1, 47], wanted f32[1, 48]"},
    {"output_unwritten", [](Plan& p) { decode(p).nodes.pop_back(); }, "entries[0].outputs[0]: no node writes it"},
    {"node_kernel", [](Plan& p) { decode(p).nodes[2].kernel = 14; }, "entries[0].nodes[2]: kernel is 14, there are 14"},
    {"node_rows", [](Plan& p) { decode(p).nodes[2].kernel = 8; }, "entries[0].nodes[2]: kernel 8 has 2 rows, the entry point has 1"},
    {"node_args", [](Plan& p) { decode(p).nodes[2].args.pop_back(); }, "entries[0].nodes[2]: 4 arguments, kernel 2 has 5"},
    {"edge_to_itself", [](Plan& p) { decode(p).nodes[2].after = {2}; }, "entries[0].nodes[2]: runs after node 2, wanted an earlier one"},
    {"edge_to_later",
     [](Plan& p) {
       decode(p).nodes[2].after = {0, 5};
     },
     "entries[0].nodes[2]: runs after node 5, wanted an earlier one"},
    {"ref_weight_as_buffer", [](Plan& p) { ref(p, 3, 0).where = Where::weight; },
     "entries[0].nodes[3].args[0]: lies in 'weight', the kernel wants a buffer"},
    {"ref_tokens_in_arena", [](Plan& p) { ref(p, 0, 1).where = Where::arena; },
     "entries[0].nodes[0].args[1]: lies in 'arena', the kernel wants a tokens"},
    {"ref_output_as_state", [](Plan& p) { ref(p, 2, 1).where = Where::output; },
     "entries[0].nodes[2].args[1]: lies in 'output', the kernel wants a state"},
    {"arena_bytes", [](Plan& p) { ref(p, 3, 0).bytes = 64; }, "entries[0].nodes[3].args[0]: has 64 bytes, f32[1, 32] needs 128"},
    {"arena_index", [](Plan& p) { ref(p, 3, 0).index = 1; }, "entries[0].nodes[3].args[0]: index is 1, the arena is one"},
    {"arena_alignment", [](Plan& p) { ref(p, 3, 0).offset = 4; }, "entries[0].nodes[3].args[0]: offset is 4, wanted a multiple of 16"},
    {"arena_past_the_end", [](Plan& p) { ref(p, 3, 0).offset = 528; },
     "entries[0].nodes[3].args[0]: bytes 528 to 528 + 128, the arena has 640"},
    {"arena_overflow", [](Plan& p) { ref(p, 3, 0).offset = UINT64_MAX - 15; },
     "entries[0].nodes[3].args[0]: bytes 18446744073709551600 to 18446744073709551600 + 128, the arena has 640"},
    {"arena_too_small", [](Plan& p) { decode(p).arena_bytes = 100; },
     "entries[0].nodes[0].args[2]: bytes 0 to 0 + 128, the arena has 100"},
    {"weight_index", [](Plan& p) { ref(p, 3, 1).index = 8; }, "entries[0].nodes[3].args[1]: weight 8, there are 8"},
    {"weight_offset", [](Plan& p) { ref(p, 3, 1).offset = 16; },
     "entries[0].nodes[3].args[1]: offset 16 and bytes 0 are for the arena only"},
    {"weight_layout_of_node", [](Plan& p) { kernel(p, 3).args[1].layout = Layout::planes; },
     "entries[0].nodes[3].args[1]: layout is 'rows', the kernel wants 'planes'"},
    {"weight_type", [](Plan& p) { ref(p, 3, 1).index = 2; }, "entries[0].nodes[3].args[1]: is q8_0[32, 32], the kernel wants f16[32, 32]"},
    {"weight_type_short_table", [](Plan& p) { ref(p, 0, 0).index = 2; },
     "entries[0].nodes[0].args[0]: is q8_0[32, 32], the kernel wants q8_0[48, 32]"},
    {"state_index", [](Plan& p) { ref(p, 2, 1).index = 1; }, "entries[0].nodes[2].args[1]: state 1, there are 1"},
    {"state_type", [](Plan& p) { p.states[0].dtype = DType::f16; },
     "entries[0].nodes[1].args[6]: is f16[2, 1, 16], the kernel wants f32[2, 1, 16]"},
    {"input_index", [](Plan& p) { ref(p, 2, 2).index = 3; }, "entries[0].nodes[2].args[2]: input 3, there are 3"},
    {"input_swapped", [](Plan& p) { ref(p, 2, 2).index = 0; }, "entries[0].nodes[2].args[2]: is input 'tokens', the kernel wants 'slot'"},
    {"overlap", [](Plan& p) { ref(p, 3, 3).offset = ref(p, 3, 2).offset + 64; },
     "entries[0].nodes[3].args[3]: is written and shares bytes with argument 2"},
    {"overlap_of_a_state",
     [](Plan& p) {
       kernel(p, 1).args.push_back(kernel(p, 1).args[6]);
       kernel(p, 1).args[9].written = false;
       decode(p).nodes[1].args.push_back(ref(p, 1, 6));
     },
     "entries[0].nodes[1].args[6]: is written and shares bytes with argument 9"},
    {"output_index", [](Plan& p) { ref(p, 5, 2).index = 1; }, "entries[0].nodes[5].args[2]: output 1, there are 1"},
    {"output_type", [](Plan& p) { ref(p, 4, 2) = ref(p, 5, 2); },
     "entries[0].nodes[4].args[2]: is f32[1, 48], the kernel wants f32[1, 32]"},
    {"sample_among_nodes",
     [](Plan& p) {
       with_sampling(p);
       decode(p).nodes.push_back(std::move(decode(p).sampling[0]));
       decode(p).sampling.clear();
     },
     "entries[0].nodes[6]: kernel 14 is a loop of kind sample, which belongs to the sampling nodes"},
    {"sampling_without_sample",
     [](Plan& p) {
       with_sampling(p);
       decode(p).sampling[0] = decode(p).nodes[5];
     },
     "entries[0]: sampling has 0 loops of kind sample, wanted one"},
    {"sampling_twice",
     [](Plan& p) {
       with_sampling(p);
       decode(p).sampling.push_back(decode(p).sampling[0]);
     },
     "entries[0]: sampling has 2 loops of kind sample, wanted one"},
    {"sampling_of_prefill",
     [](Plan& p) {
       as_cuda(p);
       p.entries[2].sampling.push_back(p.entries[2].nodes[0]);
     },
     "entries[2]: sampling is there, kind 'prefill' draws no tokens"},
    {"sampling_edge",
     [](Plan& p) {
       with_sampling(p);
       decode(p).sampling[0].after = {6};
     },
     "entries[0].sampling[0]: runs after node 6, wanted an earlier one"},
    {"sampling_kernel",
     [](Plan& p) {
       with_sampling(p);
       decode(p).sampling[0].kernel = 15;
     },
     "entries[0].sampling[0]: kernel is 15, there are 15"},
};

/// Of the plan with a prompt: node 2 is the select, node 3 the attention of its row.
EntryPoint& prompt(Plan& p) {
  p = testing::tiny_plan_with_prompt();
  return p.entries[3];
}
Ref& prompt_ref(Plan& p, std::size_t node, std::size_t arg) { return prompt(p).nodes[node].args[arg]; }

const Case prompt_cases[] = {
    {"none", [](Plan& p) { prompt(p); }, "accepted"},
    {"no_last", [](Plan& p) { prompt(p).inputs.pop_back(); }, "entries[3]: 3 inputs, wanted tokens, slot, pos, last"},
    {"last_of_a_prefill", [](Plan& p) { prompt(p).kind = EntryKind::prefill; }, "entries[3]: 4 inputs, wanted tokens, slot, pos"},
    {"last_shape", [](Plan& p) { prompt(p).inputs[3].shape = {4}; }, "entries[3].inputs[3]: is last i32[4], wanted last i32[1]"},
    {"output_of_every_row",
     [](Plan& p) {
       prompt(p).outputs[0].shape = {4, 48};
     },
     "entries[3].outputs[0]: is f32[4, 48], wanted f32[1, 48]"},
    {"no_output", [](Plan& p) { prompt(p).outputs.clear(); }, "entries[3]: 0 outputs, kind 'prompt' has 1"},
    {"two_rows", [](Plan& p) { prompt(p).nodes[3].kernel = 8; }, "entries[3].nodes[3]: kernel 8 has 2 rows, the entry point has 4"},
    {"one_row_of_a_decode",
     [](Plan& p) {
       prompt(p);
       p.entries[1].nodes[2].kernel = 2;
     },
     "entries[1].nodes[2]: kernel 2 has 1 rows, the entry point has 2"},
    {"index_of_slots", [](Plan& p) { prompt_ref(p, 2, 0).index = 1; },
     "entries[3].nodes[2].args[0]: is input 'slot', the kernel wants 'last'"},
    {"index_in_the_arena", [](Plan& p) { prompt_ref(p, 2, 0).where = Where::arena; },
     "entries[3].nodes[2].args[0]: lies in 'arena', the kernel wants a last"},
    {"slots_nobody_selected",
     [](Plan& p) {
       EntryPoint& entry = prompt(p);
       entry.nodes[3].args[2].offset += 32, entry.arena_bytes += 64;
     },
     "entries[3].nodes[3].args[2]: no select before it put slots of inputs there"},
    {"slots_written_over",
     [](Plan& p) {
       EntryPoint& entry = prompt(p);  // the query's row is computed again, over the slot
       Node& again = *entry.nodes.insert(entry.nodes.begin() + 3, Node(entry.nodes[2]));
       again.after = {2};
       again.args[4].offset = entry.nodes[2].args[6].offset - 112, again.args[6].offset += 32, again.args[8].offset += 32;
       entry.arena_bytes += 64;
       for (std::size_t i = 4; i < entry.nodes.size(); ++i) entry.nodes[i].after = {std::uint32_t(i - 1)};
     },
     "entries[3].nodes[4].args[2]: no select before it put slots of inputs there"},
    {"attention_before_the_select",
     [](Plan& p) {
       EntryPoint& entry = prompt(p);
       std::swap(entry.nodes[2], entry.nodes[3]);
       entry.nodes[2].after = entry.nodes[3].after = {1};
     },
     "entries[3].nodes[2].args[2]: no select before it put slots of inputs there"},
    {"positions_as_slots",
     [](Plan& p) {
       EntryPoint& entry = prompt(p);
       std::swap(entry.nodes[3].args[2].offset, entry.nodes[3].args[3].offset);
     },
     "entries[3].nodes[3].args[2]: no select before it put slots of inputs there"},
    {"slots_overwritten",
     [](Plan& p) {
       EntryPoint& entry = prompt(p);
       entry.nodes[2].args[4].offset = entry.nodes[2].args[6].offset - 112;  // of the queries, written by the select itself
     },
     "entries[3].nodes[2].args[4]: is written and shares bytes with argument 6"},
    {"attention_of_inputs", [](Plan& p) { prompt(p), p.kernels[17].spec.attention()->selected = false; },
     "entries[3].nodes[3]: its slots and positions lie in the arena, the kernel is for those in the input"},
    {"attention_of_selected", [](Plan& p) { prompt(p), p.kernels[2].spec.attention()->selected = true; },
     "entries[0].nodes[2]: its slots and positions lie in the input, the kernel is for those in the arena"},
    {"sampling_of_prompt",
     [](Plan& p) {
       prompt(p).sampling.push_back(p.entries[3].nodes[0]);
       as_cuda(p);
     },
     "entries[3]: sampling is there, kind 'prompt' draws no tokens"},
};

class CorruptPrompt : public ::testing::TestWithParam<Case> {};

TEST_P(CorruptPrompt, IsRefusedByName) { EXPECT_EQ(refusal(GetParam()), GetParam().message); }
INSTANTIATE_TEST_SUITE_P(Check, CorruptPrompt, ::testing::ValuesIn(prompt_cases), name_of);

class CorruptEntry : public ::testing::TestWithParam<Case> {};

TEST_P(CorruptEntry, IsRefusedByName) { EXPECT_EQ(refusal(GetParam()), GetParam().message); }
INSTANTIATE_TEST_SUITE_P(Check, CorruptEntry, ::testing::ValuesIn(entry_cases), name_of);

}  // namespace
}  // namespace heddle::plan
