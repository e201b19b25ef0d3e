// Lines from a person: edited, remembered and completed on a terminal; plain from a pipe.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace perilune::repl {

/// What could stand where the cursor is.
struct Completion {
  std::size_t start = 0;           ///< first byte of the word that is completed
  std::vector<std::string> words;  ///< sorted
  std::string suffix;              ///< added when a single word is left
};

/// Given the line up to the cursor.
using Completer = std::function<Completion(const std::string& line)>;

enum class ReadStatus { line, interrupted, end };

/// Reads standard input. One at a time.
class LineEditor {
 public:
  /// `interactive`: both ends are a terminal. `history` may be empty: nothing is kept.
  LineEditor(bool interactive, const std::string& history, Completer completer);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  /// The next line without its end. Prompts only when interactive.
  ReadStatus read(const std::string& prompt, std::string& line);
  /// Keeps a line for the up arrow and, where there is a file, for the next session.
  void remember(const std::string& line);

 private:
  struct Terminal;  // libedit's state; null when not interactive or built without it
  bool interactive_;
  std::unique_ptr<Terminal> terminal_;
};

/// The handler of SIGINT while lines are read: a key that arrives before the terminal is set for
/// editing drops the line as well.
void note_interrupt(int signal);

/// Where sessions keep their lines: $XDG_STATE_HOME/perilune/history (its folder is made),
/// else ~/.perilune_history, else "".
std::string history_file();

}  // namespace perilune::repl
