// Pass: one entry of a family being recorded (trace) or run line by line (eager).
#include "bindings/lua/models/pass.h"

#include <algorithm>

#include "bindings/lua/models/run_pass.h"
#include "bindings/lua/tensors/tensor_value.h"

#include "bindings/lua/batches/batch_object.h"
#include "bindings/lua/models/checkpoint.h"
#include "bindings/lua/models/plan_object.h"
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
  object.net->outliers = static_cast<float>(options.number("outliers").value_or(0));

  lua_newtable(L);
  if (options.push("config")) lua_setfield(L, -2, "config");
  lua_newtable(L);
  lua_setfield(L, -2, "rope");  // options already read, by table
  push_object(L, std::move(object));
  lua_insert(L, -2);
  lua_setfenv(L, -2);
}

/// after={ programs }: what they make can be read by its names.
void expect_made(lua_State* L, Options& options, TracePass& pass) {
  if (!options.push("after")) return;
  expect_table(L, -1, "trace", "option after");
  for (int i = 1; i <= static_cast<int>(lua_objlen(L, -1)); ++i) {
    lua_rawgeti(L, -1, i);
    const auto program = check_object<ProgramPointer>(L, -1, "trace", "after");
    lua_pop(L, 1);
    for (const auto& [name, value] : program->outputs) {
      const TensorSpec& spec = program->values[static_cast<std::size_t>(value)].spec;
      const auto axes = spec.shape.axes();
      const bool ragged = !axes.empty() && axes[0].symbolic();
      if (!ragged || std::any_of(axes.begin() + 1, axes.end(),
                                 [](const Axis& axis) { return axis.symbolic(); })) {
        continue;
      }
      pass.expect_input(name, spec.dtype, axes[0].name, {axes.begin() + 1, axes.end()});
    }
  }
  lua_pop(L, 1);
}

int trace(lua_State* L) {
  Options options(L, 2, "trace");
  PassObject object;
  auto checkpoint = checkpoint_argument(L, "trace");
  const std::string entry = options.text("entry").value_or("decode");
  object.trace = std::make_shared<TracePass>(state(L).context, entry);
  expect_made(L, options, *object.trace);
  push_pass(L, options, std::move(object), std::move(checkpoint));
  options.done();
  return 1;
}

Hook lua_hook(ReferencePointer function) {
  return [function](const std::string& path, const Tensor& value) -> Tensor {
    lua_State* L = function->anchor()->callable("hook");
    return callback(L, "hook", [&]() -> Tensor {
      function->push(L);
      push_text(L, path);
      push_tensor(L, value);
      call(L, 2, 1, "hook");
      if (lua_isnil(L, -1)) return {};
      return to_tensor(L, -1, "hook", "the returned value");
    });
  };
}

/// core.eager(plans, batch, options as core.execute's) → a run whose passes the script writes:
///   for pass, entry in function() return run:next(checkpoint, { axes=, config=, hook=, looked_at=
///   }) end do
///   ... pass:finish() end; results, encoded = run:results()
int eager(lua_State* L) {
  push_object(L, EagerRunObject{std::make_shared<BoundPass>(bind_passes(L, "eager"))});
  return 1;
}

int next_pass(lua_State* L) {
  const auto bound = self<EagerRunObject>(L, "next").bound;
  if (!bound->run->next_pass()) return 0;
  const Plan& plan = bound->run->pass_plan();
  Options options(L, 3, "eager");
  EagerOptions settings;
  settings.math = plan.options().math;
  settings.cache_dtype = plan.options().cache_dtype;
  settings.device = plan.options().device;
  settings.devices = plan.options().devices;
  settings.threads = plan.options().threads;
  settings.keep = {plan.options().outputs.begin(), plan.options().outputs.end()};
  if (ReferencePointer function = options.function("hook")) {
    settings.hook = lua_hook(std::move(function));
  }
  if (options.push("looked_at")) {
    for (const std::string& path : to_texts(L, -1, "eager", "option looked_at")) {
      settings.looked_at.insert(path);
    }
    lua_pop(L, 1);
  }
  PassObject object;
  object.bound = bound;
  object.eager = std::make_shared<EagerPass>(bound->run->pass_binding(), std::move(settings));
  const auto& checkpoint = check_object<CheckpointObject>(L, 2, "eager", "checkpoint").checkpoint;
  if (checkpoint == nullptr) throw Error(ErrorCode::state, "eager", "the checkpoint was closed");
  push_pass(L, options, std::move(object), checkpoint);
  options.done();
  push_text(L, plan.program().entry);
  return 2;
}

int eager_results(lua_State* L) {
  const auto bound = self<EagerRunObject>(L, "results").bound;
  if (!bound->run->done()) {
    throw Error(ErrorCode::state, "eager", "not all of the passes have been written");
  }
  push_tensors(L, bound->run->read_back());
  push_tensors(L, bound->run->read_back_encoded());
  push_answered(L, *bound->run);
  bound->finish();
  return 4;
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

/// pass:wanted(x, "last" | "all"): x over the tokens whose logits are computed; by default these.
int wanted(lua_State* L) {
  const auto& object = open_pass(L, "wanted");
  const Value& x = to_value(L, 2, "wanted", "x");
  const std::string rows = lua_isnoneornil(L, 3) ? "last" : to_text(L, 3, "wanted", "rows");
  if (object.trace != nullptr) {
    object.trace->set_default_rows(rows == "all" ? RowSelection::all : RowSelection::last);
  }
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
  object.pass()->expect_own(value, "output");
  if (object.trace != nullptr) object.trace->output(name, value);
  object.outputs.emplace_back(name, value);
  return 0;
}

int finish(lua_State* L) {
  auto& object = open_pass(L, "finish");
  const std::string head = lua_isnoneornil(L, 2) ? "" : to_text(L, 2, "finish", "head");
  int results = 0;
  if (object.trace != nullptr) {
    push_object(L, ProgramPointer(object.trace->finish(head)));
    results = 1;
  } else {
    NamedTensors made;
    for (const auto& [name, value] : object.outputs) made.emplace_back(name, value.tensor);
    for (const auto& kept : object.eager->kept()) made.push_back(kept);
    object.bound->run->pass_done(std::move(made));
  }
  object.finished = true;
  object.outputs.clear();
  return results;
}

int marks(lua_State* L) {
  push_list(L, self<ProgramPointer>(L, "marks")->mark_paths());
  return 1;
}

/// program:same_keys(a, b): of texts of a and of b tokens.
int same_keys(lua_State* L) {
  const auto& program = *self<ProgramPointer>(L, "same_keys");
  lua_pushboolean(
      L, program.same_keys(to_integer(L, 2, "same_keys", "a"), to_integer(L, 3, "same_keys", "b"))
             ? 1
             : 0);
  return 1;
}

int depends_on_length(lua_State* L) {
  const auto& program = *self<ProgramPointer>(L, "depends_on_length");
  lua_pushboolean(L, program.length_tables.empty() ? 0 : 1);
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

/// Names of what the pass reads of its batch, and of passes before it.
int inputs(lua_State* L) {
  std::vector<std::string> names;
  for (const ProgramValue& value : self<ProgramPointer>(L, "inputs")->values) {
    if (!value.input.empty()) names.push_back(value.input);
  }
  push_list(L, names);
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
  constexpr Member kFunctions[] = {{"trace", guarded<trace>}, {"eager", guarded<eager>}};
  set_functions(L, kFunctions);
  constexpr Member kMethods[] = {
      {"net", guarded<net>},       {"input", guarded<input>},        {"wanted", guarded<wanted>},
      {"output", guarded<output>}, {"finish", guarded_once<finish>},
  };
  register_type<PassObject>(L, kMethods, {});
  constexpr Member kRunMethods[] = {{"next", guarded<next_pass>},
                                    {"results", guarded_once<eager_results>}};
  register_type<EagerRunObject>(L, kRunMethods, {});
  constexpr Member kProgramMethods[] = {
      {"marks", guarded<marks>},
      {"outputs", guarded<outputs>},
      {"inputs", guarded<inputs>},
      {"same_keys", guarded<same_keys>},
      {"depends_on_length", guarded<depends_on_length>},
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
