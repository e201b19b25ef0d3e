// The rooms of engine, bindings and stdlib: which may use which, read from includes and requires.
// Fails on a use against the table, on a cycle between files or rooms, on a file in no room, on a
// room that does not say what it is for, and on a layer crossed by name.
#include <algorithm>
#include <filesystem>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "tests/catch.h"
#include "tests/layout_sources.h"

using layout::ends_with;
using layout::folder_of;
using layout::joined;
using layout::lines_of;
using layout::module_of;
using layout::quoted;
using layout::starts_with;
using layout::Strings;
using layout::without_comment;

namespace {

/// A folder of sources. What its rooms may use it may use too.
struct Room {
  std::string folder;
  Strings uses;
};
using Rooms = std::vector<Room>;
/// Path -> text.
using Sources = std::map<std::string, std::string>;
/// A file, and one that it includes or requires. `to` may be a folder with a slash at its end.
struct Arrow {
  std::string from, to;
};
using Graph = std::map<std::string, std::set<std::string>>;

const Rooms kRooms = {
    {"engine/base", {}},
    {"engine/device", {"engine/base"}},
    {"engine/ranks", {"engine/base", "engine/device"}},
    {"engine/tensor", {"engine/device"}},
    {"engine/files", {"engine/tensor"}},
    {"engine/images", {"engine/base"}},
    {"engine/files/gguf", {"engine/files"}},
    {"engine/sound", {"engine/base"}},
    {"engine/files/whisper", {"engine/files/gguf"}},
    {"engine/weights", {"engine/files/gguf", "engine/files/whisper", "engine/weights/quantized"}},
    {"engine/weights/quantized", {"engine/files"}},
    {"engine/batch", {"engine/tensor"}},
    {"engine/cache", {"engine/tensor"}},
    {"engine/ops", {"engine/weights", "engine/batch", "engine/cache", "engine/ranks"}},
    {"engine/program", {"engine/ops"}},
    {"engine/plan", {"engine/program"}},
    {"engine/sampling", {"engine/base"}},
    {"engine/quantize", {"engine/weights", "engine/sampling"}},
    {"engine/constrain", {"engine/text/tokenizer"}},
    {"engine/serving", {"engine/plan", "engine/sampling", "engine/constrain"}},
    {"engine/serving/policies", {"engine/serving"}},
    {"engine/text/unicode", {"engine/base"}},
    {"engine/text/pattern", {"engine/text/unicode"}},
    {"engine/text/cut", {"engine/text/pattern"}},
    {"engine/text/decode", {"engine/text/pattern"}},
    {"engine/text/sentencepiece", {"engine/text/unicode"}},
    {"engine/text/normalize", {"engine/text/pattern", "engine/text/sentencepiece"}},
    {"engine/text/vocabulary", {"engine/text/sentencepiece"}},
    {"engine/text/tokenizer",
     {"engine/text/cut", "engine/text/decode", "engine/text/normalize", "engine/text/vocabulary"}},
    {"engine/text/readers", {"engine/text/tokenizer", "engine/files/gguf", "engine/files/whisper"}},

    {"bindings/lua/edge", {}},
    {"bindings/lua/tensors", {"bindings/lua/edge"}},
    {"bindings/lua/sound", {"bindings/lua/tensors"}},
    {"bindings/lua/text", {"bindings/lua/tensors"}},
    {"bindings/lua/batches", {"bindings/lua/text"}},
    {"bindings/lua/models", {"bindings/lua/batches"}},
    {"bindings/lua/serving", {"bindings/lua/models"}},
    {"bindings/lua/host", {"bindings/lua/serving", "bindings/lua/sound"}},
    {"bindings/c", {"bindings/lua/host", "engine/base"}},

    {"stdlib/perilune/types", {}},
    {"stdlib/perilune/base", {}},
    {"stdlib/perilune/chat/jinja", {}},
    {"stdlib/perilune/chat", {"stdlib/perilune/base", "stdlib/perilune/chat/jinja"}},
    {"stdlib/perilune/families", {"stdlib/perilune/base"}},
    {"stdlib/perilune/models", {"stdlib/perilune/families"}},
    {"stdlib/perilune/loaded", {"stdlib/perilune/models", "stdlib/perilune/chat"}},
    {"stdlib/perilune/policy", {"stdlib/perilune/base"}},
    {"stdlib/perilune/run", {"stdlib/perilune/loaded"}},
    {"stdlib/perilune/serve",
     {"stdlib/perilune/run", "stdlib/perilune/policy", "stdlib/perilune/chat",
      "stdlib/perilune/show"}},
    {"stdlib/perilune/speech", {"stdlib/perilune/serve"}},
    {"stdlib/perilune/pipelines", {"stdlib/perilune/serve", "stdlib/perilune/speech"}},
    {"stdlib/perilune/show", {"stdlib/perilune/base"}},
    {"stdlib/perilune/quantization", {"stdlib/perilune/run", "stdlib/perilune/show"}},
    {"stdlib/perilune/inside", {"stdlib/perilune/serve", "stdlib/perilune/show"}},
    {"stdlib/perilune",
     {"stdlib/perilune/pipelines", "stdlib/perilune/quantization", "stdlib/perilune/inside",
      "stdlib/perilune/chat"}},
    {"stdlib/perilune/host", {"stdlib/perilune"}},
    {"stdlib/perilune/program", {"stdlib/perilune"}},
    {"stdlib/perilune/compare", {"stdlib/perilune"}},
    {"stdlib/perilune/help/topics", {}},
    {"stdlib/perilune/help", {"stdlib/perilune/program", "stdlib/perilune/help/topics"}},
    {"stdlib/perilune/commands", {"stdlib/perilune/help", "stdlib/perilune/compare"}},
    {"stdlib/perilune/session", {"stdlib/perilune/commands"}},
};

/// What a room says of itself: what it is for and what it knows nothing of.
constexpr const char* kFirstFile = "README.md";

// ---------------------------------------------------------------- reading arrows

/// The headers of the project that a C++ file includes.
void add_includes(const std::string& path, const std::string& text, std::vector<Arrow>& arrows) {
  for (const std::string& line : lines_of(text)) {
    const std::size_t start = line.find_first_not_of(" \t");
    if (start == std::string::npos || line[start] != '#') continue;
    std::size_t at = line.find("include", start);
    if (at == std::string::npos) continue;
    const std::string header = quoted(line, at);
    if (header.find('/') != std::string::npos) arrows.push_back({path, header});
  }
}

/// The file of a module; a folder with a slash where the name goes on at run time; "" for none.
std::string file_of_module(const std::string& module, const Sources& sources) {
  std::string path = "stdlib/" + module;
  std::replace(path.begin() + 7, path.end(), '.', '/');
  if (ends_with(path, "/")) return path;
  for (const char* end : {".lua", "/init.lua"}) {
    if (sources.count(path + end) != 0) return path + end;
  }
  return "";
}

/// The modules of the standard library that a Lua file requires.
void add_requires(const std::string& path, const std::string& text, const Sources& sources,
                  std::vector<Arrow>& arrows) {
  for (const std::string& whole : lines_of(text)) {
    const std::string line = without_comment(whole, "--");
    for (std::size_t at = line.find("require"); at != std::string::npos;
         at = line.find("require", at)) {
      at += 7;
      const std::size_t next = line.find_first_not_of(" (", at);
      if (next == std::string::npos || (line[next] != '"' && line[next] != '\'')) continue;
      const std::string module = quoted(line, at);
      if (module == "perilune.core" || !starts_with(module, "perilune")) continue;
      arrows.push_back({path, file_of_module(module, sources)});
    }
  }
}

std::vector<Arrow> arrows_of(const Sources& sources) {
  std::vector<Arrow> arrows;
  for (const auto& [path, text] : sources) {
    if (ends_with(path, ".lua")) {
      add_requires(path, text, sources, arrows);
    } else {
      add_includes(path, text, arrows);
    }
  }
  return arrows;
}

// ---------------------------------------------------------------- faults

const Room* find_room(const Rooms& rooms, const std::string& folder) {
  for (const Room& room : rooms) {
    if (room.folder == folder) return &room;
  }
  return nullptr;
}

/// Whether `from` may use `to`, by itself or through a room that it may use.
bool may_use(const Rooms& rooms, const std::string& from, const std::string& to) {
  if (from == to) return true;
  const Room* room = find_room(rooms, from);
  return room != nullptr &&
         std::any_of(room->uses.begin(), room->uses.end(),
                     [&](const std::string& next) { return may_use(rooms, next, to); });
}

/// The nodes that lie on cycles or between two: what is left when everything is taken away that
/// nothing leads to, or that leads nowhere.
Strings cycles_of(Graph graph) {
  const auto leads = [&](const std::string& node) {
    const auto found = graph.find(node);
    return found != graph.end() && !found->second.empty();
  };
  for (bool changed = true; changed;) {
    changed = false;
    std::set<std::string> reached;
    for (auto& [from, tos] : graph) {
      for (auto to = tos.begin(); to != tos.end();) {
        const bool end = !leads(*to);
        changed = changed || end;
        to = end ? tos.erase(to) : std::next(to);
      }
      reached.insert(tos.begin(), tos.end());
    }
    for (auto node = graph.begin(); node != graph.end();) {
      const bool gone = node->second.empty() || reached.count(node->first) == 0;
      changed = changed || gone;
      node = gone ? graph.erase(node) : std::next(node);
    }
  }
  Strings nodes;
  for (const auto& [node, tos] : graph) nodes.push_back(node);
  return nodes;
}

Strings file_cycles(const std::vector<Arrow>& arrows) {
  Graph graph;
  for (const Arrow& arrow : arrows) {
    if (arrow.to.empty() || ends_with(arrow.to, "/")) continue;
    if (module_of(arrow.from) != module_of(arrow.to)) {
      graph[module_of(arrow.from)].insert(module_of(arrow.to));
    }
  }
  return cycles_of(std::move(graph));
}

Strings room_cycles(const Rooms& rooms) {
  Graph graph;
  for (const Room& room : rooms) graph[room.folder].insert(room.uses.begin(), room.uses.end());
  return cycles_of(std::move(graph));
}

/// Uses against the table, requires of nothing, and files that lie in no room.
Strings room_faults(const Rooms& rooms, const Sources& sources, const std::vector<Arrow>& arrows) {
  Strings faults;
  for (const auto& [path, text] : sources) {
    if (find_room(rooms, folder_of(path)) == nullptr) faults.push_back(path + ": in no known room");
  }
  for (const Arrow& arrow : arrows) {
    if (arrow.to.empty()) {
      faults.push_back(arrow.from + ": requires a module that is not there");
      continue;
    }
    const std::string from = folder_of(arrow.from), to = folder_of(arrow.to);
    // Arrows between layers are layout_test.cpp's.
    if (from.substr(0, from.find('/')) != to.substr(0, to.find('/'))) continue;
    if (!may_use(rooms, from, to)) {
      faults.push_back(arrow.from + ": " + arrow.to + ": " + from + " may not use " + to);
    }
  }
  return faults;
}

template <typename Exists>
Strings first_file_faults(const Rooms& rooms, const Exists& exists) {
  Strings faults;
  for (const Room& room : rooms) {
    const std::string path = room.folder + "/" + kFirstFile;
    if (!exists(path)) faults.push_back(path + ": what is the room for, what does it not know?");
  }
  return faults;
}

/// Names of the kernels in the bindings, which have those that the engine hands on.
Strings name_faults(const std::string& path, const std::string& text) {
  Strings faults;
  if (!starts_with(path, "bindings/")) return faults;
  int number = 0;
  for (const std::string& whole : lines_of(text)) {
    ++number;
    const std::string line = without_comment(whole, "//");
    for (const char* name : {"kernels::", "kernels()"}) {
      if (line.find(name) != std::string::npos) {
        faults.push_back(path + ":" + std::to_string(number) + ": " + name +
                         ": ask the engine for it");
      }
    }
  }
  return faults;
}

Sources project_sources() {
  Sources sources;
  Strings paths = layout::files({"engine", "bindings"}, layout::kCppEnds);
  const Strings scripts = layout::files({"stdlib"}, {".lua"});
  paths.insert(paths.end(), scripts.begin(), scripts.end());
  for (const std::string& path : paths) sources[path] = layout::read(path);
  return sources;
}

const Rooms kHouse = {{"engine/low", {}}, {"engine/high", {"engine/low"}}, {"stdlib/perilune", {}}};

Strings faults_of(const Sources& sources) {
  return room_faults(kHouse, sources, arrows_of(sources));
}

}  // namespace

// ---------------------------------------------------------------- it sees each kind of fault

TEST_CASE("a use against the table is seen") {
  CHECK(faults_of({{"engine/low/a.h", ""}, {"engine/high/b.cpp", "#include \"engine/low/a.h\"\n"}})
            .empty());
  CHECK(faults_of({{"engine/low/a.cpp", "  #  include \"engine/high/b.h\"\n"},
                   {"engine/high/b.h", ""}}) ==
        Strings{"engine/low/a.cpp: engine/high/b.h: engine/low may not use engine/high"});
  CHECK(faults_of({{"engine/low/a.cpp", "// #include \"engine/high/b.h\"\n"}}).empty());
  CHECK(may_use({{"a", {"b"}}, {"b", {"c"}}, {"c", {}}}, "a", "c"));
  CHECK_FALSE(may_use({{"a", {"b"}}, {"b", {"c"}}, {"c", {}}}, "c", "a"));
}

TEST_CASE("a file in no known room is seen") {
  CHECK(faults_of({{"engine/flat.cpp", ""}}) == Strings{"engine/flat.cpp: in no known room"});
  CHECK(faults_of({{"engine/low/inner/a.h", ""}}).size() == 1);
}

TEST_CASE("requires are arrows too") {
  const Rooms rooms = {{"stdlib/perilune/base", {}}, {"stdlib/perilune/run", {}}};
  const auto faults = [&](const std::string& line) {
    const Sources sources = {{"stdlib/perilune/base/a.lua", line},
                             {"stdlib/perilune/run/b.lua", "return {}"}};
    return room_faults(rooms, sources, arrows_of(sources)).size();
  };
  CHECK(faults("local b = require \"perilune.run.b\"") == 1);
  CHECK(faults("local b, c = 1, require('perilune.run.b')") == 1);
  CHECK(faults("local b = require(\"perilune.run.\" .. name)") == 1);
  CHECK(faults("local b = require \"perilune.run.gone\"") == 1);
  CHECK(faults("local b = require \"perilune.core\"") == 0);
  CHECK(faults("-- require \"perilune.run.b\"") == 0);
  CHECK(faults("local b = require(name)") == 0);
}

TEST_CASE("a cycle is seen between files and between rooms") {
  const Sources pair = {{"engine/low/a.h", ""},
                        {"engine/low/a.cpp", "#include \"engine/low/b.h\""},
                        {"engine/low/b.h", "#include \"engine/low/a.h\""},
                        {"engine/low/c.h", "#include \"engine/low/a.h\""}};
  CHECK(file_cycles(arrows_of(pair)) == Strings{"engine/low/a", "engine/low/b"});
  const Sources lua = {{"stdlib/perilune/a.lua", "local b = require \"perilune.b\""},
                       {"stdlib/perilune/b.lua", "x = function() require \"perilune.a\" end"}};
  CHECK(file_cycles(arrows_of(lua)).size() == 2);
  CHECK(room_cycles({{"a", {"b"}}, {"b", {"c"}}, {"c", {"a"}}, {"d", {"a"}}}) ==
        Strings{"a", "b", "c"});
  CHECK(room_cycles({{"a", {"b"}}, {"b", {}}}).empty());
}

TEST_CASE("a room that does not say what it is for is seen") {
  const auto only_low = [](const std::string& path) { return path == "engine/low/README.md"; };
  CHECK(first_file_faults({{"engine/low", {}}}, only_low).empty());
  CHECK(first_file_faults({{"engine/high", {}}}, only_low).size() == 1);
}

TEST_CASE("a name of the kernels in the bindings is seen") {
  CHECK(name_faults("bindings/lua/a.cpp", "\nauto x = kernels::kMaxAxes;") ==
        Strings{"bindings/lua/a.cpp:2: kernels::: ask the engine for it"});
  CHECK(name_faults("bindings/lua/a.cpp", "device->kernels().tier").size() == 1);
  CHECK(name_faults("bindings/lua/a.cpp", "// kernels::kMaxAxes").empty());
  CHECK(name_faults("engine/ops/a.cpp", "kernels::kMaxAxes").empty());
}

// ---------------------------------------------------------------- the project

TEST_CASE("rooms are used along the arrows") {
  const Sources sources = project_sources();
  REQUIRE(sources.size() > 300);  // otherwise this is not the project's root
  const std::vector<Arrow> arrows = arrows_of(sources);
  REQUIRE(arrows.size() > 1000);
  const Strings faults = room_faults(kRooms, sources, arrows);
  INFO("against the arrows:" << joined(faults));
  CHECK(faults.empty());
  const Strings cycles = file_cycles(arrows);
  INFO("on cycles of includes or requires:" << joined(cycles));
  CHECK(cycles.empty());
  CHECK(room_cycles(kRooms).empty());
}

TEST_CASE("every room says what it is for") {
  const Strings faults = first_file_faults(
      kRooms, [](const std::string& path) { return std::filesystem::exists(path); });
  INFO("missing:" << joined(faults));
  CHECK(faults.empty());
}

TEST_CASE("layers are not crossed by name") {
  Strings faults;
  for (const auto& [path, text] : project_sources()) {
    for (const std::string& fault : name_faults(path, text)) faults.push_back(fault);
  }
  INFO("crossed by name:" << joined(faults));
  CHECK(faults.empty());
}
