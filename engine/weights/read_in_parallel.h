// Files read on all threads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>

#include "engine/device/context.h"

namespace perilune {

/// Calls read(first, count) for parts of about `part` of `total` items, on all threads.
template <class Read>
void read_in_parallel(const Context& context, std::size_t total, std::size_t part,
                      const Read& read) {
  const auto parts = static_cast<std::int64_t>((total + part - 1) / part);
  const kernels::Parallel parallel = context.parallel();
  if (parts <= 1 || parallel.run == nullptr || parallel.threads <= 1) {
    read(std::size_t{0}, total);
    return;
  }
  std::exception_ptr problem;
  std::mutex mutex;
  const auto read_part = [&](std::int64_t index) {
    const std::size_t first = static_cast<std::size_t>(index) * part;
    try {
      read(first, std::min(part, total - first));
    } catch (...) {
      const std::lock_guard lock(mutex);
      problem = std::current_exception();
    }
  };
  parallel.run(
      parallel.host, parts,
      [](void* state, std::int64_t index) {
        (*static_cast<const decltype(read_part)*>(state))(index);
      },
      const_cast<void*>(static_cast<const void*>(&read_part)));
  if (problem) std::rethrow_exception(problem);
}

}  // namespace perilune
