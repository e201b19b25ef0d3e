// The ranks that compute models together, as one of them sees them: rank 0 leads, the others do
// what it sends. A failure of one in a common piece of work becomes an error of all.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/ranks/communicator.h"
#include "engine/ranks/device_gather.h"
#include "engine/ranks/message.h"

namespace perilune {

/// Sums over inputs that ranks share are cut into so many parts, added in their order: the bits of
/// a result do not hang on the number of ranks, which divides it.
inline constexpr int kRankSegments = 8;

/// What rank 0 sends.
enum class RankMessage : std::uint8_t {
  text,  // for the followers' scripts
  pass,  // a pass to run
  end    // nothing more
};

class RankGroup {
 public:
  /// Throws Error(option) for a number of ranks that does not divide kRankSegments.
  explicit RankGroup(std::shared_ptr<Communicator> communicator);
  ~RankGroup();
  RankGroup(const RankGroup&) = delete;
  RankGroup& operator=(const RankGroup&) = delete;

  int rank() const { return communicator_->rank(); }
  int size() const { return communicator_->size(); }
  bool leads() const { return rank() == 0; }

  /// Rank 0's, to all others; they must be waiting in receive().
  void send(RankMessage kind, std::span<const std::uint8_t> bytes);
  /// A follower's next message; waits for it.
  RankMessage receive(std::vector<std::uint8_t>& bytes);

  /// A piece of work that all ranks do together. What one of them throws ends it for all: with its
  /// own error there, with Error(device) naming it on the others.
  void together(const std::function<void()>& work);
  /// Within together(): `all` [rank, bytes].
  void gather(const void* part, std::size_t bytes, void* all);
  /// The same in a device's memory: between the GPUs themselves where join() found a way, else by
  /// way of the host.
  void gather(const std::shared_ptr<Device>& device, const void* part, std::size_t bytes,
              void* all);
  /// Within together(), by all ranks: how their devices' parts go, "NCCL 2.21.5" or "host memory:"
  /// and why.
  std::string join(const std::shared_ptr<Device>& device);
  /// One piece at a time; taken by who sends and then works together.
  std::unique_lock<std::recursive_mutex> lock() { return std::unique_lock(mutex_); }

  /// For messages that must not come between a piece of work and its send: goes with the next pass.
  MessageWriter& outgoing() { return outgoing_; }
  std::int64_t new_number() { return ++numbers_; }

  /// Rank 0: tells the followers that nothing more comes. The last call of every rank.
  void finish() noexcept;
  bool finished() const { return finished_; }
  /// Ends all ranks at once.
  void end_all(const std::string& reason) noexcept { communicator_->end_all(reason); }

 private:
  struct Joined {
    std::shared_ptr<Device> device;
    std::unique_ptr<DeviceGather> gather;  // null: by way of the host
    std::string how;
  };

  void agree(const char* failure);
  Joined& joined(const std::shared_ptr<Device>& device);
  void abandon_devices() noexcept;

  std::shared_ptr<Communicator> communicator_;
  std::recursive_mutex mutex_;
  MessageWriter outgoing_;
  std::vector<Joined> joined_;
  std::vector<std::byte> host_bytes_;  // what comes from a device or goes to one
  std::int64_t numbers_ = 0;
  bool finished_ = false;
};

}  // namespace perilune
