#include "kernels/cuda/emulator/run.h"

#include <numeric>

#include "kernels/cuda/cuda.h"
#include "kernels/cuda/emulator/order.h"

namespace perilune::kernels::cuda::emulator {
namespace {

// The least that every GPU we compile for can do (CUDA C++ Programming Guide, compute
// capability 8.0).
constexpr unsigned kMostThreads = 1024;
constexpr unsigned kMostGridSide = 65535;  // y and z
constexpr std::size_t kMostShared = 163 << 10;
constexpr int kFault = 1;

const char* refused(const LaunchConfig& config) {
  const std::size_t threads = std::size_t{config.block.x} * config.block.y * config.block.z;
  if (threads == 0) return "no threads in a block";
  if (threads > kMostThreads || config.block.z > 64) return "too many threads in a block";
  if (config.grid.y > kMostGridSide || config.grid.z > kMostGridSide)
    return "the grid is too large";
  if (config.grid.x > 0x7fffffffu) return "the grid is too large";
  return nullptr;
}

}  // namespace

void run(Stream& stream, const char* name, const LaunchConfig& config,
         const std::function<void()>& kernel) {
  const char* problem = refused(config);
  if (problem == nullptr && config.shared_bytes > kMostShared + 4096) {
    problem = "more shared memory than a block can have";
  }
  if (problem != nullptr) {
    const std::string text = std::string(name) + ": " + problem;
    return record_failure(stream, kFault, text.c_str());
  }
  Block block(name, config.grid, config.block, config.shared_bytes);
  std::vector<int> order(std::size_t{config.grid.x} * config.grid.y * config.grid.z);
  std::iota(order.begin(), order.end(), 0);
  arrange(order);
  for (const int number : order) {
    const auto n = static_cast<unsigned>(number);
    const uint3 index = {n % config.grid.x, n / config.grid.x % config.grid.y,
                         n / config.grid.x / config.grid.y};
    if (block.run(index, kernel)) continue;
    return record_failure(stream, kFault, block.fault().c_str());
  }
}

}  // namespace perilune::kernels::cuda::emulator
