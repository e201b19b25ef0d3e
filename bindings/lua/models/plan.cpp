// Plan and core.execute: a program made ready, and one run of it. And the pool of caches.
#include <cstring>

#include "bindings/lua/models/run_pass.h"
#include "bindings/lua/tensors/tensor_value.h"

namespace perilune::lua {

namespace {

int make_plan(lua_State* L) {
  const auto program = check_object<ProgramPointer>(L, 1, "plan", "program");
  Options options(L, 2, "plan");
  const auto& context = state(L).context;
  PlanOptions settings;
  settings.math = to_math(options);
  settings.cache_dtype = options.dtype("cache_dtype").value_or(DType::f32);
  settings.fuse = options.boolean("fuse").value_or(true);
  settings.outputs = options.texts("outputs").value_or(std::vector<std::string>{});
  settings.device = context->device(options.text("device").value_or("auto"));
  options.done();
  push_object(L, PlanObject{Plan::make(context, program, std::move(settings)), nullptr});
  return 1;
}

int plan_text(lua_State* L) {
  push_text(L, self<PlanObject>(L, "text").plan->text());
  return 1;
}

/// plan:weight_bytes({ plans whose weights are left out })
int weight_bytes(lua_State* L) {
  std::vector<const Plan*> others;
  const int count = lua_istable(L, 2) ? static_cast<int>(lua_objlen(L, 2)) : 0;
  for (int i = 1; i <= count; ++i) {
    lua_rawgeti(L, 2, i);
    others.push_back(check_object<PlanObject>(L, -1, "weight_bytes", "plans").plan.get());
    lua_pop(L, 1);
  }
  push_integer(
      L, static_cast<std::int64_t>(self<PlanObject>(L, "weight_bytes").plan->weight_bytes(others)));
  return 1;
}

int arena_bytes(lua_State* L) {
  const auto& plan = *self<PlanObject>(L, "arena_bytes").plan;
  const std::int64_t tokens = to_integer(L, 2, "arena_bytes", "tokens");
  const std::int64_t rows = to_integer(L, 3, "arena_bytes", "rows");
  if (tokens < 1 || rows < 1) {
    throw Error(ErrorCode::argument, "arena_bytes", "tokens and rows must be 1 or more");
  }
  push_integer(L, static_cast<std::int64_t>(plan.arena_bytes(tokens, rows)));
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
    function->push(L);
    push_integer(L, static_cast<std::int64_t>(done));
    push_integer(L, static_cast<std::int64_t>(total));
    call(L, 2, 0, "on_progress");
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

bool writes(const Program& program, KvKind kind) {
  for (const KvSlotSpec& slot : program.kv_slots) {
    if (slot.kind == kind) return true;
  }
  return false;
}

/// core.execute(plan, batch, { caches=, cache=, inputs=, rows=, commit= })
int execute(lua_State* L) {
  auto& object = check_object<PlanObject>(L, 1, "forward", "plan");
  const auto batch = check_object<BatchObject>(L, 2, "forward", "batch").batch;
  Options options(L, 3, "forward");
  const Program& program = object.plan->program();
  BoundPass bound =
      bind_pass(L, options, batch, writes(program, KvKind::self), writes(program, KvKind::cross));
  // One execution is kept with the plan, since its arena is worth keeping; it is taken out while
  // it runs, so that a nested run makes one of its own.
  auto execution = std::move(object.execution);
  object.execution = nullptr;
  if (execution == nullptr) execution = std::make_shared<Execution>(object.plan);
  execution->bind(bound.binding);
  (void)execution->run();
  lua_newtable(L);
  for (const std::string& name : execution->output_names()) {
    const Tensor output = execution->output(name);
    const auto& host = output.context()->cpu_device();
    push_value(L, Value::of(output.device().host_visible() ? output.copy() : output.to(host)));
    lua_setfield(L, -2, name.c_str());
  }
  bound.finish();
  object.execution = std::move(execution);
  return 1;
}

// ---------------------------------------------------------------- caches

/// core.cache({ programs }, { dtype=, budget=, page_tokens= })
int make_cache(lua_State* L) {
  expect_table(L, 1, "cache", "programs");
  std::vector<KvSlotSpec> slots;
  const int count = static_cast<int>(lua_objlen(L, 1));
  for (int i = 1; i <= count; ++i) {
    lua_rawgeti(L, 1, i);
    const auto& program = check_object<ProgramPointer>(L, -1, "cache", "programs");
    for (const KvSlotSpec& slot : program->kv_slots) {
      bool known = false;
      for (const KvSlotSpec& other : slots) {
        known = known || (other.path == slot.path && other.kind == slot.kind);
      }
      if (!known) slots.push_back(slot);
    }
    lua_pop(L, 1);
  }
  Options options(L, 2, "cache");
  const DType dtype = options.dtype("dtype").value_or(DType::f32);
  const std::int64_t page_tokens = options.integer("page_tokens").value_or(64);
  const auto& context = state(L).context;
  const double total = static_cast<double>(context->cpu().memory().total);
  const std::int64_t budget =
      options.integer("budget").value_or(static_cast<std::int64_t>(total / 4));
  const auto device = context->device(options.text("device").value_or("auto"));
  options.done();
  if (page_tokens < kernels::kKvBlock || page_tokens % kernels::kKvBlock != 0) {
    throw Error(ErrorCode::option, "cache",
                "option page_tokens must be a multiple of " + std::to_string(kernels::kKvBlock));
  }
  push_object(L, std::make_shared<Cache>(
                     context, device, CacheLayout(std::move(slots), dtype, page_tokens), budget));
  return 1;
}

int pool_sequence(lua_State* L) {
  push_object(L, std::make_shared<SequenceCache>(self<CachePointer>(L, "sequence")));
  return 1;
}

int pool_used(lua_State* L) {
  push_integer(L, self<CachePointer>(L, "used")->used_bytes());
  return 1;
}

int pool_free_pages(lua_State* L) {
  push_integer(L, self<CachePointer>(L, "free_pages")->free_pages());
  return 1;
}

int pool_budget(lua_State* L) {
  push_integer(L, self<CachePointer>(L, "budget")->budget());
  return 1;
}

int pool_bytes_per_token(lua_State* L) {
  push_integer(L, self<CachePointer>(L, "bytes_per_token")->layout().bytes_per_token());
  return 1;
}

int pool_page_tokens(lua_State* L) {
  push_integer(L, self<CachePointer>(L, "page_tokens")->layout().page_tokens());
  return 1;
}

int pool_dtype(lua_State* L) {
  lua_pushstring(L, dtype_name(self<CachePointer>(L, "dtype")->layout().dtype()));
  return 1;
}

int sequence_length(lua_State* L) {
  push_integer(L, self<SequencePointer>(L, "length")->length());
  return 1;
}

int sequence_cross_length(lua_State* L) {
  push_integer(L, self<SequencePointer>(L, "cross_length")->cross_length());
  return 1;
}

int sequence_fork(lua_State* L) {
  push_object(L, SequencePointer(self<SequencePointer>(L, "fork")->fork()));
  return 1;
}

int sequence_crop(lua_State* L) {
  auto& sequence = *self<SequencePointer>(L, "crop");
  const std::int64_t length = to_integer(L, 2, "crop", "length");
  if (length < 0 || length > sequence.length()) {
    throw Error(
        ErrorCode::argument, "crop",
        "length " + std::to_string(length) + " is not 0 to " + std::to_string(sequence.length()));
  }
  sequence.crop(length);
  return 0;
}

int sequence_clear(lua_State* L) {
  self<SequencePointer>(L, "clear")->clear();
  return 0;
}

int sequence_groups(lua_State* L) {
  push_integer(L, static_cast<std::int64_t>(
                      self<SequencePointer>(L, "groups")->cache()->layout().groups().size()));
  return 1;
}

/// sequence:pages(group): their bytes as u8 [page, byte], for files.
int sequence_pages(lua_State* L) {
  const auto sequence = self<SequencePointer>(L, "pages");
  const auto& groups = sequence->cache()->layout().groups();
  const std::int64_t group =
      to_position(to_integer(L, 2, "pages", "group"), static_cast<std::int64_t>(groups.size()),
                  "pages", "group");
  const auto bytes = static_cast<std::size_t>(groups[static_cast<std::size_t>(group)].page_bytes);
  const auto& pages = sequence->pages(static_cast<int>(group));
  const Shape shape{Axis{"page", static_cast<std::int64_t>(pages.size()), 0},
                    Axis{"byte", static_cast<std::int64_t>(bytes), 0}};
  Tensor made = Tensor::zeros(state(L).context, DType::u8, shape);
  auto* to = made.as<std::uint8_t>();
  Device& device = *sequence->cache()->device(static_cast<int>(group));
  for (std::size_t i = 0; i < pages.size(); ++i) {
    if (pages[i] != nullptr) device.copy_out(to + i * bytes, pages[i], bytes);
  }
  push_value(L, Value::of(std::move(made)));
  return 1;
}

Error wrong_file(const std::string& what) {
  return Error(ErrorCode::format, "cache_load", "the file does not fit: " + what);
}

/// sequence:restore(length, { pages of every group }): an empty sequence as it was in a file.
int sequence_restore(lua_State* L) {
  const auto sequence = self<SequencePointer>(L, "restore");
  const std::int64_t length = to_integer(L, 2, "restore", "length");
  const auto stored = to_tensors(L, 3, "restore", "pages");
  const auto& groups = sequence->cache()->layout().groups();
  if (sequence->length() != 0 || length < 0) throw wrong_file("its length");
  if (stored.size() != groups.size()) throw wrong_file("the number of its layer groups");
  if (!sequence->reserve(length)) {
    throw Error(
        ErrorCode::memory, "cache_load",
        "no room for " + std::to_string(length) + " positions among the model's keys and values");
  }
  for (std::size_t g = 0; g < groups.size(); ++g) {
    Device& device = *sequence->cache()->device(static_cast<int>(g));
    const auto& pages = sequence->pages(static_cast<int>(g));
    const Shape& shape = stored[g].shape();
    if (stored[g].dtype() != DType::u8 || shape.rank() != 2 ||
        shape.size(0) != static_cast<std::int64_t>(pages.size()) ||
        shape.size(1) != groups[g].page_bytes) {
      sequence->rollback();
      throw wrong_file("the size of its pages");
    }
    const auto bytes = static_cast<std::size_t>(groups[g].page_bytes);
    const Tensor whole = stored[g].to(state(L).context->cpu_device()).copy();
    for (std::size_t i = 0; i < pages.size(); ++i) {
      if (pages[i] != nullptr)
        device.copy_in(pages[i], whole.as<std::uint8_t>() + i * bytes, bytes);
    }
  }
  sequence->commit(length);
  return 0;
}

int sequence_bytes(lua_State* L) {
  push_integer(L, self<SequencePointer>(L, "bytes")->bytes());
  return 1;
}

}  // namespace

void add_plan(lua_State* L) {
  constexpr Member kFunctions[] = {{"plan", guarded<make_plan>}, {"execute", guarded<execute>}};
  set_functions(L, kFunctions);
  constexpr Member kMethods[] = {
      {"text", guarded<plan_text>}, {"weight_bytes", guarded<weight_bytes>},
      {"pack", guarded_once<pack>}, {"arena_bytes", guarded<arena_bytes>},
      {"steps", guarded<steps>},    {"outputs", guarded<plan_outputs>},
  };
  constexpr Member kOperators[] = {{"__tostring", guarded<plan_text>}};
  register_type<PlanObject>(L, kMethods, {}, kOperators);
}

void add_cache(lua_State* L) {
  constexpr Member kFunctions[] = {{"cache", guarded<make_cache>}};
  set_functions(L, kFunctions);
  constexpr Member kMethods[] = {
      {"sequence", guarded<pool_sequence>},
      {"used", guarded<pool_used>},
      {"free_pages", guarded<pool_free_pages>},
  };
  constexpr Member kGetters[] = {
      {"budget", guarded<pool_budget>},
      {"bytes_per_token", guarded<pool_bytes_per_token>},
      {"page_tokens", guarded<pool_page_tokens>},
      {"dtype", guarded<pool_dtype>},
  };
  register_type<CachePointer>(L, kMethods, kGetters);
  constexpr Member kSequenceMethods[] = {
      {"fork", guarded<sequence_fork>},
      {"crop", guarded_once<sequence_crop>},
      {"clear", guarded_once<sequence_clear>},
      {"bytes", guarded<sequence_bytes>},
      {"groups", guarded<sequence_groups>},
      {"pages", guarded<sequence_pages>},
      {"restore", guarded_once<sequence_restore>},
  };
  constexpr Member kSequenceGetters[] = {
      {"length", guarded<sequence_length>},
      {"cross_length", guarded<sequence_cross_length>},
  };
  register_type<SequencePointer>(L, kSequenceMethods, kSequenceGetters);
}

}  // namespace perilune::lua
