// Batching policies written in Lua: the queue and the room as tables, the plan read back.
#include <cmath>
#include <unordered_map>

#include "bindings/lua/edge/answer.h"
#include "bindings/lua/serving/serving.h"

namespace perilune::lua {

namespace {

const char* kind_text(RequestKind kind) {
  return kind == RequestKind::forward ? "forward" : "generate";
}

Error plan_error(const std::string& problem) {
  return {ErrorCode::policy, "policy", problem};
}

/// Writes the fields that change to the entry table on top of the stack.
void refresh(lua_State* L, const QueueEntry& entry) {
  set_field(L, "kind", kind_text(entry.kind));  // a source runs whole, the answer to it does not
  set_field(L, "state", request_state_name(entry.state));
  set_field(L, "rows", entry.rows);
  set_field(L, "prompt_tokens", entry.prompt_tokens);
  set_field(L, "cached_tokens", entry.cached_tokens);
  set_field(L, "pending_tokens", entry.pending_tokens);
  set_field(L, "new_tokens", entry.new_tokens);
  set_field(L, "max_new_tokens", entry.max_new_tokens);
  set_field(L, "pages_needed", entry.pages_needed);
  set_field(L, "pool", static_cast<std::int64_t>(entry.pool));
}

/// Pushes the entry's own table, the same one in every step. `seen`: its version there, updated.
void push_entry(lua_State* L, int entries, const QueueEntry& entry, const Room& room,
                std::uint64_t& seen) {
  lua_pushnumber(L, static_cast<double>(entry.id));
  lua_rawget(L, entries);
  if (!lua_istable(L, -1)) {
    lua_pop(L, 1);
    lua_createtable(L, 0, 18);
    mark_answer(L);
    set_field(L, "id", static_cast<std::int64_t>(entry.id));
    set_field(L, "priority", entry.priority);
    if (entry.deadline_ms > 0) set_field(L, "deadline_ms", entry.deadline_ms);
    if (!entry.client.empty()) set_field(L, "client", entry.client);
    if (entry.tag.rfind(kTagMark, 0) == 0) {
      push_shared(L, "tags");
      lua_getfield(L, -1, entry.tag.c_str());
      lua_remove(L, -2);
      lua_setfield(L, -2, "tag");
    } else if (!entry.tag.empty()) {
      set_field(L, "tag", entry.tag);
    }
    lua_pushnumber(L, static_cast<double>(entry.id));
    lua_pushvalue(L, -2);
    lua_rawset(L, entries);
    seen = 0;
  }
  if (seen != entry.version) refresh(L, entry);
  seen = entry.version;
  set_field(L, "waited_steps", entry.waited_steps(room));
  set_field(L, "waited_ms", entry.waited_ms(room));
}

void push_room(lua_State* L, const Room& room) {
  lua_createtable(L, 0, 10);
  mark_answer(L);
  set_field(L, "tokens", room.tokens);
  set_field(L, "rows", room.rows);
  lua_createtable(L, static_cast<int>(room.pages.size()), 1);
  for (std::size_t i = 0; i < room.pages.size(); ++i) {
    push_integer(L, room.pages[i]);
    lua_rawseti(L, -2, static_cast<int>(i));
  }
  lua_setfield(L, -2, "pages");
  set_field(L, "page_tokens", room.page_tokens);
  set_field(L, "bytes", room.bytes);
  if (room.budget_ms > 0) set_field(L, "budget_ms", room.budget_ms);
  set_field(L, "now_ms", room.now_ms);
  set_field(L, "step", room.step);
  set_field(L, "more", room.more);
}

/// The id of the queue entry on top of the stack.
std::uint64_t entry_id(lua_State* L, const std::string& place) {
  if (lua_istable(L, -1)) {
    lua_getfield(L, -1, "id");
    const double id = is_number(L, -1) ? lua_tonumber(L, -1) : 0;
    lua_pop(L, 1);
    if (id >= 1 && id == std::floor(id)) return static_cast<std::uint64_t>(id);
  }
  throw plan_error(place + " is " + describe_value(L, -1) + ", not an entry of the queue")
      .hint("a plan lists entries, or { entry, tokens=n }");
}

/// The plan's element on top of the stack: an entry, or { entry, tokens=n }.
PlannedRow planned_row(lua_State* L, int position) {
  const std::string place = "entry " + std::to_string(position) + " of the plan";
  PlannedRow row;
  lua_Integer inner = 0;
  if (lua_istable(L, -1)) inner = static_cast<lua_Integer>(lua_objlen(L, -1));
  if (inner == 0) {
    row.request = entry_id(L, place);
    return row;
  }
  lua_rawgeti(L, -1, 1);
  row.request = entry_id(L, place);
  lua_pop(L, 1);
  lua_getfield(L, -1, "tokens");
  if (!lua_isnil(L, -1)) {
    const double tokens = is_number(L, -1) ? lua_tonumber(L, -1) : -1;
    if (!(tokens >= 1) || tokens != std::floor(tokens) || tokens > kMaxWhole) {
      throw plan_error(place + ": tokens must be a whole number above 0, got " +
                       describe_value(L, -1));
    }
    row.tokens = static_cast<std::int64_t>(tokens);
  }
  lua_pop(L, 1);
  return row;
}

/// Why a request is dropped, of the table on top of the stack.
std::string reason_field(lua_State* L, const std::string& place) {
  lua_getfield(L, -1, "reason");
  if (!lua_isnil(L, -1) && lua_type(L, -1) != LUA_TSTRING) {
    throw plan_error(place + ": reason must be a text, got " + describe_value(L, -1));
  }
  std::string reason = lua_isnil(L, -1) ? "" : lua_tostring(L, -1);
  lua_pop(L, 1);
  return reason;
}

/// Field `name` of the plan at `plan`: a list of entries; with `why` also of { entry, reason=text
/// }.
std::vector<std::uint64_t> entry_list(lua_State* L, int plan, const char* name,
                                      std::vector<std::string>* why = nullptr) {
  std::vector<std::uint64_t> ids;
  lua_getfield(L, plan, name);
  if (!lua_isnil(L, -1)) {
    if (!lua_istable(L, -1)) {
      throw plan_error(std::string(name) + " must be a list of entries, got " +
                       describe_value(L, -1));
    }
    for (int i = 1; i <= static_cast<int>(lua_objlen(L, -1)); ++i) {
      const int top = lua_gettop(L);
      const std::string place = std::string(name) + "[" + std::to_string(i) + "]";
      lua_rawgeti(L, -1, i);
      if (why != nullptr) {
        why->push_back(lua_istable(L, -1) ? reason_field(L, place) : "");
        if (lua_istable(L, -1) && lua_objlen(L, -1) > 0) lua_rawgeti(L, -1, 1);
      }
      ids.push_back(entry_id(L, place));
      lua_settop(L, top);
    }
  }
  lua_pop(L, 1);
  return ids;
}

void check_fields(lua_State* L, int plan) {
  const std::vector<std::string> known = {"layout", "drop", "preempt", "wait_ms"};
  for (lua_pushnil(L); lua_next(L, plan) != 0; lua_pop(L, 1)) {
    if (is_number(L, -2)) continue;
    const std::string name = describe_value(L, -2);
    bool found = false;
    for (const std::string& field : known) found = found || name == "\"" + field + "\"";
    if (found) continue;
    throw plan_error("a plan has no field " + name)
        .hint(lua_type(L, -2) == LUA_TSTRING ? did_you_mean(lua_tostring(L, -2), known) : "");
  }
}

/// The plan on top of the stack.
StepPlan read_plan(lua_State* L) {
  if (!lua_istable(L, -1)) {
    throw plan_error("it returned " + describe_value(L, -1) + ", not a plan")
        .hint("return a list of queue entries ({} runs nobody)");
  }
  const int table = lua_gettop(L);
  check_fields(L, table);
  StepPlan plan;
  for (int i = 1; i <= static_cast<int>(lua_objlen(L, table)); ++i) {
    lua_rawgeti(L, table, i);
    plan.rows.push_back(planned_row(L, i));
    lua_pop(L, 1);
  }
  lua_getfield(L, table, "layout");
  if (!lua_isnil(L, -1)) {
    const std::string layout = describe_value(L, -1);
    if (layout != "\"ragged\"" && layout != "\"padded\"") {
      throw plan_error("layout must be \"ragged\" or \"padded\", got " + layout);
    }
    plan.padded = layout == "\"padded\"";
  }
  lua_pop(L, 1);
  plan.drop = entry_list(L, table, "drop", &plan.why);
  plan.preempt = entry_list(L, table, "preempt");
  lua_getfield(L, table, "wait_ms");
  if (!lua_isnil(L, -1)) {
    plan.wait_ms = is_number(L, -1) ? lua_tonumber(L, -1) : -1;
    if (!(plan.wait_ms >= 0)) {
      throw plan_error("wait_ms must be a number, 0 or more, got " + describe_value(L, -1));
    }
  }
  lua_pop(L, 1);
  return plan;
}

class LuaPolicy final : public Policy {
 public:
  LuaPolicy(EngineObject& engine, std::string name) : engine_(engine), name_(std::move(name)) {}

  StepPlan plan(const QueueView& queue, const Room& room) override {
    lua_State* L = frame_state(engine_, "policy");
    return callback(L, "policy", [&] { return ask(L, queue, room); });
  }

  void submitted(const QueueEntry& entry) override { tell("submitted", entry); }
  void finished(const QueueEntry& entry) override {
    tell("finished", entry);
    seen_.erase(entry.id);
  }
  std::string name() const override { return name_; }

 private:
  StepPlan ask(lua_State* L, const QueueView& queue, const Room& room) {
    push_shared(L, "policy");
    const std::string place = policy_place(L, lua_gettop(L));
    if (lua_istable(L, -1)) {
      lua_getfield(L, -1, "plan");
      lua_remove(L, -2);
    }
    push_shared(L, "entries");
    const int entries = lua_gettop(L);
    lua_createtable(L, static_cast<int>(queue.size()), 0);
    int position = 0;
    for (const QueueEntry& entry : queue) {
      push_entry(L, entries, entry, room, seen_[entry.id]);
      lua_rawseti(L, -2, ++position);
    }
    lua_remove(L, entries);
    push_room(L, room);
    try {
      call(L, 2, 1, "policy");
      return read_plan(L);
    } catch (LuaError&) {
      throw;  // what the script raised, as it was raised
    } catch (Error& error) {
      error.where(place);
      throw;
    }
  }

  void tell(const char* what, const QueueEntry& entry) {
    if (engine_.frame == nullptr) return;  // the engine is being closed
    lua_State* L = frame_state(engine_, "policy");
    callback(L, "policy", [&] {
      push_shared(L, "policy");
      if (!lua_istable(L, -1)) return;
      lua_getfield(L, -1, what);
      if (!lua_isfunction(L, -1)) return;
      push_shared(L, "entries");
      push_entry(L, lua_gettop(L), entry, Room{}, seen_[entry.id]);
      lua_remove(L, -2);
      call(L, 1, 0, "policy");
    });
  }

  EngineObject& engine_;
  std::string name_;
  std::unordered_map<std::uint64_t, std::uint64_t> seen_;  // versions of entries, by id
};

std::string check_policy(lua_State* L, int index) {
  if (lua_isfunction(L, index)) return "function";
  if (!lua_istable(L, index)) {
    throw Error(ErrorCode::policy, "policy",
                "expected a function or { plan=function }, got " + describe_value(L, index))
        .hint("for example pl.policy.fifo()");
  }
  for (const char* name : {"plan", "submitted", "finished"}) {
    lua_getfield(L, index, name);
    const bool required = std::string(name) == "plan";
    if (!lua_isfunction(L, -1) && (required || !lua_isnil(L, -1))) {
      throw Error(ErrorCode::policy, "policy",
                  std::string(name) + " must be a function, got " + describe_value(L, -1));
    }
    lua_pop(L, 1);
  }
  lua_getfield(L, index, "name");
  std::string name = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1) : "table";
  lua_pop(L, 1);
  return name;
}

}  // namespace

std::shared_ptr<Policy> make_engine_policy(lua_State* L, int index, EngineObject& engine) {
  const std::string name = check_policy(L, index);
  if (auto shipped = shipped_policy(L, index)) return shipped;
  return std::make_shared<LuaPolicy>(engine, name);
}

std::string policy_place(lua_State* L, int index) {
  if (lua_istable(L, index)) {
    lua_getfield(L, index, "plan");
  } else {
    lua_pushvalue(L, index);
  }
  if (!lua_isfunction(L, -1)) {
    lua_pop(L, 1);
    return "";
  }
  lua_Debug function;
  if (lua_getinfo(L, ">S", &function) == 0 || function.linedefined <= 0) return "";
  const std::string file = function.source[0] == '@' ? function.source + 1 : function.short_src;
  return file + ":" + std::to_string(function.linedefined);
}

void forget_entry(lua_State* L, std::uint64_t id) {
  push_shared(L, "entries");
  lua_pushnumber(L, static_cast<double>(id));
  lua_pushnil(L);
  lua_rawset(L, -3);
  lua_pop(L, 1);
}

}  // namespace perilune::lua
