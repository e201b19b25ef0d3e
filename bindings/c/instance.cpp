#include "bindings/c/instance.h"

#include <sched.h>

#include <chrono>
#include <condition_variable>
#include <exception>
#include <utility>

#include "bindings/lua/edge/state.h"
#include "engine/base/file_source.h"

namespace perilune::c {

namespace {

thread_local Instance* t_current = nullptr;

constexpr int kStepsBetweenLooks = 1000;
constexpr const char* kTooLong = "the script took longer than its time";

constexpr std::pair<const char*, pl_status> kCodes[] = {
    {"argument", PL_ERROR_ARGUMENT},   {"handle", PL_ERROR_HANDLE},
    {"option", PL_ERROR_OPTION},       {"shape", PL_ERROR_SHAPE},
    {"dtype", PL_ERROR_SHAPE},         {"device", PL_ERROR_DEVICE},
    {"file", PL_ERROR_FILE},           {"format", PL_ERROR_FORMAT},
    {"pairing", PL_ERROR_PAIRING},     {"unsupported", PL_ERROR_UNSUPPORTED},
    {"memory", PL_ERROR_MEMORY},       {"length", PL_ERROR_LENGTH},
    {"state", PL_ERROR_STATE},         {"policy", PL_ERROR_SCRIPT},
    {"cancelled", PL_ERROR_CANCELLED}, {"script", PL_ERROR_SCRIPT},
    {"internal", PL_ERROR_INTERNAL},
};

double milliseconds() {
  return std::chrono::duration<double, std::milli>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// Stops the engine where a call takes longer than it may: Lua's own steps are not counted in there.
class Watchdog {
 public:
  Watchdog(double milliseconds, const lua::Interrupter& interrupter) {
    if (milliseconds <= 0) return;
    thread_ = std::thread([this, milliseconds, interrupter] {
      std::unique_lock lock(mutex_);
      const std::chrono::duration<double, std::milli> time(milliseconds);
      if (!over_.wait_for(lock, time, [this] { return done_; })) interrupter.interrupt();
    });
  }
  ~Watchdog() {
    {
      const std::lock_guard lock(mutex_);
      done_ = true;
    }
    over_.notify_one();
    if (thread_.joinable()) thread_.join();
  }
  Watchdog(const Watchdog&) = delete;
  Watchdog& operator=(const Watchdog&) = delete;

 private:
  std::mutex mutex_;
  std::condition_variable over_;
  bool done_ = false;
  std::thread thread_;
};

// Holds this thread, and those that it makes, on some processors.
class Pinned {
 public:
  explicit Pinned(const std::vector<int>& processors) {
    if (processors.empty() || sched_getaffinity(0, sizeof(before_), &before_) != 0) return;
    cpu_set_t set;
    CPU_ZERO(&set);
    for (const int processor : processors) CPU_SET(static_cast<unsigned>(processor), &set);
    pinned_ = sched_setaffinity(0, sizeof(set), &set) == 0;
  }
  ~Pinned() {
    if (pinned_) sched_setaffinity(0, sizeof(before_), &before_);
  }
  Pinned(const Pinned&) = delete;
  Pinned& operator=(const Pinned&) = delete;

 private:
  cpu_set_t before_;
  bool pinned_ = false;
};

// What lua_cpcall gets: a function, its data, and what came of it.
struct Protected {
  void (*step)(lua_State*, void*);
  void* data;
  bool failed = false;
  std::string text, code;
};

int make_step(lua_State* L) {
  const auto* call = static_cast<const Protected*>(lua_touserdata(L, 1));
  lua_settop(L, 0);
  call->step(L, call->data);
  return 0;
}

// A text in the table on top of the stack; no metamethod of a script's runs.
std::string raw_text(lua_State* L, const char* name) {
  lua_pushstring(L, name);
  lua_rawget(L, -2);
  const char* text = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "";
  std::string found = text;
  lua_pop(L, 1);
  return found;
}

int collect_all(lua_State* L) {
  lua_gc(L, LUA_GCCOLLECT, 0);
  return 0;
}

// After a lack of memory: what the call left must not be the next one's. LuaJIT does not collect by
// itself then; this much more than the budget is enough to begin.
void collect_garbage(lua_State* L, Settings& settings) {
  lua_sethook(L, nullptr, 0, 0);
  constexpr std::size_t kReserve = std::size_t{1} << 20;
  lua_settop(L, 0);
  if (settings.script_budget > 0) settings.script_budget += kReserve;
  (void)lua_cpcall(L, collect_all, nullptr);
  if (settings.script_budget > 0) settings.script_budget -= kReserve;
  lua_settop(L, 0);
}

// Reads what was raised, on top of the stack.
void read_failure(lua_State* L, Protected& call) {
  if (lua_istable(L, -1)) {
    call.code = raw_text(L, "code");
    call.text = raw_text(L, "message");
  } else if (lua_isstring(L, -1)) {
    call.text = lua_tostring(L, -1);
    call.code = call.text == "not enough memory" ? "memory" : "script";
  }
  if (call.text.empty()) {
    call.text = std::string("a ") + luaL_typename(L, -1) + " was raised as an error";
  }
}

// The step in a call of its own, so that what it raises is read while Lua's errors are caught.
int in_protected_mode(lua_State* L) {
  auto* call = static_cast<Protected*>(lua_touserdata(L, 1));
  lua_pushcfunction(L, make_step);
  lua_pushvalue(L, 1);
  const int status = lua_pcall(L, 1, 0, 0);
  if (status == 0) return 0;
  lua_sethook(L, nullptr, 0, 0);
  call->failed = true;
  read_failure(L, *call);
  if (status == LUA_ERRMEM) call->code = "memory";
  return 0;
}

}  // namespace

Instance::Instance(const pl_options& options) {
  settings.host = options;
}

Instance::~Instance() {
  close();
}

Instance* Instance::current() {
  return t_current;
}

pl_handle Instance::handle_of(Kind kind, std::uint32_t number) const {
  Handle parts = unpack(handle);
  parts.kind = kind;
  parts.number = number;
  return pack(parts);
}

pl_status Instance::open(lua_State* (*make)(Settings&), void (*fill)(lua_State*, Settings&)) {
  L_ = make(settings);
  if (L_ == nullptr) return fail(PL_ERROR_MEMORY, "open: not enough memory for a Lua state");
  const pl_status status = run([&](lua_State* L) { fill(L, settings); });
  if (status != PL_OK) return status;
  interrupter_ = lua::interrupter(L_);
  return PL_OK;
}

void Instance::close() {
  const std::lock_guard lock(mutex_);
  if (L_ == nullptr) return;
  owner_ = std::this_thread::get_id();
  t_current = this;
  if (lua::State* state = lua::find_state(L_)) state->anchor->thread = std::this_thread::get_id();
  lua_sethook(L_, nullptr, 0, 0);
  lua_close(L_);
  L_ = nullptr;
  values.clear();
  t_current = nullptr;
  owner_ = std::thread::id();
}

bool Instance::close_if_unused() {
  if (!mutex_.try_lock()) return false;
  mutex_.unlock();
  close();
  return true;
}

pl_status Instance::fail(pl_status status, const std::string& text) {
  const std::lock_guard lock(error_mutex_);
  try {
    error_ = text;
  } catch (...) {
    error_.clear();
  }
  return status;
}

std::string Instance::error_text() {
  const std::lock_guard lock(error_mutex_);
  return error_;
}

void Instance::cancel() {
  if (owner_.load() == std::thread::id()) return;
  cancelled_ = true;
  interrupter_.interrupt();
}

pl_status Instance::enter(Step step, void* data) {
  if (owner_.load() == std::this_thread::get_id()) {
    return fail(PL_ERROR_STATE, "called from inside a callback of the same instance");
  }
  const std::lock_guard lock(mutex_);
  if (L_ == nullptr) return PL_ERROR_HANDLE;  // closed while this call waited
  const Pinned pinned(settings.processors);
  const FileSourceScope scope(files.any() ? &files : nullptr);
  Instance* const before = std::exchange(t_current, this);
  cancelled_ = false;
  interrupter_.clear();
  owner_ = std::this_thread::get_id();
  if (lua::State* state = lua::find_state(L_)) state->anchor->thread = std::this_thread::get_id();
  const pl_status status = perform(step, data);
  owner_ = std::thread::id();
  interrupter_.clear();
  t_current = before;
  return status;
}

pl_status Instance::perform(Step step, void* data) {
  steps_ = 0;
  over_.clear();
  deadline_ = settings.host.script_ms > 0 ? milliseconds() + settings.host.script_ms : 0;
  watch();
  lua_settop(L_, 0);
  Protected call{step, data, false, "", ""};
  int status = LUA_ERRMEM;
  try {
    const Watchdog watchdog(settings.host.script_ms, interrupter_);
    status = lua_cpcall(L_, in_protected_mode, &call);
    if (status == 0 && !call.failed) return PL_OK;
  } catch (const std::exception& problem) {  // thrown by a callback of the host
    return fail(PL_ERROR_INTERNAL, problem.what());
  } catch (...) {
    return fail(PL_ERROR_INTERNAL, "an exception that is no std::exception");
  }
  if (!call.failed || call.code == "memory") collect_garbage(L_, settings);
  if (over_.empty() && deadline_ > 0 && milliseconds() > deadline_) over_ = kTooLong;
  if (!over_.empty()) return fail(PL_ERROR_SCRIPT, over_);
  if (cancelled_) return fail(PL_ERROR_CANCELLED, "cancelled");
  if (!call.failed) return fail(PL_ERROR_MEMORY, "not enough memory for the scripts");
  for (const auto& [code, number] : kCodes) {
    if (call.code == code) return fail(number, call.text);
  }
  return fail(PL_ERROR_SCRIPT, call.text);
}

void Instance::watch() {
  lua_sethook(L_, on_steps, LUA_MASKCOUNT, kStepsBetweenLooks);
}

void Instance::on_steps(lua_State* L, lua_Debug*) {
  Instance* here = t_current;
  if (here == nullptr) return;
  here->steps_ += kStepsBetweenLooks;
  const pl_options& host = here->settings.host;
  if (here->over_.empty()) {
    if (host.script_steps > 0 && here->steps_ > host.script_steps) {
      here->over_ = "the script took more than " + std::to_string(host.script_steps) + " steps";
    } else if (here->deadline_ > 0 && milliseconds() > here->deadline_) {
      here->over_ = kTooLong;
    }
  }
  if (here->over_.empty() && !here->cancelled_) return;
  lua_sethook(L, on_steps, LUA_MASKCOUNT,
              1);  // again at every step: nothing that catches it goes on
  luaL_error(L, "%s", here->over_.empty() ? "cancelled" : here->over_.c_str());
}

}  // namespace perilune::c
