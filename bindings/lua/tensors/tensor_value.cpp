#include "bindings/lua/tensors/tensor_value.h"

#include <cmath>
#include <limits>

#include "engine/base/interrupt.h"
#include "engine/ops/kernel_names.h"

namespace perilune::lua {

void push_tensor(lua_State* L, const Tensor& tensor) {
  push_object(L, Value::of(tensor));
}

void push_value(lua_State* L, Value value) {
  const Value& pushed = push_object(L, std::move(value));
  if (!pushed.tensor.defined() || pushed.tensor.read_only()) return;
  State& here = state(L);
  if (pushed.tensor.storage().use_count() == 1) {  // not a view of something older
    here.track(pushed.tensor.storage());
    here.charge(L, pushed.tensor.bytes());
  }
}

const Value& to_value(lua_State* L, int index, const char* op, const char* name) {
  return check_object<Value>(L, index, op, name);
}

const Tensor& to_tensor(lua_State* L, int index, const char* op, const char* name) {
  const Value& value = to_value(L, index, op, name);
  if (value.symbolic() || !value.tensor.defined()) {
    throw Error(
        ErrorCode::state, op,
        std::string(name) + " has no values: " + value.spec.text() + " is traced, not computed")
        .hint("run the pass line by line: m:eager()");
  }
  return value.tensor;
}

std::vector<Tensor> to_tensors(lua_State* L, int index, const char* op, const char* name) {
  expect_table(L, index, op, name);
  const int table = absolute(L, index);
  std::vector<Tensor> list;
  const int count = static_cast<int>(lua_objlen(L, table));
  for (int i = 1; i <= count; ++i) {
    lua_rawgeti(L, table, i);
    const std::string entry = std::string(name) + "[" + std::to_string(i) + "]";
    list.push_back(to_tensor(L, -1, op, entry.c_str()));
    lua_pop(L, 1);
  }
  return list;
}

std::string note_place(lua_State* L, const Value& value) {
  if (value.pass == nullptr) return "";
  value.pass->script_place = calling_place(L);
  return value.pass->script_place;
}

std::vector<std::string> axis_arguments(lua_State* L, int first, const char* op) {
  if (lua_istable(L, first)) return to_texts(L, first, op, "axes");
  std::vector<std::string> axes;
  for (int i = first; i <= lua_gettop(L); ++i) {
    if (!lua_isnil(L, i)) axes.push_back(to_text(L, i, op, "axis"));
  }
  return axes;
}

namespace {

std::int64_t axis_position(lua_State* L, int index, const Axis& axis, const char* op) {
  const std::int64_t position = to_integer(L, index, op, axis.name);
  if (is_id_axis(axis.name)) {
    if (position < 0) {
      throw Error(ErrorCode::argument, op,
                  axis.name + " " + std::to_string(position) + ": ids count from 0");
    }
    return position;
  }
  if (axis.symbolic()) {
    if (position >= 1) return position - 1;
    throw Error(ErrorCode::state, op,
                "axis \"" + axis.name + "\" has no size while a pass is traced, so " +
                    std::to_string(position) + " cannot be counted from its end");
  }
  const std::int64_t zero_based = position > 0 ? position - 1 : axis.size + position;
  if (position == 0 || zero_based < 0 || zero_based >= axis.size) {
    throw Error(ErrorCode::argument, op,
                axis.name + " " + std::to_string(position) + " is out of range (" + axis.name +
                    "=" + std::to_string(axis.size) + ")")
        .hint("positions are 1 to " + std::to_string(axis.size) + ", or negative from the end");
  }
  return zero_based;
}

AxisRange to_pick(lua_State* L, const Axis& axis, const char* op) {
  if (!lua_istable(L, -1)) return {axis.name, axis_position(L, -1, axis, op), 1, true};
  if (lua_objlen(L, -1) != 2) {
    throw Error(ErrorCode::argument, op,
                axis.name + ": a range is { first, last }, got a list of " +
                    std::to_string(lua_objlen(L, -1)));
  }
  lua_rawgeti(L, -1, 1);
  lua_rawgeti(L, -2, 2);
  const std::int64_t first = axis_position(L, -2, axis, op);
  const std::int64_t last = axis_position(L, -1, axis, op);
  lua_pop(L, 2);
  if (last < first) {
    throw Error(ErrorCode::argument, op, axis.name + ": the range ends before it begins");
  }
  return {axis.name, first, last - first + 1, false};
}

}  // namespace

std::vector<AxisRange> to_picks(lua_State* L, int index, const Shape& shape, const char* op) {
  expect_table(L, index, op, "positions");
  const int table = absolute(L, index);
  for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING) {
      throw Error(ErrorCode::argument, op,
                  "axes are named: { " + (shape.rank() > 0 ? shape.axis(0).name : "axis") +
                      "=1 }, got " + describe_value(L, -2));
    }
    (void)shape.index(op, lua_tostring(L, -2));
  }
  std::vector<AxisRange> picks;
  for (const Axis& axis : shape.axes()) {
    push_text(L, axis.name);
    lua_rawget(L, table);
    if (!lua_isnil(L, -1)) picks.push_back(to_pick(L, axis, op));
    lua_pop(L, 1);
  }
  return picks;
}

// ---------------------------------------------------------------- lists

namespace {

struct ListReader {
  lua_State* L;
  const char* op;
  std::vector<std::int64_t> sizes;
  std::vector<std::string> axes;
  std::vector<double> values;
  bool booleans = false, numbers = false;

  std::string row_name(std::size_t depth) const {
    return depth < axes.size() && axes[depth] != "batch" ? axes[depth] : "row";
  }

  std::string list_name(std::size_t depth, std::size_t row) const {
    return depth == 0 ? "data" : row_name(depth - 1) + " " + std::to_string(row);
  }

  /// The list `row` is on top of the stack, the one that holds it and its neighbours below.
  [[noreturn]] void ragged(std::size_t depth, std::size_t row) const {
    constexpr int kShown = 6;
    const std::string name = " " + (depth == 0 ? "row" : row_name(depth - 1)) + " ";
    const std::string wanted = std::to_string(sizes[depth]);
    std::string text = row == 1 ? " " + wanted + " in the lists before" : name + "1 has " + wanted;
    const int count = static_cast<int>(lua_objlen(L, -2));
    int shown = 0, more = 0;
    for (int i = static_cast<int>(row); i <= count; ++i) {
      lua_rawgeti(L, -2, i);
      const auto length = static_cast<std::int64_t>(lua_istable(L, -1) ? lua_objlen(L, -1) : 0);
      lua_pop(L, 1);
      if (length == sizes[depth]) continue;
      if (shown++ < kShown) {
        text += "," + name + std::to_string(i) + " has " + std::to_string(length);
      } else {
        ++more;
      }
    }
    if (more > 0) text += ", and " + std::to_string(more) + " more differ";
    throw Error(ErrorCode::shape, op, "rows differ in length:" + text)
        .hint(
            "pad (pl.batch(rows):padded{ side=\"left\" }), truncate (pl.clamp_to_shortest) or "
            "keep ragged (pl.batch(rows))");
  }

  void leaf(std::size_t depth, std::size_t row) {
    stop_if_interrupted(op);
    if (depth != sizes.size()) {
      throw Error(ErrorCode::shape, op,
                  "expected a list at depth " + std::to_string(depth + 1) + ", entry " +
                      std::to_string(row) + ", got " + describe_value(L, -1));
    }
    if (lua_isboolean(L, -1)) {
      booleans = true;
      values.push_back(lua_toboolean(L, -1));
    } else if (is_number(L, -1)) {
      numbers = true;
      values.push_back(lua_tonumber(L, -1));
    } else {
      throw Error(ErrorCode::argument, op,
                  "expected numbers, booleans or lists of them, got " + describe_value(L, -1));
    }
  }

  /// The value on top of the stack; `row`: its place in its list.
  void read(std::size_t depth, std::size_t row) {
    reserve_stack(L, 4);
    if (!lua_istable(L, -1)) return leaf(depth, row);
    const std::size_t count = list_length(L, -1, op, list_name(depth, row));
    if (depth >= static_cast<std::size_t>(kMaxAxes)) {
      throw Error(ErrorCode::shape, op, "lists are nested deeper than the six axes of a tensor");
    }
    if (depth == sizes.size()) {
      if (!values.empty()) {
        throw Error(ErrorCode::shape, op, "numbers and lists are mixed at one depth");
      }
      sizes.push_back(static_cast<std::int64_t>(count));
    } else if (sizes[depth] != static_cast<std::int64_t>(count)) {
      ragged(depth, row);
    }
    for (std::size_t i = 1; i <= count; ++i) {
      lua_rawgeti(L, -1, static_cast<int>(i));
      read(depth + 1, i);
      lua_pop(L, 1);
    }
  }
};

Shape named_shape(const std::vector<std::int64_t>& sizes, const std::vector<std::string>& names,
                  const char* op) {
  if (!names.empty() && names.size() != sizes.size()) {
    throw Error(ErrorCode::shape, op,
                "the lists are nested " + std::to_string(sizes.size()) + " deep, and " +
                    std::to_string(names.size()) + " axes are named");
  }
  std::vector<Axis> axes;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    axes.push_back({names.empty() ? "axis" + std::to_string(i + 1) : names[i], sizes[i], 0});
  }
  return Shape(axes);
}

double lowest(DType dtype) {
  switch (dtype) {
    case DType::i32: return -2147483648.0;
    case DType::i8: return -128;
    case DType::i64: return -kMaxWhole;
    default: return 0;
  }
}

double highest(DType dtype) {
  switch (dtype) {
    case DType::i32: return 2147483647.0;
    case DType::i8: return 127;
    case DType::u8: return 255;
    case DType::i64: return kMaxWhole;
    default: return 1;
  }
}

}  // namespace

Tensor tensor_of_lists(lua_State* L, int index, std::optional<DType> dtype,
                       std::vector<std::string> axes, const char* op) {
  ListReader reader{L, op, {}, std::move(axes), {}, false, false};
  lua_pushvalue(L, index);
  reader.read(0, 1);
  lua_pop(L, 1);
  const DType type =
      dtype ? *dtype : (reader.booleans && !reader.numbers ? DType::boolean : DType::f32);
  const auto& context = state(L).context;
  const Shape shape = named_shape(reader.sizes, reader.axes, op);
  if (is_float(type)) {
    const std::vector<float> floats(reader.values.begin(), reader.values.end());
    return Tensor::from(context, std::span<const float>(floats), shape).to(type);
  }
  std::vector<std::int64_t> whole;
  whole.reserve(reader.values.size());
  for (const double value : reader.values) {
    if (value != std::floor(value) || value < lowest(type) || value > highest(type)) {
      lua_pushnumber(L, value);
      throw Error(ErrorCode::dtype, op,
                  describe_value(L, -1) + " does not fit dtype " + dtype_name(type));
    }
    whole.push_back(static_cast<std::int64_t>(value));
  }
  return Tensor::from(context, std::span<const std::int64_t>(whole), shape).to(type);
}

namespace {

void push_element(lua_State* L, double value, bool boolean) {
  if (boolean) {
    lua_pushboolean(L, value != 0);
  } else {
    lua_pushnumber(L, value);
  }
}

const double* push_nested(lua_State* L, const Shape& shape, int axis, const double* values,
                          bool boolean) {
  reserve_stack(L, 4);
  if (axis == shape.rank()) {
    stop_if_interrupted("tolist");
    push_element(L, *values, boolean);
    return values + 1;
  }
  const int count = static_cast<int>(shape.size(axis));
  lua_createtable(L, count, 0);
  for (int i = 1; i <= count; ++i) {
    values = push_nested(L, shape, axis + 1, values, boolean);
    lua_rawseti(L, -2, i);
  }
  return values;
}

}  // namespace

void push_lists(lua_State* L, const Tensor& tensor) {
  if (tensor.elements() > std::numeric_limits<int>::max()) {
    throw Error(ErrorCode::memory, "tolist",
                "too many elements for a Lua table: " + tensor.describe());
  }
  const std::vector<double> values = tensor.to_doubles();
  (void)push_nested(L, tensor.shape(), 0, values.data(), tensor.dtype() == DType::boolean);
}

void push_item(lua_State* L, const Tensor& tensor) {
  push_element(L, tensor.item(), tensor.dtype() == DType::boolean);
}

}  // namespace perilune::lua
