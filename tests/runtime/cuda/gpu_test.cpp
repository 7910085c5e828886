#include <gtest/gtest.h>

#include <cstring>
#include <fstream>
#include <random>

#include "runtime/cuda/device.h"
#include "runtime/cuda/driver/driver.h"
#include "runtime/plan/layout.h"
#include "tests/support/paths.h"

/// The runtime on a real GPU, with a few kernels in hand-written PTX: a chain that adds 1 per node, and a "sampler" that draws token + 1.
namespace heddle::testing {
namespace {

using runtime::CudaDevice;
using runtime::CudaOptions;
using runtime::Draw;
using runtime::GenerationRow;
using runtime::StepRow;

template <class T>
std::string message(const Result<T>& result) {
  return result.ok() ? "" : result.error().message();
}

constexpr unsigned vocabulary = 64, chain = 100;

// out[i] = token + i
constexpr const char* start_text = R"(
.visible .entry start(.param .u64 tokens, .param .u64 out) {
  .reg .b64 %a<4>; .reg .b32 %r<4>; .reg .f32 %f;
  WAIT
  ld.param.u64 %a0, [tokens]; ld.param.u64 %a1, [out];
  mov.u32 %r0, %tid.x; ld.global.u32 %r1, [%a0]; add.u32 %r2, %r0, %r1; cvt.rn.f32.u32 %f, %r2;
  mad.wide.u32 %a2, %r0, 4, %a1; st.global.f32 [%a2], %f;
  ret;
})";
// out[i] = in[i] + 1
constexpr const char* step_text = R"(
.visible .entry step(.param .u64 in, .param .u64 out) {
  .reg .b64 %a<4>; .reg .b32 %r; .reg .f32 %f<2>;
  WAIT
  ld.param.u64 %a0, [in]; ld.param.u64 %a1, [out];
  mov.u32 %r, %tid.x; mad.wide.u32 %a2, %r, 4, %a0; mad.wide.u32 %a3, %r, 4, %a1;
  ld.global.f32 %f0, [%a2]; add.f32 %f1, %f0, 0f3F800000; st.global.f32 [%a3], %f1;
  ret;
})";
constexpr const char* fault_text = R"(
.visible .entry fault(.param .u64 in, .param .u64 out) {
  .reg .b64 %a;
  WAIT
  mov.u64 %a, 16; st.global.u32 [%a], 1;
  ret;
})";
// One row; at most one end token is looked at. sample_control.h has the offsets.
constexpr const char* sample_text = R"(
.visible .entry sample(.param .u64 logits, .param .u64 tokens, .param .u64 slots, .param .u64 positions, .param .u64 control) {
  .reg .b64 %tokens, %slots, %positions, %control, %row, %ring, %a<4>, %sequence;
  .reg .b32 %r<12>; .reg .pred %p<5>;
  WAIT
  mov.u32 %r0, %tid.x; setp.ne.u32 %p0, %r0, 0; @%p0 ret;
  ld.param.u64 %tokens, [tokens]; ld.param.u64 %slots, [slots]; ld.param.u64 %positions, [positions]; ld.param.u64 %control, [control];
  ld.global.s32 %r1, [%slots]; setp.lt.s32 %p1, %r1, 0; @%p1 ret;
  ld.global.u64 %row, [%control]; ld.global.u64 %ring, [%control+16]; ld.global.u64 %a0, [%control+24];
  ld.global.u32 %r2, [%tokens]; add.u32 %r2, %r2, 1; and.b32 %r2, %r2, 63;
  ld.global.u64 %sequence, [%row+32]; add.u64 %sequence, %sequence, 1; st.global.u64 [%row+32], %sequence;
  ld.global.u32 %r3, [%row+44]; sub.u32 %r3, %r3, 1; st.global.u32 [%row+44], %r3;
  mov.u32 %r4, 0;
  setp.eq.u32 %p2, %r3, 0; @%p2 mov.u32 %r4, 2;
  ld.global.u32 %r5, [%control+40]; setp.eq.u32 %p3, %r5, 0; @%p3 bra no_end;
  ld.global.u32 %r6, [%a0]; setp.eq.u32 %p3, %r6, %r2; @%p3 mov.u32 %r4, 1;
no_end:
  setp.ne.u32 %p4, %r4, 0; @%p4 bra last;
  st.global.u32 [%tokens], %r2;
  ld.global.u32 %r7, [%positions]; add.u32 %r7, %r7, 1; st.global.u32 [%positions], %r7;
  bra publish;
last:
  mov.u32 %r8, -1; st.global.u32 [%slots], %r8;
publish:
  ld.global.u32 %r9, [%control+36]; sub.u32 %r9, %r9, 1; cvt.u32.u64 %r10, %sequence; and.b32 %r10, %r10, %r9;
  mad.wide.u32 %a1, %r10, 16, %ring;
  st.relaxed.sys.global.u32 [%a1+8], %r2; st.relaxed.sys.global.u32 [%a1+12], %r4;
  st.release.sys.global.u64 [%a1], %sequence;
  ret;
})";

class GpuTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto driver = runtime::cuda::system_driver("cuda");
    if (!driver.ok()) GTEST_SKIP() << driver.error().message();
    const auto gpu = runtime::cuda::Gpu::open(**driver, 0, "cuda");
    if (!gpu.ok()) GTEST_SKIP() << gpu.error().message();
    architecture = (*gpu)->compute_capability >= 90 ? 90 : 80;
    make_plan();
  }

  std::string load(const CudaOptions& options = {}) {
    device.reset();
    auto made = runtime::make_cuda_device(options);
    if (!made.ok()) return message(made);
    device = std::move(*made);
    return message(device->load(plan, {1, 4096}, {}));
  }
  std::vector<float> logits_of(std::int32_t token) {
    EXPECT_EQ(message(device->run(0, std::vector<StepRow>{{token, 0, 0}})), "");
    const auto logits = device->logits(0, 0);
    EXPECT_EQ(message(logits), "");
    return logits.ok() ? std::vector(logits->begin(), logits->end()) : std::vector<float>();
  }
  static std::vector<float> wanted(std::int32_t token) {
    std::vector<float> out;
    for (unsigned i = 0; i < vocabulary; ++i) out.push_back(float(token) + float(i + chain));
    return out;
  }

  plan::Kernel kernel(const std::string& name, const char* text, std::vector<plan::ArgRole> roles) const {
    plan::Kernel out;
    out.spec.name = name, out.spec.rows = 1;
    for (const plan::ArgRole role : roles) out.spec.args.emplace_back().role = role;
    std::string body = text;
    body.replace(body.find("WAIT"), 4, architecture >= 90 ? "griddepcontrol.launch_dependents; griddepcontrol.wait;" : "");
    out.cuda.emplace();
    out.cuda->entry = name, out.cuda->grid = {1, 1, 1}, out.cuda->block = {vocabulary, 1, 1},
    out.cuda->programmatic = architecture >= 90;
    out.cuda->ptx = fmt::format(".version 8.0\n.target sm_{}\n.address_size 64\n{}", architecture, body);
    return out;
  }
  void add_node(std::vector<plan::Node>& list, unsigned kernel, std::vector<unsigned> after,
                const std::vector<std::pair<plan::Where, unsigned>>& args) {
    plan::Node& node = list.emplace_back();
    node.kernel = kernel, node.after = std::move(after);
    for (const auto& [where, index] : args) {
      auto& ref = node.args.emplace_back();
      ref.where = where;
      if (where == plan::Where::arena) ref.offset = index * vocabulary * sizeof(float), ref.bytes = vocabulary * sizeof(float);
      else ref.index = index;
    }
  }

  void make_plan() {
    using plan::ArgRole;
    using plan::Where;
    plan = std::make_shared<plan::Plan>();
    plan->target = fmt::format("cuda:sm_{}", architecture), plan->backend = BackendKind::cuda;
    plan->model.vocabulary = vocabulary;
    plan->kernels.push_back(kernel("start", start_text, {ArgRole::tokens, ArgRole::buffer}));
    plan->kernels.push_back(kernel("step", step_text, {ArgRole::buffer, ArgRole::buffer}));
    plan->kernels.push_back(kernel("sample", sample_text, {ArgRole::buffer, ArgRole::tokens, ArgRole::slots, ArgRole::positions}));
    plan->kernels[2].spec.loop = plan::Sample{};
    plan->kernels.push_back(kernel("fault", fault_text, {ArgRole::buffer, ArgRole::buffer}));
    plan::EntryPoint& entry = plan->entries.emplace_back();
    entry.name = "decode_1", entry.kind = EntryKind::decode, entry.rows = 1, entry.arena_bytes = 2 * vocabulary * sizeof(float);
    const auto add_port = [](auto& list, const char* name, DType dtype, std::vector<std::int64_t> shape) {
      auto& port = list.emplace_back();
      port.name = name, port.dtype = dtype, port.shape = std::move(shape);
    };
    for (const char* name : {"tokens", "slot", "pos"}) add_port(entry.inputs, name, DType::i32, {1});
    add_port(entry.outputs, "logits", DType::f32, {1, vocabulary});
    add_node(entry.nodes, 0, {}, {{Where::input, 0}, {Where::arena, 0}});
    for (unsigned i = 0; i < chain; ++i) {
      std::vector<unsigned> after = {i};
      if (i % 7 == 6) after.push_back(i - 2);  // a skip edge
      const auto out = i + 1 < chain ? std::pair{Where::arena, (i + 1) % 2} : std::pair{Where::output, 0u};
      add_node(entry.nodes, 1, after, {{Where::arena, i % 2}, out});
    }
    add_node(entry.sampling, 2, {chain}, {{Where::output, 0}, {Where::input, 0}, {Where::input, 1}, {Where::input, 2}});
    auto& state = plan->states.emplace_back();
    state.name = "kv.0", state.dtype = DType::f16, state.shape = {2, 1, 64};
    add_weights();
  }

  void add_weights() {
    const std::int64_t rows = 4097, columns = 8192;  // more than a buffer holds
    plan::ModelFile& model = plan->files.emplace_back();
    model.path = dir.file("model.bin");
    for (const DType type : {DType::q4_K, DType::q6_K, DType::f16}) {
      plan::Weight& weight = plan->weights.emplace_back();
      weight.name = name(type), weight.dtype = type, weight.shape = {rows, columns};
      weight.layout = type == DType::f16 ? Layout::rows : Layout::planes;
      plan::WeightSource& source = weight.sources.emplace_back();
      source.rows = rows, source.columns = columns, source.offset = file.size(),
      source.bytes = std::uint64_t(bytes_of(type, rows * columns));
      file.resize(file.size() + source.bytes);
    }
    std::mt19937_64 random(3);
    for (std::size_t at = 0; at + 8 <= file.size(); at += 8) {
      const std::uint64_t word = random();
      std::memcpy(&file[at], &word, 8);
    }
    model.bytes = file.size();
    std::ofstream(model.path, std::ios::binary).write(reinterpret_cast<const char*>(file.data()), std::streamsize(file.size()));
  }

  TempDir dir;
  int architecture = 0;
  std::vector<std::byte> file;
  std::shared_ptr<plan::Plan> plan;
  std::unique_ptr<CudaDevice> device;
};

TEST_F(GpuTest, GraphEagerAndPlainEdgesAgree) {
  for (const CudaOptions& options : {CudaOptions{}, CudaOptions{.plain_edges = true}, CudaOptions{.graph = false}}) {
    ASSERT_EQ(load(options), "");
    EXPECT_EQ(device->kernel_nodes(0), options.graph ? chain + 1 : 0);
    for (std::int32_t token = 0; token < std::int32_t(vocabulary); ++token) ASSERT_EQ(logits_of(token), wanted(token)) << token;
  }
}

TEST_F(GpuTest, WeightsArriveInTheirLayouts) {
  ASSERT_EQ(load(), "");
  for (std::size_t i = 0; i < plan->weights.size(); ++i) {
    const plan::Weight& weight = plan->weights[i];
    plan::Ref ref;
    ref.where = plan::Where::weight, ref.index = std::uint32_t(i);
    const auto found = device->read(0, ref);
    ASSERT_EQ(message(found), "");
    std::vector<std::byte> planes = *found;  // what lies between planes is nobody's
    const std::byte* rows = file.data() + weight.sources[0].offset;
    if (weight.layout == Layout::rows) std::memcpy(planes.data(), rows, weight.sources[0].bytes);
    else plan::to_planes(weight.dtype, rows, 0, weight.shape[0], weight.shape[1], weight.shape[0], planes.data());
    EXPECT_TRUE(*found == planes) << weight.name;
  }
  const auto seconds = device->load_seconds();
  std::printf("upload of %.0f MB: %.3f s, modules %.3f s, graphs %.4f s\n", double(file.size()) / 1e6, seconds.upload, seconds.modules,
              seconds.graphs);
}

TEST_F(GpuTest, EachNodeCanBeLookedAt) {
  ASSERT_EQ(load(), "");
  std::size_t nodes = 0;
  const auto ran = device->run_nodes(0, std::vector<StepRow>{{5, 0, 0}}, [&](std::size_t node) -> Result<void> {
    ++nodes;
    HEDDLE_ASSIGN(const auto bytes, device->read(0, plan->entries[0].nodes[node].args[1]));
    float first = 0;
    std::memcpy(&first, bytes.data(), sizeof first);
    EXPECT_EQ(first, 5 + float(node));
    return {};
  });
  EXPECT_EQ(message(ran), "");
  EXPECT_EQ(nodes, chain + 1);
}

TEST_F(GpuTest, TokensComeThroughTheRing) {
  for (const bool graph : {true, false}) {
    ASSERT_EQ(load({.graph = graph}), "");
    EXPECT_EQ(device->kernel_nodes(0, true), graph ? chain + 2 : 0);
    ASSERT_EQ(message(device->begin_generation(0, std::vector<GenerationRow>{{{10, 0, 0}, {}, {}, 1000}}, {})), "");
    for (int i = 1; i <= 1000; ++i) {
      const auto draws = device->next_draws();
      ASSERT_EQ(message(draws), "");
      ASSERT_EQ(draws->front().token, (10 + i) % int(vocabulary));
      ASSERT_EQ(draws->front().kind, i < 1000 ? Draw::more : Draw::last);
    }
    ASSERT_EQ(message(device->end_generation()), "");
    ASSERT_EQ(message(device->begin_generation(0, std::vector<GenerationRow>{{{10, 0, 0}, {}, {}, 1000}}, std::vector<std::int32_t>{20})),
              "");
    int draws = 1;
    while (device->next_draws()->front().kind == Draw::more) ++draws;
    EXPECT_EQ(draws, 10);
    ASSERT_EQ(message(device->end_generation()), "");
    EXPECT_EQ(logits_of(3), wanted(3));
  }
}

TEST_F(GpuTest, RefusesWhatDoesNotFit) {
  auto made = runtime::make_cuda_device({});
  ASSERT_EQ(message(made), "");
  const std::string why = message((*made)->load(plan, {1 << 12, INT32_MAX}, {}));
  EXPECT_TRUE(why.starts_with("out of memory: needs ")) << why;
  EXPECT_NE(why.find("; --ctx "), why.npos) << why;
}

// The last one: a process does not get over a fault.
TEST_F(GpuTest, ZFaultIsReportedAndDoesNotHang) {
  plan->entries[0].nodes[50].kernel = 3;
  ASSERT_EQ(load(), "");
  const std::string lost = "cuda: decode_1 failed: CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered";
  EXPECT_EQ(message(device->run(0, std::vector<StepRow>{{5, 0, 0}})), "");
  EXPECT_EQ(message(device->logits(0, 0)), lost);
  EXPECT_EQ(message(device->run(0, std::vector<StepRow>{{5, 0, 0}})), lost);
  device.reset();
}

}  // namespace
}  // namespace heddle::testing
