#include "repl/editor/terminal.h"

#include <poll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <string_view>

namespace perilune::repl {
namespace {

constexpr std::string_view kPasteOn = "\x1b[?2004h", kPasteOff = "\x1b[?2004l";
constexpr std::array kEnding = {SIGTERM, SIGHUP, SIGQUIT, SIGABRT};

volatile std::sig_atomic_t g_interrupted = 0;
volatile std::sig_atomic_t g_resized = 0;
volatile std::sig_atomic_t g_raw = 0;
termios g_before;

void note_size(int) {
  g_resized = 1;
}

// At once: to wait for output would be to wait for ever after a Ctrl-S that came meanwhile. What
// output looks like is the same in both modes.
bool set_mode(const termios& mode) {
  while (tcsetattr(STDIN_FILENO, TCSANOW, &mode) != 0) {
    if (errno != EINTR) return false;
  }
  return true;
}

void give_back() {
  if (g_raw == 0) return;
  g_raw = 0;
  // Failures have nobody to be told: the terminal may be gone.
  if (::write(STDOUT_FILENO, kPasteOff.data(), kPasteOff.size()) < 0) errno = 0;
  set_mode(g_before);
}

void end_program(int signal) {
  give_back();
  std::signal(signal, SIG_DFL);
  std::raise(signal);
}

// Sets a handler where nobody else has one.
void handle(int signal, void (*handler)(int)) {
  struct sigaction before {};
  if (sigaction(signal, nullptr, &before) != 0 || before.sa_handler != SIG_DFL) return;
  struct sigaction action {};
  action.sa_handler = handler;
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, nullptr);
}

bool is_set(const char* name) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0';
}

bool moves_cursor() {
  const char* name = std::getenv("TERM");
  return name != nullptr && *name != '\0' && std::string_view(name) != "dumb";
}

}  // namespace

bool can_edit() {
  return isatty(STDIN_FILENO) != 0 && isatty(STDOUT_FILENO) != 0 && moves_cursor();
}

void note_interrupt(int) {
  g_interrupted = 1;
}

bool take_interrupt() {
  const bool noted = g_interrupted != 0;
  g_interrupted = 0;
  return noted;
}

bool wants_colour() {
  return moves_cursor() && !is_set("NO_COLOR");
}

Terminal::Terminal() : coloured_(wants_colour()) {
  handle(SIGWINCH, note_size);
  for (const int signal : kEnding) handle(signal, end_program);
}

Terminal::~Terminal() {
  end();
}

bool Terminal::begin() {
  if (begun_) return true;
  if (tcgetattr(STDIN_FILENO, &g_before) != 0) return false;
  termios raw = g_before;
  raw.c_iflag &= ~static_cast<tcflag_t>(BRKINT | ICRNL | INLCR | ISTRIP | IXON);
  raw.c_lflag &= ~static_cast<tcflag_t>(ECHO | ICANON | IEXTEN | ISIG);
  raw.c_cc[VMIN] = 1;
  raw.c_cc[VTIME] = 0;
  g_raw = 1;
  if (!set_mode(raw)) {
    g_raw = 0;
    return false;
  }
  begun_ = true;
  write(std::string(kPasteOn));
  return true;
}

void Terminal::end() {
  if (!begun_) return;
  begun_ = false;
  give_back();
}

Input Terminal::read(std::string& bytes, int milliseconds) {
  pollfd waiting{STDIN_FILENO, POLLIN, 0};
  for (;;) {
    if (take_interrupt()) return Input::interrupted;
    if (g_resized != 0) {
      g_resized = 0;
      return Input::resized;
    }
    const int ready = poll(&waiting, 1, milliseconds);
    if (ready == 0) return Input::quiet;
    if (ready < 0) {
      if (errno == EINTR) continue;
      return Input::end;
    }
    char piece[4096];
    const ssize_t count = ::read(STDIN_FILENO, piece, sizeof piece);
    if (count > 0) {
      bytes.assign(piece, static_cast<std::size_t>(count));
      return Input::bytes;
    }
    if (count == 0 || (errno != EINTR && errno != EAGAIN)) return Input::end;
  }
}

void Terminal::write(const std::string& bytes) const {
  std::size_t written = 0;
  while (written < bytes.size()) {
    const ssize_t count = ::write(STDOUT_FILENO, bytes.data() + written, bytes.size() - written);
    if (count >= 0) {
      written += static_cast<std::size_t>(count);
    } else if (errno == EAGAIN) {
      pollfd waiting{STDOUT_FILENO, POLLOUT, 0};
      poll(&waiting, 1, 100);
    } else if (errno != EINTR) {
      return;  // it is gone; reading will say so
    }
  }
}

Size terminal_size() {
  winsize found{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &found) != 0) return {};
  Size size;
  if (found.ws_col > 0) size.columns = found.ws_col;
  if (found.ws_row > 0) size.rows = found.ws_row;
  return size;
}

}  // namespace perilune::repl
