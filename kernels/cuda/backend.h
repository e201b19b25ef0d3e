// The few things a plug-in needs of its machine: the CUDA runtime (cuda_backend.cpp) or the
// emulator (emulator/emulator_backend.cpp). plugin.cpp makes the C table of either.
#pragma once

#include <cstddef>
#include <cstdint>

#include <vector>

#include "kernels/cuda/graph.h"

namespace perilune::kernels::cuda::backend {

const char* kind();
/// 0 with the reason in `error`.
int device_count(PluginError& error);
int device_info(int index, PluginDeviceInfo& info, PluginError& error);

/// What the calling thread works on: a context, null for none. Makes none.
void* current();
void make_current(void* context);
/// The calling thread works on device `index` from now on.
int select(int index, PluginError& error);
int make_stream(void** handle, PluginError& error);
void free_stream(void* handle);

/// 256-byte aligned. kPluginMemory when there is no more; the device stays usable.
int allocate(std::size_t bytes, void** pointer, PluginError& error);
void release(void* pointer);
int allocate_host(std::size_t bytes, void** pointer, PluginError& error);
void release_host(void* pointer);
void memory(std::uint64_t& total, std::uint64_t& free);
/// Called when a block goes to a holder (true) or to the cache: the emulator lets a memory checker
/// know. `used` of its `bytes` belong to the holder.
void lent(void* pointer, std::size_t used, std::size_t bytes, bool to_holder);

/// May return before `host` was read where it is pinned.
int copy_in(void* stream, void* to, const void* host, std::size_t bytes, PluginError& error);
int copy_out(void* stream, void* host, const void* from, std::size_t bytes, PluginError& error);
int copy_device(void* stream, void* to, const void* from, std::size_t bytes, PluginError& error);
int fill(void* stream, void* to, unsigned char byte, std::size_t bytes, PluginError& error);
int make_event(void** event, PluginError& error);
int record(void* stream, void* event, PluginError& error);
/// kPluginPending before the stream has got there.
int query(void* event, PluginError& error);
int wait(void* event, PluginError& error);
void free_event(void* event);
int synchronize(void* stream, PluginError& error);

/// A graph of these nodes, one after the other; `*built` stays as it was where it fails.
int build_graph(Stream& stream, const std::vector<GraphNode>& nodes, BuiltGraph** built,
                PluginError& error);
/// Gives node `at` the values of `node`, which has the same form.
int update_graph(BuiltGraph* built, std::size_t at, const GraphNode& node, PluginError& error);
/// `nodes`: what it should hold by now; the emulator looks whether it does.
int start_graph(Stream& stream, BuiltGraph& built, const std::vector<GraphNode>& nodes,
                PluginError& error);
void free_graph(BuiltGraph* built);
/// One node by itself.
int start_node(Stream& stream, const GraphNode& node, PluginError& error);

/// A sentence into `error`; gives `status`.
int fail(PluginError& error, int status, const char* format, ...)
    __attribute__((format(printf, 3, 4)));

}  // namespace perilune::kernels::cuda::backend
