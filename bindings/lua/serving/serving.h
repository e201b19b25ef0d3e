// What engine, request and policy share.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bindings/lua/edge/arguments.h"
#include "engine/serving/scheduler.h"
#include "engine/serving/worker.h"

namespace perilune::lua {

/// A scheduler and what scripts gave it. Lua values (policy, hooks, queue entries) lie in the
/// environment table that the engine and its requests share, so that the collector sees cycles:
///   engine    the engine's userdata         policy    as given
///   requests  id -> userdata, weak          hooks     id -> { processors=, stop_when=, ... }
///   entries   id -> a policy's queue entry
///   tags      a request's name for its tag -> the tag, where it is no text
struct EngineObject {
  std::unique_ptr<Scheduler> scheduler;  // null after close()
  std::unique_ptr<Worker> worker;        // steps on a thread of its own; null: scripts step
  std::vector<RequestPointer> finished;  // reused
  SchedulerStats watched;                // of a worker, when step() last looked
  lua_State* frame = nullptr;  // where index 1 is the engine or one of its requests; else null
  bool stepping = false;
  std::uint64_t tags = 0;  // how many tags that are no text were given
};
template <>
struct TypeName<EngineObject> {
  static constexpr const char* value = "Engine";
};

struct RequestObject {
  RequestPointer request;
  EngineObject* engine = nullptr;  // alive: the environment table holds it
};
template <>
struct TypeName<RequestObject> {
  static constexpr const char* value = "Request";
};

void add_engine(lua_State* L);

/// While it lives, callbacks find their Lua values: index 1 of `L` is the engine or a request.
class EngineFrame {
 public:
  EngineFrame(EngineObject& engine, lua_State* L) : engine_(engine), previous_(engine.frame) {
    engine_.frame = L;
  }
  ~EngineFrame() { engine_.frame = previous_; }
  EngineFrame(const EngineFrame&) = delete;
  EngineFrame& operator=(const EngineFrame&) = delete;

 private:
  EngineObject& engine_;
  lua_State* previous_;
};

/// The engine at index 1; throws Error(state) for one that was closed.
EngineObject& open_engine(lua_State* L, const char* op);

/// Begins the name under which a tag that is no text is kept.
inline constexpr const char* kTagMark = "\1";

/// The state that callbacks run on; throws Error(state) outside of the engine's own calls.
lua_State* frame_state(const EngineObject& engine, const char* op);
/// Pushes field `name` of the environment table shared by the engine and its requests.
void push_shared(lua_State* L, const char* name);

/// Checks the policy at `index`: a function, or { plan=, submitted=, finished=, name= }. One of the
/// engine's own as it is; else one that calls what the environment table has as `policy`.
std::shared_ptr<Policy> make_engine_policy(lua_State* L, int index, EngineObject& engine);
/// The engine's own policy that a value of core.policy stands for; null for all others.
std::shared_ptr<Policy> shipped_policy(lua_State* L, int index);
void add_policy(lua_State* L);
/// "policy.lua:12": where the policy's function is written.
std::string policy_place(lua_State* L, int index);
/// Forgets the queue entry of a request.
void forget_entry(lua_State* L, std::uint64_t id);

/// Reads ids=, options= (the table of sampling options), stop_ids=, stop_strings=, tokenizer= and
/// reachable= of a request to generate.
void read_generate(lua_State* L, Options& options, RequestSpec& spec);
int generation_fault(lua_State* L);
/// engine:submit { kind=, plan=, ... } → Request
int submit(lua_State* L);

/// Reads processors=, stop_when=, on_token= into the request's hooks; their functions go into the
/// table on top of the stack. False when there are none.
bool read_hooks(lua_State* L, Options& options, EngineObject& engine, RequestSpec& spec);

/// Reads draft_tokens=, draft_ngram=, draft_plan=, draft_cache=, draft_max_tokens=,
/// draft_reachable=.
void read_drafts(Options& options, RequestSpec& spec);

/// Pushes the userdata of a request, the same one while scripts hold it. Index 1 is the engine.
void push_request(lua_State* L, EngineObject& engine, const RequestPointer& request);
void push_event(lua_State* L, const Event& event);
int step_times(lua_State* L);
/// Option dry={ ms_per_step=, ms_per_token=, padded= } of an engine; and the methods of such a one.
std::optional<DryRun> read_dry_run(lua_State* L, Options& options);
int dry_time(lua_State* L);
int dry_ran(lua_State* L);
void add_dry_run(lua_State* L);
void add_request(lua_State* L);

}  // namespace perilune::lua
