#include "bindings/lua/models/run_pass.h"

#include <algorithm>

#include "bindings/lua/batches/batch_object.h"
#include "bindings/lua/models/plan_object.h"
#include "bindings/lua/tensors/tensor_value.h"

namespace perilune::lua {

namespace {

std::vector<std::vector<std::int64_t>> listed_rows(lua_State* L, int table, const Batch& batch,
                                                   const std::string& op) {
  std::vector<std::vector<std::int64_t>> wanted;
  const auto count = static_cast<std::int64_t>(lua_objlen(L, table));
  if (count != batch.size()) {
    throw Error(ErrorCode::argument, op,
                "rows lists " + std::to_string(count) + " rows, the batch has " +
                    std::to_string(batch.size()));
  }
  for (std::int64_t row = 0; row < count; ++row) {
    lua_rawgeti(L, table, static_cast<int>(row + 1));
    std::vector<std::int64_t> offsets;
    const std::string name = "rows[" + std::to_string(row + 1) + "]";
    for (const std::int64_t position : to_integers(L, -1, op, name)) {
      offsets.push_back(to_position(position, batch.rows().length(row), op, name + ": token"));
    }
    std::sort(offsets.begin(), offsets.end());
    wanted.push_back(std::move(offsets));
    lua_pop(L, 1);
  }
  return wanted;
}

/// The batch with what rows= says in its own place.
std::shared_ptr<const Batch> read_rows(lua_State* L, Options& options,
                                       std::shared_ptr<const Batch> batch) {
  if (!options.push("rows")) return batch;
  if (lua_istable(L, -1)) {
    auto listed = listed_rows(L, lua_gettop(L), *batch, options.op());
    lua_pop(L, 1);
    return batch->with_rows(RowSelection::listed, std::move(listed));
  }
  const std::string word = to_text(L, -1, options.op(), "option rows");
  lua_pop(L, 1);
  if (word == "last") return batch->with_rows(RowSelection::last);
  if (word == "all") return batch->with_rows(RowSelection::all);
  if (word == "none") {
    return batch->with_rows(RowSelection::listed, std::vector<std::vector<std::int64_t>>(
                                                      static_cast<std::size_t>(batch->size())));
  }
  throw Error(ErrorCode::option, options.op(),
              "option rows: \"" + word + "\" is not \"last\", \"all\", \"none\" or lists");
}

/// lengths= of the rows' whole texts, where more than the batch and its caches will follow.
std::shared_ptr<const Batch> read_lengths(lua_State* L, Options& options,
                                          std::shared_ptr<const Batch> batch) {
  if (!options.push("lengths")) return batch;
  const auto lengths = to_integers(L, -1, options.op(), "option lengths");
  lua_pop(L, 1);
  std::vector<SequenceFacts> facts = batch->facts();
  if (lengths.size() != facts.size()) {
    throw Error(ErrorCode::argument, options.op(),
                std::to_string(lengths.size()) + " lengths for a batch of " +
                    std::to_string(facts.size()) + " rows");
  }
  for (std::size_t row = 0; row < facts.size(); ++row) facts[row].prompt_tokens = lengths[row];
  return batch->with_facts(std::move(facts));
}

/// adapters= of the rows, or one for all.
std::vector<std::int64_t> read_adapters(lua_State* L, Options& options) {
  if (!options.push("adapters")) return {0};
  const auto numbers = to_integers(L, -1, options.op(), "option adapters");
  lua_pop(L, 1);
  return {numbers.begin(), numbers.end()};
}

std::vector<SequencePointer> read_caches(lua_State* L, Options& options, const Batch& batch,
                                         bool wanted) {
  std::vector<SequencePointer> caches;
  const CachePointer* pool = options.object<CachePointer>("cache");
  if (!options.push("caches")) {
    if (pool == nullptr || !wanted) return caches;
    for (std::int64_t row = 0; row < batch.size(); ++row) {
      caches.push_back(std::make_shared<SequenceCache>(*pool));
    }
    return caches;
  }
  const std::string& op = options.op();
  expect_table(L, -1, op, "option caches");
  const auto count = static_cast<std::int64_t>(lua_objlen(L, -1));
  if (count != batch.size()) {
    throw Error(
        ErrorCode::argument, op,
        std::to_string(count) + " caches for a batch of " + std::to_string(batch.size()) + " rows");
  }
  for (std::int64_t row = 1; row <= count; ++row) {
    lua_rawgeti(L, -1, static_cast<int>(row));
    const std::string name = "caches[" + std::to_string(row) + "]";
    caches.push_back(check_object<SequencePointer>(L, -1, op.c_str(), name.c_str()));
    lua_pop(L, 1);
    for (std::int64_t other = 0; other + 1 < row; ++other) {
      if (caches[static_cast<std::size_t>(other)] != caches.back()) continue;
      throw Error(
          ErrorCode::argument, op,
          "rows " + std::to_string(other + 1) + " and " + std::to_string(row) + " share one cache")
          .hint("give each row its own: cache:fork()");
    }
    if (caches.back()->cache() != caches.front()->cache()) {
      throw Error(ErrorCode::argument, op, name + " belongs to another pool than caches[1]");
    }
    caches.back()->expect_idle(op.c_str());
  }
  lua_pop(L, 1);
  return caches;
}

/// A plan, or { encode=, cross=, main= }; gives the store that their arenas are kept in: that of
/// the last.
std::shared_ptr<ExecutionStore> read_plans(lua_State* L, PassWork& work, const std::string& op) {
  if (PlanObject* main = test_object<PlanObject>(L, 1)) {
    work.main = main->plan;
    return main->executions;
  }
  Options plans(L, 1, op);
  std::shared_ptr<ExecutionStore> store;
  const auto read = [&](const char* name) {
    const PlanObject* plan = plans.object<PlanObject>(name);
    if (plan != nullptr) store = plan->executions;
    return plan == nullptr ? nullptr : plan->plan;
  };
  work.encode = read("encode");
  work.cross = read("cross");
  work.main = read("main");
  plans.done();
  if (store == nullptr) throw Error(ErrorCode::argument, op, "no plan was given");
  return store;
}

bool keeps(const std::shared_ptr<const Plan>& plan) {
  return plan != nullptr && !plan->program().kv_slots.empty();
}

}  // namespace

void BoundPass::finish() {
  if (commits) {
    run->commit();
  } else {
    run->rollback();
  }
}

BoundPass bind_passes(lua_State* L, const std::string& op) {
  BoundPass bound;
  PassWork work;
  bound.store = read_plans(L, work, op);
  Options options(L, 3, op);
  if (!lua_isnoneornil(L, 2)) {
    work.batch = check_object<BatchObject>(L, 2, op.c_str(), "batch").batch;
    work.batch = read_lengths(L, options, read_rows(L, options, work.batch));
  }
  if (const auto* source = options.object<BatchObject>("source")) work.source = source->batch;
  const std::vector<std::int64_t> adapters = read_adapters(L, options);
  if (work.batch != nullptr) work.batch = work.batch->with_adapters(adapters);
  if (work.source != nullptr) work.source = work.source->with_adapters(adapters);
  const auto& rows = work.batch != nullptr ? work.batch : work.source;
  if (rows == nullptr) throw Error(ErrorCode::argument, op, "no batch was given");
  bound.commits = options.boolean("commit").value_or(true);
  bound.caches = read_caches(L, options, *rows, keeps(work.main) || keeps(work.cross));
  options.done();
  for (const SequencePointer& cache : bound.caches) work.caches.push_back(cache.get());
  bound.run = std::make_unique<PassRun>(*bound.store, std::move(work));
  bound.run->reserve_or_throw(op);
  return bound;
}

std::shared_ptr<ThreadPool> to_threads(lua_State* L, Options& options) {
  const std::optional<std::int64_t> threads = options.integer("threads");
  if (!threads) return nullptr;
  return state(L).context->pool_of(
      static_cast<int>(std::clamp<std::int64_t>(*threads, -1, 1 << 30)));
}

void push_tensors(lua_State* L, const NamedTensors& tensors) {
  lua_createtable(L, 0, static_cast<int>(tensors.size()));
  for (const auto& [name, tensor] : tensors) {
    push_value(L, Value::of(tensor));
    lua_setfield(L, -2, name.c_str());
  }
}

void push_answered(lua_State* L, const PassRun& run) {
  for (const auto& batch : {run.answered(), run.answered_encoded()}) {
    if (batch == nullptr) {
      lua_pushnil(L);
    } else {
      push_object(L, BatchObject{batch, nullptr, nullptr});
    }
  }
}

MathMode to_math(Options& options) {
  const auto mode = options.choice("compute", {"auto", "f32", "bf16", "int8"});
  if (mode == "int8") return MathMode::int8;
  return mode == "bf16" ? MathMode::bf16 : MathMode::f32;
}

}  // namespace perilune::lua
