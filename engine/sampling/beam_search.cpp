#include "engine/sampling/beam_search.h"

#include <algorithm>
#include <cmath>

#include "engine/sampling/logits.h"
#include "engine/sampling/option_ranges.h"

namespace perilune {

namespace {

bool better(const BeamSearch::Continuation& a, const BeamSearch::Continuation& b) {
  if (a.score != b.score) return a.score > b.score;
  return a.parent != b.parent ? a.parent < b.parent : a.token < b.token;
}

}  // namespace

BeamSearch::BeamSearch(const BeamOptions& options, std::size_t stop_ids,
                       std::int64_t max_new_tokens)
    : options_(options),
      kept_(std::max<std::size_t>(2, 1 + stop_ids) * static_cast<std::size_t>(options.beams)),
      max_new_tokens_(max_new_tokens) {
  check_range("num_beams", static_cast<double>(options.beams));
  check_range("length_penalty", options.length_penalty);
}

void BeamSearch::offer(std::size_t beam, std::span<const float> log_probabilities) {
  const float own = scores_[beam];
  std::vector<Continuation> mine;
  mine.reserve(kept_ + 1);
  for (std::size_t id = 0; id < log_probabilities.size(); ++id) {
    const float score = log_probabilities[id] + own;
    if (score == kNever || (mine.size() == kept_ && score <= mine.back().score)) continue;
    const Continuation candidate{beam, static_cast<std::int32_t>(id), score};
    mine.insert(std::upper_bound(mine.begin(), mine.end(), candidate, better), candidate);
    if (mine.size() > kept_) mine.pop_back();
  }
  candidates_.insert(candidates_.end(), mine.begin(), mine.end());
  ++offered_;
}

double BeamSearch::weigh(float score, std::int64_t tokens) const {
  return static_cast<double>(score) /
         std::pow(static_cast<double>(tokens), options_.length_penalty);
}

/// Takes the finished ones among the first `beams` candidates into the answers.
void BeamSearch::keep(const std::vector<Candidate>& best, Judge& judge) {
  const auto beams = static_cast<std::size_t>(options_.beams);
  const bool full = finished_.size() == beams && options_.early_stopping == EarlyStopping::yes;
  if (full || !improvable_) return;
  for (std::size_t i = 0; i < std::min(beams, best.size()); ++i) {
    if (!best[i].ends) continue;
    const Continuation& at = best[i].at;
    Hypothesis hypothesis{judge.ids(at.parent), static_cast<float>(weigh(at.score, step_ + 1))};
    hypothesis.ids.push_back(at.token);
    const auto place =
        std::find_if(finished_.begin(), finished_.end(),
                     [&](const Hypothesis& other) { return other.score < hypothesis.score; });
    finished_.insert(place, std::move(hypothesis));
    if (finished_.size() > beams) finished_.pop_back();
  }
}

std::vector<BeamSearch::Continuation> BeamSearch::advance(Judge& judge) {
  const auto beams = static_cast<std::size_t>(options_.beams);
  std::sort(candidates_.begin(), candidates_.end(), better);
  if (candidates_.size() > kept_) candidates_.resize(kept_);
  std::vector<Candidate> best;
  for (const Continuation& at : candidates_) best.push_back({at, judge.ends(at.parent, at.token)});
  std::vector<Continuation> next;
  for (const Candidate& candidate : best) {
    if (!candidate.ends && next.size() < beams) next.push_back(candidate.at);
  }
  keep(best, judge);
  candidates_.clear();
  offered_ = 0;
  ++step_;

  if (next.empty()) return next;
  const bool stretch =
      options_.early_stopping == EarlyStopping::never && options_.length_penalty > 0;
  const double possible = weigh(next[0].score, stretch ? max_new_tokens_ : step_);
  const double worst =
      finished_.size() == beams ? static_cast<double>(finished_.back().score) : -1e9;
  improvable_ = improvable_ && possible > worst;
  const bool enough = finished_.size() == beams && options_.early_stopping == EarlyStopping::yes;
  if (!improvable_ || enough) return {};
  scores_.clear();
  for (const Continuation& at : next) scores_.push_back(at.score);
  return next;
}

}  // namespace perilune
