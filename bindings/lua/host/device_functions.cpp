// core: devices and the threads of the one that is here.
#include "bindings/lua/edge/arguments.h"
#include "bindings/lua/host/functions.h"
#include "engine/device/tiers.h"

namespace perilune::lua {
namespace {

int set_threads(lua_State* L) {
  const std::int64_t threads = to_integer(L, 1, "set_threads", "threads");
  if (threads < 1 || threads > 1024) {
    throw Error(ErrorCode::argument, "set_threads",
                "threads must be 1 to 1024, got " + std::to_string(threads));
  }
  state(L).context->set_threads(static_cast<int>(threads));
  return 0;
}

int threads(lua_State* L) {
  push_integer(L, state(L).context->threads());
  return 1;
}

const char* kind_name(DeviceKind kind) {
  switch (kind) {
    case DeviceKind::cpu: return "cpu";
    case DeviceKind::cuda: return "cuda";
    case DeviceKind::emulator: return "emulator";
  }
  return "?";
}

int devices(lua_State* L) {
  const auto& context = state(L).context;
  lua_newtable(L);
  int position = 0;
  for (const auto& device : context->devices()) {
    const DeviceMemory memory = device->memory();
    lua_createtable(L, 0, 8);
    set_field(L, "name", device->name());
    set_field(L, "kind", kind_name(device->kind()));
    set_field(L, "memory", static_cast<double>(memory.total));
    set_field(L, "free", static_cast<double>(memory.free));
    set_field(L, "used", static_cast<double>(memory.used));
    set_field(L, "peak", static_cast<double>(memory.peak));
    const KernelTraits traits = kernel_traits(*device);
    set_field(L, "tier", traits.tier);
    set_field(L, "fast_bf16", traits.fast_bf16);
    set_field(L, "exact_f32_fma", traits.exact_f32_fma);
    set_field(L, "coded", traits.coded);
    set_field(L, "model", device->model());
    set_field(L, "launches", static_cast<std::int64_t>(device->launches()));
    const DeviceTraffic traffic = device->traffic();
    set_field(L, "copies_in", static_cast<std::int64_t>(traffic.copies_in));
    set_field(L, "copies_out", static_cast<std::int64_t>(traffic.copies_out));
    set_field(L, "bytes_out", static_cast<std::int64_t>(traffic.bytes_out));
    set_field(L, "graph_starts", static_cast<std::int64_t>(traffic.graph_starts));
    set_field(L, "graph_builds", static_cast<std::int64_t>(traffic.graph_builds));
    set_field(L, "graph_updates", static_cast<std::int64_t>(traffic.graph_updates));
    set_field(L, "threads", static_cast<std::int64_t>(context->threads()));
    const std::string health = device->health();
    if (!health.empty()) set_field(L, "error", health);
    lua_rawseti(L, -2, ++position);
  }
  for (const IdleDevice& device : context->idle_devices()) {
    lua_createtable(L, 0, 7);
    set_field(L, "name", device.name);
    set_field(L, "kind", kind_name(DeviceKind::cuda));
    set_field(L, "memory", static_cast<double>(device.bytes));
    set_field(L, "free", static_cast<double>(device.bytes));
    set_field(L, "tier", device.tier);
    set_field(L, "model", device.model);
    set_field(L, "idle", true);
    lua_rawseti(L, -2, ++position);
  }
  return 1;
}

int device(lua_State* L) {
  const std::string name = lua_isnoneornil(L, 1) ? "auto" : to_text(L, 1, "device", "name");
  push_text(L, state(L).context->device(name)->name());
  return 1;
}

int tiers(lua_State* L) {
  push_list(L, usable_cpu_tiers());
  return 1;
}

}  // namespace

void add_device_functions(lua_State* L) {
  constexpr Member kFunctions[] = {{"set_threads", guarded<set_threads>},
                                   {"threads", guarded<threads>},
                                   {"devices", guarded<devices>},
                                   {"device", guarded<device>},
                                   {"tiers", guarded<tiers>}};
  set_functions(L, kFunctions);
}

}  // namespace perilune::lua
