// The program on a pseudo-terminal, as a person has it: keys in, a screen's text out.
#pragma once

#include <string>
#include <vector>

namespace perilune_test {

class Terminal {
 public:
  /// Starts the program named by PERILUNE with `state` as its XDG_STATE_HOME; empty: neither that
  /// nor HOME is set. Waits for the first prompt.
  explicit Terminal(const std::string& state, std::vector<std::string> arguments = {});
  ~Terminal();
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void type(const std::string& keys) const;
  /// Waits until `text` appears in what was printed after the last wait; that is then forgotten.
  bool shows(const std::string& text, int seconds = 60);
  /// Types and waits.
  bool shows_after(const std::string& keys, const std::string& text) {
    type(keys);
    return shows(text);
  }
  /// Types a line that prints a word of its own and waits for the word: what was typed before has
  /// been dealt with, and the session goes on.
  bool answers();
  /// What was printed and not yet waited for.
  const std::string& unread() const { return output_; }
  /// Waits for the program's end; its exit status, or -1.
  int status();

 private:
  bool read_some(int milliseconds);

  int terminal_ = -1;
  int child_ = -1;
  int count_ = 0;
  std::string output_;
};

/// Where the program is, or "" when PERILUNE is not set.
std::string program_path();

}  // namespace perilune_test
