// perilune.h: scripts, and values in and out of their functions.
#include <string_view>
#include <vector>

#include "bindings/c/call.h"
#include "bindings/lua/tensors/tensor_value.h"

namespace perilune::c {
namespace {

const char* values_problem(const pl_value* values, size_t count) {
  if (count > 1000) return "more than 1000 arguments";
  if (count > 0 && values == nullptr) return "arguments is NULL";
  for (size_t i = 0; i < count; ++i) {
    const pl_value& value = values[i];
    if (value.kind < PL_NIL || value.kind > PL_OBJECT) return "an argument of no known kind";
    if (value.data == nullptr && value.size > 0) return "an argument's data is NULL";
    if (value.kind == PL_FLOATS && value.size > INT32_MAX) return "too many floats";
  }
  return nullptr;
}

// host[function](what lies on top), in its place.
void convert(lua_State* L, const char* function) {
  push_function(L, function);
  lua_insert(L, -2);
  lua_call(L, 1, 1);
}

void push_value(lua_State* L, const Instance& instance, const pl_value& value) {
  const auto* bytes = static_cast<const char*>(value.data);
  switch (value.kind) {
    case PL_BOOLEAN: lua_pushboolean(L, value.boolean != 0); break;
    case PL_NUMBER: lua_pushnumber(L, value.number); break;
    case PL_TEXT: lua_pushlstring(L, bytes != nullptr ? bytes : "", value.size); break;
    case PL_JSON:
      lua_pushlstring(L, bytes != nullptr ? bytes : "", value.size);
      convert(L, "from_json");
      break;
    case PL_FLOATS:
      lua_createtable(L, static_cast<int>(value.size), 0);
      for (size_t i = 0; i < value.size; ++i) {
        lua_pushnumber(L, static_cast<const float*>(value.data)[i]);
        lua_rawseti(L, -2, static_cast<int>(i + 1));
      }
      convert(L, "from_floats");
      break;
    case PL_OBJECT: {
      const Handle parts = unpack(value.object);
      const Handle own = unpack(instance.handle);
      const bool ours = parts.slot == own.slot && parts.generation == own.generation;
      lua_pushnumber(L, ours ? parts.number : 0);  // 0 is no object's: an error that says so
      convert(L, "object");
      break;
    }
    default: lua_pushnil(L);
  }
}

// The value at `index` as the host sees it.
void hold(lua_State* L, const Instance& instance, int index, HeldValue& held) {
  push_function(L, "describe");
  lua_pushvalue(L, index);
  lua_call(L, 1, 3);  // kind, text or tensor or number, kind of the object
  const std::string_view kind = luaL_checkstring(L, -3);
  pl_value& value = held.value;
  if (kind == "boolean") {
    value.kind = PL_BOOLEAN;
    value.boolean = lua_toboolean(L, index);
  } else if (kind == "number") {
    value.kind = PL_NUMBER;
    value.number = lua_tonumber(L, index);
  } else if (kind == "string" || kind == "json") {
    value.kind = kind == "json" ? PL_JSON : PL_TEXT;
    size_t size = 0;
    const char* text = lua_tolstring(L, kind == "json" ? -2 : index, &size);
    held.text.assign(text, size);
    value.size = size;
  } else if (kind == "floats") {
    value.kind = PL_FLOATS;
    const Tensor t = lua::to_tensor(L, -2, "call", "result").to_contiguous();
    held.floats.assign(t.as<float>(), t.as<float>() + t.elements());
    value.size = held.floats.size();
  } else if (kind == "object") {
    value.kind = PL_OBJECT;
    const std::string_view what = lua_isstring(L, -1) ? lua_tostring(L, -1) : "";
    const Kind of = what == "model"     ? Kind::model
                    : what == "request" ? Kind::request
                                        : Kind::object;
    value.object = instance.handle_of(of, static_cast<std::uint32_t>(lua_tonumber(L, -2)));
  }
  lua_pop(L, 3);
}

pl_status keep_results(lua_State* L, Instance& instance, pl_values* results) {
  const int count = lua_gettop(L);
  std::vector<HeldValue> list(static_cast<size_t>(count));
  for (int i = 1; i <= count; ++i) hold(L, instance, i, list[static_cast<size_t>(i - 1)]);
  const std::uint32_t number = instance.next_values++;
  *results = instance.handle_of(Kind::values, number);
  auto& kept = instance.values[number] = std::move(list);
  for (HeldValue& held : kept) {  // where they lie from now on
    if (held.value.kind == PL_TEXT || held.value.kind == PL_JSON)
      held.value.data = held.text.c_str();
    if (held.value.kind == PL_FLOATS) held.value.data = held.floats.data();
  }
  return PL_OK;
}

// Calls f(list of values) with the instance to itself.
template <class Use>
pl_status with_values(pl_values handle, Use use) {
  return guarded([&] {
    std::shared_ptr<Instance> instance;
    if (const pl_status status = find(handle, Kind::values, instance)) return status;
    pl_status result = PL_OK;
    const pl_status status = instance->run([&](lua_State*) {
      const auto found = instance->values.find(unpack(handle).number);
      result = found == instance->values.end() ? pl_status{PL_ERROR_HANDLE} : use(found->second);
    });
    if (status != PL_OK) return status;
    if (result == PL_ERROR_HANDLE) return instance->fail(result, "handle: values were released");
    if (result != PL_OK) return instance->fail(result, "value_at: there are fewer values");
    return result;
  });
}

}  // namespace
}  // namespace perilune::c

using namespace perilune::c;

extern "C" {

PL_API pl_status pl_run(pl_instance instance, const char* text, size_t text_size,
                        const char* name) {
  if (text == nullptr) return bad_argument(instance, "run: text is NULL");
  return call(
      instance, Kind::instance, "run",
      [&](lua_State* L, Instance&) {
        lua_pushlstring(L, text, text_size > 0 ? text_size : std::strlen(text));
        lua_pushstring(L, name != nullptr ? name : "script");
        return 2;
      },
      kDone);
}

PL_API pl_status pl_run_file(pl_instance instance, const char* path) {
  if (path == nullptr) return bad_argument(instance, "run_file: path is NULL");
  return call(
      instance, Kind::instance, "run_file",
      [&](lua_State* L, Instance&) {
        push_text(L, path);
        return 1;
      },
      kDone);
}

PL_API pl_status pl_call(pl_instance instance, const char* function, const pl_value* arguments,
                         size_t count, pl_values* results) {
  if (results != nullptr) *results = 0;
  if (function == nullptr) return bad_argument(instance, "call: function is NULL");
  if (const char* problem = values_problem(arguments, count)) {
    return bad_argument(instance, problem);
  }
  return call(
      instance, Kind::instance, "call",
      [&](lua_State* L, Instance& here) {
        luaL_checkstack(L, static_cast<int>(count) + LUA_MINSTACK, "arguments of a call");
        push_text(L, function);
        for (size_t i = 0; i < count; ++i) push_value(L, here, arguments[i]);
        return static_cast<int>(count) + 1;
      },
      [&](lua_State* L, Instance& here) {
        return results != nullptr ? keep_results(L, here, results) : pl_status{PL_OK};
      });
}

PL_API pl_status pl_value_count(pl_values values, size_t* count) {
  if (count == nullptr) return bad_argument(values, "value_count: count is NULL");
  return with_values(values, [&](const auto& list) -> pl_status {
    *count = list.size();
    return PL_OK;
  });
}

PL_API pl_status pl_value_at(pl_values values, size_t index, pl_value* value) {
  if (value == nullptr) return bad_argument(values, "value_at: value is NULL");
  return with_values(values, [&](const auto& list) -> pl_status {
    if (index >= list.size()) return PL_ERROR_ARGUMENT;
    *value = list[index].value;
    return PL_OK;
  });
}

}  // extern "C"
