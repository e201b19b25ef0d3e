#include "tests/cuda/fake/fake_gpu.h"

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <thread>

#include "kernels/cuda/backend.h"

extern "C" __attribute__((visibility("default"))) FakeGpus* fake_gpus() {
  static auto& gpus = *new FakeGpus;  // used until the process ends
  return &gpus;
}

namespace {

struct Refusals {
  std::int64_t asked = 0, first = 0, count = 0;
};

Refusals& refusals() {
  static Refusals state;
  return state;
}

struct Fault {
  int index = -1;
  std::int64_t calls = 0, first = 0;
};

Fault& planned_fault() {
  static Fault state;
  return state;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) void fake_gpu_refuse(std::int64_t first,
                                                                       std::int64_t count) {
  refusals() = {0, first, count};
}

extern "C" __attribute__((visibility("default"))) std::int64_t fake_gpu_asked() {
  return refusals().asked;
}

extern "C" __attribute__((visibility("default"))) void fake_gpu_fault(int index,
                                                                      std::int64_t call) {
  planned_fault() = {index, 0, call};
}

extern "C" __attribute__((visibility("default"))) std::int64_t fake_gpu_calls() {
  return planned_fault().calls;
}

namespace perilune::kernels::cuda::backend {
namespace {

/// As a driver's, it outlives whatever a program frees last.
std::map<void*, std::size_t>& blocks() {
  static auto& known = *new std::map<void*, std::size_t>;
  return known;
}

using Clock = std::chrono::steady_clock;

struct Event {
  Clock::time_point reached;
};

struct Copy {
  void* to;
  const void* from;
  std::size_t bytes;
};

std::vector<Copy>& copies() {
  static auto& waiting = *new std::vector<Copy>;
  return waiting;
}

void finish_copies() {
  for (const Copy& copy : copies()) std::memcpy(copy.to, copy.from, copy.bytes);
  copies().clear();
}

/// Notes the call; a fault of a kernel is told by any call after it.
int told(const char* call, PluginError& error) {
  FakeGpus& gpus = *fake_gpus();
  gpus.log.push_back(std::string(call) + " " + std::to_string(gpus.selected));
  Fault& fault = planned_fault();
  const bool here = gpus.selected == fault.index;
  if (here) ++fault.calls;
  const bool failed = here && fault.first > 0 && fault.calls >= fault.first;
  if (!gpus.fault && !failed) return kPluginDone;
  return fail(error, kPluginPoisoned, "%s: an illegal memory access was encountered", call);
}

}  // namespace

const char* kind() {
  return "cuda";
}

int device_count(PluginError& error) {
  if (fake_gpus()->count == 0) fail(error, kPluginFailed, "the driver shows no GPU");
  return fake_gpus()->count;
}

int device_info(int index, PluginDeviceInfo& info, PluginError& error) {
  info = {};
  std::snprintf(info.name, sizeof info.name, "Fake %d", index);
  std::snprintf(info.tier, sizeof info.tier, "sm_80");
  info.total_bytes = fake_gpus()->capacity;
  return fake_gpus()->too_old ? fail(error, kPluginFailed, "Fake is sm_70") : kPluginDone;
}

void* current() {
  return reinterpret_cast<void*>(static_cast<std::intptr_t>(fake_gpus()->selected + 1));
}

void make_current(void* context) {
  fake_gpus()->selected = static_cast<int>(reinterpret_cast<std::intptr_t>(context)) - 1;
}

int select(int index, PluginError&) {
  fake_gpus()->selected = index;
  return kPluginDone;
}

int make_stream(void** handle, PluginError&) {
  *handle = nullptr;
  ++fake_gpus()->streams;
  return kPluginDone;
}

void free_stream(void*) {
  --fake_gpus()->streams;
}

int allocate(std::size_t bytes, void** pointer, PluginError& error) {
  const int status = told("allocate", error);
  if (status != kPluginDone) return status;
  FakeGpus& gpus = *fake_gpus();
  Refusals& refused = refusals();
  ++refused.asked;
  if (refused.asked >= refused.first && refused.asked < refused.first + refused.count)
    return fail(error, kPluginMemory, "refused by the test");
  if (bytes > gpus.capacity - gpus.allocated) return fail(error, kPluginMemory, "no more");
  if (posix_memalign(pointer, 256, bytes) != 0) return fail(error, kPluginMemory, "no more");
  blocks()[*pointer] = bytes;
  gpus.allocated += bytes;
  return kPluginDone;
}

void release(void* pointer) {
  PluginError ignored{};
  told("release", ignored);
  fake_gpus()->allocated -= blocks().at(pointer);
  blocks().erase(pointer);
  std::free(pointer);
}

int allocate_host(std::size_t bytes, void** pointer, PluginError& error) {
  const int status = told("allocate_host", error);
  if (status != kPluginDone) return status;
  *pointer = std::malloc(bytes);
  ++fake_gpus()->pinned;
  return kPluginDone;
}

void release_host(void* pointer) {
  PluginError ignored{};
  told("release_host", ignored);
  --fake_gpus()->pinned;
  std::free(pointer);
}

void memory(std::uint64_t& total, std::uint64_t& free) {
  total = fake_gpus()->capacity;
  free = total - fake_gpus()->allocated;
}

void lent(void*, std::size_t, std::size_t, bool) {}

int copy_in(void*, void* to, const void* host, std::size_t bytes, PluginError& error) {
  const int status = told("copy_in", error);
  if (status != kPluginDone) return status;
  copies().push_back({to, host, bytes});
  if (!fake_gpus()->late_copies) finish_copies();
  return status;
}

int copy_out(void*, void* host, const void* from, std::size_t bytes, PluginError& error) {
  const int status = told("copy_out", error);
  finish_copies();
  if (status == kPluginDone) std::memcpy(host, from, bytes);
  return status;
}

int copy_device(void*, void* to, const void* from, std::size_t bytes, PluginError& error) {
  const int status = told("copy_device", error);
  finish_copies();
  if (status == kPluginDone) std::memmove(to, from, bytes);
  return status;
}

int fill(void*, void* to, unsigned char byte, std::size_t bytes, PluginError& error) {
  const int status = told("fill", error);
  finish_copies();
  if (status == kPluginDone) std::memset(to, byte, bytes);
  return status;
}

int make_event(void** event, PluginError&) {
  *event = new Event;
  ++fake_gpus()->events;
  return kPluginDone;
}

int record(void*, void* event, PluginError& error) {
  const auto busy = std::chrono::duration<double>(fake_gpus()->busy_seconds);
  static_cast<Event*>(event)->reached =
      Clock::now() + std::chrono::duration_cast<Clock::duration>(busy);
  return told("record", error);
}

int query(void* event, PluginError& error) {
  const int status = told("query", error);
  if (status != kPluginDone) return status;
  return Clock::now() < static_cast<Event*>(event)->reached ? kPluginPending : kPluginDone;
}

int wait(void* event, PluginError& error) {
  finish_copies();
  std::this_thread::sleep_until(static_cast<Event*>(event)->reached);
  return told("wait", error);
}

void free_event(void* event) {
  delete static_cast<Event*>(event);
  --fake_gpus()->events;
}

int synchronize(void*, PluginError& error) {
  finish_copies();
  return told("synchronize", error);
}

}  // namespace perilune::kernels::cuda::backend
