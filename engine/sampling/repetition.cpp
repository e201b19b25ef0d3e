#include "engine/sampling/repetition.h"

#include <algorithm>
#include <cmath>

namespace perilune {

namespace {

bool is_breaker(const DryOptions& options, std::int32_t id) {
  return std::binary_search(options.breakers.begin(), options.breakers.end(), id);
}

/// Lengths of the runs before each id that are also the end of all: the Z function (Gusfield 1997)
/// from the end on. runs[k]: how many ids before and at the k-th from the end are like the last.
void find_runs(std::span<const std::int32_t> ids, std::vector<std::int64_t>& runs) {
  const auto size = static_cast<std::int64_t>(ids.size());
  const auto at = [&](std::int64_t from_end) {
    return ids[static_cast<std::size_t>(size - 1 - from_end)];
  };
  runs.assign(ids.size(), 0);
  std::int64_t left = 0, right = 0;  // the run that reaches furthest: [left, right)
  for (std::int64_t k = 1; k < size; ++k) {
    std::int64_t run = 0;
    if (k < right) run = std::min(runs[static_cast<std::size_t>(k - left)], right - k);
    while (k + run < size && at(run) == at(k + run)) ++run;
    runs[static_cast<std::size_t>(k)] = run;
    if (k + run > right) {
      left = k;
      right = k + run;
    }
  }
}

}  // namespace

void DryPenalty::apply(LogitEdits& edits, std::span<const std::int32_t> ids,
                       const DryOptions& options) {
  if (options.multiplier == 0) return;
  if (options.last_n >= 0 && static_cast<std::size_t>(options.last_n) < ids.size()) {
    ids = ids.last(static_cast<std::size_t>(options.last_n));
  }
  std::int64_t limit = 0;  // ids after the last breaker
  while (limit < static_cast<std::int64_t>(ids.size()) &&
         !is_breaker(options, ids[ids.size() - 1 - static_cast<std::size_t>(limit)])) {
    ++limit;
  }
  if (limit < options.allowed_length) return;
  find_runs(ids, runs_);
  longest_.resize(edits.width(), 0);
  const auto after = [&](std::size_t k) { return ids[ids.size() - k]; };
  const auto run_at = [&](std::size_t k) { return std::min(runs_[k], limit); };
  for (std::size_t k = 1; k < ids.size(); ++k) {
    if (!edits.valid(after(k)) || run_at(k) < options.allowed_length) continue;
    std::int64_t& longest = longest_[static_cast<std::size_t>(after(k))];
    longest = std::max(longest, run_at(k) + 1);
  }
  constexpr double kGreatestLog = 88.7228391;  // of a float
  const double most = options.base > 1.000001 ? kGreatestLog / std::log(options.base) : 0;
  for (std::size_t k = 1; k < ids.size(); ++k) {
    if (!edits.valid(after(k))) continue;
    std::int64_t& longest = longest_[static_cast<std::size_t>(after(k))];
    if (longest == 0) continue;
    double power = static_cast<double>(longest - 1 - options.allowed_length);
    if (most > 0) power = std::min(power, std::floor(most));
    longest = 0;  // taken off once, and ready for the next row
    if (is_breaker(options, after(k))) continue;
    edits.add(after(k), -static_cast<float>(options.multiplier * std::pow(options.base, power)));
  }
}

void apply_counts(LogitEdits& edits, std::span<const std::int32_t> ids, double frequency,
                  double presence) {
  if (frequency == 0 && presence == 0) return;
  for (std::size_t i = 0; i < ids.size(); ++i) {
    edits.add(ids[i], -static_cast<float>(frequency));
    const auto before = ids.first(i);
    if (presence != 0 && std::find(before.begin(), before.end(), ids[i]) == before.end()) {
      edits.add(ids[i], -static_cast<float>(presence));
    }
  }
}

MissingWords missing_words(std::span<const std::int32_t> ids,
                           std::span<const std::vector<std::int32_t>> words) {
  MissingWords missing;
  std::size_t furthest = 0;
  for (const std::vector<std::int32_t>& word : words) {
    if (std::search(ids.begin(), ids.end(), word.begin(), word.end()) != ids.end()) continue;
    std::size_t begun = std::min(word.size() - 1, ids.size());
    while (begun > 0 && !std::equal(word.begin(), word.begin() + static_cast<std::ptrdiff_t>(begun),
                                    ids.end() - static_cast<std::ptrdiff_t>(begun))) {
      --begun;
    }
    missing.ids += static_cast<std::int64_t>(word.size());
    if (missing.next < 0 || begun > furthest) {
      missing.next = word[begun];
      furthest = begun;
    }
  }
  missing.ids -= static_cast<std::int64_t>(furthest);
  return missing;
}

}  // namespace perilune
