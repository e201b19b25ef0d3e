// core's functions of several ranks: what rank 0 sends and the others follow.
#include "bindings/lua/models/ranks.h"

#include "bindings/lua/edge/arguments.h"
#include "bindings/lua/models/plan_object.h"

namespace perilune::lua {
namespace {

constexpr char kRanksKey = 0;  // its address is the registry's key

int collect_ranks(lua_State* L) {
  auto** box = static_cast<Ranks**>(lua_touserdata(L, 1));
  if (*box == nullptr) return 0;
  (*box)->group->finish();
  delete *box;
  *box = nullptr;
  return 0;
}

Ranks& expect_ranks(lua_State* L) {
  if (Ranks* found = find_ranks(L)) return *found;
  throw Error(ErrorCode::state, "ranks", "this process works by itself");
}

/// core.ranks() -> { rank= (from 0), size= }, or nothing
int ranks(lua_State* L) {
  const Ranks* found = find_ranks(L);
  if (found == nullptr) return 0;
  lua_createtable(L, 0, 2);
  set_field(L, "rank", static_cast<std::int64_t>(found->group->rank()));
  set_field(L, "size", static_cast<std::int64_t>(found->group->size()));
  return 1;
}

/// core.rank_send(text): rank 0's, to the scripts that follow
int send(lua_State* L) {
  RankGroup& group = *expect_ranks(L).group;
  const std::string text = to_text(L, 1, "ranks", "text");
  if (group.size() == 1) return 0;
  const auto turn = group.lock();
  group.send(RankMessage::text, {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()});
  return 0;
}

/// core.rank_together(function) -> what it gives: all ranks call it at the same place; an error in
/// one is an error of all
int together(lua_State* L) {
  RankGroup& group = *expect_ranks(L).group;
  lua_settop(L, 1);
  const auto turn = group.lock();
  group.together([&] { call(L, 0, 1, "ranks"); });
  return 1;
}

/// core.rank_join(device) -> how parts of sums go between this rank's device and the others':
/// "NCCL 2.21.5", or "host memory:" and why; by all ranks, within rank_together
int join(lua_State* L) {
  const auto device = state(L).context->device(to_text(L, 1, "ranks", "device"));
  push_text(L, expect_ranks(L).group->join(device));
  return 1;
}

/// core.rank_follow(function(model, key) -> Plan) -> the next text, or nothing at the end; runs
/// passes until then
int follow(lua_State* L) {
  Ranks& here = expect_ranks(L);
  if (here.follower == nullptr) {
    here.follower = std::make_unique<RankFollower>(state(L).context, here.group);
  }
  const ReferencePointer function = make_reference(L, 1);
  const auto find = [&](std::int64_t model, const std::string& key) {
    return callback(L, "ranks", [&] {
      function->push(L);
      push_integer(L, model);
      push_text(L, key);
      call(L, 2, 1, "ranks");
      return check_object<PlanObject>(L, -1, "ranks", "plan").plan;
    });
  };
  std::string text;
  if (!here.follower->next(text, find)) return 0;
  push_text(L, text);
  return 1;
}

/// core.rank_forget(model): a follower lets its plans go
int forget(lua_State* L) {
  Ranks& here = expect_ranks(L);
  if (here.follower != nullptr) here.follower->forget(to_integer(L, 1, "ranks", "model"));
  return 0;
}

}  // namespace

Ranks* find_ranks(lua_State* L) {
  lua_pushlightuserdata(L, const_cast<char*>(&kRanksKey));
  lua_rawget(L, LUA_REGISTRYINDEX);
  auto** box = static_cast<Ranks**>(lua_touserdata(L, -1));
  lua_pop(L, 1);
  Ranks* found = box == nullptr ? nullptr : *box;
  const State* opened = find_state(L);
  if (found != nullptr && found->slices == nullptr && opened != nullptr) {
    found->slices = std::make_shared<WeightSlices>(opened->context);
  }
  return found;
}

void set_ranks(lua_State* L, std::shared_ptr<RankGroup> group) {
  lua_pushlightuserdata(L, const_cast<char*>(&kRanksKey));
  auto** box = static_cast<Ranks**>(lua_newuserdata(L, sizeof(void*)));
  *box = nullptr;
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, collect_ranks);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  *box = new Ranks{std::move(group), nullptr, nullptr};
  lua_rawset(L, LUA_REGISTRYINDEX);
}

void add_ranks(lua_State* L) {
  constexpr Member kFunctions[] = {{"ranks", guarded<ranks>},
                                   {"rank_send", guarded_once<send>},
                                   {"rank_together", guarded_once<together>},
                                   {"rank_join", guarded<join>},
                                   {"rank_follow", guarded_once<follow>},
                                   {"rank_forget", guarded<forget>}};
  set_functions(L, kFunctions);
}

}  // namespace perilune::lua
