// fuzz_seeds FOLDER: writes small valid inputs into FOLDER/<target>/, from which the fuzzers start.
#include <filesystem>
#include <fstream>

#include "runtime/plan/plan_file.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/tiny_plan.h"

using namespace heddle;

static void write(const std::filesystem::path& path, const std::string& bytes) {
  std::filesystem::create_directories(path.parent_path());
  std::ofstream(path, std::ios::binary) << bytes;
}

static std::string key(const std::string& name) { return "tokenizer.ggml." + name; }

/// A model of a few hundred weights with an spm or a bpe vocabulary.
static std::string gguf_with(const std::string& architecture, bool spm) {
  testing::TinyModel tiny;
  tiny.architecture = architecture;
  tiny.layers = 1;
  tiny.width = tiny.ffn = tiny.head_dim = 4;
  tiny.heads = 1;
  tiny.kv_heads = 1;
  tiny.vocabulary = 8;
  testing::GgufWriter w = testing::tiny_model(tiny);
  w.text(key("model"), spm ? "llama" : "gpt2").texts(key("tokens"), {"<unk>", "<s>", "</s>", "a", "b", "ab", "<0x0A>", "c"});
  w.i32s(key("token_type"), {2, 3, 3, 1, 1, 1, spm ? 6 : 1, 4}).u32(key("bos_token_id"), 1).u32(key("eos_token_id"), 2);
  if (spm) w.f32s(key("scores"), {0, 0, 0, -1, -2, -3, 0, 0});
  else w.text(key("pre"), "llama-bpe").texts(key("merges"), {"a b"});
  w.text("tokenizer.chat_template", "{{ messages }}");
  return w.bytes();
}

int main(int argc, char** argv) {
  const std::filesystem::path folder = argc > 1 ? argv[1] : "corpus";
  for (const char* architecture : {"llama", "qwen2", "qwen3"})
    write(folder / "gguf" / (std::string(architecture) + ".gguf"), gguf_with(architecture, std::string(architecture) == "llama"));
  write(folder / "plan" / "tiny.body", plan::serialize(testing::tiny_plan()).substr(64));
  write(folder / "plan" / "tiny_prompt.body", plan::serialize(testing::tiny_plan_with_prompt()).substr(64));
  write(folder / "plan" / "empty.body", plan::serialize(plan::Plan()).substr(64));
}
