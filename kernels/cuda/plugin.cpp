// The C table of plugin.h over a backend: one source for the CUDA plug-in and for the emulator.
#include "kernels/plugin.h"

#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <memory>
#include <mutex>
#include <new>

#include "kernels/cuda/backend.h"
#include "kernels/cuda/caching_allocator.h"
#include "kernels/cuda/cuda_table.h"
#include "kernels/cuda/graph.h"
#include "kernels/cuda/pinned_ring.h"
#include "kernels/cuda/stream.h"

namespace perilune::kernels {

struct PluginDevice {
  PluginDevice(int at, std::uint64_t budget) : index(at), allocator(budget) {}
  const int index;
  cuda::CachingAllocator allocator;
  cuda::Stream stream;
  cuda::PinnedRing pinned;
  PluginDeviceInfo info{};
  const KernelTable* kernels = nullptr;
};

struct PluginEvent {
  void* handle = nullptr;
  bool recorded = false;
};

struct PluginGraph {
  cuda::Graph graph;
};

namespace cuda::backend {

int fail(PluginError& error, int status, const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(error.text, sizeof error.text, format, arguments);
  va_end(arguments);
  return status;
}

}  // namespace cuda::backend

namespace {

namespace backend = cuda::backend;

/// The first failure of a kernel stays and answers every later call.
int healthy(const PluginDevice& device, PluginError& error) {
  if (device.stream.status == 0) return kPluginDone;
  return backend::fail(error, kPluginPoisoned, "%s", device.stream.message);
}

/// Remembers what poisoned the device, and the kernel started last: faults show in later calls.
int noted(PluginDevice& device, int status, PluginError& error) {
  if (status != kPluginPoisoned || device.stream.status != 0) return status;
  const std::size_t length = std::strlen(error.text);
  const char* const last = device.stream.last;
  if (*last != '\0') {
    std::snprintf(error.text + length, sizeof error.text - length,
                  "; the kernel started last was %s", last);
  }
  cuda::record_failure(device.stream, status, error.text);
  return status;
}

/// The calling thread works on the device while this lives, and then on what it did before.
class OnDevice {
 public:
  explicit OnDevice(const PluginDevice& device)
      : found_(backend::current()), moved_(found_ != device.stream.context) {
    if (moved_) backend::make_current(device.stream.context);
  }
  ~OnDevice() {
    if (moved_) backend::make_current(found_);
  }
  OnDevice(const OnDevice&) = delete;
  OnDevice& operator=(const OnDevice&) = delete;

 private:
  void* const found_;
  const bool moved_;
};

/// Does `work` on the device if it is well.
template <class Work>
int on_device(PluginDevice* device, PluginError* error, const Work& work) {
  const int status = healthy(*device, *error);
  if (status != kPluginDone) return status;
  const OnDevice here(*device);
  try {
    return noted(*device, work(device->stream.handle), *error);
  } catch (...) {
    return backend::fail(*error, kPluginMemory, "no host memory");
  }
}

/// Tells, once, of a start that was refused; for calls that wait for the device.
int told(PluginDevice* device, int status, PluginError* error) {
  char* const refusal = device->stream.refusal;
  const std::lock_guard lock(device->stream.mutex);
  if (status != kPluginDone || *refusal == '\0') return status;
  backend::fail(*error, kPluginFailed, "%s", refusal);
  *refusal = '\0';
  return kPluginFailed;
}

/// Work that a graph cannot hold comes next.
int leave_graph(PluginDevice* device, PluginError& error) {
  cuda::Graph* const recorded = device->stream.stop_recording();
  return recorded == nullptr ? int{kPluginDone} : recorded->spill(device->stream, error);
}

/// As on_device, outside of a graph.
template <class Work>
int in_stream(PluginDevice* device, PluginError* error, const Work& work) {
  return on_device(device, error, [&](void* stream) {
    const int status = leave_graph(device, *error);
    return status != kPluginDone ? status : work(stream);
  });
}

/// Kernels in flight may still use what is given back to the driver.
void trim_cache(void* device) {
  auto& self = *static_cast<PluginDevice*>(device);
  PluginError error{};
  noted(self, leave_graph(&self, error), error);
  noted(self, backend::synchronize(self.stream.handle, error), error);
  self.allocator.trim();
}

int device_count(PluginError* error) {
  return backend::device_count(*error);
}

int device_info(int index, PluginDeviceInfo* info, PluginError* error) {
  return backend::device_info(index, *info, *error);
}

int open_here(PluginDevice& device, PluginError& error) {
  int status = backend::device_info(device.index, device.info, error);
  if (status == kPluginDone) status = backend::select(device.index, error);
  if (status != kPluginDone) return status;
  device.stream.context = backend::current();
  device.kernels = &cuda::table(device.info.tier);
  return backend::make_stream(&device.stream.handle, error);
}

int open(int index, std::uint64_t budget, PluginDevice** out, PluginError* error) {
  auto device = std::unique_ptr<PluginDevice>(new (std::nothrow) PluginDevice(index, budget));
  if (device == nullptr) return backend::fail(*error, kPluginMemory, "no host memory");
  void* const found = backend::current();
  int status = kPluginMemory;
  try {
    status = open_here(*device, *error);
  } catch (...) {
    backend::fail(*error, status, "no host memory");
  }
  backend::make_current(found);
  if (status != kPluginDone) return status;
  device->stream.make_room = trim_cache;
  device->stream.owner = device.get();
  *out = device.release();
  return kPluginDone;
}

void close(PluginDevice* device) {
  PluginError ignored{};
  if (device == nullptr) return;
  const OnDevice here(*device);
  backend::synchronize(device->stream.handle, ignored);
  device->pinned.release();
  backend::free_stream(device->stream.handle);
  delete device;
}

const KernelTable* kernel_table(PluginDevice* device) {
  return device->kernels;
}

void* stream(PluginDevice* device) {
  return &device->stream;
}

/// What goes back to the driver to make room may be of use to work that is only recorded.
int allocate(PluginDevice* device, std::uint64_t bytes, void** pointer, PluginError* error) {
  return in_stream(device, error,
                   [&](void*) { return device->allocator.allocate(bytes, pointer, *error); });
}

void release(PluginDevice* device, void* pointer) {
  try {
    const OnDevice here(*device);  // an exact allocator gives it to the driver at once
    PluginError error{};
    if (device->allocator.exact()) noted(*device, leave_graph(device, error), error);
    device->allocator.release(pointer);
  } catch (...) {  // no host memory to note it: given back when the device is closed
  }
}

void memory(PluginDevice* device, PluginMemory* memory) {
  PluginError ignored{};
  *memory = {};
  device->allocator.statistics(*memory);
  memory->total = device->info.total_bytes;
  on_device(device, &ignored, [&](void*) {
    backend::memory(memory->total, memory->free);
    return static_cast<int>(kPluginDone);
  });
}

int copy_in(PluginDevice* device, void* to, const void* host, std::uint64_t bytes,
            PluginError* error) {
  return on_device(device, error, [&](void* stream) {
    if (bytes == 0) return int{kPluginDone};
    if (cuda::Graph* const graph = device->stream.recording()) {
      if (graph->add_copy_in(to, host, bytes)) return int{kPluginDone};
      const int status = leave_graph(device, *error);
      if (status != kPluginDone) return status;
    }
    return device->pinned.copy_in(stream, to, host, bytes, *error);
  });
}

int copy_out(PluginDevice* device, void* host, const void* from, std::uint64_t bytes,
             PluginError* error) {
  const int status = in_stream(device, error, [&](void* stream) {
    return bytes == 0 ? int{kPluginDone} : backend::copy_out(stream, host, from, bytes, *error);
  });
  return bytes == 0 ? status : told(device, status, error);
}

int copy_device(PluginDevice* device, void* to, const void* from, std::uint64_t bytes,
                PluginError* error) {
  return on_device(device, error, [&](void* stream) {
    if (bytes == 0) return int{kPluginDone};
    cuda::Graph* const graph = device->stream.recording();
    if (graph == nullptr) return backend::copy_device(stream, to, from, bytes, *error);
    graph->add_copy_inside(to, from, bytes);
    return int{kPluginDone};
  });
}

int fill(PluginDevice* device, void* to, unsigned char byte, std::uint64_t bytes,
         PluginError* error) {
  return on_device(device, error, [&](void* stream) {
    if (bytes == 0) return int{kPluginDone};
    cuda::Graph* const graph = device->stream.recording();
    if (graph == nullptr) return backend::fill(stream, to, byte, bytes, *error);
    graph->add_fill(to, byte, bytes);
    return int{kPluginDone};
  });
}

int event_create(PluginDevice* device, PluginEvent** event, PluginError* error) {
  auto made = std::unique_ptr<PluginEvent>(new (std::nothrow) PluginEvent);
  if (made == nullptr) return backend::fail(*error, kPluginMemory, "no host memory");
  const int status =
      on_device(device, error, [&](void*) { return backend::make_event(&made->handle, *error); });
  if (status == kPluginDone) *event = made.release();
  return status;
}

int event_record(PluginDevice* device, PluginEvent* event, PluginError* error) {
  const int status = in_stream(
      device, error, [&](void* stream) { return backend::record(stream, event->handle, *error); });
  if (status == kPluginDone) event->recorded = true;
  return status;
}

int event_query(PluginDevice* device, PluginEvent* event, PluginError* error) {
  const int status = on_device(device, error, [&](void*) {
    return event->recorded ? backend::query(event->handle, *error) : int{kPluginDone};
  });
  return told(device, status, error);
}

int event_wait(PluginDevice* device, PluginEvent* event, PluginError* error) {
  const int status = on_device(device, error, [&](void*) {
    return event->recorded ? backend::wait(event->handle, *error) : int{kPluginDone};
  });
  return told(device, status, error);
}

void event_destroy(PluginDevice* device, PluginEvent* event) {
  if (event == nullptr) return;
  const OnDevice here(*device);
  backend::free_event(event->handle);
  delete event;
}

int graph_begin(PluginDevice* device, PluginGraph** graph, PluginError* error) {
  return on_device(device, error, [&](void*) {
    std::unique_ptr<PluginGraph> made;
    if (*graph == nullptr) made.reset(new (std::nothrow) PluginGraph);
    PluginGraph* const used = *graph == nullptr ? made.get() : *graph;
    if (used == nullptr) return backend::fail(*error, kPluginMemory, "no host memory");
    const int status = used->graph.begin(*error);
    if (status != kPluginDone) return status;
    if (!device->stream.start_recording(used->graph)) return int{kPluginPending};
    if (made != nullptr) *graph = made.release();
    return int{kPluginDone};
  });
}

int graph_end(PluginDevice* device, PluginGraph* graph, PluginError* error) {
  if (device->stream.recording() != &graph->graph) return healthy(*device, *error);  // did not fit
  device->stream.stop_recording();
  return on_device(device, error, [&](void*) { return graph->graph.end(device->stream, *error); });
}

void graph_abandon(PluginDevice* device, PluginGraph* graph) {
  if (device->stream.recording() == &graph->graph) device->stream.stop_recording();
}

int graph_fits(PluginDevice*, PluginGraph* graph) {
  return graph->graph.fits() ? 1 : 0;
}

void graph_counts(PluginDevice*, PluginGraph* graph, PluginGraphCounts* counts) {
  *counts = graph->graph.counts();
}

void graph_destroy(PluginDevice* device, PluginGraph* graph) {
  if (graph == nullptr) return;
  graph_abandon(device, graph);
  const OnDevice here(*device);
  delete graph;
}

int on_stream(PluginDevice* device, int (*work)(void* data, void* stream, PluginError* error),
              void* data, PluginError* error) {
  return in_stream(device, error, [&](void* stream) { return work(data, stream, error); });
}

int health(PluginDevice* device, PluginError* error) {
  const int status =
      on_device(device, error, [&](void* stream) { return backend::synchronize(stream, *error); });
  return status == kPluginPoisoned ? status : int{kPluginDone};
}

int synchronize(PluginDevice* device, PluginError* error) {
  const int status =
      in_stream(device, error, [&](void* stream) { return backend::synchronize(stream, *error); });
  return told(device, status, error);
}

std::uint64_t launches(PluginDevice* device) {
  return static_cast<std::uint64_t>(device->stream.launches);
}

}  // namespace
}  // namespace perilune::kernels

extern "C" __attribute__((visibility("default"))) const perilune::kernels::PluginTable*
perilune_plugin(std::uint32_t version) {
  using namespace perilune::kernels;
  static const PluginTable kTable = {
      .version = kPluginVersion,
      .table_bytes = sizeof(PluginTable),
      .kernel_table_bytes = sizeof(KernelTable),
      .kind = cuda::backend::kind(),
      .device_count = device_count,
      .device_info = device_info,
      .open = open,
      .close = close,
      .kernels = kernel_table,
      .stream = stream,
      .allocate = allocate,
      .release = release,
      .memory = memory,
      .copy_in = copy_in,
      .copy_out = copy_out,
      .copy_device = copy_device,
      .fill = fill,
      .event_create = event_create,
      .event_record = event_record,
      .event_query = event_query,
      .event_wait = event_wait,
      .event_destroy = event_destroy,
      .graph_begin = graph_begin,
      .graph_end = graph_end,
      .graph_abandon = graph_abandon,
      .graph_fits = graph_fits,
      .graph_counts = graph_counts,
      .graph_destroy = graph_destroy,
      .on_stream = on_stream,
      .synchronize = synchronize,
      .health = health,
      .launches = launches,
  };
  return version == kPluginVersion ? &kTable : nullptr;
}
