#include "bindings/lua/batches/batch_input.h"

#include <algorithm>

#include "bindings/lua/tensors/tensor_value.h"
#include "engine/program/value_math.h"

namespace perilune::lua {

namespace {

std::vector<std::int32_t> narrow(const std::vector<std::int64_t>& list, const char* op,
                                 const std::string& name) {
  std::vector<std::int32_t> ids;
  for (const std::int64_t value : list) {
    if (value < INT32_MIN || value > INT32_MAX) {
      throw Error(ErrorCode::argument, op, name + ": " + std::to_string(value) + " is not an id");
    }
    ids.push_back(static_cast<std::int32_t>(value));
  }
  return ids;
}

std::vector<std::int32_t> row_of_tensor(const Tensor& tensor, const char* op,
                                        const std::string& name) {
  if (tensor.shape().rank() != 1 || is_float(tensor.dtype())) {
    throw Error(ErrorCode::argument, op, name + " must be one row of whole numbers")
        .operand("got", tensor.describe());
  }
  return narrow(tensor.to_integers(), op, name);
}

}  // namespace

Rows32 to_rows(lua_State* L, int index, const char* op, const char* name) {
  expect_table(L, index, op, name);
  const int table = absolute(L, index);
  const int count = static_cast<int>(list_length(L, table, op, name));
  Rows32 rows;
  for (int i = 1; i <= count; ++i) {
    lua_rawgeti(L, table, i);
    const std::string row =
        (std::string(name) == "rows" ? "row " : std::string(name) + " of row ") + std::to_string(i);
    if (const Value* value = test_object<Value>(L, -1)) {
      rows.push_back(row_of_tensor(value->tensor, op, row));
    } else {
      if (!lua_istable(L, -1)) {
        throw Error(ErrorCode::argument, op,
                    row + ": expected a list of ids, got " + describe_value(L, -1))
            .hint("one row of ids is { { 1, 2, 3 } }");
      }
      rows.push_back(to_ids(L, -1, op, row));
    }
    lua_pop(L, 1);
  }
  return rows;
}

Rows64 widen(const Rows32& rows) {
  Rows64 wide;
  for (const auto& row : rows) wide.emplace_back(row.begin(), row.end());
  return wide;
}

Rows32 to_grid(lua_State* L, int index, const char* op, const char* name) {
  const Value* value = test_object<Value>(L, index);
  if (value == nullptr) {
    // Masks may be written with booleans.
    const int table = absolute(L, index);
    expect_table(L, table, op, name);
    Rows32 rows;
    for (int i = 1; i <= static_cast<int>(lua_objlen(L, table)); ++i) {
      lua_rawgeti(L, table, i);
      const std::string row = std::string(name) + "[" + std::to_string(i) + "]";
      expect_table(L, -1, op, row);
      rows.emplace_back();
      for (int j = 1; j <= static_cast<int>(lua_objlen(L, -1)); ++j) {
        lua_rawgeti(L, -1, j);
        rows.back().push_back(lua_isboolean(L, -1) ? lua_toboolean(L, -1) : to_id(L, -1, op, row));
        lua_pop(L, 1);
      }
      lua_pop(L, 1);
    }
    return rows;
  }
  const Tensor& tensor = to_tensor(L, index, op, name);
  if (tensor.shape().rank() != 2 || is_float(tensor.dtype())) {
    throw Error(ErrorCode::argument, op, std::string(name) + " must be [batch, seq] whole numbers")
        .operand("got", tensor.describe());
  }
  const auto flat = narrow(tensor.to_integers(), op, name);
  Rows32 rows;
  const auto width = static_cast<std::ptrdiff_t>(tensor.shape().size(1));
  for (std::int64_t i = 0; i < tensor.shape().size(0); ++i) {
    const auto first = flat.begin() + i * width;
    rows.emplace_back(first, first + width);
  }
  return rows;
}

Rows64 append_pairs(lua_State* L, Options& options, Rows32& rows) {
  Rows64 types;
  if (!options.push("pairs")) return types;
  const Rows32 second = to_rows(L, -1, "batch", "pairs");
  lua_pop(L, 1);
  if (second.size() != rows.size()) {
    throw Error(ErrorCode::argument, "batch",
                "option pairs has " + std::to_string(second.size()) + " rows, there are " +
                    std::to_string(rows.size()));
  }
  if (options.has("type_ids")) {
    throw Error(ErrorCode::option, "batch", "options pairs and type_ids contradict each other")
        .hint("pairs says the type ids: 0 for the first part, 1 for the second");
  }
  for (std::size_t row = 0; row < rows.size(); ++row) {
    types.emplace_back(rows[row].size(), 0);
    rows[row].insert(rows[row].end(), second[row].begin(), second[row].end());
    types.back().resize(rows[row].size(), 1);
  }
  return types;
}

namespace {

/// A row of features as passes read it, [frame, mel]: the published [mel, frame] is turned.
Tensor feature_row(const Tensor& given) {
  const Shape& shape = given.shape();
  if (shape.rank() != 2 || shape.axis(0).name != "mel" || shape.axis(1).name != "frame")
    return given;
  const int order[] = {1, 0};
  return given.permute(order);
}

/// Pictures one by one, [batch=1, channel, height, width] each: of a list of these without the
/// first axis, or of one tensor with all.
std::vector<Tensor> picture_rows(const std::vector<Tensor>& given) {
  std::vector<Tensor> rows;
  for (const Tensor& tensor : given) {
    if (tensor.shape().rank() != 3 && tensor.shape().rank() != 4) {
      throw Error(ErrorCode::shape, "batch", "pixels must be [batch, channel, height, width]")
          .operand("pixels", tensor.describe())
          .hint("or a list of [channel, height, width]");
    }
    const bool whole = tensor.shape().rank() == 4;
    const std::int64_t count = whole ? tensor.shape().size(0) : 1;
    for (std::int64_t i = 0; i < count; ++i) {
      const Tensor picture = (whole ? tensor.slice(0, i, 1) : tensor).to_contiguous();
      const Shape& shape = picture.shape();
      const int first = whole ? 1 : 0;
      rows.push_back(picture.with_shape(Shape(
          {Axis{"batch", 1, 0}, Axis{"channel", shape.size(first), 0},
           Axis{"height", shape.size(first + 1), 0}, Axis{"width", shape.size(first + 2), 0}})));
    }
  }
  return rows;
}

/// One tensor a row, as passes read an input of this name.
std::vector<Tensor> input_rows(lua_State* L, const std::string& name) {
  std::vector<Tensor> rows;
  if (test_object<Value>(L, -1) != nullptr) {
    rows.push_back(to_tensor(L, -1, "batch", name.c_str()));
  } else {
    rows = to_tensors(L, -1, "batch", name.c_str());
  }
  if (name == "pixels") rows = picture_rows(rows);
  if (name != "features") return rows;
  for (Tensor& row : rows) row = feature_row(row);
  return rows;
}

}  // namespace

std::vector<BatchInput> to_inputs(lua_State* L, Options& options) {
  std::vector<BatchInput> inputs;
  if (!options.push("inputs")) return inputs;
  expect_table(L, -1, "batch", "option inputs");
  const int table = lua_gettop(L);
  for (lua_pushnil(L); lua_next(L, table) != 0; lua_pop(L, 1)) {
    lua_pushvalue(L, -2);
    BatchInput input;
    input.name = to_text(L, -1, "batch", "option inputs: a name");
    lua_pop(L, 1);
    const std::vector<Tensor> rows = input_rows(L, input.name);
    for (std::size_t r = 0; r < rows.size(); ++r) {
      if (rows[r].shape().rank() == 0) {
        throw Error(ErrorCode::shape, "batch",
                    "row " + std::to_string(r + 1) + " of input " + input.name + " has no axes");
      }
      input.lengths.push_back(rows[r].shape().size(0));
    }
    if (rows.empty()) {
      throw Error(ErrorCode::argument, "batch", "no rows of input " + input.name);
    }
    input.axis = rows[0].shape().axis(0).name;
    input.tensor = tensor_ops::cat(rows, input.axis);
    inputs.push_back(std::move(input));
  }
  lua_pop(L, 1);
  // In the order of their names, so that a batch is the same however a table is walked.
  std::sort(inputs.begin(), inputs.end(),
            [](const BatchInput& a, const BatchInput& b) { return a.name < b.name; });
  return inputs;
}

}  // namespace perilune::lua
