// Where writers of tensor files put bytes.
#pragma once

#include <cstddef>
#include <functional>

namespace perilune {

/// Takes the bytes of a tensor in their order.
using ByteSink = std::function<void(const void* bytes, std::size_t size)>;

}  // namespace perilune
