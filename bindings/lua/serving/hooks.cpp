// The functions that scripts hang on a request: processors, stop_when, on_token.
#include <algorithm>

#include "bindings/lua/models/run_pass.h"
#include "bindings/lua/serving/serving.h"
#include "bindings/lua/tensors/tensor_value.h"

namespace perilune::lua {

namespace {

void push_hooks(lua_State* L, std::uint64_t id) {
  push_shared(L, "hooks");
  lua_pushnumber(L, static_cast<double>(id));
  lua_rawget(L, -2);
  lua_remove(L, -2);
  if (!lua_istable(L, -1)) throw Error(ErrorCode::internal, "request", "its functions are gone");
}

/// Pushes the `state` of hooks: { ids=, text=, step=, request=, prompt_tokens= }, one table for
/// each output of the request, whose list of ids only grows; of a beam search one for each place
/// among its beams, where each step has another beam. The hooks table is on top.
void push_hook_state(lua_State* L, EngineObject& engine, const Request& request) {
  const Sequence& sequence = request.sequences[request.progress.current_sequence];
  const int hooks = lua_gettop(L);
  lua_rawgeti(L, hooks, static_cast<int>(sequence.output_index) + 1);
  if (!lua_istable(L, -1)) {
    lua_pop(L, 1);
    lua_createtable(L, 0, 6);
    lua_createtable(L, static_cast<int>(sequence.ids.size()) + 32, 0);
    lua_setfield(L, -2, "ids");
    set_field(L, "prompt_tokens", request.spec.prompt_tokens);
    push_request(L, engine, std::const_pointer_cast<Request>(request.shared_from_this()));
    lua_setfield(L, -2, "request");
    lua_pushvalue(L, -1);
    lua_rawseti(L, hooks, static_cast<int>(sequence.output_index) + 1);
  }
  lua_getfield(L, -1, "ids");
  if (!lua_istable(L, -1)) {  // a script took it out of its state
    lua_pop(L, 1);
    lua_newtable(L);
    lua_pushvalue(L, -1);
    lua_setfield(L, -3, "ids");
  }
  const bool beams = request.progress.beams != nullptr;
  std::size_t known = lua_objlen(L, -1);
  if (beams) known = std::min(known, static_cast<std::size_t>(request.spec.prompt_tokens));
  for (std::size_t i = known; i < sequence.ids.size(); ++i) {
    push_integer(L, sequence.ids[i]);
    lua_rawseti(L, -2, static_cast<int>(i) + 1);
  }
  lua_pop(L, 1);
  set_field(L, "text", beams ? beam_text(request, sequence) : sequence.text);
  set_field(L, "step", static_cast<std::int64_t>(sequence.ids.size()) - request.spec.prompt_tokens);
}

/// Calls the function at the top with a row and the request's state; a tensor that it returns is
/// written over the row.
void change_row(lua_State* L, Tensor& row, int row_at, int state_at, const char* what) {
  lua_pushvalue(L, row_at);
  lua_pushvalue(L, state_at);
  call(L, 2, 1, what);
  if (const Value* changed = test_object<Value>(L, -1)) {
    tensor_ops::assign(row, changed->tensor);
  }
  lua_pop(L, 1);
}

void run_processors(EngineObject& engine, Tensor& row, const Request& request) {
  lua_State* L = frame_state(engine, "processors");
  const int top = lua_gettop(L);
  push_hooks(L, request.id);
  push_hook_state(L, engine, request);
  lua_getfield(L, top + 1, "processors");
  push_tensor(L, row);
  const int count = static_cast<int>(lua_objlen(L, top + 3));
  for (int i = 1; i <= count; ++i) {
    lua_rawgeti(L, top + 3, i);
    change_row(L, row, top + 4, top + 2, "processors");
  }
}

/// The functions of `processors =`, in their order.
class ScriptedProcessors final : public Processor {
 public:
  explicit ScriptedProcessors(EngineObject& engine) : engine_(engine) {}
  bool changes() const override { return true; }
  void change(Tensor& row, const Request& request, const Sequence&) override {
    callback(frame_state(engine_, "processors"), "processors",
             [&] { run_processors(engine_, row, request); });
  }

 private:
  EngineObject& engine_;
};

std::optional<std::string> ask_stop(EngineObject& engine, const Request& request) {
  lua_State* L = frame_state(engine, "stop_when");
  return callback(L, "stop_when", [&]() -> std::optional<std::string> {
    const int top = lua_gettop(L);
    push_hooks(L, request.id);
    push_hook_state(L, engine, request);
    lua_getfield(L, top + 1, "stop_when");
    lua_pushvalue(L, top + 2);
    call(L, 1, 1, "stop_when");
    if (lua_type(L, -1) == LUA_TSTRING) return lua_tostring(L, -1);
    if (lua_toboolean(L, -1) != 0) return "stop_when";
    return std::nullopt;
  });
}

void tell_token(EngineObject& engine, const Request& request, std::int32_t id,
                const std::string& text) {
  lua_State* L = frame_state(engine, "on_token");
  callback(L, "on_token", [&] {
    push_hooks(L, request.id);
    lua_getfield(L, -1, "on_token");
    push_text(L, text);
    Event event;
    event.request = request.id;
    event.id = id;
    event.text = text;
    event.output_index = request.sequences[request.progress.current_sequence].output_index;
    push_event(L, event);
    call(L, 2, 0, "on_token");
  });
}

/// Lends the pass to the script, which writes it line by line.
void write_pass(EngineObject& engine, const Request& request, PassRun& run) {
  lua_State* L = frame_state(engine, "hook");
  callback(L, "hook", [&] {
    push_hooks(L, request.id);
    lua_getfield(L, -1, "write_pass");
    const auto bound = std::make_shared<BoundPass>();
    bound->run.reset(&run);
    struct Lent {
      BoundPass& bound;
      ~Lent() { (void)bound.run.release(); }
    } lent{*bound};
    push_object(L, EagerRunObject{bound});
    call(L, 1, 0, "hook");
  });
}

/// Moves a function option into the table at the top.
bool take_function(lua_State* L, Options& options, const char* key) {
  if (!options.push(key)) return false;
  if (!lua_isfunction(L, -1)) {
    throw Error(ErrorCode::option, options.op(),
                options.label(key) + ": expected a function, got " + describe_value(L, -1));
  }
  lua_setfield(L, -2, key);
  return true;
}

bool take_processors(lua_State* L, Options& options) {
  if (!options.push("processors")) return false;
  if (lua_isfunction(L, -1)) {
    lua_createtable(L, 1, 0);
    lua_insert(L, -2);
    lua_rawseti(L, -2, 1);
  }
  expect_table(L, -1, options.op(), "option processors");
  const int count = static_cast<int>(lua_objlen(L, -1));
  for (int i = 1; i <= count; ++i) {
    lua_rawgeti(L, -1, i);
    if (!lua_isfunction(L, -1)) {
      throw Error(ErrorCode::option, options.op(),
                  "option processors: expected functions, got " + describe_value(L, -1));
    }
    lua_pop(L, 1);
  }
  lua_setfield(L, -2, "processors");
  return count > 0;
}

}  // namespace

bool read_hooks(lua_State* L, Options& options, EngineObject& engine, RequestSpec& spec) {
  EngineObject* owner = &engine;
  const bool processors = take_processors(L, options);
  const bool stop_when = take_function(L, options, "stop_when");
  const bool on_token = take_function(L, options, "on_token");
  const bool writes = take_function(L, options, "write_pass");
  if (writes) {
    spec.hooks.write_pass = [owner](const Request& asking, PassRun& run) {
      write_pass(*owner, asking, run);
    };
  }
  if (processors) {
    spec.hooks.processors.push_back(std::make_shared<ScriptedProcessors>(*owner));
  }
  if (stop_when) {
    spec.hooks.stop_when = [owner](const Request& asking) { return ask_stop(*owner, asking); };
  }
  if (on_token) {
    spec.hooks.on_token = [owner](const Request& asking, std::int32_t id, const std::string& text) {
      tell_token(*owner, asking, id, text);
    };
  }
  return processors || stop_when || on_token || writes;
}

}  // namespace perilune::lua
