#include "bindings/lua/tensors/tensor_padding.h"

#include <algorithm>

#include "bindings/lua/tensors/tensor_value.h"
#include "engine/program/value_padding.h"

namespace perilune::lua {

namespace {

struct TensorPadding {
  std::optional<std::int64_t> to;
  bool before = false;
  double value = 0;
};

TensorPadding read_padding(lua_State* L) {
  Options options(L, 3, "pad");
  TensorPadding padding;
  padding.to = options.integer("to");
  padding.before = options.choice("side", {"left", "right"}) == "left";
  padding.value = options.number("value").value_or(0.0);
  options.done();
  return padding;
}

}  // namespace

int pad_tensor(lua_State* L) {
  const Tensor& tensor = to_tensor(L, 1, "pad", "self");
  const std::string axis = to_text(L, 2, "pad", "axis");
  const TensorPadding padding = read_padding(L);
  if (!padding.to) {
    throw Error(ErrorCode::option, "pad", "option to: how long the axis becomes is not said")
        .hint("for as long as the longest of several use pl.pad(list, \"" + axis + "\")");
  }
  push_value(L, Value::of(tensor_ops::pad(tensor, axis, *padding.to, padding.before, padding.value,
                                          note_place(L, self<Value>(L, "pad")))));
  return 1;
}

int pad_list(lua_State* L) {
  const auto list = to_tensors(L, 1, "pad", "list");
  const std::string axis = to_text(L, 2, "pad", "axis");
  const TensorPadding padding = read_padding(L);
  std::vector<std::int64_t> lengths;
  lengths.reserve(list.size());
  for (const Tensor& tensor : list) {
    lengths.push_back(tensor.shape().size(tensor.shape().index("pad", axis)));
  }
  const std::int64_t longest =
      lengths.empty() ? 0 : *std::max_element(lengths.begin(), lengths.end());
  const std::int64_t to = padding.to.value_or(longest);
  lua_createtable(L, static_cast<int>(list.size()), 0);
  int position = 0;
  for (const Tensor& tensor : list) {
    push_value(L, Value::of(tensor_ops::pad(tensor, axis, to, padding.before, padding.value)));
    lua_rawseti(L, -2, ++position);
  }
  for (std::int64_t& length : lengths) length = to - length;
  push_list(L, lengths);
  return 2;
}

}  // namespace perilune::lua
