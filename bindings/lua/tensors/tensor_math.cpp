#include "bindings/lua/tensors/tensor_math.h"

#include <cmath>

#include "bindings/lua/tensors/tensor_value.h"
#include "engine/ops/kernel_names.h"

namespace perilune::lua {

namespace {

constexpr const char* binary_name(Binary op) {
  switch (op) {
    case Binary::add: return "add";
    case Binary::subtract: return "subtract";
    case Binary::multiply: return "multiply";
    case Binary::divide: return "divide";
    case Binary::minimum: return "minimum";
    case Binary::maximum: return "maximum";
    case Binary::power: return "power";
    case Binary::less: return "lt";
    case Binary::less_equal: return "le";
    case Binary::greater: return "gt";
    case Binary::greater_equal: return "ge";
    case Binary::equal: return "eq";
    case Binary::not_equal: return "ne";
    case Binary::logical_and: return "logical_and";
    case Binary::logical_or: return "logical_or";
  }
  return "?";
}

template <Binary op>
int binary(lua_State* L) {
  const char* name = binary_name(op);
  Value* a = test_object<Value>(L, 1);
  Value* b = test_object<Value>(L, 2);
  const auto place = [&](const Value& value) { return note_place(L, value); };
  if (a != nullptr && b != nullptr) {
    push_value(L, tensor_ops::binary(op, *a, *b, place(a->pass != nullptr ? *a : *b)));
  } else if (a != nullptr) {
    const double number = to_number(L, 2, name, "right operand");
    push_value(L, tensor_ops::scalar(op, *a, number, false, place(*a)));
  } else {
    const double number = to_number(L, 1, name, "left operand");
    const Value& right = to_value(L, 2, name, "right operand");
    push_value(L, tensor_ops::scalar(op, right, number, true, place(right)));
  }
  return 1;
}

template <Unary op>
int unary(lua_State* L) {
  const Value& value = to_value(L, 1, "tensor", "self");
  push_value(L, tensor_ops::unary(op, value, note_place(L, value)));
  return 1;
}

template <bool logarithm>
int softmax(lua_State* L) {
  const char* op = logarithm ? "log_softmax" : "softmax";
  const Value& value = self<Value>(L, op);
  const std::string axis = to_text(L, 2, op, "axis");
  push_value(L, tensor_ops::softmax(value, axis, logarithm, note_place(L, value)));
  return 1;
}

/// A number where nothing is left of the axes, else the tensor.
int push_reduced(lua_State* L, Value value, bool whole) {
  if (whole && !value.symbolic()) {
    push_item(L, value.tensor);
  } else {
    push_value(L, std::move(value));
  }
  return 1;
}

constexpr const char* reduce_name(Reduce op) {
  switch (op) {
    case Reduce::sum: return "sum";
    case Reduce::mean: return "mean";
    case Reduce::minimum: return "min";
    case Reduce::maximum: return "max";
    case Reduce::argmin: return "argmin";
    case Reduce::argmax: return "argmax";
    case Reduce::any: return "any";
    case Reduce::all: return "all";
    case Reduce::sum_squares: return "sum_squares";
  }
  return "?";
}

template <Reduce op>
int reduce(lua_State* L) {
  const Value& value = self<Value>(L, reduce_name(op));
  const auto axes = axis_arguments(L, 2, reduce_name(op));
  return push_reduced(L, tensor_ops::reduce(op, value, axes, note_place(L, value)), axes.empty());
}

/// 0-based offsets along `axis` as scripts count: from 1, but for id axes.
Value positions_from(const Value& offsets, const std::string& axis, const std::string& place) {
  if (is_id_axis(axis)) return offsets;
  return tensor_ops::scalar(Binary::add, offsets, 1.0, false, place);
}

template <Reduce op>
int arg_reduce(lua_State* L) {
  const char* name = reduce_name(op);
  const Value& value = self<Value>(L, name);
  const Shape& shape = value.spec.shape;
  const bool given = !lua_isnoneornil(L, 2);
  if (!given && shape.rank() != 1) {
    throw Error(ErrorCode::argument, name, "an axis must be named")
        .operand("tensor", value.spec.text())
        .hint("positions are counted along one axis");
  }
  const std::string axis = given ? to_text(L, 2, name, "axis") : shape.axis(0).name;
  const std::string place = note_place(L, value);
  const Value offsets = tensor_ops::reduce(op, value, {axis}, place);
  return push_reduced(L, positions_from(offsets, axis, place), !given);
}

std::string last_axis(const Value& value, const char* op) {
  if (value.spec.shape.rank() == 0) {
    throw Error(ErrorCode::shape, op, "a tensor without axes").operand("tensor", value.spec.text());
  }
  return value.spec.shape.back().name;
}

int push_top(lua_State* L, const Value& value, const std::string& axis, std::int64_t count,
             bool descending) {
  const std::string place = note_place(L, value);
  auto [values, offsets] = tensor_ops::top(value, axis, count, descending, place);
  push_value(L, std::move(values));
  push_value(L, positions_from(offsets, axis, place));
  return 2;
}

int topk(lua_State* L) {
  const Value& value = self<Value>(L, "topk");
  const std::int64_t count = to_integer(L, 2, "topk", "n");
  const std::string axis =
      lua_isnoneornil(L, 3) ? last_axis(value, "topk") : to_text(L, 3, "topk", "axis");
  Options options(L, 4, "topk");
  const bool largest = options.boolean("largest").value_or(true);
  options.done();
  return push_top(L, value, axis, count, largest);
}

int sort(lua_State* L) {
  const Value& value = self<Value>(L, "sort");
  const std::string axis =
      lua_isnoneornil(L, 2) ? last_axis(value, "sort") : to_text(L, 2, "sort", "axis");
  Options options(L, 3, "sort");
  const bool descending = options.boolean("descending").value_or(false);
  options.done();
  const Axis& along = value.spec.shape.axis(value.spec.shape.index("sort", axis));
  return push_top(L, value, axis, along.size, descending);
}

int norm(lua_State* L) {
  const Value& value = self<Value>(L, "norm");
  const auto axes = axis_arguments(L, 2, "norm");
  return push_reduced(L, tensor_ops::norm(value, axes, note_place(L, value)), axes.empty());
}

int cumsum(lua_State* L) {
  const Value& value = self<Value>(L, "cumsum");
  const std::string axis =
      lua_isnoneornil(L, 2) ? last_axis(value, "cumsum") : to_text(L, 2, "cumsum", "axis");
  push_value(L, tensor_ops::cumulative_sum(value, axis, note_place(L, value)));
  return 1;
}

int clamp(lua_State* L) {
  const Value& value = self<Value>(L, "clamp");
  const double low = lua_isnoneornil(L, 2) ? -HUGE_VAL : to_number(L, 2, "clamp", "low");
  const double high = lua_isnoneornil(L, 3) ? HUGE_VAL : to_number(L, 3, "clamp", "high");
  if (low > high) throw Error(ErrorCode::argument, "clamp", "low is above high");
  push_value(L, tensor_ops::clamp(value, low, high, note_place(L, value)));
  return 1;
}

int matmul(lua_State* L) {
  const Value& a = self<Value>(L, "matmul");
  const Value& b = to_value(L, 2, "matmul", "b");
  Options options(L, 3, "matmul");
  const std::string over = options.text("over").value_or("");
  options.done();
  push_value(L, tensor_ops::matmul(a, b, over, note_place(L, a.pass != nullptr ? a : b)));
  return 1;
}

/// Positions along an axis as scripts count, as offsets.
Value to_offsets(lua_State* L, int index, const Axis& along) {
  const std::string& axis = along.name;
  const bool ids = is_id_axis(axis);
  if (const Value* given = test_object<Value>(L, index)) {
    return ids ? *given : tensor_ops::scalar(Binary::subtract, *given, 1.0);
  }
  std::vector<std::int64_t> list = to_integers(L, index, "gather", "positions");
  for (std::int64_t& position : list) {
    if (ids) continue;
    if (along.symbolic() && position > 0) {
      --position;
    } else {
      position = to_position(position, along.size, "gather", axis);
    }
  }
  const Shape shape{Axis{axis, static_cast<std::int64_t>(list.size()), 0}};
  return Value::of(Tensor::from(state(L).context, std::span<const std::int64_t>(list), shape));
}

int gather(lua_State* L) {
  const Value& value = self<Value>(L, "gather");
  const int named = lua_type(L, 3) == LUA_TSTRING ? 3 : 2;  // either order
  const std::string axis = to_text(L, named, "gather", "axis");
  const Shape& shape = value.spec.shape;
  const Value offsets = to_offsets(L, 5 - named, shape.axis(shape.index("gather", axis)));
  push_value(L, tensor_ops::gather(value, axis, offsets, note_place(L, value)));
  return 1;
}

Value tensor_or_number(lua_State* L, int index, const char* op, const char* name) {
  if (const Value* value = test_object<Value>(L, index)) return *value;
  const auto number = static_cast<float>(to_number(L, index, op, name));
  return Value::of(Tensor::from(state(L).context, std::span<const float>(&number, 1), Shape{}));
}

/// mask:where(a, b)
int where(lua_State* L) {
  const Value& mask = self<Value>(L, "where");
  const Value a = tensor_or_number(L, 2, "where", "a");
  const Value b = tensor_or_number(L, 3, "where", "b");
  push_value(L, tensor_ops::where(mask, a, b, note_place(L, mask)));
  return 1;
}

template <bool less>
int order_of_tensors(lua_State*) {
  throw Error(ErrorCode::argument, less ? "<" : "<=", "tensors have no order")
      .hint(less ? "a:lt(b) compares element by element" : "a:le(b) compares element by element");
}

}  // namespace

std::vector<Member> tensor_math_methods() {
  return {
      {"exp", guarded<unary<Unary::exp>>},
      {"log", guarded<unary<Unary::log>>},
      {"sqrt", guarded<unary<Unary::sqrt>>},
      {"tanh", guarded<unary<Unary::tanh>>},
      {"abs", guarded<unary<Unary::abs>>},
      {"gelu", guarded<unary<Unary::gelu>>},
      {"gelu_tanh", guarded<unary<Unary::gelu_tanh>>},
      {"quick_gelu", guarded<unary<Unary::quick_gelu>>},
      {"relu", guarded<unary<Unary::relu>>},
      {"silu", guarded<unary<Unary::silu>>},
      {"sigmoid", guarded<unary<Unary::sigmoid>>},
      {"erf", guarded<unary<Unary::erf>>},
      {"reciprocal", guarded<unary<Unary::reciprocal>>},
      {"floor", guarded<unary<Unary::floor>>},
      {"is_nan", guarded<unary<Unary::is_nan>>},
      {"is_inf", guarded<unary<Unary::is_inf>>},
      {"logical_not", guarded<unary<Unary::logical_not>>},
      {"lt", guarded<binary<Binary::less>>},
      {"le", guarded<binary<Binary::less_equal>>},
      {"gt", guarded<binary<Binary::greater>>},
      {"ge", guarded<binary<Binary::greater_equal>>},
      {"eq", guarded<binary<Binary::equal>>},
      {"ne", guarded<binary<Binary::not_equal>>},
      {"minimum", guarded<binary<Binary::minimum>>},
      {"maximum", guarded<binary<Binary::maximum>>},
      {"pow", guarded<binary<Binary::power>>},
      {"logical_and", guarded<binary<Binary::logical_and>>},
      {"logical_or", guarded<binary<Binary::logical_or>>},
      {"softmax", guarded<softmax<false>>},
      {"log_softmax", guarded<softmax<true>>},
      {"sum", guarded<reduce<Reduce::sum>>},
      {"mean", guarded<reduce<Reduce::mean>>},
      {"min", guarded<reduce<Reduce::minimum>>},
      {"max", guarded<reduce<Reduce::maximum>>},
      {"any", guarded<reduce<Reduce::any>>},
      {"all", guarded<reduce<Reduce::all>>},
      {"argmax", guarded<arg_reduce<Reduce::argmax>>},
      {"argmin", guarded<arg_reduce<Reduce::argmin>>},
      {"topk", guarded<topk>},
      {"sort", guarded<sort>},
      {"norm", guarded<norm>},
      {"cumsum", guarded<cumsum>},
      {"clamp", guarded<clamp>},
      {"matmul", guarded<matmul>},
      {"gather", guarded<gather>},
      {"where", guarded<where>},
  };
}

std::vector<Member> tensor_operators() {
  return {
      {"__add", guarded<binary<Binary::add>>},      {"__sub", guarded<binary<Binary::subtract>>},
      {"__mul", guarded<binary<Binary::multiply>>}, {"__div", guarded<binary<Binary::divide>>},
      {"__pow", guarded<binary<Binary::power>>},    {"__unm", guarded<unary<Unary::negate>>},
      {"__lt", guarded<order_of_tensors<true>>},    {"__le", guarded<order_of_tensors<false>>},
  };
}

}  // namespace perilune::lua
