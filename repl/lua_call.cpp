#include "repl/lua_call.h"

#include <pthread.h>

#include <cstdio>
#include <sstream>
#include <string>

#include "bindings/lua/host/perilune_lua.h"

namespace perilune::repl {
namespace {

// The handler's way to what runs.
lua_State* g_running = nullptr;
pthread_t g_thread;
// Never destroyed: os.exit inside a call would end the context after the plug-in devices' own
// statics.
lua::Interrupter& g_interrupter = *new lua::Interrupter;
SecondInterrupt g_second = SecondInterrupt::ends_process;
volatile std::sig_atomic_t g_interrupts = 0;

constexpr int kEveryStep = LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT;

void no_samples(void*, lua_State*, int, int) {}

// Compiled code does not look at hooks. It does look, at every line, whether the profiler wants a
// sample, and then goes back to the interpreter, which sees the hook.
void leave_compiled_code() {
  struct sigaction sampler {};
  if (sigaction(SIGPROF, nullptr, &sampler) != 0) return;
  if (sampler.sa_handler != SIG_DFL && sampler.sa_handler != SIG_IGN) raise(SIGPROF);
}

void stop_hook(lua_State* L, lua_Debug*) {
  if (g_interrupts < 2) lua_sethook(L, nullptr, 0, 0);
  luaL_error(L, "interrupted");
}

void on_interrupt(int signal) {
  if (pthread_equal(pthread_self(), g_thread) == 0) {  // the engine's threads have no Lua state
    pthread_kill(g_thread, signal);
    return;
  }
  g_interrupts = g_interrupts + 1;
  if (g_second == SecondInterrupt::ends_process) std::signal(signal, SIG_DFL);
  g_interrupter.interrupt();
  if (g_running == nullptr) return;
  lua_sethook(g_running, stop_hook, kEveryStep, 1);
  leave_compiled_code();
}

std::string text_field(lua_State* L, int index, const char* name) {
  lua_getfield(L, index, name);
  const char* text = lua_tostring(L, -1);
  const std::string copy = text != nullptr ? text : "";
  lua_pop(L, 1);
  return copy;
}

// The frames that are the script's own: not the library's, not C functions.
std::string script_frames(const std::string& traceback) {
  std::istringstream lines(traceback);
  std::string frames;
  for (std::string line; std::getline(lines, line);) {
    if (line.rfind("\t", 0) != 0 || line.rfind("\t[", 0) == 0) continue;
    if (line.rfind("\tstdlib/perilune/", 0) == 0 || line.rfind("\t(command line):0", 0) == 0) {
      continue;
    }
    frames += "\n" + line;
  }
  return frames.empty() ? "" : "\nstack traceback:" + frames;
}

// Turns any raised value into the text to print: place, message, the script's frames.
int describe_error(lua_State* L) {
  std::string text;
  std::string traceback;
  if (lua_istable(L, 1)) {
    text = text_field(L, 1, "message");
    traceback = text_field(L, 1, "traceback");
    const std::string where = text_field(L, 1, "where");
    if (!where.empty() && text.find(where) == std::string::npos) text.insert(0, where + ": ");
  }
  if (text.empty() && luaL_callmeta(L, 1, "__tostring") != 0 && lua_isstring(L, -1)) {
    text = lua_tostring(L, -1);
  }
  if (text.empty()) {
    const char* message = lua_tostring(L, 1);
    text =
        message != nullptr ? message : std::string("(error of type ") + luaL_typename(L, 1) + ")";
  }
  if (traceback.empty()) {
    luaL_traceback(L, L, nullptr, 1);
    traceback = lua_tostring(L, -1);
  }
  text += script_frames(traceback);
  lua_pushlstring(L, text.data(), text.size());
  return 1;
}

}  // namespace

Interruptible::Interruptible(lua_State* L, SecondInterrupt second)
    : L_(L), outer_(g_running), outer_second_(g_second) {
  g_thread = pthread_self();
  g_interrupter = lua::interrupter(L);
  g_second = second;
  g_interrupts = 0;
  g_running = L;
  struct sigaction action {};
  action.sa_handler = on_interrupt;  // without SA_RESTART: a read that waits ends as well
  sigemptyset(&action.sa_mask);
  sigaction(SIGINT, &action, &previous_);
}

Interruptible::~Interruptible() {
  sigaction(SIGINT, &previous_, nullptr);
  g_running = outer_;
  g_second = outer_second_;
  lua_sethook(L_, nullptr, 0, 0);
  g_interrupter.clear();
  if (outer_ == nullptr) g_interrupter = lua::Interrupter();
}

void Interruptible::forget() {
  g_interrupts = 0;
  if (g_running != nullptr) lua_sethook(g_running, nullptr, 0, 0);
  g_interrupter.clear();
}

void make_interruptible(lua_State* L) {
  luaJIT_profile_start(L, "li1000000", no_samples, nullptr);  // by lines; no sample in 1000 s
}

int report_call(lua_State* L, int arguments, int results, bool* was_interrupted) {
  const int base = lua_gettop(L) - arguments;
  lua_pushcfunction(L, describe_error);
  lua_insert(L, base);
  int status = 0;
  bool interrupted = false;
  {
    const Interruptible interruptible(L, SecondInterrupt::ends_process);
    status = lua_pcall(L, arguments, results, base);
    interrupted = g_interrupts > 0;
  }
  lua_remove(L, base);
  if (was_interrupted != nullptr) *was_interrupted = interrupted;
  if (status == 0) return kDone;
  const char* message = lua_tostring(L, -1);
  const std::string text = message != nullptr ? message : "(no message)";
  lua_pop(L, 1);
  std::fflush(stdout);
  // A handler, this one or one further in, may be what Ctrl-C stopped: then the message is Lua's.
  const bool stopped = text.find("interrupted") != std::string::npos ||
                       text.find("error in error handling") != std::string::npos ||
                       status == LUA_ERRERR;
  if (interrupted && stopped) {
    std::fputs("interrupted\n", stderr);
    return kInterrupted;
  }
  std::fprintf(stderr, "perilune: %s\n", text.c_str());
  return kFailed;
}

}  // namespace perilune::repl
