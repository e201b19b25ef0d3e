// Tensor: fields, views, reading and writing. Arithmetic is in tensor_math.cpp.
#include <cmath>

#include "bindings/lua/edge/answer.h"
#include "bindings/lua/tensors/tensor_math.h"
#include "bindings/lua/tensors/tensor_padding.h"
#include "bindings/lua/tensors/tensor_value.h"
#include "engine/program/value_padding.h"

namespace perilune::lua {

namespace {

int dtype(lua_State* L) {
  lua_pushstring(L, dtype_name(self<Value>(L, "dtype").spec.dtype));
  return 1;
}

int device(lua_State* L) {
  const Value& value = self<Value>(L, "device");
  push_text(L, value.tensor.defined() ? value.tensor.device().name() : "traced");
  return 1;
}

int bytes(lua_State* L) {
  push_integer(L, static_cast<std::int64_t>(to_tensor(L, 1, "bytes", "self").bytes()));
  return 1;
}

int rank(lua_State* L) {
  push_integer(L, self<Value>(L, "rank").spec.shape.rank());
  return 1;
}

int traced(lua_State* L) {
  lua_pushboolean(L, self<Value>(L, "traced").symbolic() ? 1 : 0);
  return 1;
}

[[noreturn]] void refuse_ragged(const char* op, const TensorSpec& spec, const std::string& axis) {
  throw Error(ErrorCode::state, op,
              "axis \"" + axis + "\" of " + spec.text() +
                  " has no size while a pass is traced: it differs from batch to batch")
      .hint("give axis names to operations instead of sizes");
}

/// t.shape's __index: a size by name. Upvalue: the shape's text, for errors.
int missing_axis(lua_State* L) {
  if (lua_type(L, 2) != LUA_TSTRING) return 0;  // ipairs looks one past the end
  const std::string name = lua_tostring(L, 2);
  std::vector<std::string> names;
  for (int i = 1; i <= static_cast<int>(lua_objlen(L, 1)); ++i) {
    lua_rawgeti(L, 1, i);
    lua_getfield(L, -1, "name");
    names.emplace_back(lua_tostring(L, -1));
    lua_pop(L, 2);
    if (names.back() != name) continue;
    throw Error(ErrorCode::state, "shape",
                "axis \"" + name + "\" of " + lua_tostring(L, lua_upvalueindex(1)) +
                    " has no size while a pass is traced");
  }
  throw Error(ErrorCode::shape, "shape",
              "no axis \"" + name + "\" in " + lua_tostring(L, lua_upvalueindex(1)))
      .hint(did_you_mean(name, names));
}

int shape_text(lua_State* L) {
  lua_pushvalue(L, lua_upvalueindex(1));
  return 1;
}

int shape(lua_State* L) {
  const TensorSpec& spec = self<Value>(L, "shape").spec;
  lua_createtable(L, spec.shape.rank(), spec.shape.rank());
  int position = 0;
  for (const Axis& axis : spec.shape.axes()) {
    lua_createtable(L, 0, 2);
    set_field(L, "name", axis.name);
    if (!axis.symbolic()) set_field(L, "size", axis.size);
    lua_rawseti(L, -2, ++position);
    if (!axis.symbolic()) set_field(L, axis.name.c_str(), axis.size);
  }
  lua_createtable(L, 0, 2);
  push_text(L, spec.shape.text());
  lua_pushvalue(L, -1);
  lua_pushcclosure(L, guarded<missing_axis>, 1);
  lua_setfield(L, -3, "__index");
  lua_pushcclosure(L, shape_text, 1);
  lua_setfield(L, -2, "__tostring");
  lua_setmetatable(L, -2);
  return 1;
}

int size(lua_State* L) {
  const Value& value = self<Value>(L, "size");
  const std::string name = to_text(L, 2, "size", "axis");
  const Axis& axis = value.spec.shape.axis(value.spec.shape.index("size", name));
  if (axis.symbolic()) refuse_ragged("size", value.spec, name);
  push_integer(L, axis.size);
  return 1;
}

int at(lua_State* L) {
  const Value& value = self<Value>(L, "at");
  const std::string place = note_place(L, value);
  push_value(L, tensor_ops::at(value, to_picks(L, 2, value.spec.shape, "at"), place));
  return 1;
}

int set(lua_State* L) {
  const Tensor& tensor = to_tensor(L, 1, "set", "self");
  Tensor target = tensor;
  if (!lua_isnoneornil(L, 3)) {
    for (const auto& pick : to_picks(L, 3, tensor.shape(), "set")) {
      const int axis = target.shape().index("set", pick.axis);
      if (pick.first + pick.count > target.shape().size(axis)) {
        throw Error(ErrorCode::argument, "set",
                    pick.axis + " " + std::to_string(pick.first) + " is out of range (" +
                        pick.axis + "=" + std::to_string(target.shape().size(axis)) + ")");
      }
      target =
          pick.drop ? target.pick(axis, pick.first) : target.slice(axis, pick.first, pick.count);
    }
  }
  if (is_number(L, 2)) {
    tensor_ops::assign(target, lua_tonumber(L, 2));
  } else if (lua_isboolean(L, 2)) {
    tensor_ops::assign(target, lua_toboolean(L, 2));
  } else if (lua_istable(L, 2)) {
    tensor_ops::assign(target,
                       tensor_of_lists(L, 2, target.dtype(), target.shape().names(), "set"));
  } else {
    tensor_ops::assign(target, to_tensor(L, 2, "set", "value"));
  }
  lua_settop(L, 1);
  return 1;
}

int item(lua_State* L) {
  push_item(L, to_tensor(L, 1, "item", "self"));
  return 1;
}

int tolist(lua_State* L) {
  push_lists(L, to_tensor(L, 1, "tolist", "self"));
  return 1;
}

int to(lua_State* L) {
  const Value& value = self<Value>(L, "to");
  const std::string name = to_text(L, 2, "to", "dtype or device");
  for (int i = 0; i <= static_cast<int>(DType::boolean); ++i) {
    const auto type = static_cast<DType>(i);
    if (name != dtype_name(type)) continue;
    push_value(L, tensor_ops::convert(value, type, note_place(L, value)));
    return 1;
  }
  const Tensor& tensor = to_tensor(L, 1, "to", "self");
  try {
    push_value(L, Value::of(tensor.to(tensor.context()->device(name))));
  } catch (Error& error) {
    if (name.rfind("cuda", 0) != 0) {
      error.hint(
          "to takes a dtype (f32, f16, bf16, i32, i64, u8, i8, bool) or a device (cpu, cuda, "
          "cuda:0, emulator)");
    }
    throw;
  }
  return 1;
}

int copy(lua_State* L) {
  push_value(L, Value::of(to_tensor(L, 1, "copy", "self").copy()));
  return 1;
}

int detach(lua_State* L) {
  push_value(L, Value::of(tensor_ops::detach(to_tensor(L, 1, "detach", "self"))));
  return 1;
}

int order(lua_State* L) {
  const Value& value = self<Value>(L, "order");
  push_value(L, tensor_ops::order(value, axis_arguments(L, 2, "order"), note_place(L, value)));
  return 1;
}

int rename(lua_State* L) {
  const Value& value = self<Value>(L, "rename");
  expect_table(L, 2, "rename", "names");
  std::vector<std::pair<std::string, std::string>> names;
  for (lua_pushnil(L); lua_next(L, 2) != 0; lua_pop(L, 1)) {
    lua_pushvalue(L, -2);
    const std::string from = to_text(L, -1, "rename", "axis");
    lua_pop(L, 1);
    names.emplace_back(from, to_text(L, -1, "rename", "name"));
  }
  push_value(L, tensor_ops::rename(value, names, note_place(L, value)));
  return 1;
}

/// Sizes that a family declared count for values of its passes.
std::int64_t declared_size(const Value& value, const std::string& axis) {
  if (value.pass == nullptr) return 0;
  const auto size = value.pass->axis_sizes.find(axis);
  return size == value.pass->axis_sizes.end() ? 0 : size->second;
}

int split_axis(lua_State* L) {
  const Value& value = self<Value>(L, "split_axis");
  const std::string axis = to_text(L, 2, "split_axis", "axis");
  const auto names = to_texts(L, 3, "split_axis", "parts");
  std::map<std::string, std::int64_t> sizes;
  if (!lua_isnoneornil(L, 4)) sizes = to_sizes(L, 4, "split_axis", "sizes");
  std::vector<Axis> parts;
  for (const std::string& name : names) {
    const auto given = sizes.find(name);
    const std::int64_t known = given != sizes.end() ? given->second : declared_size(value, name);
    if (given != sizes.end() && given->second <= 0) {
      throw Error(ErrorCode::argument, "split_axis",
                  name + " must be 1 or more, got " + std::to_string(given->second));
    }
    parts.push_back({name, known, 0});
    sizes.erase(name);
  }
  if (!sizes.empty()) {
    throw Error(ErrorCode::argument, "split_axis",
                "a size is given for \"" + sizes.begin()->first + "\", which is not a part");
  }
  push_value(L, tensor_ops::split_axis(value, axis, parts, note_place(L, value)));
  return 1;
}

int merge(lua_State* L) {
  const Value& value = self<Value>(L, "merge");
  const auto axes = to_texts(L, 2, "merge", "axes");
  const std::string name = to_text(L, 3, "merge", "name");
  push_value(L, tensor_ops::merge(value, axes, name, note_place(L, value)));
  return 1;
}

int expand(lua_State* L) {
  Value value = self<Value>(L, "expand");
  const std::string place = note_place(L, value);
  if (lua_istable(L, 2)) {
    for (const auto& [axis, size] : to_sizes(L, 2, "expand", "sizes")) {
      value = tensor_ops::expand(value, axis, size, place);
    }
  } else {
    const std::string axis = to_text(L, 2, "expand", "axis");
    value = tensor_ops::expand(value, axis, to_integer(L, 3, "expand", "size"), place);
  }
  push_value(L, std::move(value));
  return 1;
}

int squeeze(lua_State* L) {
  const Value& value = self<Value>(L, "squeeze");
  const std::string axis = lua_isnoneornil(L, 2) ? "" : to_text(L, 2, "squeeze", "axis");
  push_value(L, tensor_ops::squeeze(value, axis, note_place(L, value)));
  return 1;
}

int equal(lua_State* L) {
  const Tensor& a = to_tensor(L, 1, "equal", "self");
  lua_pushboolean(L, tensor_ops::equal(a, to_tensor(L, 2, "equal", "b")) ? 1 : 0);
  return 1;
}

int close(lua_State* L) {
  const Tensor& a = to_tensor(L, 1, "close", "self");
  const Tensor& b = to_tensor(L, 2, "close", "b");
  const double tolerance = lua_isnoneornil(L, 3) ? 1e-5 : to_number(L, 3, "close", "tolerance");
  lua_pushboolean(L, tensor_ops::close(a, b, tolerance) ? 1 : 0);
  return 1;
}

int difference(lua_State* L) {
  const Tensor& a = to_tensor(L, 1, "max_difference", "self");
  lua_pushnumber(L, tensor_ops::max_difference(a, to_tensor(L, 2, "max_difference", "b")));
  return 1;
}

int has_nan(lua_State* L) {
  lua_pushboolean(L, tensor_ops::statistics(to_tensor(L, 1, "has_nan", "self")).nan > 0);
  return 1;
}

int stats(lua_State* L) {
  const auto statistics = tensor_ops::statistics(to_tensor(L, 1, "stats", "self"));
  lua_createtable(L, 0, 7);
  set_field(L, "min", statistics.minimum);
  set_field(L, "max", statistics.maximum);
  set_field(L, "mean", statistics.mean);
  set_field(L, "std", statistics.deviation);
  set_field(L, "nan", statistics.nan);
  set_field(L, "inf", statistics.infinite);
  set_field(L, "count", statistics.count);
  mark_answer(L);
  return 1;
}

int free_storage(lua_State* L) {
  const Tensor& tensor = to_tensor(L, 1, "free", "self");
  if (tensor.read_only()) {
    throw Error(ErrorCode::state, "free", "the tensor belongs to a model: " + tensor.describe());
  }
  tensor.storage()->free_now();
  return 0;
}

int tostring(lua_State* L) {
  push_text(L, tensor_text(self<Value>(L, "tostring")));
  return 1;
}

}  // namespace

void add_tensor(lua_State* L) {
  constexpr Member kMethods[] = {
      {"size", guarded<size>},
      {"at", guarded<at>},
      {"set", guarded_once<set>},
      {"item", guarded<item>},
      {"tolist", guarded<tolist>},
      {"to", guarded<to>},
      {"copy", guarded<copy>},
      {"detach", guarded<detach>},
      {"pad", guarded<pad_tensor>},
      {"order", guarded<order>},
      {"rename", guarded<rename>},
      {"split_axis", guarded<split_axis>},
      {"merge", guarded<merge>},
      {"expand", guarded<expand>},
      {"squeeze", guarded<squeeze>},
      {"equal", guarded<equal>},
      {"close", guarded<close>},
      {"max_difference", guarded<difference>},
      {"has_nan", guarded<has_nan>},
      {"stats", guarded<stats>},
      {"free", guarded_once<free_storage>},
  };
  constexpr Member kGetters[] = {
      {"dtype", guarded<dtype>}, {"device", guarded<device>}, {"bytes", guarded<bytes>},
      {"rank", guarded<rank>},   {"shape", guarded<shape>},   {"traced", guarded<traced>},
  };
  std::vector<Member> methods(std::begin(kMethods), std::end(kMethods));
  const auto math = tensor_math_methods();
  methods.insert(methods.end(), math.begin(), math.end());
  std::vector<Member> metamethods = tensor_operators();
  metamethods.push_back({"__tostring", guarded<tostring>});
  register_type<Value>(L, methods, kGetters, metamethods);
}

}  // namespace perilune::lua
