// core: JSON and files.
#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <filesystem>

#include "bindings/lua/types.h"
#include "engine/base/file.h"
#include "engine/base/json.h"

namespace perilune::lua {

namespace {

constexpr char kArrayKey = 0;  // its address: metatable of lists made by core.array
constexpr int kMaxDepth = 64;

void push_array_metatable(lua_State* L) {
  lua_pushlightuserdata(L, const_cast<char*>(&kArrayKey));
  lua_rawget(L, LUA_REGISTRYINDEX);
  if (lua_istable(L, -1)) return;
  lua_pop(L, 1);
  lua_newtable(L);
  lua_pushlightuserdata(L, const_cast<char*>(&kArrayKey));
  lua_pushvalue(L, -2);
  lua_rawset(L, LUA_REGISTRYINDEX);
}

bool marked_array(lua_State* L, int index) {
  if (lua_getmetatable(L, index) == 0) return false;
  push_array_metatable(L);
  const bool same = lua_rawequal(L, -1, -2) != 0;
  lua_pop(L, 2);
  return same;
}

Json to_json(lua_State* L, int index, int depth);

Json table_to_json(lua_State* L, int index, int depth) {
  const int table = absolute(L, index);
  const std::size_t count = lua_objlen(L, table);
  if (count > 0 || marked_array(L, table)) {
    Json array = Json::array();
    for (std::size_t i = 1; i <= count; ++i) {
      lua_rawgeti(L, table, static_cast<int>(i));
      array.push(to_json(L, -1, depth + 1));
      lua_pop(L, 1);
    }
    return array;
  }
  std::vector<std::pair<std::string, Json>> members;
  for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING) {
      throw Error(ErrorCode::argument, "write_json",
                  "a table's keys must be 1..n or names, got " + describe_value(L, -2));
    }
    members.emplace_back(lua_tostring(L, -2), to_json(L, -1, depth + 1));
  }
  std::sort(members.begin(), members.end(),
            [](const auto& a, const auto& b) { return a.first < b.first; });
  Json object = Json::object();
  for (auto& member : members) object.set(member.first, std::move(member.second));
  return object;
}

Json to_json(lua_State* L, int index, int depth) {
  if (depth > kMaxDepth) {
    throw Error(ErrorCode::argument, "write_json", "the value is nested too deeply, or in itself");
  }
  reserve_stack(L, 8);
  switch (lua_type(L, index)) {
    case LUA_TNIL: return {};
    case LUA_TBOOLEAN: return {lua_toboolean(L, index) != 0};
    case LUA_TNUMBER: {
      const double value = lua_tonumber(L, index);
      if (value == std::floor(value) && std::abs(value) <= kMaxWhole) {
        return {static_cast<std::int64_t>(value)};
      }
      return {value};
    }
    case LUA_TSTRING: return {to_text(L, index, "write_json", "value")};
    case LUA_TTABLE: return table_to_json(L, index, depth);
    default:
      throw Error(ErrorCode::argument, "write_json",
                  describe_value(L, index) + " cannot be written as JSON");
  }
}

int json(lua_State* L) {
  const std::string text = to_text(L, 1, "json", "text");
  const std::string name = lua_isnoneornil(L, 2) ? "json" : to_text(L, 2, "json", "name");
  push_json(L, parse_json(text, name));
  return 1;
}

int read_json_file(lua_State* L) {
  push_json(L, read_json(to_text(L, 1, "read_json", "path")));
  return 1;
}

int write_json_text(lua_State* L) {
  const std::int64_t indent = lua_isnoneornil(L, 2) ? -1 : to_integer(L, 2, "write_json", "indent");
  push_text(
      L, write_json(to_json(L, 1, 0), static_cast<int>(std::clamp<std::int64_t>(indent, -1, 16))));
  return 1;
}

int array(lua_State* L) {
  expect_table(L, 1, "array", "list");
  lua_settop(L, 1);
  push_array_metatable(L);
  lua_setmetatable(L, 1);
  return 1;
}

int read_whole_file(lua_State* L) {
  push_text(L, read_file(to_text(L, 1, "read_file", "path"), std::uint64_t{1} << 32, "read_file"));
  return 1;
}

[[noreturn]] void file_error(const std::string& op, const std::string& path) {
  throw Error(ErrorCode::file, op, path + ": " + std::strerror(errno));
}

int write_file(lua_State* L) {
  const std::string path = to_text(L, 1, "write_file", "path");
  const std::string text = to_text(L, 2, "write_file", "text");
  const std::string temporary = path + ".tmp" + std::to_string(getpid());
  const int file = ::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  if (file < 0) file_error("write_file", temporary);
  std::size_t written = 0;
  while (written < text.size()) {
    const ssize_t count = ::write(file, text.data() + written, text.size() - written);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) break;
    written += static_cast<std::size_t>(count);
  }
  const bool complete = written == text.size() && ::close(file) == 0;
  if (!complete || std::rename(temporary.c_str(), path.c_str()) != 0) {
    const int reason = errno;
    ::unlink(temporary.c_str());
    errno = reason;
    file_error("write_file", path);
  }
  return 0;
}

int exists(lua_State* L) {
  const std::string path = to_text(L, 1, "file_exists", "path");
  lua_pushboolean(L, file_exists(path) ? 1 : 0);
  return 1;
}

int folder(lua_State* L) {
  const std::string path = to_text(L, 1, "folder_exists", "path");
  lua_pushboolean(L, folder_exists(path) ? 1 : 0);
  return 1;
}

/// make_directory(path, op): makes a folder and those above it; one that is there is fine.
int make_directory(lua_State* L) {
  const std::string path = to_text(L, 1, "make_directory", "path");
  const std::string op = to_text(L, 2, "make_directory", "op");
  std::error_code problem;
  std::filesystem::create_directories(path, problem);
  if (!problem) return 0;
  throw Error(ErrorCode::file, op, path + ": " + problem.message());
}

int list_directory(lua_State* L) {
  const std::string path = to_text(L, 1, "list_directory", "path");
  DIR* handle = opendir(path.c_str());
  if (handle == nullptr) file_error("list_directory", path);
  std::vector<std::string> names;
  while (const dirent* entry = readdir(handle)) {
    const std::string name = entry->d_name;
    if (name != "." && name != "..") names.push_back(name);
  }
  closedir(handle);
  std::sort(names.begin(), names.end());
  push_list(L, names);
  return 1;
}

}  // namespace

void push_json(lua_State* L, const Json& value) {
  reserve_stack(L, 8);  // depth is bounded by the parser
  switch (value.kind()) {
    case Json::Kind::null: lua_pushnil(L); break;
    case Json::Kind::boolean: lua_pushboolean(L, value.as_boolean() ? 1 : 0); break;
    case Json::Kind::integer: push_integer(L, value.as_integer()); break;
    case Json::Kind::number: lua_pushnumber(L, value.as_number()); break;
    case Json::Kind::string: push_text(L, value.as_string()); break;
    case Json::Kind::array: {
      lua_newtable(L);
      int position = 0;
      for (const Json& item : value.items()) {
        push_json(L, item);
        lua_rawseti(L, -2, ++position);
      }
      push_array_metatable(L);
      lua_setmetatable(L, -2);
      break;
    }
    case Json::Kind::object:
      lua_newtable(L);
      for (const auto& [name, member] : value.members()) {
        push_text(L, name);
        push_json(L, member);
        lua_rawset(L, -3);
      }
      break;
  }
}

void add_file_functions(lua_State* L) {
  constexpr Member kFunctions[] = {
      {"json", guarded<json>},
      {"read_json", guarded<read_json_file>},
      {"write_json", guarded<write_json_text>},
      {"array", guarded<array>},
      {"read_file", guarded<read_whole_file>},
      {"write_file", guarded_once<write_file>},
      {"file_exists", guarded<exists>},
      {"folder_exists", guarded<folder>},
      {"list_directory", guarded<list_directory>},
      {"make_directory", guarded<make_directory>},
  };
  set_functions(L, kFunctions);
}

}  // namespace perilune::lua
