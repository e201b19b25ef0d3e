// An instance: a Lua state behind a lock, and what one call on it goes through.
#pragma once

#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <type_traits>
#include <vector>

#include "bindings/c/handles.h"
#include "bindings/c/host_files.h"
#include "bindings/lua/host/perilune_lua.h"
#include "lua.hpp"

namespace perilune::c {

/// One value that a script's function returned, held until the host releases it.
struct HeldValue {
  pl_value value{};
  std::string text;
  std::vector<float> floats;
};

/// What the host decided; read by the callbacks of the state.
struct Settings {
  pl_options host{};  // as given, filled up with zeros
  std::vector<std::string> model_folders;
  std::vector<int> processors;  // that threads stay on; empty: any
  std::size_t script_used = 0, script_budget = 0;
};

class Instance {
 public:
  explicit Instance(const pl_options& options);
  ~Instance();
  Instance(const Instance&) = delete;
  Instance& operator=(const Instance&) = delete;

  /// Makes the state and fills it; the error's text is error_text().
  pl_status open(lua_State* (*make)(Settings&), void (*fill)(lua_State*, Settings&));
  /// Frees the state, once nobody is in it.
  void close();
  /// The same, unless another thread is in it.
  bool close_if_unused();

  /// Runs body(L) in protected mode, with this instance to itself. Whatever it raises or throws
  /// becomes a status and the error text.
  template <class Body>
  pl_status run(Body&& body) {
    return enter(
        [](lua_State* L, void* data) { (*static_cast<std::remove_reference_t<Body>*>(data))(L); },
        &body);
  }
  pl_status fail(pl_status status, const std::string& text);
  void cancel();
  std::string error_text();

  /// The instance that this thread is in.
  static Instance* current();
  pl_handle handle_of(Kind kind, std::uint32_t number) const;

  Settings settings;
  const HostFiles files{settings.host};
  pl_handle handle = 0;  // its own
  std::map<std::uint32_t, std::vector<HeldValue>> values;
  std::uint32_t next_values = 1;

 private:
  using Step = void (*)(lua_State* L, void* data);
  pl_status enter(Step step, void* data);
  pl_status perform(Step step, void* data);
  void watch();
  static void on_steps(lua_State* L, lua_Debug*);

  std::mutex mutex_;  // of the state
  std::atomic<std::thread::id> owner_{};
  std::atomic<bool> cancelled_{false};
  lua_State* L_ = nullptr;
  lua::Interrupter interrupter_;
  std::uint64_t steps_ = 0;  // of Lua's interpreter in this call
  double deadline_ = 0;
  std::string over_;  // the limit that this call went over

  std::mutex error_mutex_;
  std::string error_;
};

}  // namespace perilune::c
