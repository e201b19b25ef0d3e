#include "repl/editor/keys.h"

#include <algorithm>
#include <array>
#include <utility>

#include "repl/editor/text.h"

namespace perilune::repl {
namespace {

constexpr std::string_view kPasteStart = "\x1b[200~";
constexpr std::string_view kPasteEnd = "\x1b[201~";
constexpr std::size_t kLongestSequence = 32;

// Of the bytes 0 to 31.
constexpr std::array<Command, 32> kControls = {
    Command::none,
    Command::line_start,
    Command::left,  // @ A B
    Command::interrupt,
    Command::end_or_erase,
    Command::line_end,  // C D E
    Command::right,
    Command::cancel,
    Command::backspace,  // F G H
    Command::complete,
    Command::enter,
    Command::kill_line_end,  // I J K
    Command::clear_screen,
    Command::enter,
    Command::newer,  // L M N
    Command::new_line,
    Command::older,
    Command::none,  // O P Q
    Command::search_older,
    Command::search_newer,
    Command::transpose,  // R S T
    Command::kill_line_start,
    Command::none,
    Command::kill_word_left,  // U V W
    Command::none,
    Command::yank,
    Command::suspend,  // X Y Z
    Command::none,
    Command::none,
    Command::none,  // [ \ ]
    Command::none,
    Command::undo,  // ^ _
};

// Behind Escape.
constexpr std::pair<char, Command> kMeta[] = {
    {'b', Command::word_left},       {'f', Command::word_right},
    {'d', Command::kill_word_right}, {'\x7f', Command::kill_word_left},
    {'\b', Command::kill_word_left}, {'\r', Command::new_line},
    {'\n', Command::new_line},       {'<', Command::text_start},
    {'>', Command::text_end},        {'p', Command::older},
    {'n', Command::newer},
};

// "\e[" parameters letter, or "\eO" letter.
constexpr std::pair<std::string_view, Command> kSequences[] = {
    {"A", Command::up},
    {"B", Command::down},
    {"C", Command::right},
    {"D", Command::left},
    {"H", Command::line_start},
    {"F", Command::line_end},
    {"Z", Command::complete_back},
    {"1~", Command::line_start},
    {"7~", Command::line_start},
    {"4~", Command::line_end},
    {"8~", Command::line_end},
    {"3~", Command::erase},
    {"5~", Command::older},
    {"6~", Command::newer},
    {"1;5C", Command::word_right},
    {"1;5D", Command::word_left},
    {"1;3C", Command::word_right},
    {"1;3D", Command::word_left},
    {"5C", Command::word_right},
    {"5D", Command::word_left},
    {"1;5H", Command::text_start},
    {"1;5F", Command::text_end},
    {"1;5A", Command::older},
    {"1;5B", Command::newer},
    {"3;5~", Command::kill_word_right},
    {"13;2u", Command::new_line},
    {"27;2;13~", Command::new_line},
    {"1;2A", Command::up},
    {"1;2B", Command::down},
};

}  // namespace

bool KeyReader::read_paste(Key& key) {
  const std::size_t end = bytes_.find(kPasteEnd, kPasteStart.size());
  if (end == std::string::npos && !flushed_) return false;
  const std::size_t size = (end == std::string::npos ? bytes_.size() : end) - kPasteStart.size();
  key = {Command::paste, clean_text(std::string_view(bytes_).substr(kPasteStart.size(), size))};
  bytes_.erase(0, end == std::string::npos ? bytes_.size() : end + kPasteEnd.size());
  return true;
}

bool KeyReader::read_escape(Key& key) {
  if (bytes_.size() == 1) {
    if (!flushed_) return false;
    key = {Command::cancel, ""};
    bytes_.clear();
    return true;
  }
  if (bytes_[1] != '[' && bytes_[1] != 'O') {
    key = {};
    for (const auto& [letter, command] : kMeta) {
      if (bytes_[1] == letter) key.command = command;
    }
    if (bytes_[1] == '\x1b') key.command = Command::cancel;
    // Escape, and then a key of its own.
    bytes_.erase(0, key.command == Command::none || bytes_[1] == '\x1b' ? 1 : 2);
    return true;
  }
  if (bytes_.compare(0, kPasteStart.size(), kPasteStart) == 0) return read_paste(key);
  std::size_t end = 2;
  while (end < bytes_.size() && end < kLongestSequence && bytes_[end] >= 0x20 &&
         bytes_[end] < 0x40) {
    ++end;
  }
  if (end == bytes_.size() && !flushed_) return false;
  end = std::min(end + 1, bytes_.size());
  key = {};
  for (const auto& [sequence, command] : kSequences) {
    if (std::string_view(bytes_).substr(2, end - 2) == sequence) key.command = command;
  }
  bytes_.erase(0, end);
  return true;
}

// As many characters as there are, so that text arriving at once is one change.
bool KeyReader::read_text(Key& key) {
  std::size_t end = 0;
  while (end < bytes_.size() && static_cast<unsigned char>(bytes_[end]) >= 0x20 &&
         bytes_[end] != 0x7f) {
    ++end;
  }
  if (end == bytes_.size() && !flushed_) {  // the last character may lack bytes
    std::size_t start = end;
    while (start > 0 && end - start < 4 && (bytes_[start - 1] & 0xC0) == 0x80) --start;
    if (start > 0 && (bytes_[start - 1] & 0xC0) == 0xC0) {
      const auto lead = static_cast<unsigned char>(bytes_[start - 1]);
      const std::size_t size = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
      if (end - (start - 1) < size) end = start - 1;
    }
    if (end == 0) return false;
  }
  key = {Command::text, clean_text(std::string_view(bytes_).substr(0, end))};
  bytes_.erase(0, end);
  return true;
}

bool KeyReader::next(Key& key) {
  if (bytes_.empty()) {
    flushed_ = false;
    return false;
  }
  const auto first = static_cast<unsigned char>(bytes_[0]);
  bool complete = true;
  if (first == 0x1b) {
    complete = read_escape(key);
  } else if (first == 0x7f) {
    key = {Command::backspace, ""};
    bytes_.erase(0, 1);
  } else if (first < 0x20) {
    key = {kControls[first], ""};
    bytes_.erase(0, 1);
  } else {
    complete = read_text(key);
  }
  if (bytes_.empty()) flushed_ = false;
  return complete;
}

}  // namespace perilune::repl
