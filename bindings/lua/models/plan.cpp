// Plan and core.execute: a program made ready, and one run of it.
#include "bindings/lua/models/plan.h"
#include "bindings/lua/models/ranks.h"
#include "bindings/lua/models/run_pass.h"
#include "bindings/lua/tensors/tensor_value.h"

#include "bindings/lua/batches/batch_object.h"
#include "bindings/lua/models/program.h"

namespace perilune::lua {

namespace {

/// devices = { { "layers.3", "emulator" }, ... }: modules on devices of their own.
std::vector<PlacedPath> to_devices(lua_State* L, Options& options, const Context& context) {
  std::vector<PlacedPath> map;
  if (!options.push("devices")) return map;
  expect_table(L, -1, options.op(), options.label("devices"));
  const int count = static_cast<int>(lua_objlen(L, -1));
  for (int i = 1; i <= count; ++i) {
    lua_rawgeti(L, -1, i);
    expect_table(L, -1, options.op(), options.label("devices"));
    lua_rawgeti(L, -1, 1);
    lua_rawgeti(L, -2, 2);
    const std::string path = to_text(L, lua_gettop(L) - 1, options.op(), "path");
    const std::string device = to_text(L, lua_gettop(L), options.op(), "device");
    map.push_back({path, context.device(device)});
    lua_pop(L, 3);
  }
  lua_pop(L, 1);
  return map;
}

/// ranks = n: the model's number among those that this process' ranks compute together.
std::shared_ptr<const RankShare> to_share(lua_State* L, Options& options) {
  const std::optional<std::int64_t> model = options.integer("ranks");
  if (!model) return nullptr;
  const Ranks* ranks = find_ranks(L);
  if (ranks == nullptr) throw Error(ErrorCode::state, "plan", "this process works by itself");
  return std::make_shared<RankShare>(RankShare{ranks->group, ranks->slices, *model});
}

int make_plan(lua_State* L) {
  const auto program = check_object<ProgramPointer>(L, 1, "plan", "program");
  Options options(L, 2, "plan");
  const auto& context = state(L).context;
  PlanOptions settings;
  settings.math = to_math(options);
  settings.cache_dtype = options.dtype("cache_dtype").value_or(DType::f32);
  settings.threads = to_threads(L, options);
  settings.fuse = options.boolean("fuse").value_or(true);
  settings.outputs = options.texts("outputs").value_or(std::vector<std::string>{});
  settings.device = context->device(options.text("device").value_or("auto"));
  settings.devices = to_devices(L, options, *context);
  settings.ranks = to_share(L, options);
  settings.rank_key = options.text("rank_key").value_or("");
  options.done();
  push_object(L, PlanObject{Plan::make(context, program, std::move(settings)),
                            std::make_shared<ExecutionStore>()});
  return 1;
}

int plan_text(lua_State* L) {
  push_text(L, self<PlanObject>(L, "text").plan->text());
  return 1;
}

/// plan:weight_bytes({ plans whose weights are left out }, device | nil)
int weight_bytes(lua_State* L) {
  std::vector<const Plan*> others;
  const int count = lua_istable(L, 2) ? static_cast<int>(lua_objlen(L, 2)) : 0;
  for (int i = 1; i <= count; ++i) {
    lua_rawgeti(L, 2, i);
    others.push_back(check_object<PlanObject>(L, -1, "weight_bytes", "plans").plan.get());
    lua_pop(L, 1);
  }
  const Device* on = optional_device(L, 3, "weight_bytes");
  const auto& plan = *self<PlanObject>(L, "weight_bytes").plan;
  push_integer(L, static_cast<std::int64_t>(plan.weight_bytes(others, on)));
  return 1;
}

/// plan:arena_bytes(tokens, rows, device | nil)
int arena_bytes(lua_State* L) {
  const auto& plan = *self<PlanObject>(L, "arena_bytes").plan;
  const std::int64_t tokens = to_integer(L, 2, "arena_bytes", "tokens");
  const std::int64_t rows = to_integer(L, 3, "arena_bytes", "rows");
  if (tokens < 1 || rows < 1) {
    throw Error(ErrorCode::argument, "arena_bytes", "tokens and rows must be 1 or more");
  }
  const Device* on = optional_device(L, 4, "arena_bytes");
  push_integer(L, static_cast<std::int64_t>(plan.arena_bytes(tokens, rows, on)));
  return 1;
}

/// plan:parts(): list of { path=, device=, modules={ … }, weights={ path → bytes }, cache= (bytes a
/// token) }, in the order they are computed.
int parts(lua_State* L) {
  const std::vector<PlanPart> list = self<PlanObject>(L, "parts").plan->parts();
  lua_createtable(L, static_cast<int>(list.size()), 0);
  for (std::size_t i = 0; i < list.size(); ++i) {
    lua_createtable(L, 0, 5);
    set_field(L, "path", list[i].part.path);
    set_field(L, "device", list[i].device->name());
    set_field(L, "cache", list[i].cache_bytes_per_token);
    push_list(L, list[i].part.modules);
    lua_setfield(L, -2, "modules");
    lua_newtable(L);
    for (const auto& [path, bytes] : list[i].weights) {
      set_field(L, path.c_str(), static_cast<std::int64_t>(bytes));
    }
    lua_setfield(L, -2, "weights");
    lua_rawseti(L, -2, static_cast<int>(i + 1));
  }
  return 1;
}

int plan_devices(lua_State* L) {
  std::vector<std::string> names;
  for (const auto& device : self<PlanObject>(L, "devices").plan->devices()) {
    names.push_back(device->name());
  }
  push_list(L, names);
  return 1;
}

int pack(lua_State* L) {
  const auto plan = self<PlanObject>(L, "pack").plan;
  if (lua_isnoneornil(L, 2)) {
    plan->pack();
    return 0;
  }
  const ReferencePointer function = make_reference(L, 2);
  plan->pack([&](std::size_t done, std::size_t total) {
    callback(L, "on_progress", [&] {
      function->push(L);
      push_integer(L, static_cast<std::int64_t>(done));
      push_integer(L, static_cast<std::int64_t>(total));
      call(L, 2, 0, "on_progress");
    });
  });
  return 0;
}

int plan_outputs(lua_State* L) {
  std::vector<std::string> names;
  for (const auto& [name, value] : self<PlanObject>(L, "outputs").plan->outputs()) {
    names.push_back(name);
  }
  push_list(L, names);
  return 1;
}

int steps(lua_State* L) {
  push_integer(L, static_cast<std::int64_t>(self<PlanObject>(L, "steps").plan->steps().size()));
  return 1;
}

/// core.execute(plan | { encode=, cross=, main= }, batch, { source=, caches=, cache=, rows=,
/// commit= }) gives the last pass's results by name, and the encoder's; then the batches of both,
/// which know axes that the passes made, nil where they made none.
int execute(lua_State* L) {
  BoundPass bound = bind_passes(L, "forward");
  (void)bound.run->run();
  push_tensors(L, bound.run->read_back());
  push_tensors(L, bound.run->read_back_encoded());
  push_answered(L, *bound.run);
  bound.finish();
  return 4;
}

}  // namespace

void add_plan(lua_State* L) {
  constexpr Member kFunctions[] = {{"plan", guarded<make_plan>}, {"execute", guarded<execute>}};
  set_functions(L, kFunctions);
  constexpr Member kMethods[] = {
      {"text", guarded<plan_text>}, {"weight_bytes", guarded<weight_bytes>},
      {"pack", guarded_once<pack>}, {"arena_bytes", guarded<arena_bytes>},
      {"steps", guarded<steps>},    {"outputs", guarded<plan_outputs>},
      {"parts", guarded<parts>},    {"devices", guarded<plan_devices>},
  };
  constexpr Member kOperators[] = {{"__tostring", guarded<plan_text>}};
  register_type<PlanObject>(L, kMethods, {}, kOperators);
}

}  // namespace perilune::lua
