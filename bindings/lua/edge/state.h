// What one Lua state keeps for the engine: its context, references into Lua, tensor bytes.
#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "bindings/lua/edge/state_options.h"
#include "engine/base/interrupt.h"
#include "engine/base/long_work.h"
#include "engine/tensor/tensor.h"
#include "lua.hpp"

namespace perilune::lua {

/// Where callbacks run. Outlives the Lua state, so that what still refers to it knows it is gone.
struct Anchor {
  lua_State* main = nullptr;     // null once the state is closed
  lua_State* current = nullptr;  // the coroutine that the innermost guarded entry runs on
  std::thread::id thread = std::this_thread::get_id();
  int depth = 0;  // Lua functions that the engine is calling, one inside the other

  /// The state to call Lua on; throws Error(state) when it is closed or another thread asks.
  lua_State* callable(const char* op) const;
};

/// A counted reference to a Lua value.
class Reference {
 public:
  /// Takes the value on top of the stack.
  Reference(std::shared_ptr<Anchor> anchor, lua_State* L);
  ~Reference();
  Reference(const Reference&) = delete;
  Reference& operator=(const Reference&) = delete;
  void push(lua_State* L) const;
  const std::shared_ptr<Anchor>& anchor() const { return anchor_; }

 private:
  std::shared_ptr<Anchor> anchor_;
  int key_;
};
using ReferencePointer = std::shared_ptr<Reference>;

struct State {
  std::shared_ptr<Context> context;
  std::shared_ptr<Anchor> anchor;
  ReferencePointer on_warning;
  ReferencePointer on_long_work;
  LongWork long_work;          // calls on_long_work
  std::size_t debt = 0;        // tensor bytes since the collector was last stepped
  std::size_t collect_at = 0;  // bytes in use that ask for a full collection
  std::vector<std::vector<std::weak_ptr<Storage>>> scopes;  // innermost last

  /// Steps the collector by what was allocated.
  void charge(lua_State* L, std::size_t bytes);
  /// Notes a new tensor in the innermost scope.
  void track(const std::shared_ptr<Storage>& storage);
  /// Takes a storage out of every scope.
  void keep(const std::shared_ptr<Storage>& storage);
};

/// The state's record, made by make_state; null when there is none (or it was collected).
State* find_state(lua_State* L);
/// The same; throws Error(state).
State& state(lua_State* L);
/// Makes the record and its context unless it is there.
State& make_state(lua_State* L, const StateOptions& options);

/// Marks `L` as the state that callbacks run on, until the end of the scope; Ctrl-C then stops
/// loops of this thread that look for it, and long ones are told of.
class Entry {
 public:
  explicit Entry(lua_State* L);
  ~Entry();
  Entry(const Entry&) = delete;
  Entry& operator=(const Entry&) = delete;

 private:
  Entry(lua_State* L, State* found);
  Anchor* anchor_ = nullptr;
  lua_State* previous_ = nullptr;
  InterruptScope interrupts_;
  LongWorkScope long_work_;
};

/// A reference to the value at `index`.
ReferencePointer make_reference(lua_State* L, int index);

}  // namespace perilune::lua
