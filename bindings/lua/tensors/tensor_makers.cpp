// core: tensors from lists and numbers, joins, and tensors in files.
#include <cmath>

#include "bindings/lua/tensors/tensor_padding.h"
#include "bindings/lua/tensors/tensor_value.h"
#include "engine/base/interrupt.h"
#include "engine/files/axis_names.h"
#include "engine/files/safetensors.h"
#include "engine/sampling/sampler.h"
#include "engine/weights/open_tensor_file.h"

namespace perilune::lua {

struct TensorFileObject {
  std::shared_ptr<const TensorFile> file;
};
template <>
struct TypeName<TensorFileObject> {
  static constexpr const char* value = "TensorFile";
};

namespace {

constexpr std::int64_t kMaxElements = std::int64_t{1} << 40;

/// pl.tensor(data, { dtype=, axes= })
int tensor(lua_State* L) {
  Options options(L, 2, "tensor");
  const auto dtype = options.dtype("dtype");
  auto axes = options.texts("axes").value_or(std::vector<std::string>{});
  options.done();
  if (test_object<Value>(L, 1) != nullptr) {
    throw Error(ErrorCode::argument, "tensor", "expected lists, got a Tensor")
        .hint("use t:copy() or t:to(dtype)");
  }
  push_value(L, Value::of(tensor_of_lists(L, 1, dtype, std::move(axes), "tensor")));
  return 1;
}

Shape shape_of_sizes(lua_State* L, const char* op, Options& options) {
  if (lua_istable(L, 1) && !is_list(L, 1)) {
    throw Error(ErrorCode::argument, op,
                "sizes: expected a list of numbers, got a table with names")
        .hint("axis names are an option: ({ 2, 3 }, { axes={ \"batch\", \"hidden\" } })");
  }
  const auto sizes = to_integers(L, 1, op, "sizes");
  const auto names = options.texts("axes").value_or(std::vector<std::string>{});
  if (!names.empty() && names.size() != sizes.size()) {
    throw Error(ErrorCode::shape, op,
                std::to_string(sizes.size()) + " sizes and " + std::to_string(names.size()) +
                    " axis names");
  }
  std::int64_t total = 1;
  std::vector<Axis> axes;
  for (std::size_t i = 0; i < sizes.size(); ++i) {
    const auto product = sizes[i] < 0 ? std::nullopt : checked_multiply(total, sizes[i]);
    if (!product || *product > kMaxElements) {
      throw Error(ErrorCode::argument, op,
                  "size " + std::to_string(i + 1) + " is " + std::to_string(sizes[i]) +
                      ": sizes must be 0 or more, and not too many elements in all");
    }
    total = *product;
    axes.push_back({names.empty() ? "axis" + std::to_string(i + 1) : names[i], sizes[i], 0});
  }
  return Shape(axes);
}

int filled(lua_State* L, const char* op, double number) {
  Options options(L, 2, op);
  const DType dtype = options.dtype("dtype").value_or(DType::f32);
  const Shape shape = shape_of_sizes(L, op, options);
  options.done();
  Tensor made = Tensor::zeros(state(L).context, dtype, shape);
  if (number != 0) tensor_ops::assign(made, number);
  push_value(L, Value::of(std::move(made)));
  return 1;
}

int zeros(lua_State* L) {
  return filled(L, "zeros", 0);
}

int ones(lua_State* L) {
  return filled(L, "ones", 1);
}

/// arange(n): 1 to n; arange(first, last, step): both ends included, as in Lua's own `for`.
int arange(lua_State* L) {
  double limits[3] = {1, to_number(L, 1, "arange", "last"), 1};
  int next = 2;
  if (is_number(L, 2)) {
    limits[0] = limits[1];
    limits[1] = lua_tonumber(L, 2);
    next = 3;
    if (is_number(L, 3)) {
      limits[2] = lua_tonumber(L, 3);
      next = 4;
    }
  }
  Options options(L, next, "arange");
  const auto dtype = options.dtype("dtype");
  const auto axes = options.texts("axes").value_or(std::vector<std::string>{"position"});
  options.done();
  const double steps = std::floor((limits[1] - limits[0]) / limits[2] + 1e-9) + 1;
  if (limits[2] == 0 || !(std::abs(steps) < static_cast<double>(kMaxElements))) {
    throw Error(ErrorCode::argument, "arange", "the step does not lead from first to last");
  }
  if (axes.size() != 1) throw Error(ErrorCode::shape, "arange", "it has one axis");
  const auto count = static_cast<std::int64_t>(std::max(0.0, steps));
  const Shape shape{Axis{axes[0], count, 0}};
  bool whole = limits[0] == std::floor(limits[0]) && limits[2] == std::floor(limits[2]);
  if (dtype) whole = !is_float(*dtype);
  if (whole && !(std::abs(limits[0]) <= kMaxWhole && std::abs(limits[1]) <= kMaxWhole)) {
    throw Error(ErrorCode::argument, "arange", "whole numbers go to 2^53; give a dtype of floats");
  }
  const auto value_at = [&](std::int64_t i) {
    return limits[0] + static_cast<double>(i) * limits[2];
  };
  Tensor made = Tensor::make(state(L).context, whole ? DType::i64 : DType::f32, shape);
  for (std::int64_t i = 0; i < count; ++i) {
    stop_if_interrupted("arange");
    if (whole) {
      made.as<std::int64_t>()[i] = static_cast<std::int64_t>(value_at(i));
    } else {
      made.as<float>()[i] = static_cast<float>(value_at(i));
    }
  }
  push_value(L, Value::of(dtype ? made.to(*dtype) : made));
  return 1;
}

/// random(sizes, { seed=, low=0, high=1, dtype=, axes= }): uniform, a hash of seed and position.
int random(lua_State* L) {
  Options options(L, 2, "random");
  const DType dtype = options.dtype("dtype").value_or(DType::f32);
  const std::int64_t seed = options.integer("seed").value_or(0);
  const double low = options.number("low").value_or(0.0);
  const double high = options.number("high").value_or(1.0);
  const Shape shape = shape_of_sizes(L, "random", options);
  if (!(low <= high) || !std::isfinite(high - low)) {
    throw Error(ErrorCode::option, "random", "options low and high: two numbers, low at most high");
  }
  options.done();
  Tensor made = Tensor::make(state(L).context, DType::f32, shape);
  const std::int64_t count = made.elements();
  for (std::int64_t i = 0; i < count; ++i) {
    stop_if_interrupted("random");
    const double uniform =
        hash_uniform(static_cast<std::uint64_t>(seed), 0, static_cast<std::uint64_t>(i), 0);
    made.as<float>()[i] = static_cast<float>(low + (high - low) * uniform);
  }
  push_value(L, Value::of(made.to(dtype)));
  return 1;
}

int cat(lua_State* L) {
  const auto list = to_tensors(L, 1, "cat", "list");
  push_value(L, Value::of(tensor_ops::cat(list, to_text(L, 2, "cat", "axis"))));
  return 1;
}

int stack(lua_State* L) {
  if (lua_istable(L, 1)) {
    lua_rawgeti(L, 1, 1);
    const bool rows = lua_istable(L, -1);
    lua_pop(L, 1);
    if (rows) {  // lists are read as one tensor, which says which rows differ
      const std::string axis = to_text(L, 2, "stack", "axis");
      const Tensor made = tensor_of_lists(L, 1, std::nullopt, {}, "stack");
      const Shape& shape = made.shape();
      push_value(L, Value::of(made.with_shape(shape.with_axis(0, {axis, shape.size(0), 0}))));
      return 1;
    }
  }
  const auto list = to_tensors(L, 1, "stack", "list");
  push_value(L, Value::of(tensor_ops::stack(list, to_text(L, 2, "stack", "axis"))));
  return 1;
}

int clamp_to_shortest(lua_State* L) {
  const auto list = to_tensors(L, 1, "clamp_to_shortest", "list");
  const auto [views, lost] =
      tensor_ops::clamp_to_shortest(list, to_text(L, 2, "clamp_to_shortest", "axis"));
  lua_createtable(L, static_cast<int>(views.size()), 0);
  int position = 0;
  for (const Tensor& view : views) {
    push_tensor(L, view);
    lua_rawseti(L, -2, ++position);
  }
  push_list(L, lost);
  return 2;
}

// ---------------------------------------------------------------- files

const TensorFile& open_file(TensorFileObject& object, const char* op) {
  if (object.file == nullptr) throw Error(ErrorCode::state, op, "the file was closed");
  return *object.file;
}

int open_tensors(lua_State* L) {
  push_object(L, TensorFileObject{open_tensor_file(to_text(L, 1, "open", "path"))});
  return 1;
}

const StoredTensor& stored(const TensorFile& file, const std::string& name, const char* op) {
  if (const StoredTensor* found = file.find(name)) return *found;
  std::vector<std::string> names;
  for (const StoredTensor& tensor : file.tensors()) names.push_back(tensor.name);
  throw Error(ErrorCode::argument, op, file.path() + " holds no tensor \"" + name + "\"")
      .hint(did_you_mean(name, names));
}

int file_names(lua_State* L) {
  std::vector<std::string> names;
  for (const auto& tensor : open_file(self<TensorFileObject>(L, "names"), "names").tensors()) {
    names.push_back(tensor.name);
  }
  push_list(L, names);
  return 1;
}

int file_path(lua_State* L) {
  push_text(L, open_file(self<TensorFileObject>(L, "path"), "path").path());
  return 1;
}

int file_metadata(lua_State* L) {
  lua_newtable(L);
  const auto& file = open_file(self<TensorFileObject>(L, "metadata"), "metadata");
  for (const auto& [key, value] : file.metadata()) set_field(L, key.c_str(), value);
  return 1;
}

int file_tensor(lua_State* L) {
  const auto& file = open_file(self<TensorFileObject>(L, "tensor"), "tensor");
  const StoredTensor& found = stored(file, to_text(L, 2, "tensor", "name"), "tensor");
  std::vector<std::string> axes;
  if (!lua_isnoneornil(L, 3)) axes = to_texts(L, 3, "tensor", "axes");
  push_value(L, Value::of(read_tensor(state(L).context, file, found, axes)));
  return 1;
}

int file_info(lua_State* L) {
  const auto& file = open_file(self<TensorFileObject>(L, "info"), "info");
  const StoredTensor& found = stored(file, to_text(L, 2, "info", "name"), "info");
  lua_createtable(L, 0, 4);
  set_field(L, "name", found.name);
  set_field(L, "dtype", dtype_name(found.dtype));
  set_field(L, "bytes", static_cast<std::int64_t>(found.end - found.begin));
  push_list(L, found.sizes);
  lua_setfield(L, -2, "sizes");
  return 1;
}

int file_has(lua_State* L) {
  const auto& file = open_file(self<TensorFileObject>(L, "has"), "has");
  lua_pushboolean(L, file.find(to_text(L, 2, "has", "name")) != nullptr ? 1 : 0);
  return 1;
}

int file_close(lua_State* L) {
  self<TensorFileObject>(L, "close").file = nullptr;
  return 0;
}

int save_tensors(lua_State* L) {
  const std::string path = to_text(L, 1, "save", "path");
  expect_table(L, 2, "save", "tensors");
  std::map<std::string, Tensor> sorted;
  for (lua_pushnil(L); lua_next(L, 2) != 0; lua_pop(L, 1)) {
    lua_pushvalue(L, -2);
    const std::string name = to_text(L, -1, "save", "name");
    lua_pop(L, 1);
    sorted[name] = to_tensor(L, -1, "save", name.c_str());
  }
  std::map<std::string, std::string> metadata;
  if (!lua_isnoneornil(L, 3)) {
    expect_table(L, 3, "save", "metadata");
    for (lua_pushnil(L); lua_next(L, 3) != 0; lua_pop(L, 1)) {
      lua_pushvalue(L, -2);
      const std::string key = to_text(L, -1, "save", "metadata key");
      lua_pop(L, 1);
      metadata[key] = to_text(L, -1, "save", key);
    }
  }
  const std::vector<std::pair<std::string, Tensor>> tensors(sorted.begin(), sorted.end());
  note_axis_names(tensors, metadata);
  write_safetensors(path, tensors, metadata);
  return 0;
}

}  // namespace

void add_tensor_makers(lua_State* L) {
  constexpr Member kFunctions[] = {
      {"tensor", guarded<tensor>},
      {"zeros", guarded<zeros>},
      {"ones", guarded<ones>},
      {"arange", guarded<arange>},
      {"random", guarded<random>},
      {"cat", guarded<cat>},
      {"stack", guarded<stack>},
      {"clamp_to_shortest", guarded<clamp_to_shortest>},
      {"pad", guarded<pad_list>},
      {"open_tensors", guarded<open_tensors>},
      {"save_tensors", guarded_once<save_tensors>},
  };
  set_functions(L, kFunctions);
  constexpr Member kMethods[] = {
      {"tensor", guarded<file_tensor>},
      {"info", guarded<file_info>},
      {"has", guarded<file_has>},
      {"close", guarded<file_close>},
  };
  constexpr Member kGetters[] = {
      {"names", guarded<file_names>},
      {"path", guarded<file_path>},
      {"metadata", guarded<file_metadata>},
  };
  register_type<TensorFileObject>(L, kMethods, kGetters);
}

}  // namespace perilune::lua
