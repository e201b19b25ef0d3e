// Rows of a terminal: wrapped by columns, never more or wider than there is room.
#include "repl/editor/screen.h"

#include <string>
#include <vector>

#include "repl/editor/text.h"
#include "tests/catch.h"

namespace {

using perilune::repl::columns_of;
using perilune::repl::Frame;
using perilune::repl::layout;
using perilune::repl::Screen;
using perilune::repl::Size;
using perilune::repl::styles_of;
using perilune::repl::View;

View view_of(const std::string& text, std::size_t cursor, const std::string& prompt = "> ") {
  View view;
  view.prompt = prompt;
  view.text = text;
  view.styles = styles_of(text);
  view.cursor = cursor;
  return view;
}

}  // namespace

TEST_CASE("columns of characters") {
  CHECK(columns_of("abc") == 3);
  CHECK(columns_of("日本") == 4);
  CHECK(columns_of("e\xCC\x81") == 1);
  CHECK(columns_of("\t") == 4);
  CHECK(columns_of("\x01") == 2);
  CHECK(columns_of("\xFF") == 1);
}

TEST_CASE("a block is rows, with the cursor where its byte is") {
  const struct {
    std::string text;
    std::size_t cursor;
    Size size;
    std::vector<std::string> rows;
    std::size_t row, column;
  } cases[] = {
      {"", 0, {10, 5}, {"> "}, 0, 2},
      {"abc", 1, {10, 5}, {"> abc"}, 0, 3},
      {"a\nb", 3, {10, 5}, {"> a", ">> b"}, 1, 4},
      {"a\nb", 1, {10, 5}, {"> a", ">> b"}, 0, 3},
      {"abcdefgh", 8, {10, 5}, {"> abcdefgh", ""}, 1, 0},
      {"abcdefghij", 9, {10, 5}, {"> abcdefgh", "ij"}, 1, 1},
      {"abcdefg日", 7, {10, 5}, {"> abcdefg", "日"}, 1, 0},
      {"日", 0, {1, 5}, {">", " ", "?"}, 2, 0},
      {"a\nb\nc\nd", 7, {10, 2}, {">> c", ">> d"}, 1, 4},
      {"a\nb\nc\nd", 0, {10, 2}, {"> a", ">> b"}, 0, 2},
  };
  for (const auto& one : cases) {
    INFO(one.text << " in " << one.size.columns << " x " << one.size.rows);
    const Frame frame = layout(view_of(one.text, one.cursor), one.size, false);
    CHECK(frame.rows == one.rows);
    CHECK(frame.cursor_row == one.row);
    CHECK(frame.cursor_column == one.column);
  }
}

TEST_CASE("hints and words stand below where there is room") {
  View view = view_of("x.", 2);
  view.hint = "f(a) -> b";
  view.words = {"one", "two", "three", "four", "five"};
  view.chosen = 4;
  Frame frame = layout(view, {24, 10}, false);
  REQUIRE(frame.rows.size() == 4);
  CHECK(frame.rows[1] == "f(a) -> b");
  CHECK(frame.rows[2] == "one    two    three");
  CHECK(frame.rows[3] == "four   five ");
  frame = layout(view, {24, 2}, false);
  CHECK(frame.rows.size() == 2);
  frame = layout(view, {24, 1}, false);
  CHECK(frame.rows.size() == 1);
  view.hint = std::string(50, 'x');
  frame = layout(view, {24, 10}, false);
  CHECK(columns_of(frame.rows[1]) == 24);
  view.hint = "";
  CHECK(layout(view, {24, 10}, true).rows[2].find("\x1b[7mfive \x1b[0m") != std::string::npos);
}

TEST_CASE("only rows that changed are drawn") {
  Screen screen;
  screen.draw(layout(view_of("abc", 3), {20, 5}, false));
  CHECK(screen.draw(layout(view_of("abc", 3), {20, 5}, false)) == "\r\x1b[5C");
  const std::string more = screen.draw(layout(view_of("abc\nd", 5), {20, 5}, false));
  CHECK(more == "\r\n\r\x1b[K>> d\r\x1b[4C");
  CHECK(screen.draw(layout(view_of("abc", 3), {20, 5}, false)).find("\x1b[J") != std::string::npos);
  CHECK(screen.leave() == "\r\n");
  CHECK(screen.leave().empty());
}
