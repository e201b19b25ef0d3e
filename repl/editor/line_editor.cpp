#include "repl/editor/line_editor.h"

#include <sys/stat.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "repl/editor/keys.h"
#include "repl/editor/screen.h"
#include "repl/editor/terminal.h"

namespace perilune::repl {

std::string history_file() {
  const char* state = std::getenv("XDG_STATE_HOME");
  if (state != nullptr && *state != '\0') {
    const std::string folder = std::string(state) + "/perilune";
    mkdir(state, 0700);
    mkdir(folder.c_str(), 0700);
    return folder + "/history";
  }
  const char* home = std::getenv("HOME");
  return home != nullptr && *home != '\0' ? std::string(home) + "/.perilune_history" : "";
}

namespace {

// A byte of an Escape sequence follows the one before it within this time.
constexpr int kSequenceMilliseconds = 50;
constexpr int kPasteMilliseconds = 2000;  // a terminal may lose a paste's end

ReadStatus read_plain(const std::string& prompt, std::string& line) {
  if (!prompt.empty()) {
    std::fputs(prompt.c_str(), stdout);
    std::fflush(stdout);
  }
  char* text = nullptr;  // stdio, as Lua's io.read uses it
  std::size_t capacity = 0;
  const ssize_t length = getline(&text, &capacity, stdin);
  if (length >= 0) line.assign(text, static_cast<std::size_t>(length));
  std::free(text);
  if (length < 0) {
    std::clearerr(stdin);
    return take_interrupt() ? ReadStatus::interrupted : ReadStatus::end;
  }
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.pop_back();
  return ReadStatus::line;
}

}  // namespace

struct LineEditor::Keyboard {
  History history;
  Editor editor;
  Terminal terminal;
  Screen screen;
  KeyReader keys;

  explicit Keyboard(const std::string& path) : history(path), editor(history) {}

  void draw(bool done) {
    terminal.write(screen.draw(layout(editor.view(done), terminal_size(), terminal.coloured())));
  }

  void begin_row() { terminal.write(fresh_row(terminal_size(), terminal.coloured())); }

  // Leaves the block on the screen.
  ReadStatus finish(ReadStatus status, const char* mark) {
    draw(true);
    terminal.write(mark + screen.leave());
    terminal.end();
    return status;
  }

  void suspend() {
    terminal.write(screen.leave());
    terminal.end();
    std::raise(SIGTSTP);
    terminal.begin();
    begin_row();
  }

  // What a key leads to; true with a status when the block is left.
  bool press(const Key& key, ReadStatus& status) {
    switch (editor.press(key, keys.pending())) {
      case Outcome::edits: return false;
      case Outcome::line: status = finish(ReadStatus::line, ""); return true;
      case Outcome::interrupted: status = finish(ReadStatus::interrupted, "^C"); return true;
      case Outcome::end: status = finish(ReadStatus::end, ""); return true;
      case Outcome::suspend: suspend(); return false;
      case Outcome::clear_screen:
        terminal.write("\x1b[H\x1b[2J");
        screen.forget();
        return false;
    }
    return false;
  }

  // More input, or what else happened; true with a status when the block is left.
  bool wait(ReadStatus& status) {
    const int patience = keys.pasting() ? kPasteMilliseconds : kSequenceMilliseconds;
    std::string bytes;
    switch (terminal.read(bytes, keys.pending() ? patience : -1)) {
      case Input::bytes: keys.feed(bytes); return false;
      case Input::quiet: keys.flush(); return false;
      case Input::resized: terminal.write(screen.resized()); return false;
      case Input::interrupted: status = finish(ReadStatus::interrupted, "^C"); return true;
      case Input::end: status = finish(ReadStatus::end, ""); return true;
    }
    return false;
  }

  ReadStatus read(const std::string& prompt, std::string& line) {
    editor.start(prompt);
    screen.forget();
    if (!terminal.begin()) return read_plain(prompt, line);
    std::fflush(stdout);  // now, since a Ctrl-S while a line ran holds output no more
    if (take_interrupt()) {
      terminal.end();
      return ReadStatus::interrupted;
    }
    begin_row();
    for (ReadStatus status = ReadStatus::line;;) {
      Key key;
      bool left = false;
      while (!left && keys.next(key)) left = press(key, status);
      if (!left) {
        draw(false);
        left = wait(status);
      }
      if (!left) continue;
      if (status == ReadStatus::line) line = editor.text();
      return status;
    }
  }
};

LineEditor::LineEditor(bool interactive, const std::string& history) : interactive_(interactive) {
  if (interactive && can_edit()) keyboard_ = std::make_unique<Keyboard>(history);
}

void LineEditor::listen(Listener listener) {
  if (keyboard_ != nullptr) keyboard_->editor.listen(std::move(listener));
}

LineEditor::~LineEditor() = default;

ReadStatus LineEditor::read(const std::string& prompt, std::string& line) {
  if (keyboard_ != nullptr) return keyboard_->read(prompt, line);
  return read_plain(interactive_ ? prompt : "", line);
}

void LineEditor::remember(const std::string& line) {
  if (keyboard_ != nullptr) keyboard_->history.remember(line);
}

}  // namespace perilune::repl
