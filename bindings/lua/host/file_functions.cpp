// core: JSON and files.
#include <dirent.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>

#include "bindings/lua/edge/json.h"
#include "bindings/lua/host/functions.h"
#include "engine/base/file.h"
#include "engine/base/file_source.h"
#include "engine/base/json.h"
#include "engine/base/placeholder.h"
#include "engine/base/settings_limits.h"
#include "engine/base/sha256.h"

namespace perilune::lua {

namespace {

int json(lua_State* L) {
  const std::string text = to_text(L, 1, "json", "text");
  const std::string name = lua_isnoneornil(L, 2) ? "json" : to_text(L, 2, "json", "name");
  refuse_placeholder(text, name);
  push_json(L, parse_json(text, name));
  return 1;
}

int read_json_file(lua_State* L) {
  push_json(L, read_json(to_text(L, 1, "read_json", "path"), kSettingsLimits));
  return 1;
}

int write_json_text(lua_State* L) {
  const std::int64_t indent = lua_isnoneornil(L, 2) ? -1 : to_integer(L, 2, "write_json", "indent");
  push_text(L,
            write_json(to_json(L, 1), static_cast<int>(std::clamp<std::int64_t>(indent, -1, 16))));
  return 1;
}

/// decode_json(text, name, null in lists, null in objects, order)
int decode_json(lua_State* L) {
  const std::string text = to_text(L, 1, "json.decode", "text");
  const std::string name = to_text(L, 2, "json.decode", "name");
  lua_settop(L, 5);
  JsonReading how;
  how.list_null = 3;
  how.member_null = 4;
  how.order = lua_toboolean(L, 5) != 0;
  push_json(L, parse_json(text, name), how);
  return 1;
}

/// encode_json(value, null, indent, names that come first)
int encode_json(lua_State* L) {
  lua_settop(L, 4);
  JsonWriting how;
  how.op = "json.encode";
  how.null = 2;
  how.finite = true;
  const std::int64_t indent = to_integer(L, 3, how.op, "indent");
  if (!lua_isnil(L, 4)) how.order = to_texts(L, 4, how.op, "option order");
  push_text(L, write_json(to_json(L, 1, how), static_cast<int>(indent)));
  return 1;
}

/// json_names(object) -> names of its members
int json_names(lua_State* L) {
  expect_table(L, 1, "json.names", "object");
  push_list(L, member_names(L, 1));
  return 1;
}

int array(lua_State* L) {
  expect_table(L, 1, "array", "list");
  lua_settop(L, 1);
  push_array_metatable(L);
  lua_setmetatable(L, 1);
  return 1;
}

/// read_file(path [, most bytes])
int read_whole_file(lua_State* L) {
  const std::int64_t most =
      lua_isnoneornil(L, 2) ? std::int64_t{1} << 32 : to_integer(L, 2, "read_file", "most bytes");
  push_text(L, read_file(to_text(L, 1, "read_file", "path"),
                         static_cast<std::uint64_t>(std::max<std::int64_t>(most, 0)), "read_file"));
  return 1;
}

[[noreturn]] void file_error(const std::string& op, const std::string& path) {
  throw Error(ErrorCode::file, op, path + ": " + std::strerror(errno));
}

int write_file(lua_State* L) {
  const std::string path = to_text(L, 1, "write_file", "path");
  const std::string text = to_text(L, 2, "write_file", "text");
  PendingFile file(path, "write_file");
  file.write(text.data(), text.size());
  file.keep();
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

/// remove_path(path, with what is inside, op) -> whether there was something
int remove_path(lua_State* L) {
  const std::string path = to_text(L, 1, "remove_path", "path");
  const bool all = to_boolean(L, 2, "remove_path", "all");
  const std::string op = to_text(L, 3, "remove_path", "op");
  std::error_code problem;
  const bool removed =
      all ? std::filesystem::remove_all(path, problem) > 0 : std::filesystem::remove(path, problem);
  if (problem) {
    Error error(ErrorCode::file, op, path + ": " + problem.message());
    if (problem == std::errc::directory_not_empty) {
      error.hint("{ all = true } removes what is inside, too");
    }
    throw error;
  }
  lua_pushboolean(L, removed ? 1 : 0);
  return 1;
}

/// sha256(path, op) -> 64 hexadecimal digits
int sha256(lua_State* L) {
  push_text(L, sha256_of_file(to_text(L, 1, "sha256", "path"), to_text(L, 2, "sha256", "op")));
  return 1;
}

int list_directory(lua_State* L) {
  const std::string path = to_text(L, 1, "list_directory", "path");
  const std::string op =
      lua_isnoneornil(L, 2) ? "list_directory" : to_text(L, 2, "list_directory", "op");
  if (find_in_source(path).kind == FileSource::Kind::folder) {  // a host's are not listed
    push_list(L, std::vector<std::string>{});
    return 1;
  }
  DIR* handle = opendir(path.c_str());
  if (handle == nullptr) file_error(op, path);
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

void add_file_functions(lua_State* L) {
  constexpr Member kFunctions[] = {
      {"json", guarded<json>},
      {"read_json", guarded<read_json_file>},
      {"write_json", guarded<write_json_text>},
      {"decode_json", guarded<decode_json>},
      {"encode_json", guarded<encode_json>},
      {"json_names", guarded<json_names>},
      {"array", guarded<array>},
      {"read_file", guarded<read_whole_file>},
      {"write_file", guarded_once<write_file>},
      {"file_exists", guarded<exists>},
      {"folder_exists", guarded<folder>},
      {"list_directory", guarded<list_directory>},
      {"sha256", guarded<sha256>},
      {"make_directory", guarded<make_directory>},
      {"remove_path", guarded_once<remove_path>},
  };
  set_functions(L, kFunctions);
}

}  // namespace perilune::lua
