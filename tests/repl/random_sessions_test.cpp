// Random keys, pastes, damaged bytes, resizes and interrupts on narrow and wide terminals: the
// editor never crashes, ends when it is asked to, and gives the terminal back as it was.
// PERILUNE_SESSIONS says how many; PERILUNE_SEED where they begin.
#include <fcntl.h>
#include <pty.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <csignal>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <vector>

#include "repl/editor/line_editor.h"
#include "repl/editor/terminal.h"
#include "tests/catch.h"
#include "tests/support.h"

namespace {

using perilune::repl::Completion;
using perilune::repl::LineEditor;
using perilune::repl::ReadStatus;

int number_of(const char* name, int otherwise) {
  const char* value = std::getenv(name);
  return value != nullptr && *value != '\0' ? std::atoi(value) : otherwise;
}

// Reads lines until the input ends; the exit status.
int run_editor(const std::string& history) {
  setenv("TERM", "xterm", 1);
  LineEditor editor(true, history);
  editor.listen({[](const std::string& before) {
                   return Completion{before.size() / 2,
                                     {before.substr(before.size() / 2) + "x", "日本", ""},
                                     " "};
                 },
                 [](const std::string& text) { return text.size() % 3 != 0; },
                 [](const std::string& before) { return before.substr(before.size() / 3); }});
  for (std::string line;;) {
    const ReadStatus status = editor.read("[12]> ", line);
    if (status == ReadStatus::end) return 0;
    if (status == ReadStatus::line) editor.remember(line);
  }
}

constexpr tcflag_t kUsual = ICANON | ECHO | ISIG;

const std::vector<std::string> kPieces = {"for i = 1, 2 do",
                                          "\r",
                                          "\r",
                                          "end",
                                          "\t",
                                          "\t",
                                          "\x1b[Z",
                                          "\x1b[A",
                                          "\x1b[A",
                                          "\x1b[B",
                                          "\x1b[C",
                                          "\x1b[D",
                                          "\x12",
                                          "\x12",
                                          "\x13",
                                          "\x07",
                                          "\x15",
                                          "\x17",
                                          "\x19",
                                          "\x1f",
                                          "\x0b",
                                          "\x0c",
                                          "\x14",
                                          "\x7f",
                                          "\x1b[3~",
                                          "\x01",
                                          "\x05",
                                          "\x1b",
                                          "\x1b\r",
                                          "\x1b[200~",
                                          "\x1b[201~",
                                          "\x1b[200~a\nb\x1b[201~",
                                          "日本語",
                                          "e\xCC\x81",
                                          "\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x9A\x80",
                                          "\xFF\xFE",
                                          "\xE6\x97",
                                          "(a[1])",
                                          "\"",
                                          "\x03",
                                          "\x04",
                                          "\x1b[1;5C",
                                          "\x1b[999999999999A",
                                          "\x1bO",
                                          "\x00\x01",
                                          "--[[",
                                          ":time x",
                                          "?a"};

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  int below(int n) { return static_cast<int>(engine_() % static_cast<unsigned>(n)); }
  std::string piece() {
    if (below(12) == 0) {  // any bytes
      std::string bytes;
      for (int i = below(20); i >= 0; --i) {
        const int byte = below(256);
        // Between two lines the terminal is as it was, where these stop and end a program.
        bytes += static_cast<char>(byte == 0x1a || byte == 0x1c ? 0 : byte);
      }
      return bytes;
    }
    if (below(40) == 0) return std::string(static_cast<std::size_t>(below(3000)), 'w');
    return kPieces[static_cast<std::size_t>(below(static_cast<int>(kPieces.size())))];
  }
  winsize size() {
    winsize found{};
    found.ws_col = static_cast<unsigned short>(below(3) == 0 ? below(6) : below(120));
    found.ws_row = static_cast<unsigned short>(below(3) == 0 ? below(4) : below(50));
    return found;
  }

 private:
  std::mt19937 engine_;
};

class Child {
 public:
  Child(const std::string& history, winsize size) {
    std::signal(SIGINT, perilune::repl::note_interrupt);  // before a child can be interrupted
    std::fflush(stdout);                                  // else the child writes it again
    pid_ = forkpty(&terminal_, nullptr, nullptr, &size);
    if (pid_ == 0) _exit(run_editor(history));
    fcntl(terminal_, F_SETFL, O_NONBLOCK);
  }
  ~Child() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
    close(terminal_);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  // Without poll(): a terminal's last close waits, longer each time, for those who wait on it.
  void drain() const {
    char text[65536];
    while (::read(terminal_, text, sizeof text) > 0) {
    }
  }
  void type(const std::string& bytes) const {
    for (std::size_t at = 0; at < bytes.size();) {
      const ssize_t count = ::write(terminal_, bytes.data() + at, bytes.size() - at);
      if (count > 0)
        at += static_cast<std::size_t>(count);
      else if (errno != EAGAIN)
        return;
      drain();
    }
  }
  void resize(winsize size) const { ioctl(terminal_, TIOCSWINSZ, &size); }
  void interrupt() const { kill(pid_, SIGINT); }

  // Whether it ends by itself when the input does, without a failure, the terminal as it was. It
  // takes milliseconds; a busy machine may keep it from them for seconds.
  bool ends() {
    for (int i = 0; i < 30000; ++i) {
      if (i % 20 == 0) type("\x1b[201~\x03\x15\x04");
      drain();
      usleep(1000);
      int status = 0;
      if (waitpid(pid_, &status, WNOHANG) != pid_) continue;
      pid_ = -1;
      termios after{};
      tcgetattr(terminal_, &after);
      return WIFEXITED(status) && WEXITSTATUS(status) == 0 && (after.c_lflag & kUsual) == kUsual;
    }
    return false;
  }

 private:
  pid_t pid_ = -1;
  int terminal_ = -1;
};

}  // namespace

TEST_CASE("random sessions end well") {
  const perilune_test::TemporaryFolder folder;
  const int sessions = number_of("PERILUNE_SESSIONS", 150);
  const int first = number_of("PERILUNE_SEED", 1);
  int done = 0;
  for (int seed = first; seed < first + sessions; ++seed) {
    INFO("PERILUNE_SEED=" << seed << " PERILUNE_SESSIONS=1");
    Random random(static_cast<unsigned>(seed));
    Child child(folder.path() + "/history", random.size());
    for (int i = random.below(40); i >= 0; --i) {
      const int what = random.below(16);
      if (what == 0)
        child.resize(random.size());
      else if (what == 1)
        child.interrupt();
      else
        child.type(random.piece());
      child.drain();
    }
    REQUIRE(child.ends());
    ++done;
    if (done % 500 == 0 && done < sessions) {  // of a long run
      std::printf("%d of %d random sessions ended well\n", done, sessions);
      std::fflush(stdout);
    }
  }
  std::printf("%d random sessions ended well\n", done);
}
