// core.engine: the scheduler, with a policy and hooks written in Lua.
#include <cmath>
#include <optional>

#include "bindings/lua/edge/answer.h"
#include "bindings/lua/serving/serving.h"

namespace perilune::lua {

EngineObject& open_engine(lua_State* L, const char* op) {
  auto& engine = self<EngineObject>(L, op);
  if (engine.scheduler == nullptr) {
    throw Error(ErrorCode::state, op, "the engine was closed");
  }
  return engine;
}

namespace {

constexpr double kSliceSeconds = 0.01;  // how often a wait looks for an interrupt
constexpr double kLongSeconds = 0.1;    // the longest that step() waits for a worker

void check_interrupt(const Context& context) {
  tell_long_work("drain");
  if (context.interrupted()) throw Error(ErrorCode::cancelled, "drain", "interrupted");
}

/// The environment table that the engine and its requests share; the engine is on top.
void make_environment(lua_State* L, int policy) {
  lua_createtable(L, 0, 7);
  lua_pushvalue(L, -2);
  lua_setfield(L, -2, "engine");
  lua_pushvalue(L, policy);
  lua_setfield(L, -2, "policy");
  for (const char* name : {"hooks", "entries", "tags", "requests"}) {
    lua_newtable(L);
    if (std::string(name) == "requests") {
      lua_createtable(L, 0, 1);
      lua_pushliteral(L, "v");
      lua_setfield(L, -2, "__mode");
      lua_setmetatable(L, -2);
    }
    lua_setfield(L, -2, name);
  }
  lua_setfenv(L, -2);
}

void refuse_scripted(lua_State* L, int policy) {
  if (shipped_policy(L, policy)) return;
  throw Error(
      ErrorCode::unsupported, "engine",
      "the policy is a function of this script, and the engine steps on a thread of its own "
      "(worker = true)")
      .hint("use one of pl.policy, such as pl.policy.fifo()");
}

/// core.engine(policy, { max_tokens=, max_rows=, keep_events=, worker=, dry= })
int make_engine(lua_State* L) {
  Options options(L, 2, "engine");
  SchedulerOptions settings;
  settings.max_tokens = options.integer("max_tokens").value_or(settings.max_tokens);
  settings.max_rows = options.integer("max_rows").value_or(settings.max_rows);
  settings.keep_all_events = options.boolean("keep_events").value_or(true);
  const bool worker = options.boolean("worker").value_or(false);
  settings.dry = read_dry_run(L, options);
  options.done();
  if (settings.max_tokens < 1 || settings.max_rows < 1) {
    throw Error(ErrorCode::option, "engine", "max_tokens and max_rows must be 1 or more");
  }
  if (worker) refuse_scripted(L, 1);
  auto& engine = push_object(L, EngineObject{});
  make_environment(L, 1);
  engine.scheduler =
      std::make_unique<Scheduler>(state(L).context, make_engine_policy(L, 1, engine), settings);
  if (worker) {
    engine.scheduler->set_more(true);
    engine.worker = std::make_unique<Worker>(*engine.scheduler);
  }
  return 1;
}

// ---------------------------------------------------------------- steps and events

/// Lets go of what requests that ended no longer need.
void tidy(lua_State* L, EngineObject& engine) {
  engine.scheduler->take_finished(engine.finished);
  for (const RequestPointer& request : engine.finished) {
    const RequestHooks& hooks = request->spec.hooks;
    if (!hooks.processors.empty() || hooks.stop_when || hooks.on_token || hooks.write_pass) {
      push_shared(L, "hooks");
      lua_pushnumber(L, static_cast<double>(request->id));
      lua_pushnil(L);
      lua_rawset(L, -3);
      lua_pop(L, 1);
    }
    forget_entry(L, request->id);
    if (request->spec.tag.rfind(kTagMark, 0) == 0) {
      push_shared(L, "tags");
      lua_pushnil(L);
      lua_setfield(L, -2, request->spec.tag.c_str());
      lua_pop(L, 1);
    }
  }
  engine.finished.clear();
}

struct Stepping {
  EngineObject& engine;
  explicit Stepping(EngineObject& stepped) : engine(stepped) { engine.stepping = true; }
  ~Stepping() { engine.stepping = false; }
  Stepping(const Stepping&) = delete;
  Stepping& operator=(const Stepping&) = delete;
};

void refuse_nested(const EngineObject& engine, const char* op) {
  if (engine.stepping) {
    throw Error(ErrorCode::state, op, "called from inside the engine's own step");
  }
}

int push_step(lua_State* L, const StepResult& result) {
  lua_createtable(L, 0, 6);
  set_field(L, "tokens", result.tokens);
  set_field(L, "positions", result.positions);
  set_field(L, "rows", result.rows);
  set_field(L, "ms", result.ms);
  set_field(L, "idle", result.idle);
  set_field(L, "pending", result.pending);
  if (result.wait_ms > 0) set_field(L, "wait_ms", result.wait_ms);
  mark_answer(L);
  return 1;
}

/// A step whose budget was spent before it began: a frame that is late, not a mistake.
StepResult spent(const Scheduler& scheduler) {
  StepResult result;
  result.idle = scheduler.idle();
  return result;
}

StepResult run_step(lua_State* L, EngineObject& engine, double budget_ms) {
  try {
    const Stepping stepping(engine);
    const EngineFrame frame(engine, L);
    const int top = lua_gettop(L);
    const StepResult result = engine.scheduler->step(budget_ms);
    lua_settop(L, top);
    return result;
  } catch (LuaError&) {
    throw;
  } catch (Error& error) {
    if (error.code() == ErrorCode::policy && error.place().empty()) {
      push_shared(L, "policy");
      error.where(policy_place(L, lua_gettop(L)));
    }
    throw;
  }
}

/// What a worker did since the last call: it steps by itself, so that only the time is spent.
StepResult watch_worker(EngineObject& engine, std::optional<double> budget_ms) {
  StepResult result;
  const SchedulerStats before = engine.watched;
  result.idle = engine.worker->wait(budget_ms ? 0 : kLongSeconds, true);
  engine.watched = engine.scheduler->stats();
  result.tokens = engine.watched.tokens - before.tokens;
  result.positions = engine.watched.positions - before.positions;
  result.rows = engine.watched.rows - before.rows;
  result.ms = engine.watched.busy_ms - before.busy_ms;
  return result;
}

int step(lua_State* L) {
  EngineObject& engine = open_engine(L, "step");
  Options options(L, 2, "step");
  const auto budget = options.number("budget_ms");
  options.done();
  if (budget && std::isnan(*budget)) {
    throw Error(ErrorCode::option, "step", "option budget_ms: expected a number, got nan");
  }
  refuse_nested(engine, "step");
  StepResult result;
  if (engine.worker) {
    result = watch_worker(engine, budget);
  } else if (budget && *budget <= 0) {
    result = spent(*engine.scheduler);
  } else {
    result = run_step(L, engine, budget.value_or(0.0));
  }
  tidy(L, engine);
  return push_step(L, result);
}

/// Waits as long as a policy has said, or until something comes or the host interrupts.
void wait_for(const Context& context, Scheduler& scheduler, double milliseconds) {
  const double until = clock_seconds() + milliseconds / 1e3;
  while (!context.interrupted()) {
    const double left = until - clock_seconds();
    if (left <= 0 || scheduler.wait(std::min(left, kSliceSeconds))) break;
  }
}

/// One step; where the policy waits, so does this.
StepResult advance_engine(lua_State* L, EngineObject& engine) {
  const StepResult result = run_step(L, engine, 0);
  tidy(L, engine);
  if (result.idle && result.wait_ms > 0) {
    wait_for(*state(L).context, *engine.scheduler, result.wait_ms);
  }
  return result;
}

int advance(lua_State* L) {
  EngineObject& engine = open_engine(L, "step");
  refuse_nested(engine, "step");
  return push_step(L, advance_engine(L, engine));
}

/// While it lives, nothing more comes.
class Draining {
 public:
  explicit Draining(Scheduler& scheduler) : scheduler_(scheduler), more_(scheduler.more()) {
    scheduler_.set_more(false);
  }
  ~Draining() { scheduler_.set_more(more_); }
  Draining(const Draining&) = delete;
  Draining& operator=(const Draining&) = delete;

 private:
  Scheduler& scheduler_;
  bool more_;
};

/// Steps until nothing is left.
int drain(lua_State* L) {
  EngineObject& engine = open_engine(L, "drain");
  refuse_nested(engine, "step");
  const Draining draining(*engine.scheduler);
  if (engine.worker) {
    while (!engine.worker->wait(kSliceSeconds)) check_interrupt(*state(L).context);
    tidy(L, engine);
    return 0;
  }
  while (!engine.scheduler->idle()) {
    advance_engine(L, engine);
    if (!engine.scheduler->idle()) check_interrupt(*state(L).context);
  }
  return 0;
}

/// Iterator over (request, event): index 1 is the engine (the generic for's state).
int next_event(lua_State* L) {
  EngineObject& engine = self<EngineObject>(L, "events");
  if (engine.scheduler == nullptr) return 0;
  Event event;
  RequestPointer request;
  if (!engine.scheduler->next_event(request, event)) return 0;
  push_request(L, engine, request);
  push_event(L, event);
  return 2;
}

int call_next_event(lua_State* L) {
  lua_settop(L, 0);
  lua_pushvalue(L, lua_upvalueindex(1));
  return next_event(L);
}

/// for request, event in engine:events() do
int events(lua_State* L) {
  (void)open_engine(L, "events");
  lua_pushvalue(L, 1);
  lua_pushcclosure(L, guarded_once<call_next_event>, 1);
  return 1;
}

int set_policy(lua_State* L) {
  EngineObject& engine = open_engine(L, "set_policy");
  std::shared_ptr<Policy> policy = make_engine_policy(L, 2, engine);
  lua_getfenv(L, 1);
  lua_pushvalue(L, 2);
  lua_setfield(L, -2, "policy");
  if (engine.worker) {
    refuse_scripted(L, 2);
    engine.scheduler->post_policy(std::move(policy));
  } else {
    engine.scheduler->set_policy(std::move(policy));
  }
  return 0;
}

int stats(lua_State* L) {
  const SchedulerStats counts = open_engine(L, "stats").scheduler->stats();
  lua_createtable(L, 0, 11);
  set_field(L, "steps", counts.steps);
  set_field(L, "tokens", counts.tokens);
  set_field(L, "positions", counts.positions);
  set_field(L, "rows", counts.rows);
  set_field(L, "finished", counts.finished);
  set_field(L, "starved", counts.starved);
  set_field(L, "device_choices", counts.device_choices);
  set_field(L, "waiting", counts.waiting);
  set_field(L, "running", counts.running);
  set_field(L, "busy_ms", counts.busy_ms);
  set_field(L, "cache_bytes", counts.cache_bytes);
  mark_answer(L);
  return 1;
}

int cancel_all(lua_State* L) {
  EngineObject& engine = open_engine(L, "cancel_all");
  const EngineFrame frame(engine, L);
  engine.scheduler->cancel_all();
  return 0;
}

int idle(lua_State* L) {
  lua_pushboolean(L, open_engine(L, "idle").scheduler->idle() ? 1 : 0);
  return 1;
}

/// Whether the call comes from inside the engine's own step: a policy, a callback of a request.
int stepping(lua_State* L) {
  lua_pushboolean(L, self<EngineObject>(L, "stepping").stepping ? 1 : 0);
  return 1;
}

int set_more(lua_State* L) {
  open_engine(L, "set_more").scheduler->set_more(to_boolean(L, 2, "set_more", "more"));
  return 0;
}

int close(lua_State* L) {
  auto& engine = self<EngineObject>(L, "close");
  if (engine.scheduler == nullptr) return 0;
  refuse_nested(engine, "close");
  engine.worker = nullptr;
  engine.scheduler = nullptr;
  lua_getfenv(L, 1);
  for (const char* name : {"hooks", "entries", "tags"}) {
    lua_newtable(L);
    lua_setfield(L, -2, name);
  }
  return 0;
}

int tostring(lua_State* L) {
  const auto& engine = self<EngineObject>(L, "tostring");
  push_text(L, engine.scheduler == nullptr
                   ? "Engine (closed)"
                   : "Engine with " + std::to_string(engine.scheduler->open()) + " requests");
  return 1;
}

}  // namespace

void add_engine(lua_State* L) {
  constexpr Member kFunctions[] = {{"engine", guarded<make_engine>},
                                   {"generation_fault", guarded<generation_fault>}};
  set_functions(L, kFunctions);
  constexpr Member kMethods[] = {
      {"submit", guarded_once<submit>},
      {"step", guarded_once<step>},
      {"events", guarded<events>},
      {"set_policy", guarded_once<set_policy>},
      {"stats", guarded<stats>},
      {"times", guarded<step_times>},
      {"dry_time", guarded<dry_time>},
      {"dry_ran", guarded<dry_ran>},
      {"cancel_all", guarded_once<cancel_all>},
      {"idle", guarded<idle>},
      {"set_more", guarded<set_more>},
      {"stepping", guarded<stepping>},
      {"close", guarded_once<close>},
      {"advance", guarded_once<advance>},
      {"drain", guarded_once<drain>},
  };
  constexpr Member kOperators[] = {{"__tostring", guarded<tostring>}};
  register_type<EngineObject>(L, kMethods, {}, kOperators);
  add_request(L);
  add_policy(L);
  add_dry_run(L);
}

}  // namespace perilune::lua
