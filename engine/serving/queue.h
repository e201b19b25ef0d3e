// Requests that are not done, as policies see them. An entry changes when its request does, so that
// a step costs the same however many wait. Owned by the thread that steps.
#pragma once

#include <list>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include "engine/serving/policy.h"

namespace perilune {

/// The largest of numbers that come and go.
class Largest {
 public:
  void add(std::int64_t number) { ++counts_[number]; }
  void remove(std::int64_t number) {
    const auto found = counts_.find(number);
    if (found != counts_.end() && --found->second == 0) counts_.erase(found);
  }
  std::int64_t value() const { return counts_.empty() ? 0 : counts_.rbegin()->first; }

 private:
  std::map<std::int64_t, std::int64_t> counts_;
};

class Queue {
 public:
  /// `started`: what Room::now_ms counts from, on clock_seconds().
  explicit Queue(double started) : started_(started) {}

  /// `step`: how many steps there were so far.
  void add(const RequestPointer& request, std::int64_t step);
  void remove(const Request& request);
  /// Null for requests that are not here or done.
  RequestPointer find(std::uint64_t id) const;
  /// Makes the request's entry anew.
  const QueueEntry& changed(const Request& request);
  /// The request runs in step number `step`.
  void ran(const Request& request, std::int64_t step);
  /// A request that has not run for `steps` of `step` steps, each told once; null: there is none.
  RequestPointer starving(std::int64_t step, std::int64_t steps);

  QueueView view() const { return {all_, decoding_}; }
  /// Those with something in their pages, in order of submission.
  const std::vector<Request*>& running() const { return running_; }
  std::size_t size() const { return all_.size(); }
  bool empty() const { return all_.empty(); }
  /// Of those here: the most tokens that one pass must take whole; the most rows.
  std::int64_t largest_whole() const { return whole_.value(); }
  std::int64_t most_rows() const { return rows_.value(); }
  /// The pools that requests came with, pool number 1 first.
  const std::vector<std::shared_ptr<Cache>>& pools() const { return pools_; }
  double milliseconds(double seconds) const { return (seconds - started_) * 1e3; }

 private:
  struct Record {
    RequestPointer request;
    QueueEntry entry;
    std::list<Record*>::iterator waits;  // in by_wait_, while `watched`
    bool watched = false;
    std::optional<std::int64_t> whole, rows;  // counted in whole_ and rows_
    bool running = false, decoding = false;
  };
  void enter(const RequestPointer& request, std::int64_t step);
  std::size_t pool_number(const std::shared_ptr<Cache>& pool);
  void place(Record& record);

  double started_;
  std::unordered_map<std::uint64_t, Record> records_;
  std::vector<const QueueEntry*> all_, decoding_;
  std::vector<Request*> running_;
  std::list<Record*> by_wait_;  // who ran longest ago first
  std::vector<std::shared_ptr<Cache>> pools_;
  Largest whole_, rows_;
};

}  // namespace perilune
