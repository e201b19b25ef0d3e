#include "engine/ranks/rank_group.h"

#include <algorithm>

#include "engine/ranks/standing.h"

namespace perilune {
namespace {

struct Header {
  std::uint64_t bytes = 0;
  RankMessage kind = RankMessage::end;
};

/// What another rank's failure is thrown as; who throws it has told nobody and need not.
class FailedElsewhere : public Error {
 public:
  using Error::Error;
};

}  // namespace

RankGroup::RankGroup(std::shared_ptr<Communicator> communicator)
    : communicator_(std::move(communicator)) {
  if (size() > 0 && kRankSegments % size() == 0) return;
  throw Error(ErrorCode::option, "ranks",
              std::to_string(size()) + " ranks: 1, 2, 4 or 8 can share a model");
}

RankGroup::~RankGroup() {
  finish();
}

void RankGroup::send(RankMessage kind, std::span<const std::uint8_t> bytes) {
  Header header{bytes.size(), kind};
  communicator_->broadcast(&header, sizeof header, false);
  if (bytes.empty()) return;
  communicator_->broadcast(const_cast<std::uint8_t*>(bytes.data()), bytes.size(), false);
}

RankMessage RankGroup::receive(std::vector<std::uint8_t>& bytes) {
  Header header;
  communicator_->broadcast(&header, sizeof header, true);
  bytes.resize(static_cast<std::size_t>(header.bytes));
  if (!bytes.empty()) communicator_->broadcast(bytes.data(), bytes.size(), false);
  return header.kind;
}

/// Every rank says how it stands; throws where another one has failed.
void RankGroup::agree(const char* failure) {
  const FailedRank failed = find_failed(*communicator_, failure);
  if (failure[0] != '\0' || failed.rank < 0) return;
  throw FailedElsewhere(ErrorCode::device, "ranks",
                        "rank " + std::to_string(failed.rank) + " failed: " + failed.what);
}

void RankGroup::together(const std::function<void()>& work) {
  try {
    work();
    if (size() > 1) agree("");
  } catch (const FailedElsewhere&) {
    abandon_devices();
    throw;
  } catch (const std::exception& error) {
    if (size() > 1) agree(error.what()[0] == '\0' ? "it does not say why" : error.what());
    abandon_devices();
    throw;
  }
}

void RankGroup::gather(const void* part, std::size_t bytes, void* all) {
  agree("");
  communicator_->all_gather(part, bytes, all);
}

RankGroup::Joined& RankGroup::joined(const std::shared_ptr<Device>& device) {
  for (Joined& known : joined_) {
    if (known.device == device) return known;
  }
  Joined made{device, nullptr, "one rank"};
  if (size() > 1) {
    std::string why_not;
    agree("");
    made.gather = join_devices(*communicator_, device, why_not);
    made.how = made.gather != nullptr ? made.gather->name() : "host memory: " + why_not;
  }
  return joined_.emplace_back(std::move(made));
}

std::string RankGroup::join(const std::shared_ptr<Device>& device) {
  return joined(device).how;
}

void RankGroup::gather(const std::shared_ptr<Device>& device, const void* part, std::size_t bytes,
                       void* all) {
  DeviceGather* const between = joined(device).gather.get();  // by all, whatever their devices
  if (between != nullptr) return between->all_gather(part, bytes, all);
  if (device->host_visible()) return gather(part, bytes, all);
  const std::size_t whole = bytes * static_cast<std::size_t>(size());
  host_bytes_.resize(std::max(host_bytes_.size(), bytes + whole));
  std::byte* const own = host_bytes_.data();
  device->copy_out(own, part, bytes);
  gather(own, bytes, own + bytes);
  device->copy_in(all, own + bytes, whole);
}

/// After a failure of one, which all know of: what waits on a device for that rank ends, and the
/// next gather joins anew.
void RankGroup::abandon_devices() noexcept {
  for (Joined& known : joined_) {
    if (known.gather != nullptr) known.gather->abandon();
  }
  joined_.clear();
}

void RankGroup::finish() noexcept {
  if (finished_) return;
  finished_ = true;
  joined_.clear();
  try {
    if (leads() && size() > 1) send(RankMessage::end, {});
  } catch (const std::exception&) {  // the others have gone before
  }
  communicator_->finish();
}

}  // namespace perilune
