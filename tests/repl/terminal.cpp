#include "tests/repl/terminal.h"

#include <poll.h>
#include <pty.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <thread>

namespace perilune_test {

std::string program_path() {
  const char* path = std::getenv("PERILUNE");
  return path != nullptr ? path : "";
}

Terminal::Terminal(const std::string& state, std::vector<std::string> arguments) {
  const std::string program = program_path();
  arguments.insert(arguments.begin(), "perilune");
  std::vector<char*> words;
  for (std::string& argument : arguments) words.push_back(argument.data());
  words.push_back(nullptr);
  winsize size{};
  size.ws_row = 40;
  size.ws_col = 200;
  child_ = forkpty(&terminal_, nullptr, nullptr, &size);
  if (child_ == 0) {
    setenv("TERM", "xterm", 1);
    unsetenv("HOME");
    unsetenv("XDG_STATE_HOME");
    if (!state.empty()) setenv("XDG_STATE_HOME", state.c_str(), 1);
    execv(program.c_str(), words.data());
    _exit(127);
  }
  shows("> ");
}

Terminal::~Terminal() {
  if (child_ > 0) {
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
  }
  if (terminal_ >= 0) close(terminal_);
}

void Terminal::type(const std::string& keys) const {
  std::size_t written = 0;
  while (written < keys.size()) {
    const ssize_t count = write(terminal_, keys.data() + written, keys.size() - written);
    if (count <= 0) return;
    written += static_cast<std::size_t>(count);
  }
}

bool Terminal::read_some(int milliseconds) {
  pollfd waiting{terminal_, POLLIN, 0};
  if (poll(&waiting, 1, milliseconds) <= 0) return true;
  char text[4096];
  const ssize_t count = read(terminal_, text, sizeof text);
  if (count <= 0) return false;
  output_.append(text, static_cast<std::size_t>(count));
  return true;
}

bool Terminal::shows(const std::string& text, int seconds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(seconds);
  for (bool open = true;;) {
    const std::size_t found = output_.find(text);
    if (found != std::string::npos) {
      output_.erase(0, found + text.size());
      return true;
    }
    if (!open || std::chrono::steady_clock::now() > end) return false;
    open = read_some(100);
  }
}

bool Terminal::answers() {
  const std::string number = std::to_string(++count_);
  type("print(\"answer\" .. " + number + " .. \".\")\r");
  return shows("answer" + number + ".") && shows("> ");  // a key before that may be another line's
}

int Terminal::status() {
  for (int i = 0; i < 600 && child_ > 0; ++i) {
    int status = 0;
    if (!read_some(100)) std::this_thread::sleep_for(std::chrono::milliseconds(100));
    if (waitpid(child_, &status, WNOHANG) == child_) {
      child_ = -1;
      return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }
  }
  return -1;
}

}  // namespace perilune_test
