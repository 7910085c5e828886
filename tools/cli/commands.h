#pragma once

namespace CLI {
class App;
}

namespace heddle::tools {

// One function per subcommand: declares its options on `app` and what runs when it is chosen. Each stands in cmd_<name>.cpp.
// The callbacks store the exit code in `exit_code`.
void add_bench(CLI::App& app, int& exit_code);
void add_cache(CLI::App& app, int& exit_code);
void add_chat(CLI::App& app, int& exit_code);
void add_compile(CLI::App& app, int& exit_code);
void add_inspect(CLI::App& app, int& exit_code);
void add_logits(CLI::App& app, int& exit_code);
void add_opt(CLI::App& app, int& exit_code);
void add_perplexity(CLI::App& app, int& exit_code);
void add_profile(CLI::App& app, int& exit_code);
void add_run(CLI::App& app, int& exit_code);
void add_tokenize(CLI::App& app, int& exit_code);
void add_verify(CLI::App& app, int& exit_code);

}  // namespace heddle::tools
