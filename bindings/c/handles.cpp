#include "bindings/c/handles.h"

#include <unistd.h>

#include <array>
#include <atomic>
#include <deque>
#include <mutex>
#include <new>
#include <utility>

namespace perilune::c {

namespace {

constexpr std::uint32_t kSlots = 256;
constexpr std::uint32_t kGenerations = std::uint32_t{1} << 20;

struct Slot {
  std::shared_ptr<Instance> instance;
  bool (*close_if_unused)(Instance&) = nullptr;
  std::uint32_t generation = 1;
};

// The one table of a process: numbers that a host holds must mean something.
struct Table {
  std::mutex mutex;
  std::array<Slot, kSlots> slots;
  std::deque<std::uint32_t> free;  // the one that was closed longest ago first
  std::uint32_t open = 0;
  std::atomic<pid_t> process{0};  // that has instances; 0: none

  Table() {
    for (std::uint32_t i = 0; i < kSlots; ++i) free.push_back(i);
  }

  // The library is unloaded, or the process ends: what nobody closed and nobody is in.
  ~Table() {
    if (forked()) {
      for (Slot& slot : slots)
        (void)new (std::nothrow) std::shared_ptr<Instance>(std::move(slot.instance));
      return;
    }
    for (Slot& slot : slots) {
      if (slot.instance != nullptr && !slot.close_if_unused(*slot.instance)) {
        (void)new (std::nothrow)
            std::shared_ptr<Instance>(std::move(slot.instance));  // another thread is in it
      }
    }
  }
};

Table g_table;

Slot* find_slot(const Handle& handle) {
  if (handle.kind == Kind::none || handle.slot >= kSlots) return nullptr;
  Slot& slot = g_table.slots[handle.slot];
  return slot.instance != nullptr && slot.generation == handle.generation ? &slot : nullptr;
}

}  // namespace

Handle unpack(pl_handle handle) {
  Handle parts;
  const auto kind = static_cast<std::uint8_t>(handle >> 60);
  if (kind > static_cast<std::uint8_t>(Kind::object)) return parts;
  parts.kind = static_cast<Kind>(kind);
  parts.slot = static_cast<std::uint32_t>(handle >> 52) & 0xFF;
  parts.generation = static_cast<std::uint32_t>(handle >> 32) & (kGenerations - 1);
  parts.number = static_cast<std::uint32_t>(handle);
  return parts;
}

pl_handle pack(const Handle& handle) {
  return static_cast<pl_handle>(handle.kind) << 60 | static_cast<pl_handle>(handle.slot) << 52 |
         static_cast<pl_handle>(handle.generation) << 32 | handle.number;
}

bool forked() {
  const pid_t process = g_table.process.load();
  return process != 0 && process != getpid();
}

pl_handle add_instance(const std::shared_ptr<Instance>& instance,
                       bool (*close_if_unused)(Instance&)) {
  const std::lock_guard lock(g_table.mutex);
  if (g_table.free.empty()) return 0;
  const std::uint32_t index = g_table.free.front();
  g_table.free.pop_front();
  Slot& slot = g_table.slots[index];
  slot.instance = instance;
  slot.close_if_unused = close_if_unused;
  g_table.process = getpid();
  ++g_table.open;
  return pack({Kind::instance, index, slot.generation, 0});
}

std::shared_ptr<Instance> find_instance(pl_handle handle) {
  const std::lock_guard lock(g_table.mutex);
  const Slot* slot = find_slot(unpack(handle));
  return slot != nullptr ? slot->instance : nullptr;
}

std::shared_ptr<Instance> take_instance(pl_instance handle) {
  const Handle parts = unpack(handle);
  const std::lock_guard lock(g_table.mutex);
  Slot* slot = parts.kind == Kind::instance ? find_slot(parts) : nullptr;
  if (slot == nullptr) return nullptr;
  slot->generation = slot->generation + 1 < kGenerations ? slot->generation + 1 : 1;
  g_table.free.push_back(parts.slot);
  if (--g_table.open == 0) g_table.process = 0;
  return std::move(slot->instance);
}

}  // namespace perilune::c
