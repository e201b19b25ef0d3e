// What GPUs of several ranks send each other directly.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "engine/device/device.h"
#include "engine/ranks/communicator.h"

namespace perilune {

/// One rank's GPU among those of all ranks. All ranks make the same calls in the same order.
class DeviceGather {
 public:
  virtual ~DeviceGather() = default;
  /// "NCCL 2.21.5"
  virtual const std::string& name() const = 0;
  /// `all` [rank, bytes]: the parts of all ranks; both in the device's memory, in order with its
  /// other work, whose end is not waited for. Throws Error(device).
  virtual void all_gather(const void* part, std::size_t bytes, void* all) = 0;
  /// Before it goes, where a rank has failed: what waits on the device for that rank ends.
  virtual void abandon() noexcept = 0;
};

/// All ranks at once, each with its own device: NCCL (libnccl.so.2), which is opened at run time
/// and never linked. Null on every rank where one of them cannot, with that one's reason in
/// `why_not`; then parts go by way of the host. Throws as Communicator does.
std::unique_ptr<DeviceGather> join_devices(Communicator& ranks,
                                           const std::shared_ptr<Device>& device,
                                           std::string& why_not);

}  // namespace perilune
