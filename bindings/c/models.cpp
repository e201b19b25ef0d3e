// perilune.h: models and text.
#include <vector>

#include "bindings/c/call.h"
#include "bindings/lua/tensors/tensor_value.h"

namespace perilune::c {
namespace {

// A list of the texts.
int push_texts(lua_State* L, const char* const* texts, const size_t* sizes, size_t count) {
  lua_createtable(L, static_cast<int>(count), 0);
  for (size_t i = 0; i < count; ++i) {
    lua_pushlstring(L, texts[i], sizes != nullptr ? sizes[i] : std::strlen(texts[i]));
    lua_rawseti(L, -2, static_cast<int>(i + 1));
  }
  return 1;
}

const char* texts_problem(const char* const* texts, size_t count) {
  if (count == 0) return "no texts";
  if (count > 1u << 20) return "more than 1,048,576 texts";
  if (texts == nullptr) return "texts is NULL";
  for (size_t i = 0; i < count; ++i) {
    if (texts[i] == nullptr) return "one of the texts is NULL";
  }
  return nullptr;
}

// The integers of the list at `index`.
pl_status take_ids(lua_State* L, int index, int32_t* ids, size_t capacity, size_t* count) {
  luaL_checktype(L, index, LUA_TTABLE);
  const size_t found = lua_objlen(L, index);
  if (count != nullptr) *count = found;
  if (capacity == 0) return count != nullptr ? PL_OK : PL_ERROR_SIZE;
  if (found > capacity) return PL_ERROR_SIZE;
  for (size_t i = 0; i < found; ++i) {
    lua_rawgeti(L, index, static_cast<int>(i + 1));
    ids[i] = static_cast<int32_t>(lua_tointeger(L, -1));
    lua_pop(L, 1);
  }
  return PL_OK;
}

pl_status take_floats(lua_State* L, float* out, size_t capacity, size_t* width) {
  const auto columns = static_cast<size_t>(luaL_checknumber(L, 2));
  if (width != nullptr) *width = columns;
  if (out == nullptr) return PL_OK;
  const Tensor t = lua::to_tensor(L, 1, "embed", "vectors").to_contiguous();
  const auto elements = static_cast<size_t>(t.elements());
  if (elements > capacity) return PL_ERROR_SIZE;
  std::memcpy(out, t.as<float>(), elements * sizeof(float));
  return PL_OK;
}

}  // namespace
}  // namespace perilune::c

using namespace perilune::c;

extern "C" {

PL_API pl_status pl_load(pl_instance instance, const char* path, const char* options,
                         pl_model* model) {
  if (model == nullptr) return bad_argument(instance, "load: model is NULL");
  *model = 0;
  if (path == nullptr) return bad_argument(instance, "load: path is NULL");
  return call(
      instance, Kind::instance, "load",
      [&](lua_State* L, Instance&) {
        push_text(L, path);
        push_text(L, options);
        return 2;
      },
      [&](lua_State* L, Instance& here) { return take_handle(L, here, Kind::model, 1, model); });
}

PL_API pl_status pl_encode(pl_model model, const char* text, size_t text_size, const char* options,
                           int32_t* ids, size_t capacity, size_t* count) {
  if (text == nullptr && text_size > 0) return bad_argument(model, "encode: text is NULL");
  if (ids == nullptr && capacity > 0) return bad_argument(model, "encode: ids is NULL");
  return call(
      model, Kind::model, "encode",
      [&](lua_State* L, Instance&) {
        lua_pushlstring(L, text != nullptr ? text : "", text_size);
        push_text(L, options);
        return 2;
      },
      [&](lua_State* L, Instance&) { return take_ids(L, 1, ids, capacity, count); });
}

PL_API pl_status pl_decode(pl_model model, const int32_t* ids, size_t count, char* buffer,
                           size_t capacity, size_t* size) {
  if (ids == nullptr && count > 0) return bad_argument(model, "decode: ids is NULL");
  if (count > INT32_MAX) return bad_argument(model, "decode: too many ids");
  return call(
      model, Kind::model, "decode",
      [&](lua_State* L, Instance&) {
        lua_createtable(L, static_cast<int>(count), 0);
        for (size_t i = 0; i < count; ++i) {
          lua_pushinteger(L, ids[i]);
          lua_rawseti(L, -2, static_cast<int>(i + 1));
        }
        return 1;
      },
      [&](lua_State* L, Instance&) { return copy_text(L, 1, buffer, capacity, size); });
}

PL_API pl_status pl_chat(pl_model model, const char* messages, const char* options, char* buffer,
                         size_t capacity, size_t* size) {
  if (messages == nullptr) return bad_argument(model, "chat: messages is NULL");
  return call(
      model, Kind::model, "chat",
      [&](lua_State* L, Instance&) {
        push_text(L, messages);
        push_text(L, options);
        return 2;
      },
      [&](lua_State* L, Instance&) { return copy_text(L, 1, buffer, capacity, size); });
}

PL_API pl_status pl_embed(pl_model model, const char* const* texts, const size_t* sizes,
                          size_t count, const char* options, float* out, size_t capacity,
                          size_t* width) {
  if (const char* problem = texts_problem(texts, count)) return bad_argument(model, problem);
  if (out == nullptr && capacity > 0) return bad_argument(model, "embed: out is NULL");
  return call(
      model, Kind::model, "embed",
      [&](lua_State* L, Instance&) {
        push_texts(L, texts, sizes, count);
        push_text(L, options);
        return 2;
      },
      [&](lua_State* L, Instance&) { return take_floats(L, out, capacity, width); });
}

PL_API pl_status pl_classify(pl_model model, const char* const* texts, const size_t* sizes,
                             size_t count, const char* options, pl_class* out) {
  if (const char* problem = texts_problem(texts, count)) return bad_argument(model, problem);
  if (out == nullptr) return bad_argument(model, "classify: out is NULL");
  return call(
      model, Kind::model, "classify",
      [&](lua_State* L, Instance&) {
        push_texts(L, texts, sizes, count);
        push_text(L, options);
        return 2;
      },
      [&](lua_State* L, Instance&) -> pl_status {
        for (size_t i = 0; i < count; ++i) {
          lua_rawgeti(L, 1, static_cast<int>(i + 1));
          lua_getfield(L, -1, "id");
          lua_getfield(L, -2, "score");
          out[i].id = static_cast<int32_t>(lua_tointeger(L, -2));
          out[i].score = static_cast<float>(lua_tonumber(L, -1));
          lua_pop(L, 3);
        }
        return PL_OK;
      });
}

PL_API pl_status pl_label(pl_model model, int32_t id, char* buffer, size_t capacity, size_t* size) {
  return call(
      model, Kind::model, "label",
      [&](lua_State* L, Instance&) {
        lua_pushinteger(L, id);
        return 1;
      },
      [&](lua_State* L, Instance&) { return copy_text(L, 1, buffer, capacity, size); });
}

}  // extern "C"
