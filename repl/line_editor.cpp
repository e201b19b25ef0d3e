#include "repl/line_editor.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <clocale>
#include <csignal>
#include <cstdio>
#include <cstdlib>

#ifdef HAVE_LIBEDIT
#include <histedit.h>
#endif

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

volatile std::sig_atomic_t g_interrupted = 0;

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
  if (length < 0) return ReadStatus::end;
  while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.pop_back();
  return ReadStatus::line;
}

#ifdef HAVE_LIBEDIT
constexpr int kHistoryLines = 2000;
constexpr std::size_t kScreen = 80;

std::string common_start(const std::vector<std::string>& words) {
  std::string start = words.front();
  for (const std::string& word : words) {
    std::size_t same = 0;
    while (same < start.size() && same < word.size() && start[same] == word[same]) ++same;
    start.resize(same);
  }
  return start;
}

void print_columns(const std::vector<std::string>& words) {
  std::size_t width = 0;
  for (const std::string& word : words) width = std::max(width, word.size() + 2);
  const std::size_t columns = std::max<std::size_t>(1, kScreen / width);
  std::fputs("\n", stdout);
  for (std::size_t i = 0; i < words.size(); ++i) {
    const bool last = (i + 1) % columns == 0 || i + 1 == words.size();
    std::printf("%-*s%s", last ? 0 : static_cast<int>(width), words[i].c_str(), last ? "\n" : "");
  }
}
#endif

}  // namespace

#ifdef HAVE_LIBEDIT

struct LineEditor::Terminal {
  EditLine* edit = nullptr;
  History* history = nullptr;
  std::string prompt;
  std::string file;
  Completer completer;
  bool interrupted = false;

  static Terminal& of(EditLine* edit) {
    void* data = nullptr;
    el_get(edit, EL_CLIENTDATA, &data);
    return *static_cast<Terminal*>(data);
  }
  static char* prompt_text(EditLine* edit) { return of(edit).prompt.data(); }
  static unsigned char on_tab(EditLine* edit, int) { return of(edit).complete(); }
  static unsigned char on_interrupt(EditLine* edit, int) {
    of(edit).interrupted = true;
    std::fputs("^C", stdout);
    return CC_NEWLINE;
  }
  static unsigned char on_suspend(EditLine* edit, int) {
    el_set(edit, EL_PREP_TERM, 0);
    std::raise(SIGTSTP);
    el_set(edit, EL_PREP_TERM, 1);
    return CC_REDISPLAY;
  }

  unsigned char complete() {
    const LineInfo* info = el_line(edit);
    const std::string line(info->buffer, static_cast<std::size_t>(info->cursor - info->buffer));
    if (line.find_first_not_of(" \t") == std::string::npos) {  // pasted or typed indentation
      el_insertstr(edit, "  ");
      return CC_REFRESH;
    }
    const Completion found = completer(line);
    if (found.words.empty() || found.start > line.size()) return CC_REFRESH_BEEP;
    const std::string typed = line.substr(found.start);
    std::string text = common_start(found.words);
    if (text.compare(0, typed.size(), typed) != 0) return CC_REFRESH_BEEP;
    text.erase(0, typed.size());
    if (found.words.size() == 1) text += found.suffix;
    if (!text.empty()) {
      el_insertstr(edit, text.c_str());
      return CC_REFRESH;
    }
    if (found.words.size() == 1) return CC_NORM;
    print_columns(found.words);
    return CC_REDISPLAY;
  }

  Terminal(const std::string& history_path, Completer complete_words)
      : file(history_path), completer(std::move(complete_words)) {
    std::setlocale(LC_CTYPE, "");  // so that a letter of several bytes is one letter
    edit = el_init("perilune", stdin, stdout, stderr);
    history = history_init();
    if (edit == nullptr || history == nullptr) return;
    HistEvent event;
    ::history(history, &event, H_SETSIZE, kHistoryLines);
    ::history(history, &event, H_SETUNIQUE, 1);
    if (!file.empty()) ::history(history, &event, H_LOAD, file.c_str());
    el_set(edit, EL_CLIENTDATA, this);
    el_set(edit, EL_PROMPT, prompt_text);
    el_set(edit, EL_EDITOR, "emacs");
    el_set(edit, EL_HIST, ::history, history);
    el_set(edit, EL_SIGNAL, 0);
    // Ctrl-C and Ctrl-Z come as keys while a line is edited.
    el_set(edit, EL_SETTY, "-d", "-isig", nullptr);
    el_source(edit, nullptr);  // ~/.editrc
    el_set(edit, EL_ADDFN, "perilune-complete", "complete a name", on_tab);
    el_set(edit, EL_ADDFN, "perilune-interrupt", "drop the line", on_interrupt);
    el_set(edit, EL_ADDFN, "perilune-suspend", "stop the program", on_suspend);
    el_set(edit, EL_BIND, "^I", "perilune-complete", nullptr);
    el_set(edit, EL_BIND, "^C", "perilune-interrupt", nullptr);
    el_set(edit, EL_BIND, "^Z", "perilune-suspend", nullptr);
    el_set(edit, EL_BIND, "^R", "em-inc-search-prev", nullptr);
  }

  ~Terminal() {
    if (edit != nullptr) el_end(edit);
    if (history != nullptr) history_end(history);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  ReadStatus read(const std::string& text, std::string& line) {
    prompt = text;
    interrupted = false;
    // Before the prompt is seen, so that a Ctrl-C after it is a key and not a signal.
    el_set(edit, EL_PREP_TERM, 1);
    if (g_interrupted != 0) {
      g_interrupted = 0;
      el_set(edit, EL_PREP_TERM, 0);
      return ReadStatus::interrupted;
    }
    int count = 0;
    const char* typed = el_gets(edit, &count);
    if (interrupted) return ReadStatus::interrupted;
    if (typed == nullptr || count <= 0) {
      const bool dropped = g_interrupted != 0;
      g_interrupted = 0;
      return dropped ? ReadStatus::interrupted : ReadStatus::end;
    }
    line.assign(typed, static_cast<std::size_t>(count));
    while (!line.empty() && (line.back() == '\n' || line.back() == '\r')) line.pop_back();
    return ReadStatus::line;
  }

  void remember(const std::string& line) {
    HistEvent event;
    ::history(history, &event, H_ENTER, line.c_str());
    // At once: a session may end in any way. Its failure loses nothing but memory.
    if (!file.empty()) ::history(history, &event, H_SAVE, file.c_str());
  }
};

#else

struct LineEditor::Terminal {
  Terminal(const std::string&, Completer) {}
  ReadStatus read(const std::string& prompt, std::string& line) { return read_plain(prompt, line); }
  void remember(const std::string&) {}
};

#endif

void note_interrupt(int) {
  g_interrupted = 1;
}

LineEditor::LineEditor(bool interactive, const std::string& history, Completer completer)
    : interactive_(interactive) {
  if (!interactive) return;
  terminal_ = std::make_unique<Terminal>(history, std::move(completer));
#ifdef HAVE_LIBEDIT
  if (terminal_->edit == nullptr || terminal_->history == nullptr) terminal_.reset();
#endif
}

LineEditor::~LineEditor() = default;

ReadStatus LineEditor::read(const std::string& prompt, std::string& line) {
  if (terminal_ != nullptr) return terminal_->read(prompt, line);
  return read_plain(interactive_ ? prompt : "", line);
}

void LineEditor::remember(const std::string& line) {
  if (terminal_ != nullptr && line.find_first_not_of(" \t") != std::string::npos) {
    terminal_->remember(line);
  }
}

}  // namespace perilune::repl
