#include "engine/serving/step_times.h"

#include <algorithm>
#include <numeric>

#include "engine/device/context.h"

namespace perilune {

StepTimes::StepTimes(const kernels::KernelTable& kernels) : kernels_(kernels) {
  constexpr int kReadings = 1000, kTries = 5;
  ticks_a_reading_ = 1e300;
  for (int t = 0; t < kTries; ++t) {  // the quickest: others may use the processor
    const std::uint64_t begin = KernelClock::ticks();
    std::uint64_t end = begin;
    for (int i = 0; i < kReadings; ++i) end = KernelClock::ticks();
    ticks_a_reading_ = std::min(ticks_a_reading_, static_cast<double>(end - begin) / kReadings);
  }
}

void StepTimes::begin() {
  kernels_.restart();
  spent_ = {};
  part_ = StepPart::rest;
  readings_ = 1;
  began_seconds_ = clock_seconds();
  since_ = began_ = KernelClock::ticks();
}

void StepTimes::enter(StepPart part) {
  const std::uint64_t now = KernelClock::ticks();
  spent_[static_cast<std::size_t>(part_)] += now - since_;
  since_ = now;
  part_ = part;
  ++readings_;
}

void StepTimes::end() {
  enter(StepPart::rest);
  const auto ticks = static_cast<double>(since_ - began_);
  tick_ = ticks > 0 ? (clock_seconds() - began_seconds_) / ticks : 0;
}

double StepTimes::total() const {
  return tick_ *
         static_cast<double>(std::accumulate(spent_.begin(), spent_.end(), std::uint64_t{0}));
}

}  // namespace perilune
