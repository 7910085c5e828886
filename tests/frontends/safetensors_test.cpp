#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>

#include "frontends/arch/architecture.h"
#include "frontends/model.h"
#include "frontends/safetensors/header.h"
#include "ir/text/text.h"
#include "tests/support/paths.h"
#include "tests/support/safetensors_writer.h"

namespace heddle::testing {
namespace {

using frontends::open_model;

std::string ir_of(const frontends::Model& model) {
  auto module = frontends::build_ir(model, {.entries = {{EntryKind::decode, 1}, {EntryKind::prefill, 8}}, .kv = DType::f32, .target = {}});
  HEDDLE_CHECK(module.ok(), "{}", module.error().message());
  return ir::print(**module);
}

/// One thing done to a folder that is fine otherwise, and the whole message it gives; "DIR" in it is the folder.
struct Spoiled {
  std::string name;
  std::function<void(FolderWriter&)> spoil;
  std::string message;
};
void PrintTo(const Spoiled& spoiled, std::ostream* out) { *out << spoiled.name; }

class SpoiledFolder : public ::testing::TestWithParam<Spoiled> {};

TEST_P(SpoiledFolder, IsRefused) {
  TempDir folder;
  FolderWriter writer = tiny_folder({.architecture = "qwen2"});
  GetParam().spoil(writer);
  writer.write(folder.path());
  auto model = open_model(folder.path());
  std::string message;
  if (!model.ok()) {
    message = model.error().message();
  } else {
    const auto module = frontends::build_ir(*model, {.entries = {{EntryKind::decode, 1}}, .kv = DType::f32, .target = {}});
    message = module.ok() ? "no error" : module.error().message();
  }
  for (std::size_t at; (at = message.find(folder.path())) != message.npos;) message.replace(at, folder.path().size(), "DIR");
  EXPECT_EQ(message, GetParam().message);
}

auto header(std::string text) {
  return [text](FolderWriter& w) { w.model().header = text; };
}
auto set(std::string key, std::string value) {
  return [=](FolderWriter& w) { w.config[key] = value; };
}
std::string supported() {
  std::string names;
  for (const auto* architecture : frontends::architectures()) names += fmt::format("{}{}", names.empty() ? "" : ", ", architecture->name);
  return names;
}
constexpr const char* embedding = "model.embed_tokens.weight";

INSTANTIATE_TEST_SUITE_P(
    Header, SpoiledFolder,
    ::testing::Values(
        Spoiled{"Nothing", [](FolderWriter&) {}, "no error"},
        Spoiled{"LengthBeyondTheFile", [](FolderWriter& w) { w.model().header_length = std::uint64_t(1) << 62; },
                "DIR/model.safetensors: a header of 4611686018427387904 bytes, wanted at most 89840"},
        Spoiled{"LengthOfAllOnes", [](FolderWriter& w) { w.model().header_length = ~std::uint64_t(0); },
                "DIR/model.safetensors: a header of 18446744073709551615 bytes, wanted at most 89840"},
        Spoiled{"NoJson", header("{\"a\":"), "DIR/model.safetensors: the header is no JSON at its byte 6"},
        Spoiled{"Empty", header(""), "DIR/model.safetensors: the header is no JSON at its byte 1"},
        Spoiled{"Trailing", header("{} x"), "DIR/model.safetensors: the header is no JSON at its byte 4"},
        Spoiled{"NoObject", header("[]"), "DIR/model.safetensors: header: found a list, wanted an object"},
        Spoiled{"Nested", header(std::string(100000, '[')), "DIR/model.safetensors: header: found a list, wanted an object"},
        Spoiled{"TensorIsText", header(R"({"a":"b"})"), "DIR/model.safetensors: header: found a text, wanted an object"},
        Spoiled{"MetadataOfNumbers", header(R"({"__metadata__":{"a":1}})"), "DIR/model.safetensors: header: found a number, wanted a text"},
        Spoiled{"EmptyName", header(R"({"":{}})"), "DIR/model.safetensors: header: a name is empty"},
        Spoiled{"TwiceTheSame", header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{}})"),
                "DIR/model.safetensors: header: tensor 'a' is there twice"},
        Spoiled{"UnknownField", header(R"({"a":{"stride":[1]}})"), "DIR/model.safetensors: tensor 'a': field 'stride' is unknown"},
        Spoiled{"FieldTwice", header(R"({"a":{"shape":[1],"shape":[1]}})"),
                "DIR/model.safetensors: tensor 'a': field 'shape' is there twice"},
        Spoiled{"NoType", header(R"({"a":{"shape":[1],"data_offsets":[0,4]}})"),
                "DIR/model.safetensors: tensor 'a': field 'dtype' is missing or incomplete"},
        Spoiled{"NoShape", header(R"({"a":{"dtype":"F32","data_offsets":[0,4]}})"),
                "DIR/model.safetensors: tensor 'a': field 'shape' is missing or incomplete"},
        Spoiled{"OneOffset", header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}})"),
                "DIR/model.safetensors: tensor 'a': field 'data_offsets' is missing or incomplete"},
        Spoiled{"ThreeOffsets", header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,1,2]}})"),
                "DIR/model.safetensors: tensor 'a': more than two data_offsets"},
        Spoiled{"NegativeOffset", header(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}})"),
                "DIR/model.safetensors: tensor 'a': found a negative number, wanted a number"},
        Spoiled{"FractionOfADimension", header(R"({"a":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}})"),
                "DIR/model.safetensors: tensor 'a': found a number with a fraction, wanted a number"},
        Spoiled{"DimensionZero", header(R"({"a":{"dtype":"F32","shape":[0,4],"data_offsets":[0,0]}})"),
                "DIR/model.safetensors: tensor 'a': a dimension is 0, wanted at least 1"},
        Spoiled{"FiveDimensions", header(R"({"a":{"dtype":"F32","shape":[1,1,1,1,1],"data_offsets":[0,4]}})"),
                "DIR/model.safetensors: tensor 'a': more than 4 dimensions"},
        Spoiled{"NoDimension", header(R"({"a":{"dtype":"F32","shape":[],"data_offsets":[0,4]}})"),
                "DIR/model.safetensors: tensor 'a': found 0 dimensions, wanted 1 to 4"},
        Spoiled{"Overflow", header(R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}})"),
                "DIR/model.safetensors: tensor 'a': too many elements: the shape is [4294967296, 4294967296]"},
        Spoiled{"OtherType", header(R"({"a":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[0,1]}})"),
                "DIR/model.safetensors: tensor 'a': type 'F8_E4M3' is not supported (supported: BF16, F16, F32)"},
        Spoiled{
            "WrongBytes",
            [](FolderWriter& w) {
              w.model().tensor_named(embedding).offsets = {0, 100};
            },
            "DIR/model.safetensors: tensor 'model.embed_tokens.weight': data_offsets are 0 to 100, shape [48, 32] of f32 has 6144 bytes"},
        Spoiled{
            "BackwardOffsets",
            [](FolderWriter& w) {
              w.model().tensor_named(embedding).offsets = {6144, 0};
            },
            "DIR/model.safetensors: tensor 'model.embed_tokens.weight': data_offsets are 6144 to 0, shape [48, 32] of f32 has 6144 bytes"},
        Spoiled{"OverlappingTensors",
                [](FolderWriter& w) {
                  w.model().tensor_named("model.layers.0.input_layernorm.weight").offsets = {6100, 6228};
                },
                "DIR/model.safetensors: tensor 'model.layers.0.input_layernorm.weight' overlaps tensor 'model.embed_tokens.weight'"},
        Spoiled{"FarOffset",
                [](FolderWriter& w) {
                  w.model().tensor_named("lm_head.weight").offsets = {std::uint64_t(1) << 60, (std::uint64_t(1) << 60) + 6144};
                },
                "DIR/model.safetensors: bytes 81024 to 1152921504606846976 behind the header belong to no tensor"},
        Spoiled{"CutShort",
                [](FolderWriter& w) {
                  w.model().tensor_named("lm_head.weight").data.resize(10);
                  w.model().tensor_named("lm_head.weight").offsets = {81024, 87168};
                },
                "DIR/model.safetensors: tensor 'lm_head.weight': 6144 bytes at byte 81024 behind the header, where the file has 81034"},
        Spoiled{"Tail", [](FolderWriter& w) { w.model().tail = "xyz"; },
                "DIR/model.safetensors: bytes 87168 to 87171 behind the header belong to no tensor"}),
    [](const auto& info) { return info.param.name; });

INSTANTIATE_TEST_SUITE_P(
    Config, SpoiledFolder,
    ::testing::Values(
        Spoiled{"UnknownSetting", set("use_magic", "1"), "DIR/config.json: key 'use_magic': the setting is not supported"},
        Spoiled{"NullSetting", set("use_magic", "null"), "no error"},
        Spoiled{"NoLayers", [](FolderWriter& w) { w.config.erase("num_hidden_layers"); },
                "DIR/config.json: key 'num_hidden_layers' is missing"},
        Spoiled{"TextForANumber", set("hidden_size", R"("32")"), "DIR/config.json: key 'hidden_size': found a text, wanted an integer"},
        Spoiled{"ZeroLayers", set("num_hidden_layers", "0"), "DIR/config.json: key 'num_hidden_layers': found 0, wanted 1 to 2147483647"},
        Spoiled{"OtherWidth", set("hidden_size", "64"), "DIR: tensor 'token_embd.weight': shape is [48, 32], the config needs [48, 64]"},
        Spoiled{"OddHeads", set("num_key_value_heads", "3"), "DIR/config.json: key 'num_key_value_heads': 3 does not divide 4 heads"},
        Spoiled{"OtherActivation", set("hidden_act", R"("gelu")"),
                "DIR/config.json: key 'hidden_act': found 'gelu', wanted 'silu': other activations are not supported"},
        Spoiled{"Quantised", set("quantization_config", R"({"quant_method":"gptq"})"),
                "DIR/config.json: key 'quantization_config': weights quantised by 'gptq' are not supported"},
        Spoiled{"UnknownScaling", set("rope_scaling", R"({"type":"spiral"})"),
                "DIR/config.json: key 'rope_scaling.type': found 'spiral', wanted 'default', 'linear', 'llama3' or, of some architectures, "
                "'longrope': others are not supported"},
        Spoiled{"UnknownRopeSetting", set("rope_parameters", R"({"rope_type":"default","rope_theta":1e4,"twist":1})"),
                "DIR/config.json: key 'rope_parameters.twist': the setting is not supported"},
        Spoiled{"OtherArchitecture", set("model_type", R"("mamba")"),
                "DIR: architecture 'mamba' is not supported (supported: " + supported() + ")"},
        Spoiled{"NoModelType", [](FolderWriter& w) { w.config.erase("model_type"); }, "DIR/config.json: key 'model_type' is missing"},
        Spoiled{"NoJson", set("hidden_size", "{"), "DIR/config.json: no JSON at byte 102"},
        Spoiled{"MissingHead",
                [](FolderWriter& w) { std::erase_if(w.model().tensors, [](const auto& t) { return t.name == "lm_head.weight"; }); },
                "DIR/config.json: key 'tie_word_embeddings': found false, and there is no tensor 'lm_head.weight'"},
        Spoiled{"UnknownTensor", [](FolderWriter& w) { w.model().tensor_named(embedding).name = "model.embedding.weight"; },
                "DIR: tensor 'model.embedding.weight' is not part of architecture 'qwen2'"},
        Spoiled{"CanonicalName", [](FolderWriter& w) { w.model().tensor_named(embedding).name = "token_embd.weight"; },
                "DIR: tensor 'token_embd.weight' is not part of architecture 'qwen2'"},
        Spoiled{"TwoNamesOfOne",
                [](FolderWriter& w) {
                  w.model().tensor_named("model.layers.0.self_attn.q_proj.weight").name = "model.layers.00.self_attn.q_proj.weight";
                },
                "DIR: tensor 'model.layers.00.self_attn.q_proj.weight' is not part of architecture 'qwen2'"},
        Spoiled{"MissingTensor",
                [](FolderWriter& w) { std::erase_if(w.model().tensors, [](const auto& t) { return t.name == "model.norm.weight"; }); },
                "DIR: tensor 'output_norm.weight' is missing"},
        Spoiled{"NoWeights",
                [](FolderWriter& w) {
                  w.weights.clear();
                  w.config.erase("tie_word_embeddings");
                },
                "DIR: the folder has no .safetensors file"},
        Spoiled{"TwoFiles",
                [](FolderWriter& w) {
                  w.weights["a.safetensors"] = w.weights["b.safetensors"] = w.model();
                  w.weights.erase("model.safetensors");
                },
                "DIR: 2 .safetensors files and no model.safetensors.index.json"},
        Spoiled{"TokenizerModelOnly", [](FolderWriter& w) { w.files["tokenizer.model"] = "x"; },
                "DIR: a tokenizer.model without a tokenizer.json is not supported"},
        Spoiled{"IndexNamesAMissingFile",
                [](FolderWriter& w) { w.files["model.safetensors.index.json"] = R"({"weight_map":{"a":"b.safetensors"}})"; },
                "DIR: 'b.safetensors' is missing, which model.safetensors.index.json names"},
        Spoiled{"IndexLeadsElsewhere",
                [](FolderWriter& w) { w.files["model.safetensors.index.json"] = R"({"weight_map":{"a":"../b.safetensors"}})"; },
                "DIR/model.safetensors.index.json: key 'weight_map.a': '../b.safetensors' is no name of a .safetensors file"},
        Spoiled{"IndexNamesAMissingTensor",
                [](FolderWriter& w) { w.files["model.safetensors.index.json"] = R"({"weight_map":{"a":"model.safetensors"}})"; },
                "DIR/model.safetensors: tensor 'a' is not there, model.safetensors.index.json says so"}),
    [](const auto& info) { return info.param.name; });

TEST(Safetensors, IsTheModelOfAGgufFile) {
  for (const char* architecture : {"qwen2", "qwen3"}) {
    for (const DType type : {DType::f32, DType::f16, DType::bf16}) {
      TempDir folder;
      const TinyModel tiny{.architecture = architecture, .matrices = type};
      tiny_folder(tiny).write(folder.path());
      tiny_model(tiny).write(folder.file("tiny.gguf"));
      auto from_folder = open_model(folder.path()), from_file = open_model(folder.file("tiny.gguf"));
      ASSERT_TRUE(from_folder.ok()) << from_folder.error().message();
      ASSERT_TRUE(from_file.ok()) << from_file.error().message();
      from_folder->config.name = from_file->config.name;
      from_folder->config.rms_eps = from_file->config.rms_eps;  // a float in GGUF
      EXPECT_EQ(ir_of(*from_folder), ir_of(*from_file));
    }
  }
}

TEST(Safetensors, LlamaPairsHalvesOfAHead) {  // its GGUF files are permuted for adjacent pairs
  TempDir folder;
  tiny_folder().write(folder.path());
  const auto model = open_model(folder.path());
  ASSERT_TRUE(model.ok()) << model.error().message();
  EXPECT_FALSE(model->config.rope_adjacent);
}

TEST(Safetensors, BothSpellingsOfRope) {
  for (const auto& [key, value] :
       {std::pair("rope_theta", "500000.0"), {"rope_parameters", R"({"rope_theta": 500000.0, "rope_type": "default"})"}}) {
    TempDir folder;
    FolderWriter writer = tiny_folder();
    writer.config.erase("rope_theta");
    writer.config[key] = value;
    writer.write(folder.path());
    const auto model = open_model(folder.path());
    ASSERT_TRUE(model.ok()) << model.error().message();
    EXPECT_EQ(model->config.rope_theta, 500000);
  }
}

TEST(Safetensors, ATiedHeadThatIsStoredIsLeftOut) {
  TempDir folder;
  FolderWriter writer = tiny_folder();
  writer.config["tie_word_embeddings"] = "true";
  writer.write(folder.path());
  const auto model = open_model(folder.path());
  ASSERT_TRUE(model.ok()) << model.error().message();
  EXPECT_EQ(model->tensor("output.weight"), nullptr);
}

TEST(Safetensors, BuffersAreNoWeights) {
  TempDir folder;
  FolderWriter writer = tiny_folder();
  writer.model().tensors.push_back(
      {.name = "model.layers.0.self_attn.rotary_emb.inv_freq", .dtype = "F32", .shape = {4}, .data = std::string(16, '\0'), .offsets = {}});
  writer.write(folder.path());
  const auto model = open_model(folder.path());
  ASSERT_TRUE(model.ok()) << model.error().message();
  EXPECT_FALSE(ir_of(*model).empty());
}

TEST(Safetensors, PartsByTheIndex) {
  TempDir one, parts;
  FolderWriter writer = tiny_folder();
  writer.write(one.path());
  const auto tensors = writer.model().tensors;
  writer.weights.clear();
  std::string map;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const std::string name = fmt::format("model-{:05}-of-00003.safetensors", i % 3 + 1);
    writer.weights[name].tensors.push_back(tensors[i]);
    map += fmt::format("{}\"{}\":\"{}\"", map.empty() ? "" : ",", tensors[i].name, name);
  }
  writer.files["model.safetensors.index.json"] = fmt::format(R"({{"metadata":{{"total_size":1}},"weight_map":{{{}}}}})", map);
  writer.write(parts.path());
  auto whole = open_model(one.path()), split = open_model(parts.path());
  ASSERT_TRUE(whole.ok()) << whole.error().message();
  ASSERT_TRUE(split.ok()) << split.error().message();
  EXPECT_EQ(split->files.size(), 3u);
  whole->config.name = split->config.name;
  EXPECT_EQ(ir_of(*split), ir_of(*whole));
  // By one of its files too.
  const auto by_part = open_model(parts.file("model-00002-of-00003.safetensors")), by_config = open_model(parts.file("config.json"));
  ASSERT_TRUE(by_part.ok()) << by_part.error().message();
  ASSERT_TRUE(by_config.ok()) << by_config.error().message();
  EXPECT_EQ(by_part->fingerprint, split->fingerprint);
  EXPECT_EQ(by_config->fingerprint, split->fingerprint);
}

TEST(Safetensors, FingerprintOfEverythingButTheWeights) {
  TempDir folder;
  FolderWriter writer = tiny_folder();
  writer.files["tokenizer_config.json"] = "{}";
  const auto fingerprint = [&] {
    writer.write(folder.path());
    const auto model = open_model(folder.path());
    HEDDLE_CHECK(model.ok(), "{}", model.error().message());
    return model->fingerprint;
  };
  const std::string first = fingerprint();
  writer.model().tensor_named(embedding).data[5] ^= 1;
  EXPECT_EQ(fingerprint(), first);
  writer.files["tokenizer_config.json"] = "{ }";
  const std::string second = fingerprint();
  EXPECT_NE(second, first);
  writer.config["rms_norm_eps"] = "1e-06";
  EXPECT_NE(fingerprint(), second);
}

TEST(Safetensors, ChatTemplates) {
  TempDir folder;
  FolderWriter writer = tiny_folder();
  const auto chat_template = [&] {
    writer.write(folder.path());
    const auto model = open_model(folder.path());
    return model.ok() ? model->chat_template : model.error().message();
  };
  EXPECT_EQ(chat_template(), "");
  writer.files["tokenizer_config.json"] = R"({"chat_template":[{"name":"tool_use","template":"a"},{"name":"default","template":"b"}]})";
  EXPECT_EQ(chat_template(), "b");
  writer.files["tokenizer_config.json"] = R"({"chat_template":"c"})";
  EXPECT_EQ(chat_template(), "c");
  writer.files["chat_template.jinja"] = "d";
  EXPECT_EQ(chat_template(), "d");
}

TEST(Safetensors, TheSharedModel) {
  const std::string path = shared_path("models/tiny-llama");
  if (path.empty()) GTEST_SKIP() << "no shared models";
  const auto folder = open_model(path), file = open_model(path + "/tiny-llama-bf16.gguf");
  ASSERT_TRUE(folder.ok()) << folder.error().message();
  ASSERT_TRUE(file.ok()) << file.error().message();
  EXPECT_EQ(folder->parameters(), file->parameters());
  EXPECT_EQ(folder->weight_bytes(), file->weight_bytes() + 2 * 256 * 9 - 4 * 256 * 9);  // GGUF has the 9 norms in f32
  EXPECT_EQ(folder->vocabulary.end_tokens, file->vocabulary.end_tokens);
  EXPECT_EQ(folder->vocabulary.eos, file->vocabulary.eos);
  EXPECT_EQ(folder->vocabulary.add_bos, file->vocabulary.add_bos);
  ASSERT_EQ(folder->vocabulary.tokens.size(), file->vocabulary.tokens.size());
  for (std::size_t i = 0; i < file->vocabulary.tokens.size(); ++i) {
    EXPECT_EQ(folder->vocabulary.tokens[i].text, file->vocabulary.tokens[i].text) << i;
    EXPECT_EQ(folder->vocabulary.tokens[i].type, file->vocabulary.tokens[i].type) << i;
  }
  EXPECT_EQ(folder->vocabulary.merges, file->vocabulary.merges);
}

}  // namespace
}  // namespace heddle::testing
