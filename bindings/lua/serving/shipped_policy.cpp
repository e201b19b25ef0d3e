// The engine's own policies as values of scripts: { name=, plan=function(queue, room) }. A script
// may call plan inside a policy of its own; an engine that gets one runs it without Lua.
#include "bindings/lua/serving/serving.h"
#include "engine/serving/policies/shipped.h"

namespace perilune::lua {

using PolicyPointer = std::shared_ptr<Policy>;
template <>
struct TypeName<PolicyPointer> {
  static constexpr const char* value = "Policy";
};

namespace {

std::int64_t whole_field(lua_State* L, int table, const char* name, std::int64_t otherwise) {
  lua_getfield(L, table, name);
  const bool given = is_number(L, -1);
  const double value = given ? lua_tonumber(L, -1) : 0;
  lua_pop(L, 1);
  if (!given) return otherwise;
  return value >= 0 && value <= kMaxWhole ? static_cast<std::int64_t>(value) : 0;
}

bool field_is(lua_State* L, int table, const char* name, const char* text) {
  lua_getfield(L, table, name);
  const bool same = lua_type(L, -1) == LUA_TSTRING && std::string(lua_tostring(L, -1)) == text;
  lua_pop(L, 1);
  return same;
}

/// What the shipped policies look at; `id` is the place in the list, from 1.
std::vector<QueueEntry> read_queue(lua_State* L, int queue) {
  std::vector<QueueEntry> entries(lua_objlen(L, queue));
  for (std::size_t i = 0; i < entries.size(); ++i) {
    lua_rawgeti(L, queue, static_cast<int>(i) + 1);
    expect_table(L, -1, "policy", "an entry of the queue");
    const int table = lua_gettop(L);
    QueueEntry& entry = entries[i];
    entry.id = i + 1;
    if (field_is(L, table, "kind", "forward")) entry.kind = RequestKind::forward;
    if (field_is(L, table, "state", "decode")) entry.state = RequestState::decode;
    entry.prompt_tokens = whole_field(L, table, "prompt_tokens", 0);
    entry.pending_tokens = whole_field(L, table, "pending_tokens", 0);
    entry.rows = whole_field(L, table, "rows", 1);
    lua_pop(L, 1);
  }
  return entries;
}

/// plan(queue, room) of a shipped policy, its upvalue.
int plan(lua_State* L) {
  const auto& policy = check_object<PolicyPointer>(L, lua_upvalueindex(1), "policy", "policy");
  expect_table(L, 1, "policy", "queue");
  expect_table(L, 2, "policy", "room");
  const std::vector<QueueEntry> queue = read_queue(L, 1);
  std::vector<const QueueEntry*> all, decoding;
  for (const QueueEntry& entry : queue) {
    all.push_back(&entry);
    if (entry.state == RequestState::decode) decoding.push_back(&entry);
  }
  Room room;
  room.tokens = whole_field(L, 2, "tokens", 0);
  room.rows = whole_field(L, 2, "rows", 0);
  const StepPlan made = policy->plan(QueueView(all, decoding), room);
  lua_createtable(L, static_cast<int>(made.rows.size()), 0);
  for (std::size_t i = 0; i < made.rows.size(); ++i) {
    lua_createtable(L, 1, 0);
    lua_rawgeti(L, 1, static_cast<int>(made.rows[i].request));
    lua_rawseti(L, -2, 1);
    lua_rawseti(L, -2, static_cast<int>(i) + 1);
  }
  return 1;
}

/// core.policy(name, bounds)
int make(lua_State* L) {
  const std::string name = to_text(L, 1, "policy", "name");
  std::vector<std::int64_t> bounds;
  if (lua_istable(L, 2)) {
    for (int i = 1; i <= static_cast<int>(lua_objlen(L, 2)); ++i) {
      lua_rawgeti(L, 2, i);
      bounds.push_back(static_cast<std::int64_t>(to_number(L, -1, "policy", "length")));
      lua_pop(L, 1);
    }
  }
  lua_createtable(L, 0, 2);
  push_text(L, name);
  lua_setfield(L, -2, "name");
  push_object(L, make_policy(name, std::move(bounds)));
  lua_pushcclosure(L, guarded<plan>, 1);
  lua_setfield(L, -2, "plan");
  return 1;
}

}  // namespace

std::shared_ptr<Policy> shipped_policy(lua_State* L, int index) {
  if (!lua_istable(L, index)) return nullptr;
  for (const char* name : {"submitted", "finished"}) {
    lua_getfield(L, index, name);
    const bool given = !lua_isnil(L, -1);
    lua_pop(L, 1);
    if (given) return nullptr;
  }
  const int top = lua_gettop(L);
  std::shared_ptr<Policy> found;
  lua_getfield(L, index, "plan");
  if (lua_tocfunction(L, -1) == static_cast<lua_CFunction>(guarded<plan>) &&
      lua_getupvalue(L, -1, 1) != nullptr) {
    if (const auto* policy = test_object<PolicyPointer>(L, -1)) found = *policy;
  }
  lua_settop(L, top);
  return found;
}

void add_policy(lua_State* L) {
  constexpr Member kFunctions[] = {{"policy", guarded<make>}};
  set_functions(L, kFunctions);
  register_type<PolicyPointer>(L, {}, {}, {});
}

}  // namespace perilune::lua
