#include "runtime/plan/wire.h"

#include "corruption.h"

/// Names and tables in a file that stand for nothing, or are not there: what no plan in memory can hold.
namespace heddle::plan {
namespace {

struct WireCase {
  const char* name;
  std::function<void(wire::PlanT&)> corrupt;
  const char* message;
};
void PrintTo(const WireCase& c, std::ostream* out) { *out << c.name; }

wire::KernelSpecT& spec(wire::PlanT& p, std::size_t kernel) { return *p.kernels[kernel]->spec; }
wire::ProgramT& program(wire::PlanT& p, std::size_t kernel, std::size_t part = 0) { return *spec(p, kernel).parts[part]->epilogue; }
wire::AttributeT& attribute(wire::InstrT& instr, std::string_view name) {
  for (auto& attribute : instr.attributes)
    if (attribute->name == name) return *attribute;
  ADD_FAILURE() << "no attribute " << name;
  return *instr.attributes.front();
}

const WireCase wire_cases[] = {
    {"none", [](wire::PlanT&) {}, "accepted"},
    {"target", [](wire::PlanT& p) { p.target = "tpu"; }, "target is 'tpu', which is unknown"},
    {"no_model", [](wire::PlanT& p) { p.model.reset(); }, "model is missing"},
    {"no_vocabulary", [](wire::PlanT& p) { p.vocabulary.reset(); }, "vocabulary is missing"},
    {"weight_dtype", [](wire::PlanT& p) { p.weights[2]->dtype = "q9_9"; }, "weights[2]: dtype is 'q9_9', which is unknown"},
    {"weight_layout", [](wire::PlanT& p) { p.weights[2]->layout = "tiles"; },
     "weights[2]: layout 'tiles' is not known (known: rows, planes, panels)"},
    {"source_dtype", [](wire::PlanT& p) { p.weights[1]->sources[0]->dtype = "f64"; },
     "weights[1].sources[0]: dtype is 'f64', which is unknown"},
    {"state_dtype", [](wire::PlanT& p) { p.states[0]->dtype = ""; }, "states[0]: dtype is '', which is unknown"},
    {"entry_kind", [](wire::PlanT& p) { p.entries[0]->kind = "train"; },
     "entries[0]: kind is 'train', wanted decode, prefill or prompt"},
    {"ref_where", [](wire::PlanT& p) { p.entries[0]->nodes[3]->args[0]->where = wire::Where(12); },
     "entries[0].nodes[3].args[0]: where is 12, wanted 0 to 4"},
    {"port_dtype", [](wire::PlanT& p) { p.entries[0]->inputs[1]->dtype = "int"; },
     "entries[0].inputs[1]: dtype is 'int', which is unknown"},
    {"no_spec", [](wire::PlanT& p) { p.kernels[3]->spec.reset(); }, "kernels[3]: spec is missing"},
    {"loop", [](wire::PlanT& p) { spec(p, 3).loop = wire::LoopKind(77); }, "kernels[3].spec: loop is 77, wanted 0 to 6"},
    {"no_gemm", [](wire::PlanT& p) { spec(p, 3).gemm.reset(); }, "kernels[3].spec: gemm is missing, the loop is gemm"},
    {"no_attention", [](wire::PlanT& p) { spec(p, 2).attention.reset(); }, "kernels[2].spec: attention is missing, the loop is attention"},
    {"no_embed", [](wire::PlanT& p) { spec(p, 0).embed.reset(); }, "kernels[0].spec: embed is missing, the loop is embed"},
    {"two_loops", [](wire::PlanT& p) { spec(p, 0).gemm = std::make_unique<wire::GemmLoopT>(); },
     "kernels[0].spec: gemm is there, the loop is embed"},
    {"route_of_gemm", [](wire::PlanT& p) { spec(p, 3).route = std::make_unique<wire::RouteLoopT>(); },
     "kernels[3].spec: route is there, the loop is gemm"},
    {"select_of_gemm", [](wire::PlanT& p) { spec(p, 3).select = std::make_unique<wire::SelectLoopT>(); },
     "kernels[3].spec: select is there, the loop is gemm"},
    {"sample_of_gemm", [](wire::PlanT& p) { spec(p, 3).sample = std::make_unique<wire::SampleLoopT>(); },
     "kernels[3].spec: sample is there, the loop is gemm"},
    {"no_prologue", [](wire::PlanT& p) { spec(p, 3).prologue.reset(); }, "kernels[3].spec: prologue is missing, the loop is gemm"},
    {"prologue_of_attention", [](wire::PlanT& p) { spec(p, 2).prologue = std::make_unique<wire::ProgramT>(); },
     "kernels[2].spec: prologue is there, the loop is attention"},
    {"no_epilogue", [](wire::PlanT& p) { spec(p, 3).parts[0]->epilogue.reset(); }, "kernels[3].spec.parts[0]: epilogue is missing"},
    {"activations", [](wire::PlanT& p) { spec(p, 1).gemm->activations = "q8"; },
     "kernels[1].spec.gemm: activations is 'q8', which is unknown"},
    {"arg_role", [](wire::PlanT& p) { spec(p, 3).args[0]->role = wire::ArgRole(9); }, "kernels[3].spec.args[0]: role is 9, wanted 0 to 6"},
    {"arg_dtype", [](wire::PlanT& p) { spec(p, 3).args[0]->dtype = ""; }, "kernels[3].spec.args[0]: dtype is '', which is unknown"},
    {"arg_layout", [](wire::PlanT& p) { spec(p, 3).args[0]->layout = "?"; },
     "kernels[3].spec.args[0]: layout '?' is not known (known: rows, planes, panels)"},
    {"input_kind", [](wire::PlanT& p) { program(p, 3).inputs[1]->kind = wire::InputKind(9); },
     "kernels[3].spec.parts[0].epilogue.inputs[1]: kind is 9, wanted 0 to 4"},
    {"store_kind", [](wire::PlanT& p) { program(p, 3).stores[0]->kind = wire::StoreKind(5); },
     "kernels[3].spec.parts[0].epilogue.stores[0]: kind is 5, wanted 0 to 2"},
    {"op", [](wire::PlanT& p) { program(p, 3).instrs[0]->op = "softmax"; },
     "kernels[3].spec.parts[0].epilogue.instrs[0]: op is 'softmax', which is unknown"},
    {"op_empty", [](wire::PlanT& p) { program(p, 3).instrs[0]->op = ""; },
     "kernels[3].spec.parts[0].epilogue.instrs[0]: op is '', which is unknown"},
    {"attribute_missing", [](wire::PlanT& p) { program(p, 1).instrs[0]->attributes.pop_back(); },
     "kernels[1].spec.parts[0].epilogue.instrs[0]: pairing of rope is missing"},
    {"attribute_renamed", [](wire::PlanT& p) { attribute(*program(p, 1).instrs[0], "theta").name = "base"; },
     "kernels[1].spec.parts[0].epilogue.instrs[0]: theta of rope is missing"},
    {"attribute_of_another_op",
     [](wire::PlanT& p) {
       auto& attributes = program(p, 3).instrs[0]->attributes;
       attributes.push_back(std::make_unique<wire::AttributeT>());
       attributes[0]->name = "eps";
     },
     "kernels[3].spec.parts[0].epilogue.instrs[0]: add has 1 attributes, wanted 0"},
    {"pairing", [](wire::PlanT& p) { attribute(*program(p, 1).instrs[0], "pairing").text = "thirds"; },
     "kernels[1].spec.parts[0].epilogue.instrs[0]: pairing of rope is 'thirds', wanted adjacent or halves"},
    {"format", [](wire::PlanT& p) { attribute(*spec(p, 1).prologue->instrs[1], "format").text = "q5_9"; },
     "kernels[1].spec.prologue.instrs[1]: format of quantize is 'q5_9', which is unknown"},
};

class CorruptWire : public ::testing::TestWithParam<WireCase> {};

TEST_P(CorruptWire, IsRefusedByName) {
  wire::PlanT tables = to_wire(testing::tiny_plan());
  GetParam().corrupt(tables);
  EXPECT_EQ(refusal(serialize(tables)), GetParam().message);
}
INSTANTIATE_TEST_SUITE_P(Plan, CorruptWire, ::testing::ValuesIn(wire_cases), [](const auto& info) { return std::string(info.param.name); });

// What a file cannot hold, a program that fills the tables can.
TEST(Wire, NullTables) {
  const auto refusal = [](const std::function<void(wire::PlanT&)>& corrupt) {
    wire::PlanT tables = to_wire(testing::tiny_plan());
    corrupt(tables);
    auto result = from_wire(std::move(tables));
    return result.ok() ? "accepted" : result.error().message();
  };
  EXPECT_EQ(refusal([](wire::PlanT& p) { p.weights[3].reset(); }), "weights[3]: is missing");
  EXPECT_EQ(refusal([](wire::PlanT& p) { p.weights[0]->sources[0].reset(); }), "weights[0].sources[0]: is missing");
  EXPECT_EQ(refusal([](wire::PlanT& p) { p.files[0].reset(); }), "files[0]: is missing");
  EXPECT_EQ(refusal([](wire::PlanT& p) { p.kernels[9].reset(); }), "kernels[9]: is missing");
  EXPECT_EQ(refusal([](wire::PlanT& p) { spec(p, 1).args[4].reset(); }), "kernels[1].spec.args[4]: is missing");
  EXPECT_EQ(refusal([](wire::PlanT& p) { spec(p, 1).parts[2].reset(); }), "kernels[1].spec.parts[2]: is missing");
  EXPECT_EQ(refusal([](wire::PlanT& p) { program(p, 3).instrs[0].reset(); }), "kernels[3].spec.parts[0].epilogue.instrs[0]: is missing");
  EXPECT_EQ(refusal([](wire::PlanT& p) { p.entries[1].reset(); }), "entries[1]: is missing");
  EXPECT_EQ(refusal([](wire::PlanT& p) { p.entries[0]->nodes[4].reset(); }), "entries[0].nodes[4]: is missing");
  EXPECT_EQ(refusal([](wire::PlanT& p) { p.entries[0]->nodes[4]->args[0].reset(); }), "entries[0].nodes[4].args[0]: is missing");
  EXPECT_EQ(refusal([](wire::PlanT& p) { p.vocabulary->tokens[1].reset(); }), "vocabulary.tokens[1]: is missing");
}

}  // namespace
}  // namespace heddle::plan
