// Between Lua values and tensors.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "bindings/lua/edge/arguments.h"
#include "engine/program/value_math.h"

namespace perilune::lua {

/// A Tensor of scripts: real, or symbolic while a pass is traced.
template <>
struct TypeName<Value> {
  static constexpr const char* value = "Tensor";
};

// Each adds its types, and its functions to the table on top of the stack.
void add_tensor(lua_State* L);
void add_tensor_makers(lua_State* L);
void add_quantization_math(lua_State* L);
/// Reads and resizes pictures (images.cpp).
void add_images(lua_State* L);

/// Pushes a tensor that something else also holds (a batch's ids, a kept weight).
void push_tensor(lua_State* L, const Tensor& tensor);
/// Pushes a tensor or symbolic value that was just made: charged to the state, noted in its scope.
void push_value(lua_State* L, Value value);

/// The tensor at `index`, real or symbolic.
const Value& to_value(lua_State* L, int index, const char* op, const char* name);
/// The tensor at `index`; throws for a symbolic one, which has no values yet.
const Tensor& to_tensor(lua_State* L, int index, const char* op, const char* name);
/// A list of real tensors.
std::vector<Tensor> to_tensors(lua_State* L, int index, const char* op, const char* name);

/// Tells the value's pass where the script is, and gives the place ("llama.lua:41") for errors; ""
/// for tensors outside of passes, whose errors get the script's line anyway.
std::string note_place(lua_State* L, const Value& value);

/// Axis names from the arguments `first`, ...: names, or one list of names.
std::vector<std::string> axis_arguments(lua_State* L, int first, const char* op);

/// {axis=position, axis={first, last}} as picks, in the order of the axes. Positions count from 1,
/// negative ones from the end; those of id axes are ids from 0.
std::vector<AxisRange> to_picks(lua_State* L, int index, const Shape& shape, const char* op);

/// A tensor of (nested) lists, numbers or booleans. `axes` may be empty: axis1, axis2, ...
Tensor tensor_of_lists(lua_State* L, int index, std::optional<DType> dtype,
                       std::vector<std::string> axes, const char* op);
/// Pushes (nested) lists, or the number or boolean of a rank-0 tensor.
void push_lists(lua_State* L, const Tensor& tensor);
/// Pushes the one element.
void push_item(lua_State* L, const Tensor& tensor);

/// What printing shows: dtype, shape, device, bytes, statistics, and the edges of the values.
std::string tensor_text(const Value& value);
std::string byte_text(std::size_t bytes);

}  // namespace perilune::lua
