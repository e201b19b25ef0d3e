// perilune.h: instances, errors, cancelling, memory; and what all calls share.
#include <sched.h>

#include "bindings/c/call.h"
#include "bindings/c/luajit.h"

namespace perilune::c {

const char* kind_name(Kind kind) {
  switch (kind) {
    case Kind::none: break;
    case Kind::instance: return "an instance";
    case Kind::model: return "a model";
    case Kind::request: return "a request";
    case Kind::conversation: return "a conversation";
    case Kind::values: return "values";
    case Kind::object: return "an object";
  }
  return "no handle";
}

pl_status find(pl_handle handle, Kind kind, std::shared_ptr<Instance>& instance) {
  if (forked()) return PL_ERROR_FORKED;
  instance = find_instance(handle);
  if (instance == nullptr) return PL_ERROR_HANDLE;
  const Kind given = unpack(handle).kind;
  if (given == kind) return PL_OK;
  return instance->fail(PL_ERROR_HANDLE, std::string("handle: expected ") + kind_name(kind) +
                                             ", got " + kind_name(given));
}

pl_status bad_argument(pl_handle handle, const char* text) noexcept {
  return guarded([&]() -> pl_status {
    if (forked()) return PL_ERROR_FORKED;
    const auto instance = find_instance(handle);
    return instance == nullptr ? pl_status{PL_ERROR_HANDLE}
                               : instance->fail(PL_ERROR_ARGUMENT, text);
  });
}

pl_status copy_text(const char* text, std::size_t length, char* buffer, std::size_t capacity,
                    std::size_t* size) {
  if (size != nullptr) *size = length;
  if (capacity == 0) return size != nullptr ? PL_OK : PL_ERROR_SIZE;
  if (buffer == nullptr) return PL_ERROR_ARGUMENT;
  if (capacity <= length) {
    buffer[0] = 0;
    return PL_ERROR_SIZE;
  }
  std::memcpy(buffer, text, length);
  buffer[length] = 0;
  return PL_OK;
}

pl_status copy_text(lua_State* L, int index, char* buffer, std::size_t capacity,
                    std::size_t* size) {
  std::size_t length = 0;
  const char* text = luaL_checklstring(L, index, &length);
  return copy_text(text, length, buffer, capacity, size);
}

void push_text(lua_State* L, const char* text) {
  if (text == nullptr) {
    lua_pushnil(L);
  } else {
    lua_pushstring(L, text);
  }
}

pl_status take_handle(lua_State* L, const Instance& instance, Kind kind, int index,
                      pl_handle* handle) {
  *handle = instance.handle_of(kind, static_cast<std::uint32_t>(luaL_checknumber(L, index)));
  return PL_OK;
}

namespace {

constexpr std::uint32_t kVersion = 0x000100;  // PERILUNE_VERSION, held to it by a test
constexpr const char* kWords[] = {"argument", "handle",      "size",   "state",  "forked",
                                  "option",   "shape",       "device", "file",   "format",
                                  "pairing",  "unsupported", "memory", "length", "cancelled",
                                  "script",   "internal"};

void tell(const pl_options& options, const std::string& text) {
  if (options.error != nullptr && options.error_capacity > 0) {
    const std::size_t length = std::min(text.size(), options.error_capacity - 1);
    std::memcpy(options.error, text.data(), length);
    options.error[length] = 0;
  }
}

/// Whether this process may run on all of them.
bool may_run_on(const std::int32_t* processors, std::size_t count) {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return false;
  return std::all_of(processors, processors + count, [&](std::int32_t processor) {
    return processor >= 0 && processor < CPU_SETSIZE &&
           CPU_ISSET(static_cast<unsigned>(processor), &set);
  });
}

pl_status open(const pl_options* given, pl_instance* out) {
  if (out == nullptr) return PL_ERROR_ARGUMENT;
  *out = 0;
  if (forked()) return PL_ERROR_FORKED;
  pl_options options{};
  options.size = sizeof(options);
  if (given != nullptr && !read_struct(given, options)) return PL_ERROR_ARGUMENT;
  const auto refuse = [&](pl_status status, const char* text) {
    tell(options, text);
    return status;
  };
  if (options.threads < 0 || options.threads > 1024) {
    return refuse(PL_ERROR_ARGUMENT, "open: threads must be 0 to 1024");
  }
  if ((options.flags & ~(PL_WORKER | PL_MOD)) != 0) {
    return refuse(PL_ERROR_ARGUMENT, "open: unknown flags");
  }
  if (options.model_folder_count > 0 && options.model_folders == nullptr) {
    return refuse(PL_ERROR_ARGUMENT, "open: model_folders is NULL");
  }
  if (options.processor_count > 0 && options.processors == nullptr) {
    return refuse(PL_ERROR_ARGUMENT, "open: processors is NULL");
  }
  if (!may_run_on(options.processors, options.processor_count)) {
    return refuse(PL_ERROR_ARGUMENT, "open: processors: not all of them are this process's");
  }
  if (const char* problem = open_luajit()) return refuse(PL_ERROR_UNSUPPORTED, problem);
  const auto instance = std::make_shared<Instance>(options);
  for (std::size_t i = 0; i < options.model_folder_count; ++i) {
    if (options.model_folders[i] == nullptr) {
      return refuse(PL_ERROR_ARGUMENT, "open: one of model_folders is NULL");
    }
    instance->settings.model_folders.emplace_back(options.model_folders[i]);
  }
  instance->settings.processors.assign(options.processors,
                                       options.processors + options.processor_count);
  const pl_status status = instance->open(make_state, fill_state);
  if (status != PL_OK) {
    tell(options, instance->error_text());
    return status;
  }
  instance->handle =
      add_instance(instance, [](Instance& unused) { return unused.close_if_unused(); });
  if (instance->handle == 0) return refuse(PL_ERROR_STATE, "open: 256 instances are open");
  *out = instance->handle;
  return PL_OK;
}

}  // namespace
}  // namespace perilune::c

using namespace perilune::c;

extern "C" {

PL_API uint32_t pl_version(void) {
  return kVersion;
}

PL_API const char* pl_version_text(void) {
  return PERILUNE_VERSION;
}

PL_API const char* pl_status_text(pl_status status) {
  if (status == PL_OK) return "ok";
  if (status == PL_EMPTY) return "empty";
  const std::int64_t place = std::int64_t{status} - PL_ERROR_ARGUMENT;
  return place >= 0 && place < std::int64_t{std::size(kWords)} ? kWords[place] : "unknown";
}

PL_API pl_status pl_open(const pl_options* options, pl_instance* instance) {
  return guarded([&] { return open(options, instance); });
}

PL_API pl_status pl_close(pl_instance handle) {
  return guarded([&]() -> pl_status {
    if (handle == 0) return PL_OK;
    std::shared_ptr<Instance> instance;
    if (const pl_status status = find(handle, Kind::instance, instance)) return status;
    if (Instance::current() == instance.get()) {
      return instance->fail(PL_ERROR_STATE, "close: called from a callback of the same instance");
    }
    instance = take_instance(handle);
    if (instance == nullptr) return PL_ERROR_HANDLE;  // another thread was first
    instance->cancel();
    instance->close();
    return PL_OK;
  });
}

PL_API pl_status pl_release(pl_handle object) {
  if (object == 0) return PL_OK;
  const Handle parts = unpack(object);
  if (parts.kind == Kind::instance) return bad_argument(object, "release: pl_close ends instances");
  if (parts.kind != Kind::values) return call(object, parts.kind, "close", kNothing, kDone);
  return guarded([&] {
    std::shared_ptr<Instance> instance;
    if (const pl_status status = find(object, Kind::values, instance)) return status;
    bool found = false;
    const pl_status status =
        instance->run([&](lua_State*) { found = instance->values.erase(parts.number) > 0; });
    if (status != PL_OK) return status;
    return found ? pl_status{PL_OK}
                 : instance->fail(PL_ERROR_HANDLE, "handle: these values were released");
  });
}

PL_API pl_status pl_error_text(pl_instance handle, char* buffer, size_t capacity, size_t* size) {
  return guarded([&] {
    std::shared_ptr<Instance> instance;
    if (const pl_status status = find(handle, Kind::instance, instance)) return status;
    const std::string text = instance->error_text();
    return copy_text(text.data(), text.size(), buffer, capacity, size);
  });
}

PL_API pl_status pl_cancel(pl_instance handle) {
  return guarded([&] {
    std::shared_ptr<Instance> instance;
    if (const pl_status status = find(handle, Kind::instance, instance)) return status;
    instance->cancel();
    return pl_status{PL_OK};
  });
}

PL_API pl_status pl_memory(pl_instance handle, pl_memory_report* report) {
  if (report == nullptr) return bad_argument(handle, "memory: report is NULL");
  pl_memory_report made{};
  if (!read_struct(report, made)) return bad_argument(handle, "memory: report has no size");
  return call(handle, Kind::instance, "memory", kNothing, [&](lua_State* L, Instance& instance) {
    const auto field = [&](const char* name) {
      lua_getfield(L, 1, name);
      const auto value = static_cast<std::uint64_t>(lua_tonumber(L, -1));
      lua_pop(L, 1);
      return value;
    };
    made.used = field("used");
    made.peak = field("peak");
    made.budget = instance.settings.host.memory;
    made.script_used = instance.settings.script_used;
    made.script_budget = instance.settings.script_budget;
    write_struct(report, made);
    return pl_status{PL_OK};
  });
}

PL_API pl_status pl_set_threads(pl_instance handle, int32_t threads) {
  return call(
      handle, Kind::instance, "set_threads",
      [&](lua_State* L, Instance&) {
        lua_pushinteger(L, threads);
        return 1;
      },
      kDone);
}

}  // extern "C"
