#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "malformed.h"
#include "tests/support/paths.h"

namespace heddle::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

const std::string supported_types =
    "(supported: f32, f16, bf16, q4_0, q4_1, q5_0, q5_1, q8_0, q2_K, q3_K, q4_K, q5_K, q6_K, "
    "iq4_nl, iq4_xs, mxfp4)";
constexpr std::uint64_t absurd = 0x7fffffffffffffff, all_ones = 0xffffffffffffffff;

class MalformedFile : public ::testing::TestWithParam<Malformed> {};

TEST_P(MalformedFile, IsRefusedByName) {
  GgufWriter w = tiny_model({.layers = 1});
  ASSERT_EQ(message_of(w.bytes()), "");
  GetParam().spoil(w);
  EXPECT_EQ(message_of(w.bytes()), GetParam().message);
}

INSTANTIATE_TEST_SUITE_P(
    Header, MalformedFile,
    ::testing::Values(
        Malformed{"Magic", [](GgufWriter& w) { w.magic = "PK\x03\x04"; },
                  "m.gguf: first bytes are 'PK\\x03\\x04', a GGUF file begins with 'GGUF'"},
        Malformed{"Version1", [](GgufWriter& w) { w.version = 1; }, "m.gguf: GGUF version 1 is not supported (supported: 2, 3)"},
        Malformed{"Version0", [](GgufWriter& w) { w.version = 0; }, "m.gguf: GGUF version 0 is not supported (supported: 2, 3)"},
        Malformed{"Version4", [](GgufWriter& w) { w.version = 4; }, "m.gguf: GGUF version 4 is not supported (supported: 2, 3)"},
        Malformed{"BigEndian", [](GgufWriter& w) { w.version = 0x03000000; },
                  "m.gguf: a big-endian GGUF file, only little-endian ones are supported"},
        Malformed{"AbsurdKeyCount", [](GgufWriter& w) { w.key_count = all_ones; },
                  "m.gguf: header: 18446744073709551615 metadata keys do not fit in the 50696 bytes that follow"},
        Malformed{"AbsurdTensorCount", [](GgufWriter& w) { w.tensor_count = absurd; },
                  "m.gguf: header: 9223372036854775807 tensors do not fit in the 50696 bytes that follow"},
        Malformed{"OneKeyTooMany", [](GgufWriter& w) { w.key_count = w.keys.size() + 1; },
                  "m.gguf: tensor 1 of 12: a string of 13510798882111488 bytes, but 50201 are left in the file"},
        Malformed{"OneKeyTooFew", [](GgufWriter& w) { w.key_count = w.keys.size() - 1; },
                  "m.gguf: tensor 'llama.attention.layer_norm_rms_epsilon': found 6 dimensions, wanted 1 to 4"},
        Malformed{"OneTensorTooMany", [](GgufWriter& w) { w.tensor_count = w.tensors.size() + 1; },
                  "m.gguf: tensor 13 of 13: the name is empty"}),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    Metadata, MalformedFile,
    ::testing::Values(
        Malformed{"DuplicateKey", [](GgufWriter& w) { w.keys.push_back(w.keys[2]); }, "m.gguf: key 'llama.block_count': is there twice"},
        Malformed{"EmptyKey", [](GgufWriter& w) { w.keys[0].first = ""; }, "m.gguf: metadata entry 1 of 11: the key is empty"},
        Malformed{"UnknownValueType", [](GgufWriter& w) { w.raw("k", 13, "xx"); }, "m.gguf: key 'k': value type 13 is unknown"},
        Malformed{"UnprintableKey", [](GgufWriter& w) { w.raw("k\n\x1b[2J", 99, ""); },
                  "m.gguf: key 'k\\x0a\\x1b[2J': value type 99 is unknown"},
        Malformed{"LongKey", [](GgufWriter& w) { w.raw(std::string(1000, 'k'), 99, ""); },
                  "m.gguf: key '" + std::string(80, 'k') + "...': value type 99 is unknown"},
        Malformed{"BoolOf2", [](GgufWriter& w) { w.raw("k", 7, "\x02"); }, "m.gguf: key 'k': found 2, a bool is 0 or 1"},
        Malformed{"ArrayOfArrays", [](GgufWriter& w) { w.raw("k", 9, stored(9u) + stored(std::uint64_t(0))); },
                  "m.gguf: key 'k': arrays of arrays are not supported"},
        Malformed{"ArrayOfUnknown", [](GgufWriter& w) { w.raw("k", 9, stored(77u) + stored(std::uint64_t(0))); },
                  "m.gguf: key 'k': value type 77 is unknown"},
        Malformed{"ArrayOfBoolsOf3", [](GgufWriter& w) { w.raw("k", 9, stored(7u) + stored(std::uint64_t(2)) + "\x01\x03"); },
                  "m.gguf: key 'k': found 3, a bool is 0 or 1"},
        Malformed{"AbsurdArray", [](GgufWriter& w) { w.raw("k", 9, stored(10u) + stored(absurd)); },
                  "m.gguf: key 'k': 9223372036854775807 entries do not fit in the 50247 bytes that are left in the file"},
        Malformed{"AbsurdArrayOfStrings", [](GgufWriter& w) { w.raw("k", 9, stored(8u) + stored(all_ones)); },
                  "m.gguf: key 'k': 18446744073709551615 entries do not fit in the 50247 bytes that are left in the file"},
        Malformed{"AbsurdString", [](GgufWriter& w) { w.raw("k", 8, stored(all_ones)); },
                  "m.gguf: key 'k': a string of 18446744073709551615 bytes, but 50251 are left in the file"},
        Malformed{"AbsurdStringInArray",
                  [](GgufWriter& w) { w.raw("k", 9, stored(8u) + stored(std::uint64_t(2)) + stored_string("a") + stored(absurd)); },
                  "m.gguf: key 'k': a string of 9223372036854775807 bytes, but 50230 are left in the file"},
        Malformed{"AlignmentOf48", [](GgufWriter& w) { w.u32("general.alignment", 48); },
                  "m.gguf: key 'general.alignment': found 48, wanted a power of two"},
        Malformed{"AlignmentOf0", [](GgufWriter& w) { w.u32("general.alignment", 0); },
                  "m.gguf: key 'general.alignment': found 0, wanted a power of two"},
        Malformed{"AlignmentOfMinus32", [](GgufWriter& w) { w.i32("general.alignment", -32); },
                  "m.gguf: key 'general.alignment': found -32, wanted a power of two"},
        Malformed{"AlignmentInWords", [](GgufWriter& w) { w.text("general.alignment", "32"); },
                  "m.gguf: key 'general.alignment': found string, wanted an integer"}),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    Tensors, MalformedFile,
    ::testing::Values(
        Malformed{"DuplicateTensor", [](GgufWriter& w) { w.tensors.push_back(w.tensors[1]); },
                  "m.gguf: tensor 'blk.0.attn_norm.weight': is there twice"},
        Malformed{"EmptyName", [](GgufWriter& w) { w.tensors[3].name = ""; }, "m.gguf: tensor 4 of 12: the name is empty"},
        Malformed{"NoDimensions", [](GgufWriter& w) { w.tensors[0].dims = {}; },
                  "m.gguf: tensor 'token_embd.weight': found 0 dimensions, wanted 1 to 4"},
        Malformed{"FiveDimensions",
                  [](GgufWriter& w) {
                    w.tensors[0].dims = {32, 48, 1, 1, 1};
                  },
                  "m.gguf: tensor 'token_embd.weight': found 5 dimensions, wanted 1 to 4"},
        Malformed{"DimensionOf0",
                  [](GgufWriter& w) {
                    w.tensors[0].dims = {32, 0};
                  },
                  "m.gguf: tensor 'token_embd.weight': a dimension is 0"},
        Malformed{"HugeDimension", [](GgufWriter& w) { w.tensors[0].dims = {absurd}; },
                  "m.gguf: tensor 'token_embd.weight': too many elements: dimensions are 9223372036854775807"},
        Malformed{"ProductOverflows",
                  [](GgufWriter& w) {
                    w.tensors[0].dims = {1ull << 32, 1ull << 32};
                  },
                  "m.gguf: tensor 'token_embd.weight': too many elements: dimensions are 4294967296 x 4294967296"},
        Malformed{"ProductWrapsToSmall",
                  [](GgufWriter& w) {
                    w.tensors[0].dims = {32, 1ull << 60, 16, 3};
                  },
                  "m.gguf: tensor 'token_embd.weight': too many elements: dimensions are 32 x 1152921504606846976 x 16 x 3"},
        Malformed{"Iq2", [](GgufWriter& w) { w.tensors[0].type = 16; },
                  "m.gguf: tensor 'token_embd.weight': tensor type iq2_xxs (16) is not supported " + supported_types},
        Malformed{"Ternary", [](GgufWriter& w) { w.tensors[0].type = 34; },
                  "m.gguf: tensor 'token_embd.weight': tensor type tq1_0 (34) is not supported " + supported_types},
        Malformed{"F64", [](GgufWriter& w) { w.tensors[0].type = 28; },
                  "m.gguf: tensor 'token_embd.weight': tensor type f64 (28) is not supported " + supported_types},
        Malformed{"ActivationType", [](GgufWriter& w) { w.tensors[0].type = 15; },
                  "m.gguf: tensor 'token_embd.weight': tensor type q8_K (15) is not supported " + supported_types},
        Malformed{"UnknownType", [](GgufWriter& w) { w.tensors[0].type = 0xfffffffe; },
                  "m.gguf: tensor 'token_embd.weight': tensor type 4294967294 is unknown " + supported_types},
        Malformed{"RowsOfPartialBlocks", [](GgufWriter& w) { w.tensors[0].type = 12; },
                  "m.gguf: tensor 'token_embd.weight': rows of 32 elements do not divide into the 256-element blocks of q4_K"},
        Malformed{"UnalignedOffset", [](GgufWriter& w) { w.tensors[2].offset = 6276; },
                  "m.gguf: tensor 'blk.0.attn_q.weight': offset 6276 is not a multiple of the alignment 32"},
        Malformed{"OffsetOutside", [](GgufWriter& w) { w.tensors[2].offset = 1 << 20; },
                  "m.gguf: tensor 'blk.0.attn_q.weight': 4096 bytes at offset 1048576 of the data section, which has 49536"},
        Malformed{"OffsetOverflows", [](GgufWriter& w) { w.tensors[2].offset = all_ones - 31; },
                  "m.gguf: tensor 'blk.0.attn_q.weight': 4096 bytes at offset 18446744073709551584 of the data section, which has 49536"},
        Malformed{"LastBytesMissing", [](GgufWriter& w) { w.tensors.back().data.resize(6144 - 32); },
                  "m.gguf: tensor 'output.weight': 6144 bytes at offset 43392 of the data section, which has 49504"},
        Malformed{"Overlap", [](GgufWriter& w) { w.tensors[2].offset = 6240; },
                  "m.gguf: tensor 'blk.0.attn_q.weight' overlaps tensor 'blk.0.attn_norm.weight'"},
        Malformed{"SamePlace", [](GgufWriter& w) { w.tensors[3].offset = 0; },
                  "m.gguf: tensor 'blk.0.attn_k.weight' overlaps tensor 'token_embd.weight'"}),
    name_of);

INSTANTIATE_TEST_SUITE_P(
    Kinds, MalformedFile,
    ::testing::Values(
        Malformed{"PartOfSplit",
                  [](GgufWriter& w) { w.raw("split.count", 2, stored(std::uint16_t(3))).raw("split.no", 2, stored(std::uint16_t(1))); },
                  "m.gguf: part 2 of 3 of a split model"},
        Malformed{"Adapter", [](GgufWriter& w) { w.text("general.type", "adapter"); },
                  "m.gguf: key 'general.type': found 'adapter', wanted 'model'"},
        Malformed{"NoArchitecture", [](GgufWriter& w) { w.erase("general.architecture"); },
                  "m.gguf: key 'general.architecture' is missing"},
        Malformed{"ArchitectureAsNumber", [](GgufWriter& w) { w.u32("general.architecture", 1); },
                  "m.gguf: key 'general.architecture': found u32, wanted a string"},
        Malformed{"UnknownArchitecture", [](GgufWriter& w) { w.text("general.architecture", "mamba"); },
                  "m.gguf: architecture 'mamba' is not supported (supported: gemma2, gemma3, llama, phi3, qwen2, qwen3, qwen3moe)"},
        Malformed{"NoTensors", [](GgufWriter& w) { w.tensors.clear(); }, "m.gguf: the file holds a vocabulary and no tensors"}),
    name_of);

// The same small file cut at the end of every part of it.
TEST(Truncated, EverySectionIsNamed) {
  const std::string whole = tiny_model({.layers = 1}).bytes();
  const auto cut = [&](std::size_t bytes) { return message_of(whole.substr(0, bytes)); };
  EXPECT_EQ(cut(3), "m.gguf: header: the file ends at byte 3, wanted 4 bytes at byte 0");
  EXPECT_EQ(cut(6), "m.gguf: header: the file ends at byte 6, wanted 4 bytes at byte 4");
  EXPECT_EQ(cut(12), "m.gguf: header: the file ends at byte 12, wanted 8 bytes at byte 8");
  EXPECT_EQ(cut(23), "m.gguf: header: the file ends at byte 23, wanted 8 bytes at byte 16");
  EXPECT_EQ(cut(24), "m.gguf: header: 11 metadata keys do not fit in the 0 bytes that follow");
  EXPECT_EQ(cut(408), "m.gguf: metadata entry 10 of 11: a string of 28 bytes, but 18 are left in the file");
  EXPECT_EQ(cut(430), "m.gguf: metadata entry 11 of 11: the file ends at byte 430, wanted 8 bytes at byte 426");
  EXPECT_EQ(cut(475), "m.gguf: key 'llama.attention.layer_norm_rms_epsilon': the file ends at byte 475, wanted 4 bytes at byte 472");
  EXPECT_EQ(cut(478), "m.gguf: key 'llama.attention.layer_norm_rms_epsilon': the file ends at byte 478, wanted 4 bytes at byte 476");
  EXPECT_EQ(cut(490), "m.gguf: tensor 1 of 12: a string of 17 bytes, but 2 are left in the file");
  EXPECT_EQ(cut(520), "m.gguf: tensor 'token_embd.weight': the file ends at byte 520, wanted 8 bytes at byte 517");
  EXPECT_EQ(cut(526), "m.gguf: tensor 'token_embd.weight': the file ends at byte 526, wanted 4 bytes at byte 525");
  EXPECT_EQ(cut(530), "m.gguf: tensor 'token_embd.weight': the file ends at byte 530, wanted 8 bytes at byte 529");
  EXPECT_EQ(cut(540), "m.gguf: tensor 2 of 12: the file ends at byte 540, wanted 8 bytes at byte 537");
  EXPECT_EQ(cut(1170), "m.gguf: tensor 'token_embd.weight': 6144 bytes at offset 0 of the data section, which has 0");
  EXPECT_EQ(cut(1200), "m.gguf: tensor 'token_embd.weight': 6144 bytes at offset 0 of the data section, which has 16");
  EXPECT_EQ(cut(50719), "m.gguf: tensor 'output.weight': 6144 bytes at offset 43392 of the data section, which has 49535");
}

// No prefix is read as a model, and none crashes.
TEST(Truncated, EveryPrefixIsRefused) {
  GgufWriter w = tiny_model({.layers = 1});
  w.texts("list", {"a", "bc", ""}).f32s("numbers", {1, 2}).flag("flag", true);
  const std::string whole = w.bytes();
  ASSERT_EQ(message_of(whole), "");
  for (std::size_t bytes = 0; bytes < whole.size(); bytes += bytes < 2000 ? 1 : 97) {
    EXPECT_THAT(message_of(whole.substr(0, bytes)), StartsWith("m.gguf: ")) << bytes;
  }
}

TEST(Random, FlippedBytesNeverCrash) {
  GgufWriter w = tiny_model({.layers = 1});
  w.texts("list", {"a", "bc", ""}).f32s("numbers", {1, 2}).flag("flag", true);
  const std::string whole = w.bytes();
  int refused = 0;
  for (std::size_t at = 0; at < 1500; ++at) {
    for (const char mask : {'\x01', '\x80', '\xff'}) {
      std::string bytes = whole;
      bytes[at] ^= mask;
      const std::string message = message_of(bytes);
      if (message.empty()) continue;
      EXPECT_THAT(message, StartsWith("m.gguf: ")) << at;
      ++refused;
    }
  }
  EXPECT_GT(refused, 3000);
}

TEST(File, Version2IsTheSame) {
  GgufWriter w = tiny_model();
  w.version = 2;
  EXPECT_EQ(message_of(w.bytes()), "");
}

TEST(File, AlignmentIsHonoured) {
  GgufWriter w = tiny_model();
  w.alignment = 256;
  w.u32("general.alignment", 256);
  const auto model = read(w.bytes());
  ASSERT_TRUE(model.ok()) << model.error().message();
  const auto* first = model->tensor("token_embd.weight");
  const auto* second = model->tensor("blk.0.attn_norm.weight");
  EXPECT_EQ(first->offset % 256, 0u);
  EXPECT_EQ(second->offset, first->offset + 6144);
  EXPECT_EQ(model->tensor("blk.0.attn_q.weight")->offset, second->offset + 256);
}

TEST(File, TensorsAreOutermostFirstAndPlacedInTheFile) {
  GgufWriter w = tiny_model();
  const std::string bytes = w.bytes();
  const auto model = read(bytes);
  ASSERT_TRUE(model.ok()) << model.error().message();
  const auto* up = model->tensor("blk.1.ffn_up.weight");
  ASSERT_NE(up, nullptr);
  EXPECT_EQ(up->shape, (ir::Shape{64, 32}));
  EXPECT_EQ(up->dtype, DType::f32);
  EXPECT_EQ(up->bytes, 64u * 32 * 4);
  EXPECT_EQ(bytes.substr(up->offset, up->bytes), w.tensor_named("blk.1.ffn_up.weight").data);
  EXPECT_EQ(model->tensor("blk.2.ffn_up.weight"), nullptr);
  const std::uint64_t layer = 2 * 32 + 2 * 32 * 32 + 2 * 16 * 32 + 3 * 64 * 32;
  EXPECT_EQ(model->parameters(), 2 * layer + 32 + 2 * 48 * 32);
  EXPECT_EQ(model->weight_bytes(), model->parameters() * 4);
}

TEST(File, FingerprintSeesHeaderAndSizeButNoWeights) {
  GgufWriter w = tiny_model();
  const auto fingerprint = [](const GgufWriter& writer) { return read(writer.bytes())->fingerprint; };
  const std::string original = fingerprint(w);
  EXPECT_EQ(original.size(), 32u);
  EXPECT_EQ(original.find_first_not_of("0123456789abcdef"), std::string::npos);
  w.tensors[0].data[5] ^= 1;
  EXPECT_EQ(fingerprint(w), original);
  w.text("general.name", "tinx");
  EXPECT_NE(fingerprint(w), original);
  w.text("general.name", "tiny");
  EXPECT_EQ(fingerprint(w), original);
  w.tensors.back().data += std::string(64, '\0');
  EXPECT_NE(fingerprint(w), original);
}

TEST(OpenModel, ReadsAFileAndNamesIt) {
  const TempDir dir;
  const std::string path = dir.file("a.gguf");
  GgufWriter w = tiny_model();
  w.erase("general.name").text("tokenizer.chat_template", "{{ messages }}");
  w.write(path);
  const auto model = frontends::open_model(path);
  ASSERT_TRUE(model.ok()) << model.error().message();
  EXPECT_EQ(model->path, path);
  EXPECT_EQ(model->config.name, "a");
  EXPECT_EQ(model->chat_template, "{{ messages }}");
  ASSERT_EQ(model->files.size(), 1u);
  EXPECT_EQ(model->files[0].path, path);
  EXPECT_EQ(model->files[0].bytes, w.bytes().size());

  std::ofstream(dir.file("b.txt")) << "no model";
  EXPECT_EQ(frontends::open_model(dir.file("b.txt")).error().message(),
            dir.file("b.txt") + ": first bytes are 'no m', a GGUF file begins with 'GGUF'");
  EXPECT_THAT(frontends::open_model(dir.file("c.gguf")).error().message(), HasSubstr("No such file or directory"));
}

/// The tiny model in three files.
class SplitModel : public ::testing::Test {
 protected:
  std::string path(int part) const { return dir.file(fmt::format("tiny-{:05}-of-00003.gguf", part)); }
  void write() const {
    for (int i = 0; i < 3; ++i) parts[std::size_t(i)].write(path(i + 1));
  }
  std::string message(int opened = 1) const {
    write();
    const auto model = frontends::open_model(path(opened));
    return model.ok() ? "" : model.error().message();
  }

  const TempDir dir;
  const GgufWriter whole = tiny_model();
  std::vector<GgufWriter> parts = whole.split(3);
};

TEST_F(SplitModel, AnyPartOpensAll) {
  write();
  for (const int opened : {1, 3}) {
    const auto model = frontends::open_model(path(opened));
    ASSERT_TRUE(model.ok()) << model.error().message();
    ASSERT_EQ(model->files.size(), 3u);
    ASSERT_EQ(model->tensors.size(), whole.tensors.size());
    for (int i = 0; i < 3; ++i) EXPECT_EQ(model->files[std::size_t(i)].path, path(i + 1));
    for (const auto& wanted : whole.tensors) {
      const auto* tensor = model->tensor(wanted.name);
      ASSERT_NE(tensor, nullptr) << wanted.name;
      const std::string bytes = parts[tensor->file].bytes();
      EXPECT_EQ(bytes.substr(tensor->offset, tensor->bytes), wanted.data) << wanted.name;
    }
    EXPECT_TRUE(frontends::build_ir(*model, {.entries = {{EntryKind::decode, 1}}, .kv = DType::f32, .target = {}}).ok());
  }
}

TEST_F(SplitModel, FingerprintSeesEveryHeader) {
  write();
  const std::string original = frontends::open_model(path(1))->fingerprint;
  EXPECT_EQ(frontends::open_model(path(2))->fingerprint, original);
  parts[2].text("general.comment", "x");
  write();
  EXPECT_NE(frontends::open_model(path(1))->fingerprint, original);
}

TEST_F(SplitModel, MissingPartIsNamed) {
  write();
  std::filesystem::remove(path(2));
  EXPECT_EQ(frontends::open_model(path(1)).error().message(),
            path(1) + ": part 2 of 3 of a split model: " + path(2) + ": cannot open: No such file or directory");
}

TEST_F(SplitModel, WrongNameIsRefused) {
  parts[0].write(dir.file("tiny.gguf"));
  EXPECT_EQ(frontends::open_model(dir.file("tiny.gguf")).error().message(),
            dir.file("tiny.gguf") + ": part 1 of 3 of a split model, its name must end in '-00001-of-00003.gguf'");
}

TEST_F(SplitModel, ExchangedPartIsRefused) {
  parts[1] = parts[2];
  EXPECT_EQ(message(), path(2) + ": key 'split.no': found 2, wanted 1 by the file's name");
}

TEST_F(SplitModel, WrongCountIsRefused) {
  parts[2].raw("split.count", 2, stored(std::uint16_t(4)));
  EXPECT_EQ(message(), path(3) + ": key 'split.count': found 4, the first part says 3");
}

TEST_F(SplitModel, NumberBeyondTheCountIsRefused) {
  parts[0].raw("split.no", 2, stored(std::uint16_t(3)));
  EXPECT_EQ(message(), path(1) + ": key 'split.no': found 3, wanted 0 to 2");
}

TEST_F(SplitModel, PartOfAnotherModelIsRefused) {
  parts[1].i32("split.tensors.count", 5);
  EXPECT_EQ(message(), path(2) + ": key 'split.tensors.count': found 5, the first part says 21: parts of different models");
}

TEST_F(SplitModel, MissingTensorsAreCounted) {
  parts[1].tensors.pop_back();
  EXPECT_EQ(message(), path(1) + ": key 'split.tensors.count': found 21, the parts have 20");
}

TEST_F(SplitModel, TensorInTwoPartsIsRefused) {
  parts[1].tensors[0] = parts[0].tensors[0];
  EXPECT_EQ(message(), path(1) + ": tensor 'token_embd.weight': is there twice, in part 2 of 3 too");
}

}  // namespace
}  // namespace heddle::testing
