#include "engine/tensor/bandwidth.h"

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <vector>

#include "engine/tensor/tensor.h"

namespace perilune {

namespace {

constexpr std::size_t kBufferBytes = std::size_t{256} << 20;
constexpr int kPasses = 5;

struct Reading {
  const std::uint64_t* words;
  std::int64_t words_per_task;
  std::atomic<std::uint64_t> sum{0};
};

// Several sums side by side, so that reading is what is measured and not adding.
void read_part(void* state, std::int64_t task) {
  auto& reading = *static_cast<Reading*>(state);
  const std::uint64_t* words = reading.words + task * reading.words_per_task;
  std::uint64_t sums[8] = {};
  for (std::int64_t i = 0; i + 8 <= reading.words_per_task; i += 8) {
    for (int lane = 0; lane < 8; ++lane) sums[lane] += words[i + lane];
  }
  std::uint64_t sum = 0;
  for (const std::uint64_t part : sums) sum += part;
  reading.sum.fetch_add(sum, std::memory_order_relaxed);  // keeps the loop from being dropped
}

}  // namespace

double memory_bandwidth(Context& context) {
  const Storage buffer(context.shared_from_this(), context.cpu_device(), kBufferBytes);
  std::memset(buffer.data(), 1, kBufferBytes);
  const kernels::Parallel parallel = context.parallel();
  const std::int64_t tasks = std::max(1, context.threads());
  Reading reading{static_cast<const std::uint64_t*>(buffer.data()),
                  static_cast<std::int64_t>(kBufferBytes / 8) / tasks};
  double best = 0;
  for (int pass = 0; pass < kPasses; ++pass) {
    const double start = clock_seconds();
    parallel.run(parallel.host, tasks, read_part, &reading);
    best = std::max(best, static_cast<double>(kBufferBytes) / (clock_seconds() - start));
  }
  return best;
}

}  // namespace perilune
