// What is edited as rows of a terminal, and the bytes that change what a terminal shows into them.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "repl/editor/view.h"

namespace perilune::repl {

struct Size {
  int columns = 80, rows = 24;
};

struct Frame {
  std::vector<std::string> rows;  ///< with colours, each at most `columns` wide
  std::size_t cursor_row = 0, cursor_column = 0;
};

/// Wraps the text, marks its lines, puts the hint and the words below; no more rows than there are:
/// those around the cursor.
Frame layout(const View& view, Size size, bool coloured);

/// Remembers what a terminal shows below the place where the block began.
class Screen {
 public:
  /// The bytes that show a frame where the last one was.
  std::string draw(const Frame& frame);
  /// The bytes that leave the block: to the row below it.
  std::string leave();
  /// Another size: rows may have moved; what is below the cursor's row is drawn anew.
  std::string resized();
  /// Nothing is shown yet, and the cursor is at a row's start.
  void forget() { shown_ = {}; }

 private:
  std::string to_row(std::size_t row);

  Frame shown_;
};

/// What makes the cursor stand at a row's start, whatever was printed: a mark where a row was not
/// ended.
std::string fresh_row(Size size, bool coloured);

/// A text between a style's colour and none.
std::string coloured_text(const std::string& text, Style style, bool coloured);

}  // namespace perilune::repl
