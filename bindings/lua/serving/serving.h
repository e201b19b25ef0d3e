// What engine, request and policy share.
#pragma once

#include <memory>
#include <string>

#include "bindings/lua/types.h"

namespace perilune::lua {

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

/// Begins the name under which a tag that is no text is kept.
inline constexpr const char* kTagMark = "\1";

/// The state that callbacks run on; throws Error(state) outside of the engine's own calls.
lua_State* frame_state(const EngineObject& engine, const char* op);
/// Pushes field `name` of the environment table shared by the engine and its requests.
void push_shared(lua_State* L, const char* name);

/// A policy written in Lua, found in the environment table as `policy`.
std::shared_ptr<Policy> make_lua_policy(EngineObject& engine, const std::string& name);
/// Checks a policy at `index`: a function, or { plan=, submitted=, finished=, name= }; gives its
/// name.
std::string check_policy(lua_State* L, int index);
/// "policy.lua:12": where the policy's function is written.
std::string policy_place(lua_State* L, int index);
/// Forgets the queue entry of a request.
void forget_entry(lua_State* L, std::uint64_t id);

/// Reads processors=, stop_when=, on_token= into the request's hooks; their functions go into the
/// table on top of the stack. False when there are none.
bool read_hooks(lua_State* L, Options& options, EngineObject& engine, Request& request);

/// Pushes the userdata of a request, the same one while scripts hold it. Index 1 is the engine.
void push_request(lua_State* L, EngineObject& engine, const RequestPointer& request);
void push_event(lua_State* L, const Event& event);
void add_request(lua_State* L);

}  // namespace perilune::lua
