// Keys out of the bytes that a terminal sends.
#pragma once

#include <string>
#include <string_view>

namespace perilune::repl {

enum class Command {
  none,      ///< a key that means nothing
  text,      ///< `text` was typed
  paste,     ///< `text` was pasted
  enter,     ///< runs what is finished
  new_line,  ///< a line more, finished or not (Alt-Enter)
  complete,  ///< Tab
  complete_back,
  backspace,
  erase,         ///< the character under the cursor (Delete)
  end_or_erase,  ///< Ctrl-D
  left,
  right,
  word_left,
  word_right,
  up,
  down,
  line_start,
  line_end,
  text_start,
  text_end,
  older,  ///< history, wherever the cursor is
  newer,
  kill_line_end,
  kill_line_start,
  kill_word_left,
  kill_word_right,
  yank,
  transpose,
  undo,
  clear_screen,
  search_older,
  search_newer,
  cancel,  ///< Ctrl-G, Escape
  interrupt,
  suspend,
};

struct Key {
  Command command = Command::none;
  std::string text;
};

/// Bytes in, keys out; holds what is begun and not complete.
class KeyReader {
 public:
  void feed(std::string_view bytes) { bytes_.append(bytes); }
  /// The next complete key; false when more bytes are needed.
  bool next(Key& key);
  /// No byte came for a while: what is begun was all, such as a lone Escape.
  void flush() { flushed_ = true; }
  /// Whether bytes wait, of a complete key or not.
  bool pending() const { return !bytes_.empty(); }
  /// Whether the bytes that wait are inside a paste.
  bool pasting() const { return bytes_.compare(0, 6, "\x1b[200~") == 0; }

 private:
  bool read_escape(Key& key);
  bool read_paste(Key& key);
  bool read_text(Key& key);

  std::string bytes_;
  bool flushed_ = false;
};

}  // namespace perilune::repl
