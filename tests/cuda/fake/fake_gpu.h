// GPUs that fail when a test says so: a plug-in "cuda" over the kernels of the emulator, with a
// backend (kernels/cuda/backend.h) that counts what it is asked and keeps a log.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

/// Scripts read its first fields (tests/lua/refusals_spec.lua): new ones come after them.
struct FakeGpus {
  int count = 2;
  std::uint64_t capacity = 64 << 20;  // bytes of each GPU
  bool too_old = false;               // opening fails
  bool fault = false;                 // a kernel has failed: every call tells, for good
  std::uint64_t allocated = 0, pinned = 0, streams = 0, events = 0;
  bool late_copies = false;      // from pinned memory: done when the stream is waited for
  double busy_seconds = 0;       // from recording an event until it is reached
  int selected = -1;             // what the thread works on; -1: nothing was asked of a GPU yet
  std::vector<std::string> log;  // "copy_in 1": the call and the GPU selected then
};

/// The state of the plug-in; found by dlsym.
extern "C" FakeGpus* fake_gpus();

/// From now on allocation `first` (from 1) of device memory and `count` - 1 after it are refused.
extern "C" void fake_gpu_refuse(std::int64_t first, std::int64_t count);
/// Allocations of device memory asked for since then, refused ones included.
extern "C" std::int64_t fake_gpu_asked();

/// A kernel of GPU `index` has failed when its `call`-th call from now on (from 1; 0: none) comes:
/// that one and all later ones of this GPU tell it, for good.
extern "C" void fake_gpu_fault(int index, std::int64_t call);
/// Calls of that GPU since then.
extern "C" std::int64_t fake_gpu_calls();
