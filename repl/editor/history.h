// Texts of earlier lines, of this session and of others, in a file that all of them share.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace perilune::repl {

/// Blocks are kept as blocks. Every text is in the file as soon as it is remembered; sessions
/// append under a lock, so that none loses another's.
class History {
 public:
  /// `path` may be empty: nothing outlives the session.
  explicit History(std::string path);

  struct Entry {
    std::string text;
    bool elsewhere =
        false;  ///< of a session that runs beside this one: search finds it, Up does not
  };
  const std::vector<Entry>& entries() const { return entries_; }

  /// Takes up what other sessions have added.
  void refresh();
  /// Adds a text, unless it is blank or the one before.
  void remember(const std::string& text);

 private:
  void read(int file, bool elsewhere);
  void shorten(int file);
  int open_locked() const;

  std::string path_;
  std::vector<Entry> entries_;
  std::size_t read_bytes_ = 0;     // of the file, already in entries_
  unsigned long file_number_ = 0;  // which file it was: one session may replace it by a shorter one
};

}  // namespace perilune::repl
