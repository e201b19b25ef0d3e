// What a policy sees of the queue and of the room, and what it answers: plain data.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <span>
#include <string>
#include <vector>

#include "engine/serving/request.h"

namespace perilune {

struct Room;

/// Plain data of one request, as a policy sees it. `since_*`, on the clocks of Room::step and
/// Room::now_ms: when it last ran, or was submitted. `deadline_ms` is on that of now_ms; 0: none.
struct QueueEntry {
  std::uint64_t id = 0;
  RequestKind kind = RequestKind::generate;
  RequestState state = RequestState::waiting;
  std::int64_t prompt_tokens = 0, cached_tokens = 0, pending_tokens = 0, new_tokens = 0,
               max_new_tokens = 0;
  std::int64_t since_step = 0;
  double since_ms = 0, deadline_ms = 0;
  std::int64_t priority = 0;
  std::int64_t rows = 1;          // rows it takes in a step (sequences that run)
  std::int64_t pages_needed = 0;  // for its pending tokens
  std::size_t pool = 0;           // where they come from: Room::pages[pool]; 0: it keeps nothing
  std::string client, tag;
  std::uint64_t version = 0;  // grows when any but since_* changes

  inline std::int64_t waited_steps(const Room& room) const;
  inline double waited_ms(const Room& room) const;
};

/// The queue in order of submission.
class QueueView {
 public:
  using Entries = std::span<const QueueEntry* const>;
  QueueView(Entries all, Entries decoding) : all_(all), decoding_(decoding) {}

  class Iterator {
   public:
    using iterator_category = std::forward_iterator_tag;
    using value_type = QueueEntry;
    using difference_type = std::ptrdiff_t;
    using pointer = const QueueEntry*;
    using reference = const QueueEntry&;
    explicit Iterator(const QueueEntry* const* at = nullptr) : at_(at) {}
    reference operator*() const { return **at_; }
    pointer operator->() const { return *at_; }
    Iterator& operator++() {
      ++at_;
      return *this;
    }
    Iterator operator++(int) {
      const Iterator before = *this;
      ++at_;
      return before;
    }
    bool operator==(const Iterator&) const = default;

   private:
    const QueueEntry* const* at_;
  };

  Iterator begin() const { return Iterator(all_.data()); }
  Iterator end() const { return Iterator(all_.data() + all_.size()); }
  std::size_t size() const { return all_.size(); }
  bool empty() const { return all_.empty(); }
  const QueueEntry& operator[](std::size_t i) const { return *all_[i]; }
  /// Those in state decode, in the same order.
  Entries decoding() const { return decoding_; }

 private:
  Entries all_, decoding_;
};

/// What one step may hold. A page is what `page_tokens` positions of a sequence take in one group
/// of layers; `pages` are free ones by pool (0: what keeps nothing has no end of them). `now_ms`
/// counts from the making of the scheduler.
struct Room {
  std::int64_t tokens = 0, rows = 0, page_tokens = 0, bytes = 0;
  std::vector<std::int64_t> pages;
  double budget_ms = 0, now_ms = 0;
  std::int64_t step = 0;
  bool more = false;
};

std::int64_t QueueEntry::waited_steps(const Room& room) const {
  return std::max<std::int64_t>(0, room.step - since_step);
}
double QueueEntry::waited_ms(const Room& room) const {
  return std::max(0.0, room.now_ms - since_ms);
}

/// Who runs with how many tokens; each sequence of the request that runs gets up to that many.
/// From a policy 0 means: all that is pending and fits what the rows before it left of the room. A
/// number of a policy is taken at its word, and is a bad plan when the room has fewer tokens. What
/// lacks pages waits.
struct PlannedRow {
  std::uint64_t request = 0;
  std::int64_t tokens = 0;
};

/// A step as plain data, that can be written down and sent to other ranks: decide() leaves no
/// number open.
struct StepPlan {
  std::vector<PlannedRow> rows;
  bool padded = false;                 // layout="padded": filler rows on a null page, dropped
  std::vector<std::uint64_t> drop;     // cancelled
  std::vector<std::uint64_t> preempt;  // keys and values given back, recomputed later
  double wait_ms = 0;
  /// Set by decide(): they are alone in their pool, and it is full.
  std::vector<std::uint64_t> exhausted = {};
  /// Of drop, in its order; as far as the policy says.
  std::vector<std::string> why = {};

  void clear() {
    rows.clear();
    drop.clear();
    why.clear();
    preempt.clear();
    exhausted.clear();
    padded = false;
    wait_ms = 0;
  }
};

/// Who runs next. Called by the thread that steps.
class Policy {
 public:
  virtual ~Policy() = default;
  virtual StepPlan plan(const QueueView& queue, const Room& room) = 0;
  /// The same into a plan whose memory is used again; it comes empty.
  virtual void plan_into(const QueueView& queue, const Room& room, StepPlan& plan) {
    plan = this->plan(queue, room);
  }
  /// Every request that is not finished yet when it is first seen, before anything else of it.
  virtual void submitted(const QueueEntry&) {}
  virtual void finished(const QueueEntry&) {}
  virtual std::string name() const = 0;
};

}  // namespace perilune
