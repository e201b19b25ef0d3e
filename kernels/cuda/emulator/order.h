// In which order the blocks of a grid and the threads of a block run: results may not depend on it.
// PERILUNE_EMULATOR_ORDER=forward, reverse, or shuffled with an optional seed ("shuffled:7").
#pragma once

#include <cstdint>
#include <vector>

namespace perilune::kernels::cuda::emulator {

enum class Order : std::uint8_t { forward, reverse, shuffled };

/// For the calling operating-system thread.
void set_order(Order order, std::uint32_t seed = 1);
/// `numbers` into the order that is set.
void arrange(std::vector<int>& numbers);

}  // namespace perilune::kernels::cuda::emulator
