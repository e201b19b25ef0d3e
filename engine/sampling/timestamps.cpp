#include "engine/sampling/timestamps.h"

#include <algorithm>

#include "engine/sampling/logits.h"

namespace perilune {

namespace {

void forbid_range(std::span<float> logits, std::int64_t begin, std::int64_t end) {
  const auto size = static_cast<std::int64_t>(logits.size());
  begin = std::clamp<std::int64_t>(begin, 0, size);
  end = std::clamp<std::int64_t>(end, begin, size);
  std::fill(logits.begin() + begin, logits.begin() + end, kNever);
}

}  // namespace

void apply_timestamp_rules(std::span<float> logits, std::span<const std::int32_t> made,
                           const TimestampRules& rules) {
  const auto size = static_cast<std::int64_t>(logits.size());
  if (static_cast<std::int64_t>(made.size()) < rules.skip || rules.first >= size) return;
  made = made.subspan(static_cast<std::size_t>(rules.skip));
  const auto is_time = [&](std::int32_t id) { return id >= rules.first; };
  if (rules.no_timestamps >= 0) {
    forbid_range(logits, rules.no_timestamps, std::int64_t{rules.no_timestamps} + 1);
  }
  if (made.empty()) {
    forbid_range(logits, 0, rules.first);
    if (rules.most_initial >= 0) forbid_range(logits, rules.first + rules.most_initial + 1, size);
    return;
  }
  const bool last = is_time(made.back());
  const bool before = made.size() < 2 || is_time(made[made.size() - 2]);
  if (last && before) forbid_range(logits, rules.first, size);
  if (last && !before) forbid_range(logits, 0, rules.end);
  const auto latest = std::find_if(made.rbegin(), made.rend(), is_time);
  if (latest != made.rend()) {
    const bool opens = last && !before;  // a pair's second may be the same
    forbid_range(logits, rules.first, std::int64_t{*latest} + (opens ? 0 : 1));
  }
  const auto times = std::span<const float>(logits).subspan(static_cast<std::size_t>(rules.first));
  const auto text = logits.first(static_cast<std::size_t>(rules.first));
  if (!std::any_of(times.begin(), times.end(), [](float x) { return x > kNever; })) return;
  if (log_sum_exp(times) > *std::max_element(text.begin(), text.end())) {
    forbid_range(logits, 0, rules.first);
  }
}

}  // namespace perilune
