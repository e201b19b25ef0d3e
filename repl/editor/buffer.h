// The text that is edited, a cursor in it, and the changes that are possible.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace perilune::repl {

/// UTF-8 of one or several lines. The cursor is a byte where a character starts, or the size.
class Buffer {
 public:
  const std::string& text() const { return text_; }
  std::size_t cursor() const { return cursor_; }
  /// Byte where the line of a place starts, and where it ends (its newline, or the size).
  std::size_t line_start(std::size_t at) const;
  std::size_t line_end(std::size_t at) const;

  /// Another text; undo returns to this one. The cursor goes to `cursor`, by default the end.
  void replace(std::string text, std::size_t cursor = std::string::npos);
  /// Forgets everything, undo too.
  void clear();

  /// `typed`: a run of such changes is undone as one.
  void insert(std::string_view text, bool typed = false);
  /// Removes bytes [first, last); the cursor goes to `first`.
  void erase(std::size_t first, std::size_t last);

  void move_to(std::size_t at);
  void left();
  void right();
  std::size_t word_left() const;
  std::size_t word_right() const;
  /// A line up or down, as near to the same column as there is. False: there is none.
  bool up();
  bool down();

  void backspace();
  void erase_character();
  void transpose();
  /// Removes and keeps for yank; removals one after the other are kept as one.
  void kill(std::size_t first, std::size_t last);
  void yank();
  void undo();
  /// The next removal begins a new piece for yank, the next typing a new change for undo.
  void end_run();

 private:
  struct State {
    std::string text;
    std::size_t cursor;
  };
  enum class Run { none, typing, killing };

  void save();
  void go_to_column(std::size_t start, int columns);

  std::string text_;
  std::size_t cursor_ = 0;
  std::string killed_;
  std::vector<State> earlier_;
  Run run_ = Run::none;
};

}  // namespace perilune::repl
