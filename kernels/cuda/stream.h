// The order of a device's work, and its first failure.
#pragma once

#include <cstdint>
#include <cstdio>

namespace perilune::kernels::cuda {

/// What `Launch::stream` points to. One host thread at a time.
struct Stream {
  void* handle = nullptr;     // cudaStream_t; null in the emulator
  std::int64_t launches = 0;  // kernels started
  int status = 0;             // of the first failure; 0: none
  char message[512] = {};     // what failed: the kernel and the reason
  const char* last = "";      // the kernel started last
  /// Gives cached device memory back: the first start of a kernel needs some for its code.
  void (*make_room)(void* owner) = nullptr;
  void* owner = nullptr;
  void* context = nullptr;  // what a thread works on while it starts kernels
  char refusal[512] = {};   // a start that was refused, until it is told; the device is well
};

/// Keeps the first failure.
inline void record_failure(Stream& stream, int status, const char* what) {
  if (stream.status != 0) return;
  stream.status = status;
  std::snprintf(stream.message, sizeof stream.message, "%s", what);
}

/// Keeps the first start that was refused: wrong arguments, no fault of the device.
inline void record_refusal(Stream& stream, const char* what) {
  if (stream.refusal[0] != '\0') return;
  std::snprintf(stream.refusal, sizeof stream.refusal, "%s", what);
}

}  // namespace perilune::kernels::cuda
