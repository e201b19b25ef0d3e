// From a policy's answer to a plan without open questions: who runs with how many tokens, who gives
// pages back for it, who can never go on. Changes nothing but the answer.
#include <algorithm>

#include "engine/base/error.h"
#include "engine/serving/decide.h"
#include "engine/serving/memory.h"
#include "engine/serving/prefixes.h"

namespace perilune {

std::int64_t total_tokens(const Request& request, std::int64_t tokens) {
  if (request.needs_encoding()) return std::min(tokens, request.source_tokens());
  std::int64_t total = 0;
  for (const Sequence& sequence : request.sequences) total += std::min(tokens, sequence.pending());
  return total;
}

Decision::Pool& Decision::pool(Cache* cache) {
  for (Pool& known : pools_) {
    if (known.cache == cache) return known;
  }
  return pools_.emplace_back(Pool{cache, cache->free_bytes(), false});
}

/// Whether a request's pages may be taken now: nobody has listed it yet, or it waits for memory.
bool Decision::can_give(const Request& request) const {
  return !request.done() && holds_pages(request) &&
         std::find(settled_.begin(), settled_.end(), request.id) == settled_.end();
}

void Decision::give_back(const std::vector<std::uint64_t>& ids) {
  for (const std::uint64_t id : ids) {
    const Request& request = *queue_.find(id);
    settled_.push_back(id);
    if (Cache* cache = pool_of(request)) pool(cache).free += bytes_released(request);
  }
}

/// Takes pages for `tokens` of each sequence after `shared` that are kept, from others where there
/// are too few: the youngest first. False, and nothing changed, where that is not enough.
bool Decision::take(const Request& request, std::int64_t shared, std::int64_t tokens,
                    Victims victims) {
  Pool& own = pool(pool_of(request));
  const std::int64_t needed = bytes_needed_after(request, shared, tokens);
  std::int64_t gain = 0;
  chosen_.clear();
  const std::vector<Request*>& running = queue_.running();
  for (std::size_t i = running.size(); i-- > 0 && needed > own.free + gain;) {
    const Request& other = *running[i];
    if (victims == Victims::none || (victims == Victims::younger && other.id <= request.id)) break;
    if (other.id == request.id || pool_of(other) != own.cache || !can_give(other)) continue;
    gain += bytes_released(other);
    chosen_.push_back(other.id);
  }
  if (needed > own.free + gain) return false;
  for (const std::uint64_t id : chosen_) {
    plan_.preempt.push_back(id);
    settled_.push_back(id);
  }
  own.free += gain - needed;
  return true;
}

/// Whether a request lacks pages even when all others of this engine give theirs back.
bool Decision::never_fits(const Request& request) const {
  const Cache* cache = pool_of(request);
  std::int64_t bytes = cache->free_bytes();
  for (const Request* other : queue_.running()) {
    if (other->id != request.id && !other->done() && pool_of(*other) == cache) {
      bytes += bytes_released(*other);
    }
  }
  return bytes_needed(request, request.whole() ? request.pending_tokens() : 1) > bytes;
}

/// The tokens that a request runs with now; 0: it waits. `asked`: the policy's number, or 0.
std::int64_t Decision::place(const Request& request, std::int64_t asked, bool forced) {
  Cache* cache = pool_of(request);
  const bool started = cache != nullptr && holds_pages(request);
  const bool waits = cache != nullptr && !started && !forced && pool(cache).blocked;
  const std::int64_t rows = request.rows();
  std::int64_t tokens = asked, shared = 0;
  const auto most = [&] {
    const std::int64_t own = std::min(request.pending_tokens() - shared, left_tokens_ / rows);
    return asked == 0 ? own : std::min(asked, own);
  };
  if (asked == 0 || forced) {
    if (rows == 0 || rows > left_rows_ || left_tokens_ < rows) return 0;
    if (cache != nullptr && !started && !(asked == 0 && waits)) shared = shareable_tokens(request);
    tokens = most();
    if (tokens == 0 || (request.whole() && tokens < request.pending_tokens() - shared)) return 0;
  }
  if (cache == nullptr) return tokens;
  if (asked == 0 && !started && !forced) {
    // A prompt starts when the pool has all that it takes, and nobody before it waits for that.
    Pool& own = pool(cache);
    own.blocked = own.blocked || bytes_to_start(request) > own.free;
    if (own.blocked) {
      lacking_ = true;
      return 0;
    }
  }
  const Victims victims = forced ? Victims::all : started ? Victims::younger : Victims::none;
  if (take(request, shared, tokens, victims)) return tokens;
  if (shared > 0) {  // a begun page that is shared takes a page more, for its copy: without it
    shared = 0;
    tokens = most();
    if (take(request, shared, tokens, victims)) return tokens;
  }
  lacking_ = true;
  if ((started || forced) && never_fits(request)) {
    plan_.exhausted.push_back(request.id);
    settled_.push_back(request.id);
    return 0;
  }
  if ((asked > 0 && !forced) || request.whole()) return 0;
  // Back to the last position of the page before, until the pages are there.
  const std::int64_t page_tokens = cache->layout().page_tokens();
  const std::int64_t computed = request.computed() + shared;
  do {
    tokens = std::max<std::int64_t>(0, tokens - ((computed + tokens - 1) % page_tokens + 1));
  } while (tokens > 0 && !take(request, shared, tokens, victims));
  return tokens;
}

void Decision::accept(const Request& request, std::size_t row, std::int64_t tokens, bool counted) {
  settled_.push_back(request.id);
  tokens_[row] = tokens;
  if (counted) return;
  left_tokens_ -= total_tokens(request, tokens);
  left_rows_ -= request.rows();
}

const StepPlan& Decision::make(const StepPlan& answer, const Room& room, bool force_older) {
  left_tokens_ = room.tokens;
  left_rows_ = room.rows;
  plan_.clear();
  pools_.clear();
  settled_.clear();
  lacking_ = false;
  plan_.padded = answer.padded;
  plan_.wait_ms = answer.wait_ms;
  plan_.drop = answer.drop;
  plan_.why = answer.why;
  plan_.preempt = answer.preempt;
  give_back(answer.drop);
  give_back(answer.preempt);
  tokens_.assign(answer.rows.size(), 0);
  for (const PlannedRow& row : answer.rows) {
    if (row.tokens == 0) continue;
    const Request& request = *queue_.find(row.request);
    left_tokens_ -= total_tokens(request, row.tokens);
    left_rows_ -= request.rows();
  }
  for (const bool numbers : {true, false}) {  // they come first: they were promised
    for (std::size_t i = 0; i < answer.rows.size(); ++i) {
      const PlannedRow& row = answer.rows[i];
      const Request& request = *queue_.find(row.request);
      const auto settled = std::find(settled_.begin(), settled_.end(), row.request);
      if ((row.tokens > 0) != numbers || settled != settled_.end()) continue;
      const std::int64_t tokens = place(request, row.tokens, false);
      if (tokens > 0) accept(request, i, tokens, numbers);
    }
  }
  const auto runs = [&] {
    return std::any_of(tokens_.begin(), tokens_.end(), [](std::int64_t n) { return n > 0; });
  };
  stalled_ = lacking_ && !runs() && plan_.exhausted.empty();
  if (stalled_ && force_older) force(answer);
  for (std::size_t i = 0; i < answer.rows.size(); ++i) {
    if (tokens_[i] > 0) plan_.rows.push_back({answer.rows[i].request, tokens_[i]});
  }
  return plan_;
}

/// Nobody of the plan would run: the first of them takes what it needs from whoever has it.
void Decision::force(const StepPlan& answer) {
  for (const PlannedRow& row : answer.rows) {  // numbers are given back: nobody gets them
    if (row.tokens == 0) continue;
    const Request& request = *queue_.find(row.request);
    left_tokens_ += total_tokens(request, row.tokens);
    left_rows_ += request.rows();
  }
  for (std::size_t i = 0; i < answer.rows.size(); ++i) {
    const Request& request = *queue_.find(answer.rows[i].request);
    const auto settled = std::find(settled_.begin(), settled_.end(), request.id);
    if (settled != settled_.end()) continue;
    const std::int64_t tokens = place(request, answer.rows[i].tokens, true);
    if (tokens > 0) accept(request, i, tokens, false);
    if (tokens > 0 || !plan_.exhausted.empty()) return;
  }
}

}  // namespace perilune
