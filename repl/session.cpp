#include "repl/session.h"

#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <string>

#include "repl/line_editor.h"
#include "repl/lua_call.h"

namespace perilune::repl {
namespace {

// The Lua side of a session, at stack position `object`.
class Session {
 public:
  Session(lua_State* L, int object) : L_(L), object_(object) {}

  // Pushes the method and the session; the caller pushes arguments and calls.
  void push_method(const char* name) const {
    lua_getfield(L_, object_, name);
    lua_pushvalue(L_, object_);
  }

  // Calls with texts; on success one result is pushed. Errors of the session itself are rare: what
  // a line raises is caught and printed in Lua.
  bool call(const char* name, const std::string* text = nullptr) const {
    push_method(name);
    if (text != nullptr) lua_pushlstring(L_, text->data(), text->size());
    if (lua_pcall(L_, text != nullptr ? 2 : 1, 1, 0) == 0) return true;
    const char* message = lua_tostring(L_, -1);
    std::string said = message != nullptr ? message : "interrupted";
    if (said.ends_with(": interrupted")) said = "interrupted";  // where it was says nothing
    std::fflush(stdout);
    std::fprintf(stderr, "%s\n", said.c_str());
    lua_pop(L_, 1);
    return false;
  }

  std::string prompt() const {
    std::string text = "> ";
    if (call("prompt")) {
      if (const char* found = lua_tostring(L_, -1)) text = found;
      lua_pop(L_, 1);
    }
    return text;
  }

  // False when the line asked to leave.
  bool run(const std::string& line) const {
    const Interruptible interruptible(L_, SecondInterrupt::insists);
    if (!call("line", &line)) return true;
    const bool goes_on = lua_toboolean(L_, -1) != 0;
    lua_pop(L_, 1);
    return goes_on;
  }

  void drop() const {
    if (call("drop")) lua_pop(L_, 1);
  }

  int finish() const {
    if (!call("finish")) return 1;
    const auto status = static_cast<int>(lua_tointeger(L_, -1));
    lua_pop(L_, 1);
    return status;
  }

  Completion complete(const std::string& line) const {
    Completion found;
    const Interruptible interruptible(L_, SecondInterrupt::insists);
    push_method("complete");
    lua_pushlstring(L_, line.data(), line.size());
    if (lua_pcall(L_, 2, 3, 0) != 0) {
      lua_pop(L_, 1);
      return found;
    }
    const auto start = lua_tointeger(L_, -3);
    found.start = start > 0 ? static_cast<std::size_t>(start - 1) : 0;
    if (const char* suffix = lua_tostring(L_, -1)) found.suffix = suffix;
    const int count = lua_istable(L_, -2) ? static_cast<int>(lua_objlen(L_, -2)) : 0;
    for (int i = 1; i <= count; ++i) {
      lua_rawgeti(L_, -2, i);
      if (const char* word = lua_tostring(L_, -1)) found.words.emplace_back(word);
      lua_pop(L_, 1);
    }
    lua_pop(L_, 3);
    return found;
  }

 private:
  lua_State* L_;
  int object_;
};

// read(prompt) → line or nil: for what asks questions within a line. Upvalue: the editor.
int read_line(lua_State* L) {
  auto* editor = static_cast<LineEditor*>(lua_touserdata(L, lua_upvalueindex(1)));
  const char* prompt = luaL_optstring(L, 1, "");
  bool found = false;
  {
    std::string line;
    found = editor->read(prompt, line) == ReadStatus::line;
    if (found) lua_pushlstring(L, line.data(), line.size());
  }
  return found ? 1 : 0;
}

// Pushes perilune.repl.new{ version=, interactive=, read= }.
bool push_session(lua_State* L, LineEditor& editor, bool interactive, const char* version) {
  lua_getglobal(L, "require");
  lua_pushstring(L, "perilune.session.repl");
  if (report_call(L, 1, 1) != kDone) return false;
  lua_getfield(L, -1, "new");
  lua_createtable(L, 0, 3);
  lua_pushstring(L, version);
  lua_setfield(L, -2, "version");
  lua_pushboolean(L, interactive ? 1 : 0);
  lua_setfield(L, -2, "interactive");
  lua_pushlightuserdata(L, &editor);
  lua_pushcclosure(L, read_line, 1);
  lua_setfield(L, -2, "read");
  return report_call(L, 1, 1) == kDone;
}

// Between two lines Ctrl-C has nothing to stop, and must not end the session.
class QuietBetweenLines {
 public:
  QuietBetweenLines() {
    struct sigaction action {};
    action.sa_handler = note_interrupt;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, &previous_);
  }
  ~QuietBetweenLines() { sigaction(SIGINT, &previous_, nullptr); }
  QuietBetweenLines(const QuietBetweenLines&) = delete;
  QuietBetweenLines& operator=(const QuietBetweenLines&) = delete;

 private:
  struct sigaction previous_ {};
};

bool on_terminal() {
  return isatty(STDIN_FILENO) != 0 && isatty(STDOUT_FILENO) != 0;
}

// Compiled loops cannot be interrupted; what the compiler gains is little beside an op.
void stop_compiling(lua_State* L) {
  luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | LUAJIT_MODE_OFF);
}

int read_lines(const Session& session, LineEditor& editor, bool interactive) {
  const QuietBetweenLines quiet;
  for (std::string line;;) {
    std::fflush(stdout);
    const ReadStatus status = editor.read(session.prompt(), line);
    if (status == ReadStatus::end) break;
    if (status == ReadStatus::interrupted) {
      session.drop();
      continue;
    }
    editor.remember(line);
    if (!session.run(line)) return session.finish();
  }
  if (interactive) std::fputs("\n", stdout);
  return session.finish();
}

}  // namespace

int run_session(lua_State* L, const char* version) {
  stop_compiling(L);
  const bool interactive = on_terminal();
  const Session* listener = nullptr;
  LineEditor editor(interactive, interactive ? history_file() : "",
                    [&listener](const std::string& line) {
                      return listener != nullptr ? listener->complete(line) : Completion();
                    });
  if (!push_session(L, editor, interactive, version)) return 1;
  const Session session(L, lua_gettop(L));
  listener = &session;
  return read_lines(session, editor, interactive);
}

int run_lines(lua_State* L, int object) {
  stop_compiling(L);
  const bool interactive = on_terminal();
  const Session session(L, object);
  LineEditor editor(interactive, "",
                    [&session](const std::string& line) { return session.complete(line); });
  return read_lines(session, editor, interactive);
}

}  // namespace perilune::repl
