#include "bindings/lua/edge/arguments.h"

#include <cmath>

#include "engine/base/near_names.h"

namespace perilune::lua {

namespace {

[[noreturn]] void wrong(lua_State* L, int index, const std::string& op, const std::string& name,
                        const char* expected) {
  const bool option = name.rfind("option ", 0) == 0;
  throw Error(option ? ErrorCode::option : ErrorCode::argument, op,
              name + ": expected " + expected + ", got " + describe_value(L, index));
}

/// Calls `read(index)` for each entry of a list, or once for a value alone.
template <class Read>
void each_entry(lua_State* L, int index, const std::string& op, const std::string& name,
                Read read) {
  if (!lua_istable(L, index)) {
    read(index, std::size_t{0});
    return;
  }
  const int table = absolute(L, index);
  const std::size_t count = list_length(L, table, op, name);
  for (std::size_t i = 1; i <= count; ++i) {
    lua_rawgeti(L, table, static_cast<int>(i));
    read(-1, i);
    lua_pop(L, 1);
  }
}

std::string entry_name(const std::string& name, std::size_t entry) {
  return entry == 0 ? name : name + "[" + std::to_string(entry) + "]";
}

template <class T, class Push>
void push_all(lua_State* L, const std::vector<T>& list, Push push) {
  reserve_stack(L, 4);
  lua_createtable(L, static_cast<int>(list.size()), 0);
  int position = 0;
  for (const T& value : list) {
    push(value);
    lua_rawseti(L, -2, ++position);
  }
}

}  // namespace

int absolute(lua_State* L, int index) {
  return index < 0 && index > LUA_REGISTRYINDEX ? lua_gettop(L) + index + 1 : index;
}

bool is_number(lua_State* L, int index) {
  return lua_type(L, index) == LUA_TNUMBER;
}

bool is_list(lua_State* L, int index) {
  if (!lua_istable(L, index)) return false;
  if (lua_objlen(L, index) > 0) return true;
  const int table = absolute(L, index);
  lua_pushnil(L);
  if (lua_next(L, table) == 0) return true;
  lua_pop(L, 2);
  return false;
}

std::size_t list_length(lua_State* L, int index, const std::string& op, const std::string& name) {
  const int table = absolute(L, index);
  const std::size_t count = lua_objlen(L, table);
  std::size_t found = 0;
  reserve_stack(L, 4);
  for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1)) {
    ++found;
    if (is_number(L, -2)) continue;
    throw Error(ErrorCode::argument, op,
                name + ": expected a list, got a table with the key " + describe_value(L, -2));
  }
  if (found == count) return count;
  for (int entry = 1;; ++entry) {
    lua_rawgeti(L, table, entry);
    const bool empty = lua_isnil(L, -1);
    lua_pop(L, 1);
    if (!empty) continue;
    throw Error(ErrorCode::argument, op,
                name + ": the list has a hole: entry " + std::to_string(entry) + " is nil");
  }
}

std::string to_text(lua_State* L, int index, const std::string& op, const std::string& name) {
  if (lua_type(L, index) != LUA_TSTRING) wrong(L, index, op, name, "a string");
  std::size_t size = 0;
  const char* text = lua_tolstring(L, index, &size);
  return {text, size};
}

double to_number(lua_State* L, int index, const std::string& op, const std::string& name) {
  if (!is_number(L, index)) wrong(L, index, op, name, "a number");
  return lua_tonumber(L, index);
}

std::int64_t to_integer(lua_State* L, int index, const std::string& op, const std::string& name) {
  if (!is_number(L, index)) wrong(L, index, op, name, "a whole number");
  const double value = lua_tonumber(L, index);
  if (!(std::abs(value) <= kMaxWhole) || value != std::floor(value)) {
    wrong(L, index, op, name, "a whole number");
  }
  return static_cast<std::int64_t>(value);
}

bool to_boolean(lua_State* L, int index, const std::string& op, const std::string& name) {
  if (lua_type(L, index) != LUA_TBOOLEAN) wrong(L, index, op, name, "true or false");
  return lua_toboolean(L, index) != 0;
}

std::int32_t to_id(lua_State* L, int index, const std::string& op, const std::string& name) {
  const std::int64_t value = to_integer(L, index, op, name);
  if (value < INT32_MIN || value > INT32_MAX) wrong(L, index, op, name, "an id");
  return static_cast<std::int32_t>(value);
}

void expect_table(lua_State* L, int index, const std::string& op, const std::string& name) {
  if (!lua_istable(L, index)) wrong(L, index, op, name, "a table");
}

DType dtype_by_name(const std::string& name, const std::string& op) {
  std::vector<std::string> names;
  for (int i = 0; i <= static_cast<int>(DType::boolean); ++i) {
    const auto dtype = static_cast<DType>(i);
    if (name == dtype_name(dtype)) return dtype;
    names.emplace_back(dtype_name(dtype));
  }
  throw Error(ErrorCode::dtype, op, "unknown dtype \"" + name + "\"")
      .hint(unknown_name_hint(name, names, "dtypes", op));
}

const Device* optional_device(lua_State* L, int index, const std::string& op) {
  if (lua_isnoneornil(L, index)) return nullptr;
  return state(L).context->device(to_text(L, index, op, "device")).get();
}

DType to_dtype(lua_State* L, int index, const std::string& op, const std::string& name) {
  return dtype_by_name(to_text(L, index, op, name), op);
}

std::vector<std::string> to_texts(lua_State* L, int index, const std::string& op,
                                  const std::string& name) {
  std::vector<std::string> result;
  each_entry(L, index, op, name, [&](int entry, std::size_t i) {
    result.push_back(to_text(L, entry, op, entry_name(name, i)));
  });
  return result;
}

std::vector<std::int64_t> to_integers(lua_State* L, int index, const std::string& op,
                                      const std::string& name) {
  std::vector<std::int64_t> result;
  each_entry(L, index, op, name, [&](int entry, std::size_t i) {
    result.push_back(to_integer(L, entry, op, entry_name(name, i)));
  });
  return result;
}

std::vector<std::int32_t> to_ids(lua_State* L, int index, const std::string& op,
                                 const std::string& name) {
  std::vector<std::int32_t> result;
  each_entry(L, index, op, name, [&](int entry, std::size_t i) {
    result.push_back(to_id(L, entry, op, entry_name(name, i)));
  });
  return result;
}

std::vector<double> to_numbers(lua_State* L, int index, const std::string& op,
                               const std::string& name) {
  std::vector<double> result;
  each_entry(L, index, op, name, [&](int entry, std::size_t i) {
    result.push_back(to_number(L, entry, op, entry_name(name, i)));
  });
  return result;
}

std::map<std::string, std::int64_t> to_sizes(lua_State* L, int index, const std::string& op,
                                             const std::string& name) {
  expect_table(L, index, op, name);
  std::map<std::string, std::int64_t> result;
  const int table = absolute(L, index);
  reserve_stack(L, 4);
  for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING) wrong(L, -2, op, name, "names as keys");
    const std::string key = lua_tostring(L, -2);
    result[key] = to_integer(L, -1, op, std::string(name).append(".").append(key));
  }
  return result;
}

Options::Options(lua_State* L, int index, std::string op) : L_(L), index_(0), op_(std::move(op)) {
  if (lua_isnoneornil(L, index)) return;
  if (!lua_istable(L, index)) wrong(L, index, op_, "options", "a table of options");
  index_ = absolute(L, index);
}

bool Options::push(const char* key) {
  known_.insert(key);
  if (index_ == 0) return false;
  lua_pushstring(L_, key);
  lua_rawget(L_, index_);
  if (!lua_isnil(L_, -1)) return true;
  lua_pop(L_, 1);
  return false;
}

bool Options::has(const char* key) {
  if (!push(key)) return false;
  lua_pop(L_, 1);
  return true;
}

std::optional<std::string> Options::text(const char* key) {
  if (!push(key)) return std::nullopt;
  auto value = to_text(L_, -1, op_, label(key));
  lua_pop(L_, 1);
  return value;
}

std::optional<double> Options::number(const char* key) {
  if (!push(key)) return std::nullopt;
  const double value = to_number(L_, -1, op_, label(key));
  lua_pop(L_, 1);
  return value;
}

std::optional<std::int64_t> Options::integer(const char* key) {
  if (!push(key)) return std::nullopt;
  const std::int64_t value = to_integer(L_, -1, op_, label(key));
  lua_pop(L_, 1);
  return value;
}

std::optional<bool> Options::boolean(const char* key) {
  if (!push(key)) return std::nullopt;
  const bool value = to_boolean(L_, -1, op_, label(key));
  lua_pop(L_, 1);
  return value;
}

std::optional<std::vector<std::string>> Options::texts(const char* key) {
  if (!push(key)) return std::nullopt;
  auto value = to_texts(L_, -1, op_, label(key));
  lua_pop(L_, 1);
  return value;
}

std::optional<std::vector<std::int64_t>> Options::integers(const char* key) {
  if (!push(key)) return std::nullopt;
  auto value = to_integers(L_, -1, op_, label(key));
  lua_pop(L_, 1);
  return value;
}

std::optional<std::vector<std::int32_t>> Options::ids(const char* key) {
  if (!push(key)) return std::nullopt;
  auto value = to_ids(L_, -1, op_, label(key));
  lua_pop(L_, 1);
  return value;
}

std::optional<std::map<std::string, std::int64_t>> Options::sizes(const char* key) {
  if (!push(key)) return std::nullopt;
  auto value = to_sizes(L_, -1, op_, label(key));
  lua_pop(L_, 1);
  return value;
}

std::optional<DType> Options::dtype(const char* key) {
  if (!push(key)) return std::nullopt;
  const DType value = to_dtype(L_, -1, op_, label(key));
  lua_pop(L_, 1);
  return value;
}

ReferencePointer Options::function(const char* key) {
  if (!push(key)) return nullptr;
  if (!lua_isfunction(L_, -1)) wrong(L_, -1, op_, label(key), "a function");
  ReferencePointer value = make_reference(L_, -1);
  lua_pop(L_, 1);
  return value;
}

std::optional<std::string> Options::choice(const char* key,
                                           const std::vector<std::string>& values) {
  std::optional<std::string> value = text(key);
  if (!value) return std::nullopt;
  std::string list;
  for (const std::string& known : values) {
    if (known == *value) return value;
    list += (list.empty() ? "\"" : ", \"") + known + "\"";
  }
  throw Error(ErrorCode::option, op_, label(key) + ": \"" + *value + "\" is not one of " + list)
      .hint(did_you_mean(*value, values));
}

void Options::done() {
  if (index_ == 0) return;
  reserve_stack(L_, 4);
  for (lua_pushnil(L_); lua_next(L_, index_) != 0; lua_pop(L_, 1)) {
    if (lua_type(L_, -2) != LUA_TSTRING) {
      std::string names;
      for (const std::string& name : known_) names += (names.empty() ? "" : ", ") + name + "=";
      throw Error(ErrorCode::option, op_, "options are named; got " + describe_value(L_, -2))
          .hint(known_.empty() || known_.size() > 8 ? "" : "there are " + names);
    }
    const std::string key = lua_tostring(L_, -2);
    if (known_.count(key) != 0) continue;
    throw Error(ErrorCode::option, op_, "unknown option \"" + key + "\"")
        .hint(unknown_name_hint(key, {known_.begin(), known_.end()}, "options", op_));
  }
}

void push_text(lua_State* L, std::string_view text) {
  lua_pushlstring(L, text.data(), text.size());
}

void push_integer(lua_State* L, std::int64_t value) {
  lua_pushnumber(L, static_cast<double>(value));
}

void set_field(lua_State* L, const char* key, std::string_view text) {
  push_text(L, text);
  lua_setfield(L, -2, key);
}

void set_field(lua_State* L, const char* key, const char* text) {
  set_field(L, key, std::string_view(text));
}

void set_field(lua_State* L, const char* key, double value) {
  lua_pushnumber(L, value);
  lua_setfield(L, -2, key);
}

void set_field(lua_State* L, const char* key, std::int64_t value) {
  push_integer(L, value);
  lua_setfield(L, -2, key);
}

void set_field(lua_State* L, const char* key, bool value) {
  lua_pushboolean(L, value ? 1 : 0);
  lua_setfield(L, -2, key);
}

void push_list(lua_State* L, const std::vector<std::string>& list) {
  push_all(L, list, [L](const std::string& value) { push_text(L, value); });
}

void push_list(lua_State* L, const std::vector<std::int64_t>& list) {
  push_all(L, list, [L](std::int64_t value) { push_integer(L, value); });
}

void push_list(lua_State* L, const std::vector<std::int32_t>& list) {
  push_all(L, list, [L](std::int32_t value) { push_integer(L, value); });
}

void push_list(lua_State* L, const std::vector<float>& list) {
  push_all(L, list, [L](float value) { lua_pushnumber(L, static_cast<double>(value)); });
}

std::int64_t to_position(std::int64_t position, std::int64_t size, const std::string& op,
                         const std::string& what) {
  const std::int64_t zero_based = position > 0 ? position - 1 : size + position;
  if (position == 0 || zero_based < 0 || zero_based >= size) {
    throw Error(ErrorCode::argument, op,
                what + " " + std::to_string(position) + " is out of range (there are " +
                    std::to_string(size) + ")")
        .hint("positions count from 1, or from the end with negative numbers");
  }
  return zero_based;
}

}  // namespace perilune::lua
