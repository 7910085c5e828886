// The heddle program: one subcommand a file (cmd_*.cpp), all on public headers.
#include <CLI/CLI.hpp>

#include "tools/cli/commands.h"

int main(int argc, char** argv) {
  CLI::App app{
      "heddle compiles language models (GGUF) into plans and runs them.\n\n"
      "  heddle run model.gguf -p \"Once upon a time\"     compile (once) and generate text\n"
      "  heddle chat model.gguf                           talk to it\n"
      "  heddle compile model.gguf --explain             what was fused, what was not and why\n"
      "  heddle inspect model.gguf --ir                  the IR after the pipeline\n"};
  app.require_subcommand(1);
  app.set_version_flag("--version", "heddle 0.1.0");
  int exit_code = 0;
  using namespace heddle::tools;
  for (auto add : {add_run, add_chat, add_compile, add_inspect, add_bench, add_perplexity, add_logits, add_tokenize, add_opt, add_cache, add_verify, add_profile}) add(app, exit_code);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& e) {
    return app.exit(e) == 0 ? 0 : 2;
  }
  return exit_code;
}
