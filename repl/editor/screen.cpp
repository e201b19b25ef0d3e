#include "repl/editor/screen.h"

#include <algorithm>
#include <string_view>

#include "repl/editor/text.h"

namespace perilune::repl {
namespace {

constexpr int kLeastForHints = 20;  // columns

const char* colour_of(Style style) {
  switch (style) {
    case Style::plain: return "";
    case Style::keyword: return "35";
    case Style::text: return "32";
    case Style::number: return "36";
    case Style::comment: return "90";
    case Style::command: return "34";
    case Style::match: return "1;4";
    case Style::wrong: return "1;31";
    case Style::dim: return "2";
    case Style::chosen: return "7";
  }
  return "";
}

// Rows that are filled character by character.
class Rows {
 public:
  Rows(int columns, bool coloured) : columns_(columns), coloured_(coloured) {
    rows_.emplace_back();
  }

  void put(std::string_view character, Style style) {
    int width = columns_of_character(character);
    std::string shown = shown_character(character);
    if (width > columns_) {
      shown = "?";
      width = 1;
    }
    if (column_ + width > columns_) new_row();
    if (coloured_ && style != style_) {
      if (style_ != Style::plain) rows_.back() += "\x1b[0m";
      if (style != Style::plain) rows_.back() += std::string("\x1b[") + colour_of(style) + "m";
      style_ = style;
    }
    rows_.back() += shown;
    column_ += width;
  }

  void put_text(std::string_view text, Style style) {
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t next = next_character(text, at);
      put(text.substr(at, next - at), style);
      at = next;
    }
  }

  void new_row() {
    end_style();
    rows_.emplace_back();
    column_ = 0;
  }

  // Where the next character of this width would stand.
  void note_cursor(Frame& frame, int width) {
    if (column_ + std::min(width, columns_) > columns_) new_row();
    frame.cursor_row = rows_.size() - 1;
    frame.cursor_column = static_cast<std::size_t>(column_);
  }

  std::vector<std::string> take() {
    end_style();
    return std::move(rows_);
  }

 private:
  void end_style() {
    if (style_ != Style::plain) rows_.back() += "\x1b[0m";
    style_ = Style::plain;
  }

  int columns_;
  bool coloured_;
  std::vector<std::string> rows_;
  int column_ = 0;
  Style style_ = Style::plain;
};

// As much of a text as fits, with "…" where it goes on; spaces behind it up to the width.
std::string fitted(std::string_view text, int columns, bool filled) {
  std::string row;
  int used = 0;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t next = next_character(text, at);
    const std::string_view character = text.substr(at, next - at);
    const int width = columns_of_character(character);
    if (used + width > columns - (next < text.size() ? 1 : 0)) {
      row += "…";
      ++used;
      break;
    }
    row += shown_character(character);
    used += width;
    at = next;
  }
  return filled && used < columns ? row + std::string(static_cast<std::size_t>(columns - used), ' ')
                                  : row;
}

void put_prompt(Rows& rows, const std::string& prompt) {
  const std::size_t number_end = prompt.starts_with("[") ? prompt.find(']') : std::string::npos;
  const std::size_t dim = number_end == std::string::npos ? 0 : number_end + 1;
  rows.put_text(std::string_view(prompt).substr(0, dim), Style::dim);
  rows.put_text(std::string_view(prompt).substr(dim), Style::plain);
}

// Words in columns, the chosen one among those that are shown.
std::vector<std::string> word_rows(const View& view, Size size, std::size_t most, bool coloured) {
  int width = 1;
  for (const std::string& word : view.words) width = std::max(width, columns_of(word) + 2);
  width = std::min(width, size.columns);
  const auto across = static_cast<std::size_t>(std::max(1, size.columns / width));
  const std::size_t all = (view.words.size() + across - 1) / across;
  const std::size_t shown = std::min(all, most);
  const std::size_t chosen_row = view.chosen == std::string::npos ? 0 : view.chosen / across;
  const std::size_t first = chosen_row >= shown ? chosen_row - shown + 1 : 0;
  std::vector<std::string> rows;
  for (std::size_t row = first; row < first + shown; ++row) {
    std::string text;
    for (std::size_t i = row * across; i < std::min((row + 1) * across, view.words.size()); ++i) {
      const std::string word = fitted(view.words[i], std::max(1, width - 2), true);
      text += coloured_text(word, i == view.chosen ? Style::chosen : Style::plain, coloured);
      if ((i + 1) % across != 0 && i + 1 < view.words.size()) text += "  ";
    }
    rows.push_back(text);
  }
  const std::size_t seen = std::min((first + shown) * across, view.words.size()) - first * across;
  if (seen < view.words.size() && !rows.empty()) {
    const std::string rest = "… " + std::to_string(view.words.size()) + " words";
    rows.back() = coloured_text(fitted(rest, size.columns, false), Style::dim, coloured);
  }
  return rows;
}

// Only the rows around the cursor where there are too many.
void cut_to(Frame& frame, std::size_t most) {
  if (frame.rows.size() <= most) return;
  std::size_t first = frame.cursor_row >= most ? frame.cursor_row - most + 1 : 0;
  first = std::min(first, frame.rows.size() - most);
  frame.rows = {frame.rows.begin() + static_cast<std::ptrdiff_t>(first),
                frame.rows.begin() + static_cast<std::ptrdiff_t>(first + most)};
  frame.cursor_row -= first;
}

}  // namespace

std::string coloured_text(const std::string& text, Style style, bool coloured) {
  if (!coloured || style == Style::plain) return text;
  return std::string("\x1b[") + colour_of(style) + "m" + text + "\x1b[0m";
}

Frame layout(const View& view, Size size, bool coloured) {
  size.columns = std::max(size.columns, 1);
  size.rows = std::max(size.rows, 1);
  Frame frame;
  Rows rows(size.columns, coloured);
  const int prompt_columns = columns_of(view.prompt);
  put_prompt(rows, view.prompt);
  const std::string more =
      std::string(static_cast<std::size_t>(std::max(0, prompt_columns - 3)), ' ') + ">> ";
  for (std::size_t at = 0; at < view.text.size();) {
    const std::size_t next = next_character(view.text, at);
    const std::string_view character = std::string_view(view.text).substr(at, next - at);
    const bool newline = character == "\n";
    if (at == view.cursor) rows.note_cursor(frame, newline ? 1 : columns_of_character(character));
    if (newline) {
      rows.new_row();
      rows.put_text(more, Style::dim);
    } else {
      rows.put(character, view.styles[at]);
    }
    at = next;
  }
  if (view.cursor >= view.text.size()) rows.note_cursor(frame, 1);
  frame.rows = rows.take();
  const auto most = static_cast<std::size_t>(size.rows);
  cut_to(frame, most);
  if (size.columns < kLeastForHints) return frame;
  std::size_t left = most - frame.rows.size();
  if (!view.hint.empty() && left > 0) {
    const std::string hint = fitted(view.hint, size.columns, false);
    frame.rows.push_back(coloured_text(hint, Style::dim, coloured));
    --left;
  }
  if (!view.words.empty() && left > 0) {
    const std::size_t share = std::max<std::size_t>(1, std::min(left, most / 2));
    for (std::string& row : word_rows(view, size, share, coloured))
      frame.rows.push_back(std::move(row));
  }
  return frame;
}

std::string Screen::to_row(std::size_t row) {
  std::string bytes;
  const std::size_t from = shown_.cursor_row;
  if (row < from) bytes = "\x1b[" + std::to_string(from - row) + "A";
  // Newlines, which scroll where there is no row below.
  for (std::size_t i = from; i < row; ++i) bytes += "\r\n";
  shown_.cursor_row = row;
  return bytes;
}

std::string Screen::draw(const Frame& frame) {
  std::string bytes;
  const std::size_t before = shown_.rows.size();
  for (std::size_t row = 0; row < frame.rows.size(); ++row) {
    if (row < before && shown_.rows[row] == frame.rows[row]) continue;
    // Erased first: behind a full row the cursor still stands on its last character.
    bytes += to_row(row) + "\r\x1b[K" + frame.rows[row];
  }
  if (before > frame.rows.size()) bytes += to_row(frame.rows.size()) + "\r\x1b[J";
  bytes += to_row(frame.cursor_row) + "\r";
  if (frame.cursor_column > 0) bytes += "\x1b[" + std::to_string(frame.cursor_column) + "C";
  shown_ = frame;
  return bytes;
}

std::string Screen::leave() {
  std::string bytes = shown_.rows.empty() ? "" : to_row(shown_.rows.size() - 1) + "\r\n";
  forget();
  return bytes;
}

std::string Screen::resized() {
  std::string bytes = to_row(0) + "\r\x1b[J";
  forget();
  return bytes;
}

std::string fresh_row(Size size, bool coloured) {
  const int columns = std::max(size.columns, 1);
  return coloured_text("~", Style::dim, coloured) +
         std::string(static_cast<std::size_t>(columns - 1), ' ') + "\r\x1b[K";
}

}  // namespace perilune::repl
