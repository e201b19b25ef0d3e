// One call from the host: the handle, the lock, the function of perilune.host, what it gives.
#pragma once

#include <algorithm>
#include <cstring>
#include <new>
#include <string>

#include "bindings/c/instance.h"
#include "bindings/c/state.h"
#include "engine/base/floating_point.h"

namespace perilune::c {

const char* kind_name(Kind kind);

/// The instance of a handle of this kind, or the status that says what is wrong with it.
pl_status find(pl_handle handle, Kind kind, std::shared_ptr<Instance>& instance);

/// Runs `body`, which gives a status; nothing is thrown over the boundary, and the host's
/// floating-point modes are neither used nor changed.
template <class Body>
pl_status guarded(Body&& body) noexcept {
  const DefaultFloatingPoint arithmetic;
  try {
    return body();
  } catch (const std::bad_alloc&) {
    return PL_ERROR_MEMORY;
  } catch (...) {
    return PL_ERROR_INTERNAL;
  }
}

/// Calls perilune.host[function](number of the object, what `push` pushes …); push gives how many,
/// take(L, first) reads the results from index `first` on and gives the status.
template <class Push, class Take>
pl_status call(pl_handle handle, Kind kind, const char* function, Push&& push,
               Take&& take) noexcept {
  return guarded([&] {
    std::shared_ptr<Instance> instance;
    if (const pl_status status = find(handle, kind, instance)) return status;
    pl_status result = PL_OK;
    std::string problem;
    const pl_status status = instance->run([&](lua_State* L) {
      push_function(L, function);
      int arguments = 0;
      if (kind != Kind::instance) {
        lua_pushnumber(L, unpack(handle).number);
        ++arguments;
      }
      arguments += push(L, *instance);
      lua_call(L, arguments, LUA_MULTRET);
      result = take(L, *instance);
    });
    if (status != PL_OK) return status;
    if (result == PL_ERROR_SIZE) instance->fail(result, "the buffer is too small");
    return result;
  });
}

/// Says what argument is wrong, to the instance of the handle if there is one.
pl_status bad_argument(pl_handle handle, const char* text) noexcept;

/// A text for the caller's buffer, with a zero at its end.
pl_status copy_text(const char* text, std::size_t length, char* buffer, std::size_t capacity,
                    std::size_t* size);
/// The same for the Lua string at `index`.
pl_status copy_text(lua_State* L, int index, char* buffer, std::size_t capacity, std::size_t* size);
/// Pushes a text or nil.
void push_text(lua_State* L, const char* text);
/// Makes the object whose number is at `index` a handle.
pl_status take_handle(lua_State* L, const Instance& instance, Kind kind, int index,
                      pl_handle* handle);

/// What both sides know of a struct that begins with its size; false for a size that cannot be.
template <class Struct>
bool read_struct(const Struct* given, Struct& read) {
  if (given->size < sizeof(given->size)) return false;
  std::memcpy(&read, given, std::min(given->size, sizeof(Struct)));
  return true;
}
template <class Struct>
void write_struct(Struct* given, Struct made) {
  made.size = given->size;
  std::memcpy(given, &made, std::min(given->size, sizeof(Struct)));
}

inline constexpr auto kNothing = [](lua_State*, Instance&) { return 0; };
inline constexpr auto kDone = [](lua_State*, Instance&) { return pl_status{PL_OK}; };

}  // namespace perilune::c
