// Blocks of lines from a person: edited, remembered and completed on a terminal; plain from a pipe.
#pragma once

#include <memory>
#include <string>

#include "repl/editor/editor.h"
#include "repl/editor/history.h"

namespace perilune::repl {

enum class ReadStatus { line, interrupted, end };

/// Reads standard input. One at a time.
class LineEditor {
 public:
  /// `interactive`: both ends are a terminal. `history` may be empty: nothing outlives the session.
  LineEditor(bool interactive, const std::string& history);
  ~LineEditor();
  LineEditor(const LineEditor&) = delete;
  LineEditor& operator=(const LineEditor&) = delete;

  /// Who is asked about the text from now on.
  void listen(Listener listener);

  /// The next line without its end; on a terminal a whole block, as far as the listener calls it
  /// finished. Prompts only when interactive.
  ReadStatus read(const std::string& prompt, std::string& line);
  /// Keeps a block for the up arrow and, where there is a file, for other sessions.
  void remember(const std::string& line);

 private:
  struct Keyboard;  // null when lines are plain
  bool interactive_;
  std::unique_ptr<Keyboard> keyboard_;
};

/// Where sessions keep their lines: $XDG_STATE_HOME/perilune/history (its folder is made),
/// else ~/.perilune_history, else "".
std::string history_file();

}  // namespace perilune::repl
