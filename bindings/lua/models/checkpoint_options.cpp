#include "bindings/lua/models/checkpoint_options.h"

#include <set>

#include "bindings/lua/edge/arguments.h"

namespace perilune::lua {

namespace {

/// The value at the top: a name, or { name, axis, ... }.
SplitPart to_part(lua_State* L, const std::string& place) {
  auto words = to_texts(L, -1, "load", place);
  if (words.empty()) throw Error(ErrorCode::argument, "load", place + ": an empty part");
  SplitPart part{words.front(), {}};
  part.axes.assign(words.begin() + 1, words.end());
  return part;
}

/// The view at the top: { transpose=, split=, per=, rename= }.
WeightView to_view(lua_State* L, const std::string& pattern) {
  const std::string place = "views[\"" + pattern + "\"]";
  expect_table(L, -1, "load", place);
  Options options(L, -1, "load: " + place);
  WeightView view;
  view.pattern = pattern;
  view.rename = options.text("rename").value_or("");
  view.transpose = options.boolean("transpose").value_or(false);
  view.per = options.text("per").value_or("");
  if (options.push("split")) {
    expect_table(L, -1, "load", place + ".split");
    const int count = static_cast<int>(lua_objlen(L, -1));
    for (int i = 1; i <= count; ++i) {
      lua_rawgeti(L, -1, i);
      view.split.push_back(to_part(L, place + ".split"));
      lua_pop(L, 1);
    }
    lua_pop(L, 1);
  }
  options.done();
  return view;
}

std::vector<WeightView> to_views(lua_State* L, Options& options) {
  std::map<std::string, WeightView> sorted;
  if (options.push("views")) {
    expect_table(L, -1, "load", "option views");
    const int table = lua_gettop(L);
    for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1)) {
      lua_pushvalue(L, -2);
      const std::string pattern = to_text(L, -1, "load", "views");
      lua_pop(L, 1);
      sorted.emplace(pattern, to_view(L, pattern));
    }
    lua_pop(L, 1);
  }
  std::vector<WeightView> views;
  views.reserve(sorted.size());
  for (auto& [pattern, view] : sorted) views.push_back(std::move(view));
  return views;
}

/// { pattern → value } as (pattern, value) in order; `read` turns the value at the top.
template <class Read>
void each_pattern(lua_State* L, Options& options, const char* key, const Read& read) {
  if (!options.push(key)) return;
  expect_table(L, -1, "load", options.label(key));
  std::set<std::string> patterns;
  for (lua_pushnil(L); lua_next(L, -2) != 0; lua_pop(L, 1)) {
    lua_pushvalue(L, -2);
    patterns.insert(to_text(L, -1, "load", key));
    lua_pop(L, 1);
  }
  for (const std::string& pattern : patterns) {
    lua_getfield(L, -1, pattern.c_str());
    read(pattern, options.label(key) + "[\"" + pattern + "\"]");
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
}

/// Lists of names.
std::vector<std::vector<std::string>> to_groups(lua_State* L, Options& options) {
  std::vector<std::vector<std::string>> groups;
  if (!options.push("ties")) return groups;
  expect_table(L, -1, "load", "option ties");
  const int count = static_cast<int>(lua_objlen(L, -1));
  for (int i = 1; i <= count; ++i) {
    lua_rawgeti(L, -1, i);
    groups.push_back(to_texts(L, -1, "load", "option ties"));
    if (groups.back().empty()) groups.pop_back();
    lua_pop(L, 1);
  }
  lua_pop(L, 1);
  return groups;
}

}  // namespace

CheckpointOptions checkpoint_options(lua_State* L, int table) {
  Options options(L, table, "load");
  CheckpointOptions settings;
  settings.prefixes = options.texts("prefixes").value_or(std::vector<std::string>{});
  settings.unused = options.texts("unused").value_or(std::vector<std::string>{});
  settings.axes = options.sizes("axes").value_or(std::map<std::string, std::int64_t>{});
  settings.map = options.boolean("mmap").value_or(false);
  settings.ties = to_groups(L, options);
  settings.views = to_views(L, options);
  each_pattern(L, options, "permute", [&](const std::string& pattern, const std::string& place) {
    settings.permutations.push_back({pattern, to_text(L, -1, "load", place)});
  });
  each_pattern(L, options, "add", [&](const std::string& pattern, const std::string& place) {
    settings.offsets.push_back({pattern, static_cast<float>(to_number(L, -1, "load", place))});
  });
  options.done();
  return settings;
}

}  // namespace perilune::lua
