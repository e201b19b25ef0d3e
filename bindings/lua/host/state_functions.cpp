// core: clock, errors, warnings, interrupts, scopes.
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <thread>

#include "bindings/lua/edge/arguments.h"
#include "bindings/lua/host/functions.h"
#include "bindings/lua/tensors/tensor_value.h"
#include "engine/base/near_names.h"
#include "engine/program/composed_activations.h"
#include "engine/program/net.h"

namespace perilune::lua {

namespace {

int clock(lua_State* L) {
  lua_pushnumber(L, clock_seconds());
  return 1;
}

/// Waits, in short parts so that an interrupt ends it.
int sleep(lua_State* L) {
  constexpr double kPart = 0.005;
  const double seconds = to_number(L, 1, "sleep", "seconds");
  if (!(seconds >= 0) || seconds > 1e9) {
    throw Error(ErrorCode::argument, "sleep",
                "seconds must be 0 to 1e9, got " + describe_value(L, 1));
  }
  const auto& context = state(L).context;
  const double end = clock_seconds() + seconds;
  for (double left = seconds; left > 0; left = end - clock_seconds()) {
    if (context->interrupted()) throw Error(ErrorCode::cancelled, "sleep", "interrupted");
    std::this_thread::sleep_for(std::chrono::duration<double>(std::min(left, kPart)));
  }
  return 0;
}

int interrupt(lua_State* L) {
  state(L).context->interrupt();
  return 0;
}

int clear_interrupt(lua_State* L) {
  state(L).context->clear_interrupt();
  return 0;
}

int interrupted(lua_State* L) {
  lua_pushboolean(L, state(L).context->interrupted() ? 1 : 0);
  return 1;
}

int on_warning(lua_State* L) {
  State& here = state(L);
  if (lua_isnoneornil(L, 1)) {
    here.on_warning = nullptr;
    here.context->set_warning_sink(nullptr);
    return 0;
  }
  if (!lua_isfunction(L, 1)) {
    throw Error(ErrorCode::argument, "on_warning",
                "expected a function, got " + describe_value(L, 1));
  }
  here.on_warning = make_reference(L, 1);
  const std::weak_ptr<Reference> weak = here.on_warning;
  here.context->set_warning_sink([weak](std::string_view text, std::string_view where) {
    const auto function = weak.lock();
    if (function == nullptr) return;
    lua_State* to = function->anchor()->callable("on_warning");
    callback(to, "on_warning", [&] {
      function->push(to);
      push_text(to, text);
      push_text(to, where);
      call(to, 2, 0, "on_warning");
    });
  });
  return 0;
}

/// Hands a word of long work to the script's function. From within any loop: what goes wrong in it
/// is left alone, and nothing is collected meanwhile.
void tell_script(void* of, const char* op, std::size_t done, std::size_t total, double seconds) {
  State& here = *static_cast<State*>(of);
  const ReferencePointer function = here.on_long_work;
  if (function == nullptr) return;
  try {
    lua_State* L = here.anchor->callable("on_long_work");
    const bool collects = lua_gc(L, LUA_GCISRUNNING, 0) != 0;
    lua_gc(L, LUA_GCSTOP, 0);
    callback(L, "on_long_work", [&] {
      function->push(L);
      if (op == nullptr) {
        lua_pushnil(L);
      } else {
        lua_pushstring(L, op);
      }
      push_integer(L, static_cast<std::int64_t>(done));
      push_integer(L, static_cast<std::int64_t>(total));
      lua_pushnumber(L, seconds);
      (void)lua_pcall(L, 4, 0, 0);
    });
    if (collects) lua_gc(L, LUA_GCRESTART, 0);
  } catch (const std::exception&) {
    return;
  }
}

/// core.on_long_work(f, after): f(op, done, total, seconds) once a call takes longer than `after`
/// seconds (default 2), 10 times a second at most; done and total are 0 where nobody knows, and
/// f(nil) says that it is over.
int on_long_work(lua_State* L) {
  State& here = state(L);
  here.long_work = {};
  here.on_long_work = nullptr;
  if (lua_isnoneornil(L, 1)) return 0;
  if (!lua_isfunction(L, 1)) {
    throw Error(ErrorCode::argument, "on_long_work",
                "expected a function, got " + describe_value(L, 1));
  }
  if (!lua_isnoneornil(L, 2)) here.long_work.after = to_number(L, 2, "on_long_work", "after");
  lua_settop(L, 1);
  here.on_long_work = make_reference(L, 1);
  here.long_work.of = &here;
  here.long_work.tell = &tell_script;
  return 0;
}

/// core.one_call(on): until core.one_call(false), calls count as one that goes on for long.
int one_call(lua_State* L) {
  LongWork& work = state(L).long_work;
  if (to_boolean(L, 1, "one_call", "on")) {
    work.begin();
  } else {
    work.end();
  }
  return 0;
}

int warn(lua_State* L) {
  const std::string text = to_text(L, 1, "warn", "text");
  const std::string where = lua_isnoneornil(L, 2) ? "" : to_text(L, 2, "warn", "where");
  state(L).context->warn(text, where);
  return 0;
}

ErrorCode code_of(const std::string& name) {
  std::vector<std::string> names;
  for (int i = 0; i <= static_cast<int>(ErrorCode::internal); ++i) {
    names.emplace_back(error_code_name(static_cast<ErrorCode>(i)));
    if (names.back() == name) return static_cast<ErrorCode>(i);
  }
  throw Error(ErrorCode::argument, "error", "unknown code \"" + name + "\"")
      .hint(did_you_mean(name, names));
}

/// core.error{ code=, op=, message=, hint=, shapes=, place=, level= }
int raise(lua_State* L) {
  Options options(L, 1, "error");
  const std::string code = options.text("code").value_or("argument");
  const std::string op = options.text("op").value_or("perilune");
  const std::string message = options.text("message").value_or("it failed");
  const std::string hint = options.text("hint").value_or("");
  const auto shapes = options.texts("shapes").value_or(std::vector<std::string>{});
  const std::string place = options.text("place").value_or("");
  options.has("level");  // the place is the nearest line of a script
  options.done();
  Error error(code_of(code), op, message);
  for (const std::string& shape : shapes) error.operand(shape, "");
  if (!place.empty()) error.where(place);
  if (!hint.empty()) error.hint(hint);
  throw error;
}

int nearest_word(lua_State* L) {
  const std::string found =
      nearest(to_text(L, 1, "nearest", "word"), to_texts(L, 2, "nearest", "list"));
  if (found.empty()) return 0;
  push_text(L, found);
  return 1;
}

/// core.did_you_mean(word, list) -> "did you mean \"x\"?", what to do instead, or nil
int did_you_mean_word(lua_State* L) {
  const std::string said =
      did_you_mean(to_text(L, 1, "did_you_mean", "word"), to_texts(L, 2, "did_you_mean", "list"));
  if (said.empty()) return 0;
  push_text(L, said);
  return 1;
}

/// core.unknown_name_hint(word, list, what, op) -> text
int unknown_name(lua_State* L) {
  push_text(L, unknown_name_hint(to_text(L, 1, "unknown_name_hint", "word"),
                                 to_texts(L, 2, "unknown_name_hint", "list"),
                                 to_text(L, 3, "unknown_name_hint", "what"),
                                 to_text(L, 4, "unknown_name_hint", "op")));
  return 1;
}

int script_line(lua_State* L) {
  const std::string place = script_place(L);
  if (place.empty()) return 0;
  push_text(L, place);
  return 1;
}

int memory(lua_State* L) {
  const DeviceMemory memory = state(L).context->cpu().memory();
  lua_createtable(L, 0, 5);
  set_field(L, "used", static_cast<double>(memory.used));
  set_field(L, "peak", static_cast<double>(memory.peak));
  set_field(L, "budget", static_cast<double>(memory.budget));
  set_field(L, "total", static_cast<double>(memory.total));
  set_field(L, "free", static_cast<double>(memory.free));
  return 1;
}

/// core.is_tty(1) -> whether it is a terminal, and how many columns that has
int is_tty(lua_State* L) {
  const std::int64_t descriptor =
      lua_isnoneornil(L, 1) ? 1 : to_integer(L, 1, "is_tty", "descriptor");
  lua_pushboolean(L, isatty(static_cast<int>(descriptor)));
  winsize size{};
  if (ioctl(static_cast<int>(descriptor), TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 1;
  push_integer(L, size.ws_col);
  return 2;
}

int jit(lua_State* L) {
  const bool on = to_boolean(L, 1, "jit", "on");
  if (luaJIT_setmode(L, 0, LUAJIT_MODE_ENGINE | (on ? LUAJIT_MODE_ON : LUAJIT_MODE_OFF)) == 0) {
    throw Error(ErrorCode::unsupported, "jit", "this LuaJIT has no compiler to turn on or off");
  }
  return 0;
}

/// core.activation_known(name): whether, and for one that is not, what keeps it from being ("").
int activation_known(lua_State* L) {
  const std::string name = to_text(L, 1, "activation_known", "name");
  bool known = activation_composed(name);
  if (!known) {
    try {
      (void)activation_by_name(name);
      known = true;
    } catch (const Error&) {
      known = false;
    }
  }
  lua_pushboolean(L, known ? 1 : 0);
  push_text(L, activation_lacks(name));
  return 2;
}

int extend(lua_State* L) {
  push_methods(L, to_text(L, 1, "extend", "type"));
  expect_table(L, 2, "extend", "methods");
  for (lua_pushnil(L); lua_next(L, 2) != 0;) {
    lua_pushvalue(L, -2);
    lua_insert(L, -2);
    lua_rawset(L, 3);
  }
  return 0;
}

int members(lua_State* L) {
  push_member_names(L, 1);
  return 1;
}

int type_name(lua_State* L) {
  if (lua_type(L, 1) != LUA_TUSERDATA || lua_getmetatable(L, 1) == 0) return 0;
  lua_pushliteral(L, "__name");
  lua_rawget(L, -2);
  return 1;
}

int scope_begin(lua_State* L) {
  state(L).scopes.emplace_back();
  return 0;
}

/// Frees what was made since scope_begin; the values given are kept.
int scope_end(lua_State* L) {
  State& here = state(L);
  if (here.scopes.empty()) throw Error(ErrorCode::state, "scope", "no scope is open");
  const int count = lua_gettop(L);
  for (int i = 1; i <= count; ++i) {
    const Value* value = test_object<Value>(L, i);
    if (value != nullptr && value->tensor.defined()) here.keep(value->tensor.storage());
  }
  for (const auto& held : here.scopes.back()) {
    if (const auto storage = held.lock()) storage->free_now();
  }
  here.scopes.pop_back();
  return 0;
}

/// Other values than tensors are not in a scope, and pass through.
int keep(lua_State* L) {
  const Value* value = test_object<Value>(L, 1);
  if (value != nullptr && value->tensor.defined()) state(L).keep(value->tensor.storage());
  lua_settop(L, 1);
  return 1;
}

}  // namespace

void add_state_functions(lua_State* L) {
  constexpr Member kFunctions[] = {
      {"clock", guarded<clock>},
      {"sleep", guarded_once<sleep>},
      {"interrupt", guarded<interrupt>},
      {"clear_interrupt", guarded<clear_interrupt>},
      {"interrupted", guarded<interrupted>},
      {"on_warning", guarded<on_warning>},
      {"on_long_work", guarded<on_long_work>},
      {"one_call", guarded<one_call>},
      {"warn", guarded_once<warn>},
      {"error", guarded_once<raise>},
      {"nearest", guarded<nearest_word>},
      {"did_you_mean", guarded<did_you_mean_word>},
      {"unknown_name_hint", guarded<unknown_name>},
      {"script_line", guarded<script_line>},
      {"memory", guarded<memory>},
      {"is_tty", guarded<is_tty>},
      {"jit", guarded<jit>},
      {"activation_known", guarded<activation_known>},
      {"extend", guarded<extend>},
      {"members", guarded<members>},
      {"type", guarded<type_name>},
      {"scope_begin", guarded_once<scope_begin>},
      {"scope_end", guarded_once<scope_end>},
      {"keep", guarded<keep>},
  };
  set_functions(L, kFunctions);
  push_error_metatable(L);
  lua_setfield(L, -2, "error_metatable");
  set_field(L, "version", PERILUNE_VERSION);
  push_out_of_memory(L);
  lua_setfield(L, -2, "out_of_memory");
}

}  // namespace perilune::lua
