#include "repl/editor/history.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <utility>

#include "repl/editor/text.h"

namespace perilune::repl {
namespace {

constexpr std::size_t kMostEntries = 10000;
// The first line of files that libedit wrote; blanks and controls stand there as \ooo.
constexpr const char* kOldHeader = "_HiStOrY_V2_";

std::string encoded(const std::string& text) {
  std::string line;
  for (const char c : text) {
    if (c == '\\')
      line += "\\\\";
    else if (c == '\n')
      line += "\\n";
    else
      line += c;
  }
  return line + "\n";
}

bool is_octal(const std::string& line, std::size_t at) {
  if (at + 3 > line.size()) return false;
  return std::all_of(line.begin() + static_cast<std::ptrdiff_t>(at),
                     line.begin() + static_cast<std::ptrdiff_t>(at + 3),
                     [](char c) { return c >= '0' && c <= '7'; });
}

std::string decoded(const std::string& line) {
  std::string text;
  for (std::size_t i = 0; i < line.size(); ++i) {
    if (line[i] != '\\' || i + 1 == line.size()) {
      text += line[i];
    } else if (is_octal(line, i + 1)) {
      text += static_cast<char>(std::stoi(line.substr(i + 1, 3), nullptr, 8) & 0xFF);
      i += 3;
    } else {
      ++i;
      text += line[i] == 'n' ? '\n' : line[i];
    }
  }
  return clean_text(text);
}

// All bytes of a file from a place on.
std::string rest_of(int file, std::size_t from) {
  std::string bytes;
  char piece[65536];
  for (;;) {
    const ssize_t count = pread(file, piece, sizeof piece, static_cast<off_t>(from + bytes.size()));
    if (count <= 0) return bytes;
    bytes.append(piece, static_cast<std::size_t>(count));
  }
}

bool write_all(int file, const std::string& bytes) {
  std::size_t written = 0;
  while (written < bytes.size()) {
    const ssize_t count = write(file, bytes.data() + written, bytes.size() - written);
    if (count <= 0) return false;
    written += static_cast<std::size_t>(count);
  }
  return true;
}

bool is_blank(const std::string& text) {
  return text.find_first_not_of(" \t\n") == std::string::npos;
}

}  // namespace

History::History(std::string path) : path_(std::move(path)) {
  const int file = open_locked();
  if (file < 0) return;
  read(file, false);
  shorten(file);
  close(file);
}

// The file that the path names once the lock is held; negative when there can be none.
int History::open_locked() const {
  if (path_.empty()) return -1;
  for (int tries = 0; tries < 10; ++tries) {
    const int file = open(path_.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0) return -1;
    struct stat held {
    }, named{};
    if (flock(file, LOCK_EX) == 0 && fstat(file, &held) == 0 && stat(path_.c_str(), &named) == 0 &&
        held.st_ino == named.st_ino) {
      return file;
    }
    close(file);  // another session has just replaced it
  }
  return -1;
}

void History::read(int file, bool elsewhere) {
  struct stat info {};
  if (fstat(file, &info) != 0) return;
  if (info.st_ino != file_number_) {
    // A new file at the start; later one that another session made of the same texts.
    const bool known = file_number_ != 0;
    file_number_ = info.st_ino;
    read_bytes_ = known ? static_cast<std::size_t>(info.st_size) : 0;
  }
  const std::string bytes = rest_of(file, read_bytes_);
  for (std::size_t at = 0; at < bytes.size();) {
    const std::size_t end = bytes.find('\n', at);
    if (end == std::string::npos) break;
    const std::string line = bytes.substr(at, end - at);
    if (line != kOldHeader && !is_blank(line)) entries_.push_back({decoded(line), elsewhere});
    at = end + 1;
  }
  read_bytes_ += bytes.size();
}

// Far too long a file, or one in the old form: the newest entries take its place.
void History::shorten(int file) {
  char header[13] = {};
  const bool old = pread(file, header, 12, 0) == 12 && std::string(header) == kOldHeader;
  if (!old && entries_.size() < kMostEntries + kMostEntries / 4) return;
  if (entries_.size() > kMostEntries) {
    entries_.erase(entries_.begin(), entries_.end() - static_cast<std::ptrdiff_t>(kMostEntries));
  }
  std::string bytes;
  for (const Entry& entry : entries_) bytes += encoded(entry.text);
  const std::string beside = path_ + ".new";
  const int fresh = open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (fresh < 0) return;
  struct stat info {};
  const bool written = write_all(fresh, bytes) && fstat(fresh, &info) == 0;
  close(fresh);
  if (!written || std::rename(beside.c_str(), path_.c_str()) != 0) {
    std::remove(beside.c_str());
    return;
  }
  file_number_ = info.st_ino;
  read_bytes_ = bytes.size();
}

void History::refresh() {
  struct stat info {};
  if (path_.empty() || stat(path_.c_str(), &info) != 0) return;
  if (info.st_ino == file_number_ && static_cast<std::size_t>(info.st_size) == read_bytes_) return;
  const int file = open_locked();
  if (file < 0) return;
  read(file, true);
  close(file);
}

void History::remember(const std::string& text) {
  if (is_blank(text)) return;
  for (auto last = entries_.rbegin(); last != entries_.rend(); ++last) {
    if (last->elsewhere) continue;
    if (last->text == text) return;
    break;
  }
  const int file = open_locked();
  if (file >= 0) {
    read(file, true);
    const std::string line = encoded(text);
    if (write_all(file, line)) read_bytes_ += line.size();
    close(file);
  }
  entries_.push_back({text, false});
}

}  // namespace perilune::repl
