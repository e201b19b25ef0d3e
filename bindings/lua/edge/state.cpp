#include "bindings/lua/edge/state.h"

#include <algorithm>

#include "engine/base/thread_pool.h"

namespace perilune::lua {

namespace {

constexpr char kStateKey[2] = {0, 0};  // the addresses are registry keys
constexpr std::size_t kStepBytes = std::size_t{1} << 20;
constexpr std::size_t kCollectFloor = std::size_t{256} << 20;

int collect_state(lua_State* L) {
  auto** box = static_cast<State**>(lua_touserdata(L, 1));
  if (*box != nullptr) {
    (*box)->anchor->main = nullptr;
    (*box)->anchor->current = nullptr;
    (*box)->context->set_warning_sink(nullptr);
    delete *box;
    *box = nullptr;
  }
  return 0;
}

bool asked_to_stop(const void* context) {
  return static_cast<const Context*>(context)->interrupted();
}

}  // namespace

lua_State* Anchor::callable(const char* op) const {
  if (main == nullptr) throw Error(ErrorCode::state, op, "its Lua state is closed");
  if (std::this_thread::get_id() != thread) {
    throw Error(ErrorCode::state, op, "a Lua function was called from another thread");
  }
  return current != nullptr ? current : main;
}

Reference::Reference(std::shared_ptr<Anchor> anchor, lua_State* L)
    : anchor_(std::move(anchor)), key_(luaL_ref(L, LUA_REGISTRYINDEX)) {}

Reference::~Reference() {
  if (anchor_->main == nullptr) return;  // gone with the state
  luaL_unref(anchor_->current != nullptr ? anchor_->current : anchor_->main, LUA_REGISTRYINDEX,
             key_);
}

void Reference::push(lua_State* L) const {
  lua_rawgeti(L, LUA_REGISTRYINDEX, key_);
}

void State::charge(lua_State* L, std::size_t bytes) {
  debt += bytes;
  if (debt < kStepBytes) return;
  if (collect_at == 0) collect_at = kCollectFloor;
  const int kilobytes = static_cast<int>(std::min<std::size_t>(debt >> 10, 1u << 20));
  debt = 0;
  if (context->cpu().memory().used > collect_at) {
    // Userdata look small to the collector: a doubling of what they hold asks for a whole cycle.
    lua_gc(L, LUA_GCCOLLECT, 0);
    collect_at = std::max(kCollectFloor, 2 * context->cpu().memory().used);
  } else {
    lua_gc(L, LUA_GCSTEP, std::max(1, kilobytes / 16));
  }
}

void State::track(const std::shared_ptr<Storage>& storage) {
  if (!scopes.empty()) scopes.back().push_back(storage);
}

void State::keep(const std::shared_ptr<Storage>& storage) {
  for (auto& scope : scopes) {
    std::erase_if(scope, [&](const std::weak_ptr<Storage>& held) {
      const auto locked = held.lock();
      return locked == nullptr || locked == storage;
    });
  }
}

State* find_state(lua_State* L) {
  lua_pushlightuserdata(L, const_cast<char*>(&kStateKey[0]));
  lua_rawget(L, LUA_REGISTRYINDEX);
  auto** box = static_cast<State**>(lua_touserdata(L, -1));
  lua_pop(L, 1);
  return box == nullptr ? nullptr : *box;
}

State& state(lua_State* L) {
  State* found = find_state(L);
  if (found == nullptr) throw Error(ErrorCode::state, "perilune", "its Lua state is closed");
  return *found;
}

State& make_state(lua_State* L, const StateOptions& options) {
  if (State* found = find_state(L)) return *found;
  auto made = std::make_unique<State>();
  made->anchor = std::make_shared<Anchor>();
  ContextOptions context;
  context.threads = options.threads;
  context.cpu_tier = options.cpu_tier;
  context.memory_budget = options.memory_budget;
  if (options.parallel_for != nullptr) {
    context.host_parallel = {options.parallel_host, options.parallel_for,
                             options.threads > 0 ? options.threads : ThreadPool::available()};
  }
  made->context = Context::make(context);

  lua_pushlightuserdata(L, const_cast<char*>(&kStateKey[0]));
  auto** box = static_cast<State**>(lua_newuserdata(L, sizeof(void*)));
  *box = nullptr;
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, collect_state);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  *box = made.release();
  lua_rawset(L, LUA_REGISTRYINDEX);

  // Where callbacks run while no entry is active: Lua 5.1 does not tell which state is the main
  // one, and `L` may be a coroutine that is collected, so a thread of our own stands in.
  lua_pushlightuserdata(L, const_cast<char*>(&kStateKey[1]));
  (*box)->anchor->main = lua_newthread(L);
  lua_rawset(L, LUA_REGISTRYINDEX);
  return **box;
}

Entry::Entry(lua_State* L) : Entry(L, find_state(L)) {}

Entry::Entry(lua_State* L, State* found)
    : interrupts_(found == nullptr ? nullptr : &asked_to_stop,
                  found == nullptr ? nullptr : found->context.get()),
      long_work_(found == nullptr ? nullptr : &found->long_work) {
  if (found == nullptr) return;
  anchor_ = found->anchor.get();
  previous_ = anchor_->current;
  anchor_->current = L;
}

Entry::~Entry() {
  if (anchor_ != nullptr) anchor_->current = previous_;
}

ReferencePointer make_reference(lua_State* L, int index) {
  lua_pushvalue(L, index);
  return std::make_shared<Reference>(state(L).anchor, L);
}

}  // namespace perilune::lua
