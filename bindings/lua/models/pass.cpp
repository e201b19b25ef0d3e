// Pass: one entry of a family being recorded (trace) or run line by line (eager).
#include "bindings/lua/models/pass.h"
#include "bindings/lua/models/run_pass.h"
#include "bindings/lua/tensors/tensor_value.h"

#include "bindings/lua/batches/batch_object.h"
#include "bindings/lua/models/checkpoint.h"
#include "bindings/lua/models/program.h"

namespace perilune::lua {

std::shared_ptr<Pass> PassObject::pass() const {
  if (trace != nullptr) return trace;
  return eager;
}

namespace {

PassObject& open_pass(lua_State* L, const char* op) {
  auto& object = self<PassObject>(L, op);
  if (object.finished) throw Error(ErrorCode::state, op, "the pass is finished");
  object.pass()->script_place = calling_place(L);
  return object;
}

std::shared_ptr<Checkpoint> checkpoint_argument(lua_State* L, const char* op) {
  const auto& object = check_object<CheckpointObject>(L, 1, op, "checkpoint");
  if (object.checkpoint == nullptr) {
    throw Error(ErrorCode::state, op, "the checkpoint was closed");
  }
  return object.checkpoint;
}

/// Reads axes= and config=, and pushes the pass with an environment that holds config.
void push_pass(lua_State* L, Options& options, PassObject object,
               std::shared_ptr<Checkpoint> checkpoint) {
  object.net = std::make_shared<NetState>();
  object.net->pass = object.pass();
  object.net->checkpoint = std::move(checkpoint);
  object.net->pass->axis_sizes =
      options.sizes("axes").value_or(std::map<std::string, std::int64_t>{});
  object.net->names_only = options.boolean("names_only").value_or(false);

  lua_newtable(L);
  if (options.push("config")) lua_setfield(L, -2, "config");
  lua_newtable(L);
  lua_setfield(L, -2, "rope");  // options already read, by table
  push_object(L, std::move(object));
  lua_insert(L, -2);
  lua_setfenv(L, -2);
}

int trace(lua_State* L) {
  Options options(L, 2, "trace");
  PassObject object;
  auto checkpoint = checkpoint_argument(L, "trace");
  const std::string entry = options.text("entry").value_or("decode");
  object.trace = std::make_shared<TracePass>(state(L).context, entry);
  const auto axes = options.sizes("axes").value_or(std::map<std::string, std::int64_t>{});
  if (entry == "cross") {
    const auto hidden = axes.find("hidden");
    if (hidden == axes.end()) {
      throw Error(ErrorCode::argument, "trace", "a cross pass needs the size of axis \"hidden\"");
    }
    object.trace->expect_input("encoded", DType::f32, "token", {Axis{"hidden", hidden->second, 0}});
  }
  push_pass(L, options, std::move(object), std::move(checkpoint));
  options.done();
  return 1;
}

Hook lua_hook(ReferencePointer function) {
  return [function](const std::string& path, const Tensor& value) -> Tensor {
    lua_State* L = function->anchor()->callable("hook");
    reserve_stack(L, 8);
    const int top = lua_gettop(L);
    function->push(L);
    push_text(L, path);
    push_tensor(L, value);
    call(L, 2, 1, "hook");
    Tensor changed;
    if (!lua_isnil(L, -1)) changed = to_tensor(L, -1, "hook", "the returned value");
    lua_settop(L, top);
    return changed;
  };
}

int eager(lua_State* L) {
  Options options(L, 3, "eager");
  auto checkpoint = checkpoint_argument(L, "eager");
  const auto batch = check_object<BatchObject>(L, 2, "eager", "batch").batch;
  const std::string entry = options.text("entry").value_or("decode");
  EagerOptions settings;
  settings.math = to_math(options);
  settings.cache_dtype = options.dtype("cache_dtype").value_or(DType::f32);
  settings.threads = to_threads(L, options);
  if (ReferencePointer function = options.function("hook")) {
    settings.hook = lua_hook(std::move(function));
  }
  if (const auto device = options.text("device")) {
    settings.device = state(L).context->device(*device);
  }
  for (const char* known : {"axes", "config", "names_only"}) options.has(known);
  if (const auto keep = options.texts("keep")) settings.keep = {keep->begin(), keep->end()};
  BoundPass bound = bind_pass(L, options, batch, entry == "decode", entry == "cross");
  PassObject object;
  object.eager = std::make_shared<EagerPass>(bound.binding, std::move(settings));
  object.bound = std::make_shared<BoundPass>(std::move(bound));
  push_pass(L, options, std::move(object), std::move(checkpoint));
  return 1;
}

int net(lua_State* L) {
  const auto& object = open_pass(L, "net");
  push_object(L, Net(object.net));
  lua_getfenv(L, 1);
  lua_setfenv(L, -2);
  return 1;
}

int input(lua_State* L) {
  const auto& object = open_pass(L, "input");
  push_object(L, object.pass()->input(to_text(L, 2, "input", "name")));
  return 1;
}

int wanted(lua_State* L) {
  const auto& object = open_pass(L, "wanted");
  const Value& x = to_value(L, 2, "wanted", "x");
  push_value(L, wanted_rows(object.pass(), x, object.pass()->script_place));
  return 1;
}

int output(lua_State* L) {
  auto& object = open_pass(L, "output");
  const std::string name = to_text(L, 2, "output", "name");
  const Value& value = to_value(L, 3, "output", name.c_str());
  for (const auto& [known, unused] : object.outputs) {
    if (known == name)
      throw Error(ErrorCode::argument, "output", "\"" + name + "\" is given twice");
  }
  if (object.trace != nullptr) object.trace->output(name, value);
  object.outputs.emplace_back(name, value);
  return 0;
}

int finish_eager(lua_State* L, PassObject& object) {
  lua_createtable(L, 0, static_cast<int>(object.outputs.size()) + 1);
  for (const auto& [name, value] : object.outputs) {
    push_value(L, Value::of(value.tensor.to(value.tensor.context()->cpu_device())));
    lua_setfield(L, -2, name.c_str());
  }
  lua_newtable(L);
  for (const auto& [path, tensor] : object.eager->kept()) {
    push_value(L, Value::of(tensor.to(tensor.context()->cpu_device())));
    lua_setfield(L, -2, path.c_str());
  }
  lua_setfield(L, -2, "kept");
  object.bound->finish();
  return 1;
}

int finish(lua_State* L) {
  auto& object = open_pass(L, "finish");
  const std::string head = lua_isnoneornil(L, 2) ? "" : to_text(L, 2, "finish", "head");
  if (object.trace != nullptr) {
    push_object(L, ProgramPointer(object.trace->finish(head)));
  } else {
    finish_eager(L, object);
  }
  object.finished = true;
  object.outputs.clear();
  return 1;
}

int marks(lua_State* L) {
  push_list(L, self<ProgramPointer>(L, "marks")->mark_paths());
  return 1;
}

int outputs(lua_State* L) {
  std::vector<std::string> names;
  for (const auto& [name, value] : self<ProgramPointer>(L, "outputs")->outputs) {
    names.push_back(name);
  }
  push_list(L, names);
  return 1;
}

int kv_slots(lua_State* L) {
  push_integer(L, static_cast<std::int64_t>(self<ProgramPointer>(L, "kv_slots")->kv_slots.size()));
  return 1;
}

int text(lua_State* L) {
  push_text(L, self<ProgramPointer>(L, "text")->text());
  return 1;
}

int program_entry(lua_State* L) {
  push_text(L, self<ProgramPointer>(L, "entry")->entry);
  return 1;
}

int program_head(lua_State* L) {
  push_text(L, self<ProgramPointer>(L, "head")->head);
  return 1;
}

}  // namespace

void add_pass(lua_State* L) {
  constexpr Member kFunctions[] = {{"trace", guarded<trace>}, {"eager", guarded_once<eager>}};
  set_functions(L, kFunctions);
  constexpr Member kMethods[] = {
      {"net", guarded<net>},       {"input", guarded<input>},        {"wanted", guarded<wanted>},
      {"output", guarded<output>}, {"finish", guarded_once<finish>},
  };
  register_type<PassObject>(L, kMethods, {});
  constexpr Member kProgramMethods[] = {
      {"marks", guarded<marks>},
      {"outputs", guarded<outputs>},
      {"kv_slots", guarded<kv_slots>},
      {"text", guarded<text>},
  };
  constexpr Member kGetters[] = {
      {"entry", guarded<program_entry>},
      {"head", guarded<program_head>},
  };
  constexpr Member kOperators[] = {{"__tostring", guarded<text>}};
  register_type<ProgramPointer>(L, kProgramMethods, kGetters, kOperators);
}

}  // namespace perilune::lua
