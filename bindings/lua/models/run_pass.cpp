#include "bindings/lua/models/run_pass.h"

#include <algorithm>

#include "bindings/lua/batches/batch_object.h"
#include "bindings/lua/tensors/tensor_value.h"

namespace perilune::lua {

namespace {

/// inputs={ encoded={ tensor, batch } }; gives the rows of "encoded".
std::vector<std::int64_t> set_inputs(lua_State* L, Options& options, PassBinding& binding) {
  std::vector<std::int64_t> encoded;
  if (!options.push("inputs")) return encoded;
  const std::string& op = options.op();
  expect_table(L, -1, op, "option inputs");
  const int table = lua_gettop(L);
  for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1)) {
    lua_pushvalue(L, -2);
    const std::string name = to_text(L, -1, op, "input name");
    lua_pop(L, 1);
    expect_table(L, -1, op, "input " + name);
    lua_rawgeti(L, -1, 1);
    lua_rawgeti(L, -2, 2);
    const Tensor tensor = to_tensor(L, -2, op.c_str(), name.c_str());
    const Batch& batch = *check_object<BatchObject>(L, -1, op.c_str(), "the input's batch").batch;
    lua_pop(L, 2);
    (void)batch.token_axis(op, tensor);
    binding.set_input(name, tensor, batch.rows());
    if (name == "encoded") {
      for (std::int64_t row = 0; row < batch.size(); ++row) {
        encoded.push_back(batch.rows().length(row));
      }
    }
  }
  lua_pop(L, 1);
  return encoded;
}

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

void set_wanted(lua_State* L, Options& options, PassBinding& binding) {
  const Batch& batch = binding.batch();
  RowSelection selection = batch.row_selection();
  auto wanted = batch.wanted();
  if (options.push("rows")) {
    if (lua_istable(L, -1)) {
      selection = RowSelection::listed;
      wanted = listed_rows(L, lua_gettop(L), batch, options.op());
    } else {
      const std::string word = to_text(L, -1, options.op(), "option rows");
      if (word != "last" && word != "all" && word != "none") {
        throw Error(ErrorCode::option, options.op(),
                    "option rows: \"" + word + "\" is not \"last\", \"all\", \"none\" or lists");
      }
      selection = word == "all" ? RowSelection::all : RowSelection::last;
      if (word == "none") {
        selection = RowSelection::listed;
        wanted.assign(static_cast<std::size_t>(batch.size()), {});
      }
    }
    lua_pop(L, 1);
  }
  std::vector<std::int64_t> offsets, per_row;
  for (std::int64_t row = 0; row < batch.size(); ++row) {
    const std::int64_t start = batch.rows().starts[static_cast<std::size_t>(row)];
    const std::int64_t length = batch.rows().length(row);
    const std::size_t before = offsets.size();
    if (selection == RowSelection::all) {
      for (std::int64_t i = 0; i < length; ++i) offsets.push_back(start + i);
    } else if (selection == RowSelection::listed) {
      for (const std::int64_t i : wanted[static_cast<std::size_t>(row)]) {
        offsets.push_back(start + i);
      }
    } else {
      offsets.push_back(start + length - 1);
    }
    per_row.push_back(static_cast<std::int64_t>(offsets.size() - before));
  }
  binding.set_wanted(std::move(offsets), std::move(per_row));
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

/// Rows continue where their caches end.
std::shared_ptr<const Batch> continue_rows(std::shared_ptr<const Batch> batch,
                                           const std::vector<SequencePointer>& caches) {
  bool moves = false;
  std::vector<SequenceFacts> facts = batch->facts();
  facts.resize(static_cast<std::size_t>(batch->size()));
  for (std::size_t row = 0; row < caches.size(); ++row) {
    moves = moves || facts[row].first_position != caches[row]->length();
    facts[row].first_position = caches[row]->length();
  }
  return moves ? batch->with_facts(std::move(facts)) : batch;
}

void reserve(BoundPass& bound, const std::string& op) {
  const Batch& batch = bound.binding->batch();
  for (std::size_t row = 0; row < bound.caches.size(); ++row) {
    SequenceCache& cache = *bound.caches[row];
    const auto index = static_cast<std::int64_t>(row);
    const bool self = !bound.writes_self || cache.reserve(batch.rows().length(index));
    const bool cross = !bound.writes_cross || cache.reserve_cross(bound.cross_lengths[row]);
    if (self && cross) continue;
    throw Error(ErrorCode::memory, op,
                "the cache is full: row " + std::to_string(row + 1) + " needs room for " +
                    std::to_string(self ? bound.cross_lengths[row] : batch.rows().length(index)) +
                    " more positions, " + cache.cache()->free_text())
        .hint("drop sequences that are done, or give the cache a larger budget");
  }
}

}  // namespace

void BoundPass::finish() {
  if (!commits) return rollback();
  finished_ = true;
  for (std::size_t row = 0; row < caches.size(); ++row) {
    if (writes_self) {
      caches[row]->commit(binding->batch().rows().length(static_cast<std::int64_t>(row)));
    }
    if (writes_cross) caches[row]->commit_cross(cross_lengths[row]);
  }
}

void BoundPass::rollback() {
  finished_ = true;
  for (const SequencePointer& cache : caches) cache->rollback();
}

BoundPass::~BoundPass() {
  if (!finished_) rollback();  // nothing to do where it was moved from: no caches
}

BoundPass bind_pass(lua_State* L, Options& options, std::shared_ptr<const Batch> batch,
                    bool writes_self, bool writes_cross) {
  BoundPass bound;
  bound.commits = options.boolean("commit").value_or(true);
  bound.writes_self = writes_self;
  bound.writes_cross = writes_cross;
  bound.caches = read_caches(L, options, *batch, writes_self || writes_cross);
  if (writes_self) batch = continue_rows(std::move(batch), bound.caches);
  bound.binding = std::make_shared<PassBinding>(state(L).context, batch);
  bound.cross_lengths = set_inputs(L, options, *bound.binding);
  set_wanted(L, options, *bound.binding);
  options.done();
  if (writes_cross && bound.cross_lengths.size() != static_cast<std::size_t>(batch->size())) {
    throw Error(ErrorCode::argument, options.op(),
                "this pass needs inputs.encoded with as many rows as the batch: " +
                    std::to_string(batch->size()));
  }
  if (!bound.caches.empty()) {
    reserve(bound, options.op());
    std::vector<SequenceCache*> borrowed;
    for (const SequencePointer& cache : bound.caches) borrowed.push_back(cache.get());
    bound.binding->set_caches(std::move(borrowed), &bound.caches.front()->cache()->layout());
  }
  return bound;
}

std::shared_ptr<ThreadPool> to_threads(lua_State* L, Options& options) {
  const std::optional<std::int64_t> threads = options.integer("threads");
  if (!threads) return nullptr;
  return state(L).context->pool_of(
      static_cast<int>(std::clamp<std::int64_t>(*threads, -1, 1 << 30)));
}

MathMode to_math(Options& options) {
  const auto mode = options.choice("compute", {"auto", "f32", "bf16"});
  return mode == "bf16" ? MathMode::bf16 : MathMode::f32;
}

}  // namespace perilune::lua
