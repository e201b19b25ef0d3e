// What other threads ask of the one that steps: new requests, cancellations, another policy. It
// also knows which requests are not done yet. Any thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

#include "engine/serving/policy.h"

namespace perilune {

class Inbox {
 public:
  Inbox();
  ~Inbox();
  Inbox(const Inbox&) = delete;
  Inbox& operator=(const Inbox&) = delete;

  /// Takes what came since the last call; its own vectors come back empty in exchange.
  struct Contents {
    std::vector<RequestPointer> requests, cancelled;
    std::shared_ptr<Policy> policy;  // null: the same goes on
  };
  void take(Contents& into);
  /// Whether something came, or wake() was called, since the last take(); no lock.
  bool waiting() const { return waiting_.load(std::memory_order_acquire); }

  /// Until something comes or wake() is called, or so many seconds have passed (below 0: no limit).
  /// False: nothing came.
  bool wait(double seconds);
  void wake();

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
  void came();

  mutable std::mutex mutex_;
  /// A child that fork() made, where those who wait are not, lets go of it.
  std::unique_ptr<std::condition_variable> arrived_;
  int process_;
  std::atomic<bool> waiting_{false};
  Contents contents_;
  std::uint64_t next_id_ = 1;
  std::map<std::uint64_t, RequestPointer> open_;
};

}  // namespace perilune
