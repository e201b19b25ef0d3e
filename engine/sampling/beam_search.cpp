#include "engine/sampling/beam_search.h"

#include <algorithm>
#include <cmath>

#include "engine/base/error.h"
#include "engine/sampling/logits.h"
#include "engine/sampling/option_ranges.h"

namespace perilune {

namespace {

bool better(const BeamSearch::Continuation& a, const BeamSearch::Continuation& b) {
  if (a.score != b.score) return a.score > b.score;
  return a.parent != b.parent ? a.parent < b.parent : a.token < b.token;
}

void insert_by_score(std::vector<BeamSearch::Hypothesis>& list, BeamSearch::Hypothesis hypothesis) {
  const auto place = std::find_if(
      list.begin(), list.end(),
      [&](const BeamSearch::Hypothesis& other) { return other.score < hypothesis.score; });
  list.insert(place, std::move(hypothesis));
}

}  // namespace

BeamSearch::BeamSearch(const BeamOptions& options, std::size_t stop_ids,
                       std::int64_t max_new_tokens)
    : options_(options), max_new_tokens_(max_new_tokens) {
  check_range("num_beams", static_cast<double>(options.beams));
  check_range("num_beam_groups", static_cast<double>(options.groups));
  check_range("length_penalty", options.length_penalty);
  if (options.beams % options.groups != 0) {
    throw Error(ErrorCode::option, "generate",
                "option num_beam_groups: " + std::to_string(options.groups) +
                    " groups do not divide " + std::to_string(options.beams) + " beams");
  }
  size_ = static_cast<std::size_t>(options.beams / options.groups);
  kept_ = std::max<std::size_t>(2, 1 + stop_ids) * size_;
  groups_.resize(static_cast<std::size_t>(options.groups));
}

void BeamSearch::offer(std::size_t beam, std::span<const float> log_probabilities) {
  ++offered_;
  if (!grouped()) return add(groups_[0], beam, log_probabilities);
  offers_.resize(std::max(offers_.size(), running_));
  offers_[beam].assign(log_probabilities.begin(), log_probabilities.end());
}

/// The best of what may follow one beam, among the group's candidates.
void BeamSearch::add(Group& group, std::size_t beam,
                     std::span<const float> log_probabilities) const {
  const float own = group.scores[beam - group.first];
  std::vector<Continuation> mine;
  mine.reserve(kept_ + 1);
  for (std::size_t id = 0; id < log_probabilities.size(); ++id) {
    const float score = log_probabilities[id] + own;
    if (score == kNever || (mine.size() == kept_ && score <= mine.back().score)) continue;
    const Continuation candidate{beam, static_cast<std::int32_t>(id), score};
    mine.insert(std::upper_bound(mine.begin(), mine.end(), candidate, better), candidate);
    if (mine.size() > kept_) mine.pop_back();
  }
  group.candidates.insert(group.candidates.end(), mine.begin(), mine.end());
}

/// Rounded once, wherever it is asked for: a search is done where its best can only be equalled.
float BeamSearch::weigh(float score, std::int64_t tokens) const {
  return static_cast<float>(static_cast<double>(score) /
                            std::pow(static_cast<double>(tokens), options_.length_penalty));
}

std::vector<BeamSearch::Candidate> BeamSearch::best_candidates(Group& group, Judge& judge) const {
  std::sort(group.candidates.begin(), group.candidates.end(), better);
  if (group.candidates.size() > kept_) group.candidates.resize(kept_);
  std::vector<Candidate> best;
  for (const Continuation& at : group.candidates) {
    best.push_back({at, judge.ends(at.parent, at.token)});
  }
  group.candidates.clear();
  return best;
}

std::vector<BeamSearch::Continuation> BeamSearch::running_ones(
    const std::vector<Candidate>& best) const {
  std::vector<Continuation> next;
  for (const Candidate& candidate : best) {
    if (!candidate.ends && next.size() < size_) next.push_back(candidate.at);
  }
  return next;
}

/// Takes a continuation of the step under way into the answers, where it is among the best.
void BeamSearch::finish(Group& group, const Continuation& at, Judge& judge) const {
  Hypothesis hypothesis{judge.ids(at.parent), weigh(at.score, step_)};
  hypothesis.ids.push_back(at.token);
  insert_by_score(group.finished, std::move(hypothesis));
  if (group.finished.size() > size_) group.finished.pop_back();
}

std::vector<BeamSearch::Continuation> BeamSearch::advance(Judge& judge) {
  ++step_;
  std::vector<Continuation> next =
      grouped() ? advance_groups(judge) : advance_one(groups_[0], judge);
  offered_ = 0;
  running_ = next.size();
  return next;
}

/// The only group's step.
std::vector<BeamSearch::Continuation> BeamSearch::advance_one(Group& group, Judge& judge) const {
  std::vector<Candidate> best = best_candidates(group, judge);
  for (Candidate& candidate : best) {
    candidate.ends = candidate.ends || judge.last(candidate.at.parent);
  }
  std::vector<Continuation> next = running_ones(best);
  const bool stops_early = options_.early_stopping == EarlyStopping::yes;
  if (group.improvable && !(group.finished.size() == size_ && stops_early)) {
    for (std::size_t i = 0; i < std::min(size_, best.size()); ++i) {
      if (best[i].ends) finish(group, best[i].at, judge);
    }
  }
  if (next.empty()) return next;
  const bool stretch =
      options_.early_stopping == EarlyStopping::never && options_.length_penalty > 0;
  const float possible = weigh(next[0].score, stretch ? max_new_tokens_ : step_);
  const bool full = group.finished.size() == size_;
  const float worst = full ? group.finished.back().score : -1e9f;
  group.improvable = group.improvable && possible > worst;
  if (!group.improvable || (full && stops_early)) return {};
  group.scores.clear();
  for (const Continuation& at : next) group.scores.push_back(at.score);
  return next;
}

/// The step of one of several groups, whose beams end all at once where the length does. What may
/// still become of it goes by its best candidate, also one that ends.
std::vector<BeamSearch::Continuation> BeamSearch::advance_group(Group& group, Judge& judge) const {
  const std::vector<Candidate> best = best_candidates(group, judge);
  std::vector<Continuation> next = running_ones(best);
  for (std::size_t i = 0; i < std::min(size_, best.size()); ++i) {
    if (best[i].ends) finish(group, best[i].at, judge);
  }
  if (!best.empty() && group.finished.size() == size_) {
    const bool stretch =
        options_.early_stopping == EarlyStopping::never && options_.length_penalty > 0;
    const float possible = weigh(best[0].at.score, stretch ? max_new_tokens_ : step_);
    group.improvable =
        options_.early_stopping != EarlyStopping::yes && possible > group.finished.back().score;
  }
  if (next.empty() || judge.last(next[0].parent)) {
    if (group.improvable) {
      for (const Continuation& at : next) finish(group, at, judge);
    }
    group.improvable = false;
  }
  return next;
}

std::vector<BeamSearch::Continuation> BeamSearch::advance_groups(Judge& judge) {
  std::vector<Continuation> all;
  std::vector<std::int32_t> chosen;
  for (Group& group : groups_) {
    if (!group.improvable) {
      chosen.insert(chosen.end(), size_, options_.pad_id);
      continue;
    }
    for (std::size_t i = 0; i < group.scores.size(); ++i) {
      const std::size_t beam = group.first + i;
      const std::span<const float> row = judge.process(beam, offers_[beam], chosen);
      if (row.empty()) return {};
      add(group, beam, row);
    }
    const std::vector<Continuation> next = advance_group(group, judge);
    for (const Continuation& at : next) chosen.push_back(at.token);
    if (!group.improvable) continue;
    group.first = all.size();
    group.scores.clear();
    for (const Continuation& at : next) group.scores.push_back(at.score);
    all.insert(all.end(), next.begin(), next.end());
  }
  return all;
}

std::vector<BeamSearch::Hypothesis> BeamSearch::hypotheses() const {
  std::vector<Hypothesis> all;
  for (const Group& group : groups_) {
    for (const Hypothesis& one : group.finished) insert_by_score(all, one);
  }
  return all;
}

}  // namespace perilune
