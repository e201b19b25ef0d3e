// What ranks of one computation send each other.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace perilune {

/// One rank's end. All ranks make the same calls in the same order; one host thread at a time.
/// Every call throws Error(device) naming a rank that has gone.
class Communicator {
 public:
  virtual ~Communicator() = default;
  virtual int rank() const = 0;  // from 0
  virtual int size() const = 0;
  /// `all` [rank, bytes]: the parts of all ranks, in their order.
  virtual void all_gather(const void* part, std::size_t bytes, void* all) = 0;
  /// `data` of rank 0 becomes everybody's. `idle`: the others may wait for long.
  virtual void broadcast(void* data, std::size_t bytes, bool idle) = 0;
  /// Ends all ranks at once, for a reason that the others are told where they can be.
  virtual void end_all(const std::string& reason) noexcept = 0;
  /// The last call of each.
  virtual void finish() noexcept {}
};

/// Ranks that are threads of this process, one end for each: for tests, and for a single rank.
std::vector<std::shared_ptr<Communicator>> thread_communicators(int size);

/// This process' end among those that mpirun has started. Opens Open MPI (libmpi.so.40), which no
/// build needs, once a process. Throws Error(device) saying in one sentence what is missing.
/// `on_death` is told which other rank has died, once, on the thread that waits for it: nothing
/// that the ranks do together will end any more.
std::shared_ptr<Communicator> mpi_communicator(
    std::function<void(const std::string& who)> on_death = nullptr);

}  // namespace perilune
