#pragma once
#include <string>
#include <vector>

namespace heddle::testing {

/// What the heddle program did.
struct Ran {
  int exit_code = -1;  // -1: killed by a signal
  std::string out, err;
};

/// Runs the built program with these arguments and this standard input, which must be less than a pipe holds. Nothing goes through a shell.
Ran heddle(const std::vector<std::string>& arguments, const std::string& input = "");

/// The built program in a terminal of its own.
class Terminal {
 public:
  explicit Terminal(const std::vector<std::string>& arguments);
  ~Terminal();                                   // kills what still runs
  bool opened() const { return terminal_ >= 0; }  // false where the system gives out no terminals
  void type(const std::string& keys);
  /// Waits until what the program wrote since the last call holds `text`, and gives it up to there; all of it after half a minute without.
  std::string read_to(const std::string& text);
  /// Waits until the program waits, or has ended: a signal between its last output and its next read would not interrupt that.
  void until_it_waits();
  int exit_code();  // waits for the end

 private:
  int terminal_ = -1, child_ = -1;
  std::string held_;
};

/// The bundled model.
std::string bundled_model();

}  // namespace heddle::testing
