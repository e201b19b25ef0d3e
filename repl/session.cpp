#include "repl/session.h"

#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <string>

#include "repl/editor/line_editor.h"
#include "repl/editor/terminal.h"
#include "repl/lua_call.h"

namespace perilune::repl {
namespace {

// The Lua side of a session, which is at stack position `object` when this is made.
class Session {
 public:
  Session(lua_State* L, int object) : L_(L) {
    lua_pushvalue(L, object);  // a line may ask for lines: then the stack is another function's
    object_ = luaL_ref(L, LUA_REGISTRYINDEX);
  }
  ~Session() { luaL_unref(L_, LUA_REGISTRYINDEX, object_); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Pushes the method and the session; the caller pushes arguments and calls.
  void push_method(const char* name) const {
    lua_rawgeti(L_, LUA_REGISTRYINDEX, object_);
    lua_getfield(L_, -1, name);
    lua_insert(L_, -2);
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

  // What the editor asks about a text. Mistakes of the answers are silent: the text is not run.
  Listener listener() const {
    Listener listener;
    listener.complete = [this](const std::string& text) { return complete(text); };
    if (has("finished")) {
      listener.finished = [this](const std::string& text) {
        if (!ask("finished", text, 1)) return true;
        const bool finished = lua_toboolean(L_, -1) != 0;
        lua_pop(L_, 1);
        return finished;
      };
    }
    if (has("hint")) {
      listener.hint = [this](const std::string& text) {
        if (!ask("hint", text, 1)) return std::string();
        const char* found = lua_tostring(L_, -1);
        std::string hint = found != nullptr ? found : "";
        lua_pop(L_, 1);
        return hint;
      };
    }
    return listener;
  }

 private:
  bool has(const char* name) const {
    push_method(name);
    const bool found = lua_isfunction(L_, -2);
    lua_pop(L_, 2);
    return found;
  }

  // Pushes the answers; none after a failure.
  bool ask(const char* name, const std::string& text, int answers) const {
    const Interruptible interruptible(L_, SecondInterrupt::insists);
    push_method(name);
    lua_pushlstring(L_, text.data(), text.size());
    if (lua_pcall(L_, 2, answers, 0) == 0) return true;
    lua_pop(L_, 1);
    return false;
  }

  Completion complete(const std::string& line) const {
    Completion found;
    if (!ask("complete", line, 3)) return found;
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

  lua_State* L_;
  int object_ = LUA_NOREF;
};

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

// read(prompt) → line, or nil and "interrupted" or "end": for what asks within a line, such as a
// stop inside a model. Upvalue: the editor. Ctrl-C before it is dealt with then.
int read_line(lua_State* L) {
  auto* editor = static_cast<LineEditor*>(lua_touserdata(L, lua_upvalueindex(1)));
  const char* prompt = luaL_optstring(L, 1, "");
  Interruptible::forget();
  {
    const QuietBetweenLines quiet;
    std::string line;
    const ReadStatus status = editor->read(prompt, line);
    if (status == ReadStatus::line) {
      editor->remember(line);
      lua_pushlstring(L, line.data(), line.size());
      return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, status == ReadStatus::interrupted ? "interrupted" : "end");
  }
  return 2;
}

// quietly(f) → what f gives: Ctrl-C has nothing to stop in it, but where `attempt` runs something.
// For who reads lines within a line: an interrupt that comes late, after what it was meant for has
// ended, shall not end what waits outside.
int quietly(lua_State* L) {
  lua_settop(L, 1);
  int status = 0;
  {
    const QuietBetweenLines quiet;
    Interruptible::forget();
    status = lua_pcall(L, 0, 1, 0);
  }
  if (status != 0) return lua_error(L);
  return 1;
}

// attempt(f, ...) → as pcall; Ctrl-C stops it.
int attempt(lua_State* L) {
  int status = 0;
  {
    const Interruptible interruptible(L, SecondInterrupt::insists);
    status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
  }
  lua_pushboolean(L, status == 0 ? 1 : 0);
  lua_insert(L, 1);
  return lua_gettop(L);
}

int terminal_rows(lua_State* L) {
  lua_pushinteger(L, terminal_size().rows);
  return 1;
}

// Pushes perilune.repl.new{ version=, interactive=, coloured=, rows=, read=, quietly=, attempt= }.
bool push_session(lua_State* L, LineEditor& editor, bool interactive, const char* version) {
  lua_getglobal(L, "require");
  lua_pushstring(L, "perilune.session.repl");
  if (report_call(L, 1, 1) != kDone) return false;
  lua_getfield(L, -1, "new");
  lua_createtable(L, 0, 7);
  lua_pushstring(L, version);
  lua_setfield(L, -2, "version");
  lua_pushboolean(L, interactive ? 1 : 0);
  lua_setfield(L, -2, "interactive");
  if (interactive && can_edit()) {
    lua_pushboolean(L, wants_colour() ? 1 : 0);
    lua_setfield(L, -2, "coloured");
    lua_pushcfunction(L, terminal_rows);
    lua_setfield(L, -2, "rows");
  }
  lua_pushlightuserdata(L, &editor);
  lua_pushcclosure(L, read_line, 1);
  lua_setfield(L, -2, "read");
  lua_pushcfunction(L, quietly);
  lua_setfield(L, -2, "quietly");
  lua_pushcfunction(L, attempt);
  lua_setfield(L, -2, "attempt");
  return report_call(L, 1, 1) == kDone;
}

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
  LineEditor editor(interactive, interactive ? history_file() : "");
  if (!push_session(L, editor, interactive, version)) return 1;
  const Session session(L, lua_gettop(L));
  editor.listen(session.listener());
  return read_lines(session, editor, interactive);
}

int run_lines(lua_State* L, int object) {
  stop_compiling(L);
  const bool interactive = on_terminal();
  const Session session(L, object);
  LineEditor editor(interactive, "");
  editor.listen(session.listener());
  return read_lines(session, editor, interactive);
}

}  // namespace perilune::repl
