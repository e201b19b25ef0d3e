#include "engine/sampling/contrastive.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <numeric>

#include "engine/sampling/logits.h"

namespace perilune {

namespace {

/// In one order whatever is beside it, and wide enough for vector registers.
double dot(std::span<const float> a, std::span<const float> b) {
  constexpr std::size_t kLanes = 16;
  std::array<float, kLanes> lanes{};
  std::size_t i = 0;
  for (; i + kLanes <= a.size(); i += kLanes) {
    for (std::size_t lane = 0; lane < kLanes; ++lane) lanes[lane] += a[i + lane] * b[i + lane];
  }
  double sum = 0;
  for (const float lane : lanes) sum += static_cast<double>(lane);
  for (; i < a.size(); ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return sum;
}

double length_of(std::span<const float> state) {
  double squares = 0;
  for (const float x : state) squares += static_cast<double>(x) * static_cast<double>(x);
  return std::sqrt(squares);
}

}  // namespace

void ContrastiveSearch::add(std::span<const float> hidden) {
  width_ = hidden.size();
  const double length = length_of(hidden);
  for (const float x : hidden)
    states_.push_back(static_cast<float>(static_cast<double>(x) / length));
}

void ContrastiveSearch::find_candidates(std::span<const float> scores) {
  ids_.clear();
  chances_.clear();
  if (scores[best_of(scores)] == kNever) return;
  const double sum = log_sum_exp(scores);
  const auto most = static_cast<std::ptrdiff_t>(
      std::min<std::int64_t>(top_k_, static_cast<std::int64_t>(scores.size())));
  order_.resize(scores.size());
  std::iota(order_.begin(), order_.end(), 0);
  const auto score = [&](std::int32_t id) { return scores[static_cast<std::size_t>(id)]; };
  std::partial_sort(order_.begin(), order_.begin() + most, order_.end(),
                    [&](std::int32_t a, std::int32_t b) {
                      return score(a) > score(b) || (score(a) == score(b) && a < b);
                    });
  for (auto id = order_.begin(); id != order_.begin() + most; ++id) {
    const double chance = std::exp(static_cast<double>(score(*id)) - sum);
    if (static_cast<float>(chance) == 0.0f && !ids_.empty()) break;
    ids_.push_back(*id);
    chances_.push_back(chance);
  }
}

std::size_t ContrastiveSearch::best(std::span<const std::span<const float>> hidden) const {
  std::size_t found = 0;
  double greatest = -std::numeric_limits<double>::infinity();
  for (std::size_t i = 0; i < ids_.size(); ++i) {
    const double length = length_of(hidden[i]);
    double nearest = -std::numeric_limits<double>::infinity();
    for (std::size_t at = 0; at < states_.size(); at += width_) {
      nearest = std::max(nearest, dot(hidden[i], std::span(states_).subspan(at, width_)) / length);
    }
    const double score = (1 - alpha_) * chances_[i] - alpha_ * nearest;
    if (score <= greatest) continue;
    greatest = score;
    found = i;
  }
  return found;
}

}  // namespace perilune
