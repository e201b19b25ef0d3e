#include "engine/ranks/rank_group.h"

#include <array>
#include <cstdio>

namespace perilune {
namespace {

/// How a rank stands before the next exchange: "" well, else what failed.
struct Standing {
  std::array<char, 256> failure{};
};

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
  Standing own;
  std::snprintf(own.failure.data(), own.failure.size(), "%s", failure);
  std::vector<Standing> all(static_cast<std::size_t>(size()));
  communicator_->all_gather(&own, sizeof own, all.data());
  if (failure[0] != '\0') return;
  for (std::size_t r = 0; r < all.size(); ++r) {
    if (all[r].failure[0] == '\0') continue;
    throw FailedElsewhere(ErrorCode::device, "ranks",
                          "rank " + std::to_string(r) + " failed: " + all[r].failure.data());
  }
}

void RankGroup::together(const std::function<void()>& work) {
  try {
    work();
  } catch (const FailedElsewhere&) {
    throw;
  } catch (const std::exception& error) {
    if (size() > 1) agree(error.what()[0] == '\0' ? "it does not say why" : error.what());
    throw;
  }
  if (size() > 1) agree("");
}

void RankGroup::gather(const void* part, std::size_t bytes, void* all) {
  agree("");
  communicator_->all_gather(part, bytes, all);
}

std::byte* RankGroup::host_bytes(std::size_t bytes) {
  if (host_bytes_.size() < bytes) host_bytes_.resize(bytes);
  return host_bytes_.data();
}

void RankGroup::finish() noexcept {
  if (finished_) return;
  finished_ = true;
  try {
    if (leads() && size() > 1) send(RankMessage::end, {});
  } catch (const std::exception&) {  // the others have gone before
  }
  communicator_->finish();
}

}  // namespace perilune
