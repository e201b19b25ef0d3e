#include "engine/sampling/logit_edits.h"

#include <algorithm>

#include "engine/sampling/logits.h"

namespace perilune {

using kernels::LogitChange;

void LogitEdits::begin(std::size_t width) {
  constexpr std::size_t kUsual = 1024;  // so that a text that grows seldom needs more memory
  width_ = width;
  forced_ = false;
  edits_.clear();
  edits_.reserve(kUsual);
}

void LogitEdits::add(std::int32_t id, float amount, std::int32_t times) {
  if (valid(id) && times > 0) edits_.push_back({id, LogitChange::add, amount, times});
}

void LogitEdits::forbid(std::span<const std::int32_t> ids) {
  for (const std::int32_t id : ids) {
    if (valid(id)) edits_.push_back({id, LogitChange::set, kNever, 1});
  }
}

void LogitEdits::force(std::span<const std::int32_t> ids) {
  forced_ = true;
  edits_.clear();  // nothing is left of what they changed
  for (const std::int32_t id : ids) {
    if (valid(id)) edits_.push_back({id, LogitChange::set, 0.0f, 1});
  }
}

void LogitEdits::penalize(std::span<const std::int32_t> ids, float factor) {
  if (factor == 1.0f) return;
  if (seen_.size() < width_) seen_.resize(width_, 0);
  if (++round_ == 0) {  // it has gone round: no mark is older than this
    std::fill(seen_.begin(), seen_.end(), 0);
    round_ = 1;
  }
  for (const std::int32_t id : ids) {
    if (!valid(id) || seen_[static_cast<std::size_t>(id)] == round_) continue;
    seen_[static_cast<std::size_t>(id)] = round_;
    edits_.push_back({id, LogitChange::penalize, factor, 1});
  }
}

void LogitEdits::raise(std::span<const std::int32_t> ids, float share) {
  for (const std::int32_t id : ids) {
    if (valid(id)) edits_.push_back({id, LogitChange::raise, share, 1});
  }
}

void LogitEdits::apply(std::span<float> logits) const {
  if (forced_) std::fill(logits.begin(), logits.end(), kNever);
  for (const kernels::LogitEdit& edit : edits_) {
    float& x = logits[static_cast<std::size_t>(edit.id)];
    x = kernels::edited(x, edit);
  }
}

}  // namespace perilune
