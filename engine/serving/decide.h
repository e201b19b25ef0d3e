// How a policy's answer becomes a step: the engine's own rules about memory. What is listed and
// does not fit waits; what runs and lacks a page takes it from the youngest that is not part of the
// step; a prompt starts when all of it fits, in the order of the plan; somebody of the plan always
// runs, or ends because it can never go on.
#pragma once

#include <vector>

#include "engine/serving/queue.h"

namespace perilune {

/// Tokens that `tokens` for each sequence that runs come to.
std::int64_t total_tokens(const Request& request, std::int64_t tokens);

/// Makes decisions; its memory is used again. Reads requests and pools, changes neither.
class Decision {
 public:
  explicit Decision(const Queue& queue) : queue_(queue) {}
  /// `answer` is checked: known requests, each once, tokens and rows within the room. The plan is
  /// valid until the next call. Where nobody of the answer can run without pages of requests that
  /// came earlier, it is stalled() and empty, or, with `force_older`, the first takes them.
  const StepPlan& make(const StepPlan& answer, const Room& room, bool force_older);
  bool stalled() const { return stalled_; }

 private:
  enum class Victims { none, younger, all };
  struct Pool {
    Cache* cache = nullptr;
    std::int64_t free = 0;  // bytes, after what is decided so far
    bool blocked = false;   // a prompt waits for memory here
  };
  Pool& pool(Cache* cache);
  bool can_give(const Request& request) const;
  void give_back(const std::vector<std::uint64_t>& ids);
  bool take(const Request& request, std::int64_t shared, std::int64_t tokens, Victims victims);
  bool never_fits(const Request& request) const;
  std::int64_t place(const Request& request, std::int64_t asked, bool forced);
  void accept(const Request& request, std::size_t row, std::int64_t tokens, bool counted);
  void force(const StepPlan& answer);

  const Queue& queue_;
  std::int64_t left_tokens_ = 0, left_rows_ = 0;
  StepPlan plan_;
  std::vector<Pool> pools_;
  std::vector<std::uint64_t> settled_;  // runs, gives back or ends
  std::vector<std::uint64_t> chosen_;   // of take()
  std::vector<std::int64_t> tokens_;    // of the answer's rows
  bool stalled_ = false;
  bool lacking_ = false;  // some of them wait for memory
};

}  // namespace perilune
