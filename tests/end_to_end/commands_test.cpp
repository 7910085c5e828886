// Every subcommand on the bundled model, and what each says of bad input.
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <sstream>

#include "program.h"
#include "tests/support/paths.h"

namespace heddle::testing {
namespace {

using nlohmann::json;
using ::testing::ElementsAre, ::testing::Pair;

class Commands : public ::testing::Test {
 protected:
  Ran run(std::vector<std::string> arguments) {
    arguments.insert(arguments.end(), {"--cache-dir", cache_.path()});
    return heddle(arguments);
  }
  std::string good(std::vector<std::string> arguments) {
    Ran ran = run(std::move(arguments));
    EXPECT_EQ(ran.exit_code, 0) << ran.err;
    return ran.out;
  }
  /// The one line of an error.
  std::string bad(std::vector<std::string> arguments) {
    Ran ran = run(std::move(arguments));
    EXPECT_EQ(ran.exit_code, 1);
    EXPECT_EQ(ran.out, "");
    return ran.err;
  }
  TempDir cache_, files_;
};

TEST_F(Commands, CompileTellsWhatFiredAndHoldsToRequire) {
  const std::string out = good({"compile", bundled_model()});
  for (const char* pass : {"group_qkv", "group_gate_up", "fuse_norm_matmul", "fuse_gate_up_swiglu", "fuse_rope_cache", "fuse_residual"})
    EXPECT_NE(out.find(pass), std::string::npos) << out;
  EXPECT_NE(good({"compile", bundled_model()}).find("up to date: "), std::string::npos);
  good({"compile", bundled_model(), "--force", "--require", "group_qkv=4"});
  const Ran ran = run({"compile", bundled_model(), "--force", "--require", "group_qkv=4000"});
  EXPECT_EQ(ran.exit_code, 1);
  EXPECT_NE(ran.err.find("group_qkv"), std::string::npos) << ran.err;
}

TEST_F(Commands, OneSharedQuantizePerNormAndFiveKernelsALayer) {
  const std::string ir = good({"inspect", bundled_model(), "--ir"});
  const std::string decode = ir.substr(ir.find("func @decode_1"), ir.find("func @decode_8") - ir.find("func @decode_1"));
  auto count = [&](const std::string& what) {
    int n = 0;
    for (auto at = decode.find(what); at != std::string::npos; at = decode.find(what, at + 1)) ++n;
    return n;
  };
  EXPECT_EQ(count(" = group "), 4 * 5 + 2);
  EXPECT_EQ(count(" = quantize "), 4 * 4 + 1);  // a layer: for Q, K, V; for the output; for gate, up; for down. And the head's
}

TEST_F(Commands, LogitsDoNotDependOnTheNumberOfThreads) {
  std::string ids = "1";
  for (int i = 2; i < 180; ++i) ids += "," + std::to_string(i * 7);  // a wide step, narrow ones, and the last token's own
  std::vector<std::string> found;
  for (const char* threads : {"1", "2", "3", "4"})
    found.push_back(good({"logits", bundled_model(), "--target", "cpu", "--ids", ids, "--json", "-t", threads}));
  for (const std::string& logits : found) EXPECT_EQ(logits, found[0]);
  EXPECT_EQ(json::parse(found[0])["logits"].size(), 2048u);
}

TEST_F(Commands, TheFusedPlanAndTheUnfusedOneGiveTheSameLogits) {
  auto logits = [&](std::vector<std::string> more) {
    std::vector<std::string> arguments = {"logits", bundled_model(), "--ids", "46,77,346,788,258", "--json", "--reference"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return good(arguments);
  };
  const std::string fused = logits({});
  for (const char* pass : {"group_qkv", "group_gate_up", "fuse_norm_matmul", "fuse_gate_up_swiglu", "fuse_rope_cache", "fuse_residual"})
    EXPECT_EQ(logits({"--disable", pass}), fused) << pass;
  EXPECT_EQ(logits({"--pipeline", "quantize_activations,group_rest,schedule,plan_memory"}), fused);
}

TEST_F(Commands, APlugInsFusionFiresAndRunsOnTheCpu) {
  const std::vector<std::string> logits = {"logits", bundled_model(), "--ids", "46,77,346,788,258", "--target", "cpu", "--json"};
  auto fused = logits;
  fused.insert(fused.end(), {"--pass-plugin", HEDDLE_PLUGIN_FILE});
  const json apart = json::parse(good(logits))["logits"], together = json::parse(good(fused))["logits"];
  double largest = 0, smallest = 0, difference = 0;
  for (std::size_t i = 0; i < apart.size(); ++i) {
    largest = std::max(largest, apart[i].get<double>());
    smallest = std::min(smallest, apart[i].get<double>());
    difference = std::max(difference, std::abs(apart[i].get<double>() - together[i].get<double>()));
  }
  EXPECT_LE(difference, 1e-4 * (largest - smallest)) << "the same row is quantised, one kernel earlier";
  const std::string kernels = good({"inspect", bundled_model(), "--target", "cpu", "--kernels", "--pass-plugin", HEDDLE_PLUGIN_FILE});
  EXPECT_NE(kernels.find("attention_1x4_2x64_f32__quantize"), std::string::npos) << kernels;
  good({"compile", bundled_model(), "--target", "cpu", "--force", "--pass-plugin", HEDDLE_PLUGIN_FILE, "--require", "fuse_attention_quantize=4"});
  EXPECT_EQ(bad({"compile", bundled_model(), "--pass-plugin", "/nowhere.so"}).substr(0, 19), "heddle: /nowhere.so");
}

TEST_F(Commands, VerifyFindsNothingOrTheNodeAndThePass) {
  const std::vector<std::string> verify = {"verify", bundled_model(), "--target", "cpu", "-p", "Once upon a time"};
  EXPECT_NE(good(verify).find("nodes are within tolerance"), std::string::npos);
  auto wrong = verify;
  wrong.insert(wrong.end(), {"--json", "--bisect", "--entry", "decode_1", "--pass-plugin", HEDDLE_WRONG_PLUGIN_FILE});
  const Ran ran = run(wrong);
  EXPECT_EQ(ran.exit_code, 1) << ran.err;
  const json found = json::parse(ran.out);
  EXPECT_EQ(found["good"], false);
  EXPECT_NE(found["entries"][0]["fault"]["what"].get<std::string>().find("passes: %l1.x1"), std::string::npos) << found["entries"][0]["fault"];
  EXPECT_EQ(found["mended_without"], json{"wrong_residual"});
  EXPECT_EQ(bad({"verify", bundled_model(), "--target", "cpu", "--entry", "decode_3"}), "heddle: the plan has no entry point 'decode_3'\n");
}

TEST_F(Commands, VerifyJudgesThePassesOfACudaPlanWithoutAGpu) {
  EXPECT_NE(good({"verify", bundled_model(), "--target", "cuda:sm_90", "--reference", "-q", "--entry", "decode_1", "--entry", "prefill_64"}).find("nodes are within tolerance"), std::string::npos);
}

TEST_F(Commands, ProfileTimesEveryKernelOfAStep) {
  const std::string trace = files_.file("trace.json");
  const json profile = json::parse(good({"profile", bundled_model(), "--target", "cpu", "-d", "10", "-r", "2", "--json", "--trace", trace}));
  int calls = 0;
  for (const auto& kernel : profile["kernels"]) calls += kernel["calls"].get<int>();
  EXPECT_EQ(calls, 22);
  EXPECT_GT(profile["read_bytes_per_second"], 0);
  EXPECT_FALSE(profile.contains("matrix_operations_per_second"));  // only GPUs have such units
  EXPECT_EQ(json::parse(std::ifstream(trace))["traceEvents"].size(), 22u + 2);
  const json prompt =
      json::parse(good({"profile", bundled_model(), "--target", "cpu", "--entry", "prompt_32", "-d", "10", "-r", "2", "--json"}));
  calls = 0;
  for (const auto& kernel : prompt["kernels"]) {
    calls += kernel["calls"].get<int>();
    // Behind the select one row attends to itself and the 41 positions before it: 4 heads of 64, two products.
    if (kernel["kernel"] == "attention_1x4_2x64_f32_selected") {
      EXPECT_EQ(kernel["operations"], 2 * 2 * 4 * 64 * 42);
    }
  }
  EXPECT_EQ(calls, 41);
  EXPECT_EQ(bad({"profile", bundled_model(), "--target", "cpu", "--reference"}), "heddle: the reference interpreter keeps no time\n");
}

/// What a fusion that stops firing, or an entry point that nobody meant to add, makes larger: launches of a step by entry point, and kernels
/// that must be compiled. Where a change makes one smaller, write down the new one.
struct PlanSize {
  std::size_t kernels = 0;
  std::map<std::string, int> launches;
};
PlanSize plan_size(const json& kernels, const json& plan) {
  PlanSize size{.kernels = kernels["kernels"].size(), .launches = {}};
  for (const auto& entry : plan["entries"]) size.launches[entry["name"]] = entry["nodes"];
  return size;
}

TEST_F(Commands, ThePlanForTheCpuHasNoLaunchAndNoKernelMore) {
  const PlanSize size = plan_size(json::parse(good({"inspect", bundled_model(), "--target", "cpu", "--kernels", "--json"})),
                                  json::parse(good({"inspect", bundled_model(), "--target", "cpu", "--json"})));
  EXPECT_EQ(size.kernels, 44u);
  EXPECT_THAT(size.launches, ElementsAre(Pair("decode_1", 22), Pair("decode_8", 22), Pair("prefill_128", 34), Pair("prefill_32", 34),
                                         Pair("prompt_128", 41), Pair("prompt_32", 41)));
}

TEST_F(Commands, InspectShowsWhatAKernelIsMadeOf) {
  const json all = json::parse(good({"inspect", bundled_model(), "--target", "cuda:sm_90", "--kernels", "--ptx", "--json"}));
  const json& kernels = all["kernels"];
  ASSERT_FALSE(kernels.empty());
  const PlanSize size = plan_size(all, json::parse(good({"inspect", bundled_model(), "--target", "cuda:sm_90", "--json"})));
  EXPECT_EQ(size.kernels, 126u);
  for (const auto& [entry, launches] : size.launches) {
    const bool few_rows = entry == "decode_1" || entry.ends_with("_8");  // then the matrix units get no tiles of their own
    EXPECT_EQ(launches, entry.starts_with("decode") ? (few_rows ? 22 : 35) : entry.starts_with("prefill") ? (few_rows ? 17 : 27) : few_rows ? 24 : 34) << entry;
  }
  EXPECT_EQ(size.launches.size(), 5u + 9u + 9u);
  for (const auto& kernel : kernels) {
    EXPECT_TRUE(kernel["spill_bytes"].is_number()) << kernel["name"];  // none are wanted, which the tests of the emitters see to
    EXPECT_GT(kernel["registers"], 0) << kernel["name"];
    const std::string ptx = kernel["ptx"];  // none where no newer GPU could use it
    EXPECT_TRUE(ptx.empty() || ptx.find(".target sm_90") != ptx.npos) << kernel["name"];
  }
  const std::string out = files_.file("kernels");
  EXPECT_NE(good({"inspect", bundled_model(), "--target", "cuda:sm_90", "--kernels", "--out", out, "--name", "embed_q6_K_1x256"}).find("registers"),
            std::string::npos);
  for (const char* suffix : {"spec", "cu", "ptx", "cubin"}) EXPECT_TRUE(std::ifstream(out + "/embed_q6_K_1x256." + suffix).good()) << suffix;
  EXPECT_EQ(bad({"inspect", bundled_model(), "--target", "cpu", "--kernels", "--ptx"}),
            "heddle: target cpu has no PTX: its kernels are specs (--out writes them)\n");
}

TEST_F(Commands, InspectSaysHowLongStepsTakeAndHowItKnows) {
  const auto entries = [&] { return json::parse(good({"inspect", bundled_model(), "--target", "cuda:sm_90", "--json"})); };
  const json estimated = entries();
  std::map<std::string, double> us;
  for (const auto& entry : estimated["entries"]) {
    us[entry["name"]] = entry["microseconds"];
    EXPECT_GE(entry["microseconds"], 2 * entry["nodes"].get<double>()) << entry["name"];
    EXPECT_EQ(entry["measured"], false) << entry["name"];
  }
  EXPECT_LT(us["decode_1"], us["prompt_512"]);
  // A prompt's last layer attends from one row only.
  const auto key_us = [&](const std::string& name) {
    const auto found = std::ranges::find_if(estimated["entries"], [&](const json& entry) { return entry["name"] == name; });
    return found->at("key_microseconds").get<double>();
  };
  EXPECT_GT(key_us("prompt_512"), 0);
  EXPECT_DOUBLE_EQ(key_us("prompt_512"), key_us("prefill_512"));
  EXPECT_GT(key_us("decode_1"), key_us("prompt_512"));
  EXPECT_LT(us["prompt_512"], us["prompt_2048"]);
  EXPECT_LT(us["prefill_512"], us["prompt_512"]);
  EXPECT_LT(us["prompt_512"], us["prefill_512"] + us["decode_1"]);

  // Measured are those of which all that read prompts are.
  const auto& model = estimated["model"];
  const std::string name = fmt::format("llama, {} layers, {} parameters, vocabulary {}, {} bytes", model["layers"].get<int>(),
                                       model["parameters"].get<int>(), model["vocabulary"].get<int>(), model["weight_bytes"].get<int>());
  json tuning = {{"gpu", "any"}, {"target", "cuda:sm_90"}, {"kernels", json::array()}, {"passes", json::array()}, {"entries", json::array()}};
  const auto reads_prompts = [](const std::string& entry) { return entry == "decode_1" || entry.starts_with("pr"); };
  for (const auto& [entry, estimate] : us)
    if (reads_prompts(entry)) tuning["entries"].push_back({{"model", name}, {"entry", entry}, {"us", 123.5}});
  std::ofstream(cache_.path() + "/tuning-h100.json") << tuning.dump();
  for (const auto& entry : entries()["entries"]) {
    EXPECT_EQ(entry["measured"], reads_prompts(entry["name"])) << entry["name"];
    EXPECT_EQ(entry["microseconds"] == 123.5, reads_prompts(entry["name"])) << entry["name"];
  }
  tuning["entries"].erase(3);
  std::ofstream(cache_.path() + "/tuning-h100.json") << tuning.dump();
  for (const auto& entry : entries()["entries"]) EXPECT_EQ(entry["microseconds"], us[entry["name"]]) << entry["name"];
  EXPECT_NE(good({"inspect", bundled_model(), "--target", "cpu"}).find("us (estimated)"), std::string::npos);
}

TEST_F(Commands, RunIsReproducibleAndStopsWhereTold) {
  const std::vector<std::string> sampled = {"run", bundled_model(), "-p", "The ship", "-n", "12", "--seed", "7", "--json"};
  EXPECT_EQ(json::parse(good(sampled))["tokens"], json::parse(good(sampled))["tokens"]);
  auto other = sampled;
  other[7] = "8";
  EXPECT_NE(json::parse(good(sampled))["tokens"], json::parse(good(other))["tokens"]);

  const json greedy = json::parse(good({"run", bundled_model(), "-p", "The ship", "-n", "12", "--temp", "0", "--json"}));
  EXPECT_EQ(greedy["stop"], "length");
  const std::string text = greedy["text"];
  const std::string stop = text.substr(text.size() / 2, 3);
  const json stopped = json::parse(good({"run", bundled_model(), "-p", "The ship", "-n", "12", "--temp", "0", "--json", "--stop", stop}));
  EXPECT_EQ(stopped["stop"], "stop");
  EXPECT_EQ(stopped["text"], text.substr(0, text.find(stop)));
  const json full = json::parse(good({"run", bundled_model(), "-p", "The ship", "--temp", "0", "--ctx", "9", "--ignore-eos", "--json"}));
  EXPECT_EQ(full["stop"], "context full");
}

/// A template for a model that has none: paragraphs.
constexpr const char* paragraphs = "{% for m in messages %}{{ m.content }}\n\n{% endfor %}";

TEST_F(Commands, ChatAnswersLinesOfAPipeAndKeepsTheCache) {
  const std::string file = files_.file("paragraphs.jinja");
  std::ofstream(file) << paragraphs;
  const std::vector<std::string> chat = {"chat",   bundled_model(), "--target", "cpu",  "--template",  file,         "--system",
                                         "A tale.", "--temp",        "0",        "-n", "6", "--cache-dir", cache_.path()};
  auto with = [&](std::vector<std::string> more) {
    more.insert(more.begin(), chat.begin(), chat.end());
    return more;
  };
  good({"compile", bundled_model(), "--target", "cpu"});
  const Ran text = heddle(chat, "The ship\n\nThe king\n/exit\nThe sea\n");
  EXPECT_EQ(text.exit_code, 0);
  EXPECT_EQ(text.err, "");
  const Ran lines = heddle(with({"--json"}), "The ship\nThe king\n/clear\nThe ship\n");
  ASSERT_EQ(lines.exit_code, 0) << lines.err;
  std::vector<json> turns;
  std::istringstream in(lines.out);
  for (std::string line; std::getline(in, line);) turns.push_back(json::parse(line));
  ASSERT_EQ(turns.size(), 3u);
  EXPECT_EQ(text.out, turns[0]["text"].get<std::string>() + "\n" + turns[1]["text"].get<std::string>() + "\n");
  EXPECT_EQ(turns[0]["kept_tokens"], 0);
  EXPECT_GE(turns[1]["kept_tokens"], turns[0]["prompt_tokens"].get<int>());  // of the answer it may be that other tokens spell it
  EXPECT_EQ(turns[2]["kept_tokens"], turns[2]["prompt_tokens"].get<int>() - 1);
  EXPECT_EQ(turns[2]["tokens"], turns[0]["tokens"]);

  const json run = json::parse(good({"run", bundled_model(), "--target", "cpu", "--chat", "--template", file, "--system", "A tale.", "-p", "The ship",
                                     "--temp", "0", "-n", "6", "--json"}));
  EXPECT_EQ(run["tokens"], turns[0]["tokens"]);
  EXPECT_EQ(run["prompt"], "A tale.\n\nThe ship\n\n");

  std::vector<std::string> endless = with({"--ctx", "12", "--ignore-eos"});
  endless.erase(std::find(endless.begin(), endless.end(), "-n"), std::find(endless.begin(), endless.end(), "-n") + 2);
  const Ran full = heddle(endless, "The ship\nThe king\n");
  EXPECT_EQ(full.exit_code, 1);
  EXPECT_NE(full.err.find("heddle: the context of 12 positions is full and the answer cut off"), std::string::npos) << full.err;
  EXPECT_NE(full.err.find("heddle: context is full: 12 positions, "), std::string::npos) << full.err;
  EXPECT_EQ(bad({"chat", bundled_model(), "--target", "cpu"}), "heddle: the model has no chat template: give one with --template FILE\n");
  std::ofstream(file) << "a\n{% include 'b' %}";
  EXPECT_EQ(bad({"run", bundled_model(), "--target", "cpu", "--chat", "--template", file, "-p", "x"}),
            "heddle: " + file + ": chat template: line 2: tag 'include' is not supported\n");
}

TEST_F(Commands, ChatInATerminalOutlivesAnInterruptedAnswer) {
  const std::string file = files_.file("paragraphs.jinja");
  std::ofstream(file) << paragraphs;
  good({"compile", bundled_model(), "--target", "cpu"});
  std::vector<std::string> chat = {"chat", bundled_model(), "--target", "cpu", "--template", file, "--temp", "0", "--cache-dir", cache_.path()};
  std::vector<std::string> limited = chat;
  limited.insert(limited.end(), {"--json", "-n", "4"});
  const std::string answer = json::parse(heddle(limited, "The ship\n").out)["text"];
  ASSERT_THAT(answer, ::testing::Not(::testing::AnyOf("", ::testing::HasSubstr("\n"), ::testing::HasSubstr("The ship"))));

  chat.insert(chat.end(), {"--ignore-eos", "--ctx", "1000000"});
  Terminal terminal(chat);
  if (!terminal.opened()) GTEST_SKIP() << "no pseudo-terminal can be opened";
  EXPECT_THAT(terminal.read_to("> "), ::testing::HasSubstr("/exit or Ctrl-D ends"));
  terminal.type("The ship\r");
  EXPECT_THAT(terminal.read_to(answer), ::testing::EndsWith(answer));  // the beginning of one that would not end
  terminal.type("\x03");
  EXPECT_THAT(terminal.read_to("> "), ::testing::EndsWith("\r\n> "));
  terminal.type("half a line");
  terminal.read_to("half a line");
  terminal.until_it_waits();
  terminal.type("\x03");
  EXPECT_THAT(terminal.read_to("> "), ::testing::EndsWith("\r\n> "));
  terminal.type("\x10");  // Ctrl-P: the line before
  EXPECT_THAT(terminal.read_to("The ship"), ::testing::EndsWith("The ship"));
  terminal.type("\x15\x04");  // an empty line, and Ctrl-D
  EXPECT_EQ(terminal.exit_code(), 0);
}

TEST_F(Commands, TokenizeGoesThereAndBack) {
  const std::string ids = heddle({"tokenize", bundled_model(), "Once upon a time there was a"}).out;
  EXPECT_EQ(ids, "46 77 346 788 258 630 527 375 258\n");
  EXPECT_EQ(heddle({"tokenize", bundled_model(), "--decode", ids}).out, "Once upon a time there was a\n");
  EXPECT_EQ(heddle({"tokenize", bundled_model(), ""}).out, "\n");
  EXPECT_EQ(heddle({"tokenize", bundled_model(), "--", "-x"}).exit_code, 0);
}

TEST_F(Commands, OptPrintsWhatItParsed) {
  const std::string file = files_.file("a.ir");
  std::ofstream(file) << "heddle-ir 1\nfunc @f decode rows=1 (%x: f32[1, 64]) {\n  %a = silu %x\n  %b = silu %x\n  %c = mul %a, %b\n  ret %c\n}\n";
  const Ran ran = heddle({"opt", file, "--passes", "cse", "--explain", "--check-numerics"});
  EXPECT_EQ(ran.exit_code, 0) << ran.err;
  EXPECT_NE(ran.out.find("mul %a, %a"), std::string::npos) << ran.out;
  EXPECT_NE(ran.err.find("cse"), std::string::npos);
}

TEST_F(Commands, InspectAndBenchAndCacheAnswerInJsonOrTables) {
  const json memory = json::parse(good({"inspect", bundled_model(), "--memory", "--ctx", "100", "--json"}))["memory"];
  EXPECT_EQ(memory["cache"], 4 * 2 * 2 * 64 * 100 * 4);  // layers, K and V, heads, head size, positions, f32
  EXPECT_NE(good({"inspect", bundled_model(), "--dot"}).find("digraph"), std::string::npos);
  EXPECT_NE(good({"inspect", bundled_model(), "--kernels"}).find("gemv_q"), std::string::npos);
  EXPECT_NE(good({"bench", bundled_model(), "-p", "8", "-n", "4", "-r", "1"}).find("| pp8 |"), std::string::npos);
  EXPECT_NE(good({"cache", "list"}).find(".plan"), std::string::npos);
  EXPECT_NE(good({"cache", "explain", bundled_model()}).find("up to date"), std::string::npos);
  EXPECT_EQ(good({"cache", "clear"}), "1 files removed from " + cache_.path() + "\n");
}

TEST_F(Commands, BadInputGetsOneLine) {
  EXPECT_EQ(bad({"run", "/nowhere/m.gguf", "-p", "x"}), "heddle: /nowhere/m.gguf: cannot open: No such file or directory\n");
  good({"compile", bundled_model()});  // so that a run has nothing to say of that
  EXPECT_EQ(bad({"run", bundled_model(), "--ids", "1,x"}), "heddle: ids: 'x' is not a number\n");
  EXPECT_EQ(bad({"run", bundled_model(), "--ids", "4096"}).substr(0, 58), "heddle: ids: 4096 is outside the vocabulary of 2048 tokens");
  EXPECT_EQ(bad({"compile", bundled_model(), "--target", "tpu"}),
            "heddle: target 'tpu' is not known (known: auto, cpu, cuda:auto, cuda:a100, cuda:rtx3090, cuda:rtx4090, cuda:h100, cuda:h200, "
            "cuda:b200, cuda:rtx5090, cuda:sm_80, cuda:sm_86, cuda:sm_89, cuda:sm_90, cuda:sm_100, cuda:sm_120)\n");
  EXPECT_NE(bad({"compile", bundled_model(), "--disable", "fuse_everything"}).find("fuse_everything"), std::string::npos);
  EXPECT_EQ(run({"run"}).exit_code, 2);
}

}  // namespace
}  // namespace heddle::testing
