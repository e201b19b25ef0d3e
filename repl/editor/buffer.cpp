#include "repl/editor/buffer.h"

#include <algorithm>
#include <utility>

#include "repl/editor/text.h"

namespace perilune::repl {
namespace {

constexpr std::size_t kMostUndone = 200;

bool is_word(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte >= 0x80 || c == '_' || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') ||
         (c >= 'A' && c <= 'Z');
}

}  // namespace

std::size_t Buffer::line_start(std::size_t at) const {
  const std::size_t newline = at == 0 ? std::string::npos : text_.rfind('\n', at - 1);
  return newline == std::string::npos ? 0 : newline + 1;
}

std::size_t Buffer::line_end(std::size_t at) const {
  return std::min(text_.find('\n', at), text_.size());
}

void Buffer::save() {
  earlier_.push_back({text_, cursor_});
  if (earlier_.size() > kMostUndone) earlier_.erase(earlier_.begin());
}

void Buffer::replace(std::string text, std::size_t cursor) {
  save();
  text_ = std::move(text);
  cursor_ = std::min(cursor, text_.size());
  run_ = Run::none;
}

void Buffer::clear() {
  text_.clear();
  cursor_ = 0;
  earlier_.clear();
  run_ = Run::none;
}

void Buffer::insert(std::string_view text, bool typed) {
  if (text.empty()) return;
  if (!typed || run_ != Run::typing) save();
  run_ = typed ? Run::typing : Run::none;
  text_.insert(cursor_, text);
  cursor_ += text.size();
}

void Buffer::erase(std::size_t first, std::size_t last) {
  if (first >= last) return;
  save();
  text_.erase(first, last - first);
  cursor_ = first;
}

void Buffer::move_to(std::size_t at) {
  cursor_ = std::min(at, text_.size());
  run_ = Run::none;
}

void Buffer::left() {
  move_to(previous_character(text_, cursor_));
}

void Buffer::right() {
  move_to(next_character(text_, cursor_));
}

std::size_t Buffer::word_left() const {
  std::size_t at = cursor_;
  while (at > 0 && !is_word(text_[at - 1])) --at;
  while (at > 0 && is_word(text_[at - 1])) --at;
  return at;
}

std::size_t Buffer::word_right() const {
  std::size_t at = cursor_;
  while (at < text_.size() && !is_word(text_[at])) ++at;
  while (at < text_.size() && is_word(text_[at])) ++at;
  return at;
}

void Buffer::go_to_column(std::size_t start, int columns) {
  const std::size_t end = line_end(start);
  std::size_t at = start;
  while (at < end) {
    const std::size_t next = next_character(text_, at);
    columns -= columns_of_character(std::string_view(text_).substr(at, next - at));
    if (columns < 0) break;
    at = next;
  }
  move_to(at);
}

bool Buffer::up() {
  const std::size_t start = line_start(cursor_);
  if (start == 0) return false;
  const int columns = columns_of(std::string_view(text_).substr(start, cursor_ - start));
  go_to_column(line_start(start - 1), columns);
  return true;
}

bool Buffer::down() {
  const std::size_t end = line_end(cursor_);
  if (end == text_.size()) return false;
  const std::size_t start = line_start(cursor_);
  go_to_column(end + 1, columns_of(std::string_view(text_).substr(start, cursor_ - start)));
  return true;
}

void Buffer::backspace() {
  const std::size_t start = line_start(cursor_);
  const std::string_view before = std::string_view(text_).substr(start, cursor_ - start);
  run_ = Run::none;
  // Indentation goes by the step that Enter and Tab put in.
  if (before.size() >= 2 && before.size() % 2 == 0 && start > 0 &&
      before.find_first_not_of(' ') == std::string_view::npos) {
    erase(cursor_ - 2, cursor_);
    return;
  }
  erase(previous_character(text_, cursor_), cursor_);
}

void Buffer::erase_character() {
  run_ = Run::none;
  erase(cursor_, next_character(text_, cursor_));
}

void Buffer::transpose() {
  std::size_t second = cursor_;
  if (second == text_.size() || text_[second] == '\n') second = previous_character(text_, second);
  const std::size_t first = previous_character(text_, second);
  const std::size_t end = next_character(text_, second);
  if (first == second || second == end || text_[first] == '\n' || text_[second] == '\n') return;
  save();
  const std::string letter = text_.substr(second, end - second);
  text_.erase(second, end - second);
  text_.insert(first, letter);
  cursor_ = end;
  run_ = Run::none;
}

void Buffer::kill(std::size_t first, std::size_t last) {
  if (first >= last) return;
  const std::string gone = text_.substr(first, last - first);
  if (run_ != Run::killing) killed_.clear();
  killed_ = last <= cursor_ ? gone + killed_ : killed_ + gone;
  erase(first, last);
  run_ = Run::killing;
}

void Buffer::yank() {
  insert(killed_);
}

void Buffer::undo() {
  run_ = Run::none;
  if (earlier_.empty()) return;
  text_ = std::move(earlier_.back().text);
  cursor_ = earlier_.back().cursor;
  earlier_.pop_back();
}

void Buffer::end_run() {
  run_ = Run::none;
}

}  // namespace perilune::repl
