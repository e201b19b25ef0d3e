#include "bindings/lua/models/gguf_head.h"

#include <charconv>

#include "bindings/lua/edge/json.h"
#include "bindings/lua/tensors/tensor_value.h"
#include "engine/files/gguf/dequantize.h"
#include "engine/files/gguf/shards.h"
#include "engine/files/gguf/tensors.h"

namespace perilune::lua {
namespace {

constexpr std::int64_t kMostListed = 4096;  // per layer, or factors of a head: never a vocabulary

/// Entries of "array of 12 f32", and the name of their type.
struct ArrayType {
  std::int64_t count = 0;
  std::string_view element;
};

std::optional<ArrayType> array_type(std::string_view description) {
  constexpr std::string_view kArray = "array of ";
  if (!description.starts_with(kArray)) return std::nullopt;
  description.remove_prefix(kArray.size());
  ArrayType type;
  const char* end = description.data() + description.size();
  const auto parsed = std::from_chars(description.data(), end, type.count);
  type.element = std::string_view(parsed.ptr, static_cast<std::size_t>(end - parsed.ptr));
  if (type.element.starts_with(' ')) type.element.remove_prefix(1);
  return type;
}

bool is_real(std::string_view type) {
  return type.starts_with('f');
}

/// Pushes the value of `key`, or nothing for what is not told.
bool push_value_of(lua_State* L, const GgufFile& file, const std::string& key,
                   const std::string& description, const std::optional<ArrayType>& array) {
  if (array) {
    if (array->count > kMostListed || array->element == "string" || array->element == "array") {
      return false;
    }
    if (array->element == "boolean") return false;
    if (is_real(array->element)) {
      push_list(L, file.numbers(key));
    } else {
      push_list(L, file.integers(key));
    }
  } else if (description.starts_with("string")) {
    push_text(L, std::string(file.string(key)));
  } else if (description == "true" || description == "false") {
    lua_pushboolean(L, file.boolean(key) ? 1 : 0);
  } else if (is_real(description)) {
    lua_pushnumber(L, file.number(key));
  } else if (description.find("beyond") == std::string::npos) {
    push_integer(L, file.integer(key));
  } else {
    return false;
  }
  return true;
}

/// Sets `values` and `counts` of the table at the top.
void push_metadata(lua_State* L, const GgufFile& file) {
  lua_newtable(L);  // values
  lua_newtable(L);  // counts
  for (const std::string& key : file.keys()) {
    const std::string description = file.describe(key);
    const auto array = array_type(description);
    if (array) {
      push_text(L, key);
      push_integer(L, array->count);
      lua_rawset(L, -3);
    }
    push_text(L, key);
    if (push_value_of(L, file, key, description, array)) {
      lua_rawset(L, -4);
    } else {
      lua_pop(L, 1);
    }
  }
  lua_setfield(L, -3, "counts");
  lua_setfield(L, -2, "values");
}

const GgufTensorType* type_called(const std::string& name) {
  constexpr std::uint32_t kNumbers = 64;  // of types; more than are published
  for (std::uint32_t number = 0; number < kNumbers; ++number) {
    const GgufTensorType* type = gguf_tensor_type(number);
    if (type != nullptr && name == type->name) return type;
  }
  return nullptr;
}

}  // namespace

int gguf_values(lua_State* L) {
  const GgufTensorType* type = type_called(to_text(L, 1, "gguf_values", "type"));
  if (type == nullptr || !is_quantized(*type)) return 0;
  const Tensor blocks = to_tensor(L, 2, "gguf_values", "blocks").to_contiguous();
  const Shape& shape = blocks.shape();
  if (blocks.dtype() != DType::u8 || shape.rank() != 2 || shape.axis(1).size != type->bytes) {
    throw Error(ErrorCode::shape, "gguf_values",
                "expected u8[block, " + std::to_string(type->bytes) + "]")
        .operand("blocks", blocks.describe());
  }
  const std::int64_t count = shape.axis(0).size;
  Tensor values = Tensor::make(state(L).context, DType::f32,
                               Shape{{"block", count, 0}, {"value", type->block, 0}});
  dequantize(*type, blocks.data(), static_cast<std::size_t>(count), values.as<float>());
  push_tensor(L, values);
  return 1;
}

int gguf_head(lua_State* L) {
  const std::string path = to_text(L, 1, "load", "path");
  if (!is_gguf_file(path)) return 0;
  const auto heads = open_gguf_heads(path);
  const GgufFile& first = *heads.front();
  lua_createtable(L, 0, 6);
  set_field(L, "version", static_cast<std::int64_t>(first.version()));
  set_field(L, "path", first.path());
  push_metadata(L, first);
  lua_newtable(L);  // sizes
  lua_newtable(L);  // files
  for (const auto& head : heads) {
    for (const GgufTensor& tensor : head->tensors()) {
      push_text(L, tensor.name);
      push_list(L, tensor.sizes);
      lua_rawset(L, -4);
      push_text(L, tensor.name);
      push_text(L, head->path());
      lua_rawset(L, -3);
    }
  }
  lua_setfield(L, -3, "files");
  lua_setfield(L, -2, "sizes");
  return 1;
}

}  // namespace perilune::lua
