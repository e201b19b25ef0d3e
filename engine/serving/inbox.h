// What other threads ask of the one that steps: new requests, cancellations, another policy. It
// also knows which requests are not done yet. Any thread.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/serving/policy.h"

namespace perilune {

class Inbox {
 public:
  /// Takes what came since the last call; its own vectors come back empty in exchange.
  struct Contents {
    std::vector<RequestPointer> requests, cancelled;
    std::shared_ptr<Policy> policy;  // null: the same goes on
  };
  void take(Contents& into);
  /// Whether take() would find anything; no lock.
  bool waiting() const { return waiting_.load(std::memory_order_acquire); }

  /// Gives the request its number.
  void submit(const RequestPointer& request);
  /// Cancelling needs no memory.
  void cancel(const RequestPointer& request);
  void cancel_all();
  void set_policy(std::shared_ptr<Policy> policy);
  /// The request is done.
  void close(const Request& request);
  /// Requests that are not done.
  std::size_t open() const;

 private:
  mutable std::mutex mutex_;
  std::atomic<bool> waiting_{false};
  Contents contents_;
  std::uint64_t next_id_ = 1;
  std::map<std::uint64_t, RequestPointer> open_;
};

}  // namespace perilune
