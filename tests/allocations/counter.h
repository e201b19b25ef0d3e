// How often memory was asked for: by operator new, and by the CPU as a device.
#pragma once

#include <cstddef>

namespace perilune_test {

struct Allocations {
  std::size_t heap = 0, device = 0;
  bool operator==(const Allocations&) const = default;
};

/// Since the program began.
Allocations allocations();

/// Those since it was made.
class AllocationsSince {
 public:
  Allocations count() const {
    const Allocations now = allocations();
    return {now.heap - begin_.heap, now.device - begin_.device};
  }

 private:
  Allocations begin_ = allocations();
};

}  // namespace perilune_test
