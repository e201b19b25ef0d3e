#include "bindings/lua/models/save_checkpoint.h"

#include <set>

#include "bindings/lua/edge/arguments.h"
#include "bindings/lua/edge/guard.h"
#include "bindings/lua/edge/state.h"
#include "bindings/lua/models/checkpoint_object.h"
#include "engine/files/gguf/shards.h"
#include "engine/weights/save_weights.h"

namespace perilune::lua {
namespace {

const Checkpoint& open_checkpoint(lua_State* L) {
  const auto& object = self<CheckpointObject>(L, "save");
  if (object.checkpoint == nullptr) {
    throw Error(ErrorCode::state, "save", "the checkpoint was closed");
  }
  return *object.checkpoint;
}

/// The function at the index as progress; none where there is nil.
SaveProgress to_progress(lua_State* L, int index) {
  if (lua_isnoneornil(L, index)) return {};
  const ReferencePointer function = make_reference(L, index);
  return [L, function](std::size_t done, std::size_t total) {
    callback(L, "on_progress", [&] {
      function->push(L);
      push_integer(L, static_cast<std::int64_t>(done));
      push_integer(L, static_cast<std::int64_t>(total));
      call(L, 2, 0, "on_progress");
    });
  };
}

GgufType value_type(const std::string& name) {
  for (std::uint32_t number = 0; number <= static_cast<std::uint32_t>(GgufType::f64); ++number) {
    const auto type = static_cast<GgufType>(number);
    if (name == gguf_type_name(type)) return type;
  }
  throw Error(ErrorCode::argument, "save", "GGUF has no values of kind \"" + name + "\"");
}

/// The value at the top as `kind`.
GgufPair to_pair(lua_State* L, const std::string& key, const std::string& kind) {
  constexpr std::string_view kArray = "array of ";
  if (kind == "string") return GgufPair::text(key, to_text(L, -1, "save", key));
  if (kind == "boolean") {
    return GgufPair::number(key, GgufType::boolean, to_boolean(L, -1, "save", key) ? 1 : 0);
  }
  if (!kind.starts_with(kArray)) {
    return GgufPair::number(key, value_type(kind), to_number(L, -1, "save", key));
  }
  const std::string element = kind.substr(kArray.size());
  if (element == "string") return GgufPair::texts(key, to_texts(L, -1, "save", key));
  return GgufPair::numbers(key, value_type(element), to_numbers(L, -1, "save", key));
}

/// Entry `i` of the list at the top, on the top.
void push_entry(lua_State* L, int i, const std::string& name) {
  lua_rawgeti(L, -1, i);
  expect_table(L, -1, "save", name);
}

std::vector<GgufPair> to_pairs(lua_State* L, Options& options) {
  std::vector<GgufPair> given, pairs;
  std::set<std::string> keys;
  if (options.push("keys")) {
    const auto count = static_cast<int>(list_length(L, -1, "save", "keys"));
    for (int i = 1; i <= count; ++i) {
      push_entry(L, i, "keys");
      lua_rawgeti(L, -1, 1);
      lua_rawgeti(L, -2, 2);
      const std::string key = to_text(L, -2, "save", "key"), kind = to_text(L, -1, "save", "kind");
      lua_pop(L, 2);
      lua_rawgeti(L, -1, 3);
      if (keys.insert(key).second) given.push_back(to_pair(L, key, kind));
      lua_pop(L, 2);
    }
    lua_pop(L, 1);
  }
  if (const auto like = options.text("like")) {
    const auto heads = open_gguf_heads(*like);
    const GgufFile& head = *heads.front();
    for (const std::string& key : head.keys()) {
      const bool split = key.starts_with("split.") || key == "general.alignment";
      if (!split && !keys.contains(key)) pairs.push_back({key, head.value_bytes(key)});
    }
  }
  pairs.insert(pairs.end(), given.begin(), given.end());
  return pairs;
}

std::vector<GgufWeight> to_weights(lua_State* L, Options& options) {
  std::vector<GgufWeight> weights;
  if (!options.push("tensors")) return weights;
  const auto count = static_cast<int>(list_length(L, -1, "save", "tensors"));
  for (int i = 1; i <= count; ++i) {
    push_entry(L, i, "tensors");
    Options entry(L, -1, "save");
    GgufWeight& weight = weights.emplace_back();
    weight.name = entry.text("name").value_or("");
    weight.sources = entry.texts("sources").value_or(std::vector<std::string>{});
    weight.head_rows = entry.integer("head_rows").value_or(0);
    weight.added = static_cast<float>(entry.number("add").value_or(0));
    if (entry.push("values")) {
      for (const double value : to_numbers(L, -1, "save", "values")) {
        weight.values.push_back(static_cast<float>(value));
      }
      lua_pop(L, 1);
    }
    entry.done();
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return weights;
}

}  // namespace

int save_checkpoint(lua_State* L) {
  const Checkpoint& checkpoint = open_checkpoint(L);
  const std::string path = to_text(L, 2, "save", "path");
  std::map<std::string, std::string> metadata;
  expect_table(L, 3, "save", "metadata");
  for (lua_pushnil(L); lua_next(L, 3) != 0; lua_pop(L, 1)) {
    lua_pushvalue(L, -2);
    const std::string key = to_text(L, -1, "save", "metadata");
    lua_pop(L, 1);
    metadata[key] = to_text(L, -1, "save", "metadata");
  }
  save_weights(state(L).context, checkpoint, path, std::move(metadata), to_progress(L, 4));
  return 0;
}

int save_checkpoint_as_gguf(lua_State* L) {
  const Checkpoint& checkpoint = open_checkpoint(L);
  const std::string path = to_text(L, 2, "save", "path");
  Options options(L, 3, "save");
  const std::vector<GgufPair> keys = to_pairs(L, options);
  const std::vector<GgufWeight> weights = to_weights(L, options);
  options.done();
  save_gguf(state(L).context, checkpoint, path, keys, weights, to_progress(L, 4));
  return 0;
}

}  // namespace perilune::lua
