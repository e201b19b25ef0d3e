// When a run of ops looks at the clock.
#pragma once

#include <algorithm>

#include "engine/device/context.h"

namespace perilune {

/// When to look whether a deadline has passed: after every op that takes its time, and after some
/// where many fit into what is left, since a look costs as much as a small op. A stretch without a
/// look is at most twice one that took little of what is left.
class Deadline {
 public:
  explicit Deadline(double at) : at_(at) {}
  bool passed_after_op() {
    if (at_ >= 1e300 || --ops_left_ > 0) return false;
    const double now = clock_seconds();
    const bool quick = now - looked_ < std::max(kOften, (at_ - now) * kShare);
    stride_ = quick ? std::min(2 * stride_, kMostOps) : 1;
    ops_left_ = stride_;
    looked_ = now;
    return now >= at_;
  }

 private:
  static constexpr double kOften = 20e-6;  // seconds
  static constexpr double kShare = 1.0 / 16;
  static constexpr int kMostOps = 32;
  double at_, looked_ = 0;
  int stride_ = 1, ops_left_ = 1;
};

}  // namespace perilune
