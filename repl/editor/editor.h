// Keys in, an edited block out: no terminal is needed.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "repl/editor/buffer.h"
#include "repl/editor/history.h"
#include "repl/editor/keys.h"
#include "repl/editor/view.h"

namespace perilune::repl {

/// What could stand where the cursor is.
struct Completion {
  std::size_t start = 0;           ///< first byte of the word that is completed
  std::vector<std::string> words;  ///< sorted
  std::string suffix;              ///< added when a single word is left
};

/// What the editor asks about the text. Any may be empty.
struct Listener {
  std::function<Completion(const std::string& before_cursor)> complete;
  std::function<bool(const std::string& text)> finished;  ///< Enter runs it; else it goes on
  std::function<std::string(const std::string& before_cursor)> hint;  ///< "" for none
};

enum class Outcome { edits, line, interrupted, end, suspend, clear_screen };

class Editor {
 public:
  explicit Editor(History& history) : history_(history) {}
  void listen(Listener listener) { listener_ = std::move(listener); }

  /// An empty block.
  void start(const std::string& prompt);
  /// `more`: other keys wait already, so that this is no person's typing. With `line` text() is the
  /// block; with `interrupted` it is dropped.
  Outcome press(const Key& key, bool more);
  const std::string& text() const { return buffer_.text(); }
  /// `done`: as it stays on the screen when it is left.
  View view(bool done) const;

 private:
  Outcome press_enter(bool more);
  Outcome press_end();
  void press_text(const Key& key, bool more);
  void edit(Command command);
  void move(Command command);
  void complete(bool back);
  void choose(std::size_t word);
  void older();
  void newer();
  void recall(std::size_t entry);
  void new_line(bool indented);
  void dedent();
  void refresh_hint();

  // Ctrl-R.
  Outcome press_in_search(const Key& key, bool more);
  void begin_search(bool newer);
  bool find(std::size_t from, bool newer);
  void end_search(bool keep);

  History& history_;
  Listener listener_;
  std::string prompt_;
  Buffer buffer_;
  std::string hint_;
  std::string hinted_;  // the text before the cursor that it belongs to

  std::size_t place_ = 0;  // in the history; its size: what is being typed
  std::string draft_;      // and that text, while the place is another

  struct Search {
    bool active = false, failed = false;
    std::string query;
    std::size_t entry = 0, at = 0;  // what is found, and where in it
    std::string text;               // before the search
    std::size_t cursor = 0;
  } search_;

  Completion menu_;  // no words: closed
  std::size_t chosen_ = std::string::npos;
  std::size_t menu_end_ = 0;                     // where the chosen word ends in the text
  std::size_t indented_at_ = std::string::npos;  // a line that Enter began, and indented
};

}  // namespace perilune::repl
